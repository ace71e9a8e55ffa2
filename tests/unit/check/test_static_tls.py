"""BF414: libraries that need static TLS and are opened at run time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import LIB, build_plugin_with_tls

OPENER = """
#include <dlfcn.h>
int main(int count, char **names) { return !dlopen(names[count - 1], RTLD_NOW); }
"""


@pytest.mark.parametrize(
    ("size", "flags", "severities", "status"),
    [
        (2000, ["-ftls-model=initial-exec"], ["error"], 1),
        (1000, ["-ftls-model=initial-exec"], ["note"], 0),
        (400, ["-ftls-model=initial-exec"], [], 0),
        (2000, [], [], 0),
    ],
)
def test_bf414_says_whether_the_loader_can_open_the_library(
    tmp_path: Path, check: Check, size: int, flags: list[str], severities: list[str], status: int
) -> None:
    build_plugin_with_tls(tmp_path, size, *flags)
    opener = build_elf(tmp_path / "bin/server", program=True, source=OPENER)
    command = [opener, tmp_path / "plugins/p.so"]
    assert subprocess.run(command, env={}, check=False).returncode == status
    opener.unlink()
    found = check("BF414")
    assert [f.severity for f in found] == severities
    for finding in found:
        total = -(-size // 16) * 16
        assert finding.message.startswith(f"needs {total} bytes of static TLS when it is opened")


def test_bf414_counts_all_libraries_that_a_plugin_brings(tmp_path: Path, check: Check) -> None:
    build_plugin_with_tls(tmp_path, 1000, "-ftls-model=initial-exec", needed=["libt.so.1"])
    build_plugin_with_tls(
        tmp_path, 900, "-ftls-model=initial-exec", at="lib/libt.so.1", soname="libt.so.1"
    )
    build_elf(tmp_path / "bin/server", program=True)
    (finding,) = check("BF414")
    assert (finding.path, finding.severity) == ("plugins/p.so", "warning")
    assert "needs 1920 bytes of static TLS (with lib/libt.so.1)" in finding.message
    build_elf(tmp_path / "bin/server", program=True, needed=["libt.so.1"], runpath=LIB)
    assert [f.severity for f in check("BF414")] == ["note"]


def test_bf414_is_silent_about_a_library_that_may_be_preloaded(
    tmp_path: Path, check: Check
) -> None:
    build_plugin_with_tls(
        tmp_path, 2000, "-ftls-model=initial-exec", at="lib/libt.so.1", soname="libt.so.1"
    )
    assert check("BF414") == []
    assert [f.severity for f in check("BF414", dlopen=("libt.so.1",))] == ["error"]
