"""BF413: libraries without symbol versions, of which an object requires a version."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf, build_versioned_library

from .conftest import Check
from .packs import LIB, build_caller_of_greet

UNVERSIONED = '#include <stdio.h>\nint greet(void) { return puts("") + 6; }'
"""A library that requires versions of the C library, and therefore has a DT_VERSYM."""


@pytest.mark.parametrize(
    ("has_table", "severity", "status", "output"),
    [
        (False, "error", 127, "Inconsistency detected by ld.so"),
        (True, "warning", 0, "no version information available"),
    ],
)
def test_bf413_says_what_the_loader_does(
    tmp_path: Path, check: Check, has_table: bool, severity: str, status: int, output: str
) -> None:
    build_caller_of_greet(tmp_path)
    if has_table:
        build_elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", source=UNVERSIONED)
    done = subprocess.run([tmp_path / "bin/server"], capture_output=True, text=True, check=False)
    assert (done.returncode, output in done.stderr) == (status, True)
    (finding,) = check("BF413")
    assert (finding.path, finding.severity) == ("lib/libv.so.1", severity)
    assert finding.message.startswith("has no symbol versions, but bin/server requires V_2")
    assert ("aborts at greet@V_2" in finding.message) is not has_table
    assert check("BF404") == check("BF405") == []


def test_bf413_is_a_note_for_dlopen_which_prints_nothing(tmp_path: Path, check: Check) -> None:
    linked = build_versioned_library(tmp_path / "x/libv.so.1", "libv.so.1", "greet", ["V_1"])
    use = "extern int greet(void); int again(void) { return greet(); }"
    build_elf(tmp_path / "plugins/p.so", source=use, flags=[str(linked)], runpath=LIB)
    linked.unlink()
    build_elf(tmp_path / "bin/server", program=True)
    build_elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", source=UNVERSIONED)
    assert [f.severity for f in check("BF413")] == ["note"]


def test_bf413_is_silent_about_a_partial_table(tmp_path: Path, check: Check) -> None:
    build_caller_of_greet(tmp_path, "V_1")
    assert check("BF413") == []
    assert [f.severity for f in check("BF404")] == ["error"]
