"""BF117: needed libraries of which no object uses a symbol."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check

LIB = "$ORIGIN/../lib"
FUNCTION = "int {0}(void) {{ return 1; }}"
CALL = "extern int {0}(void); int {1}(void) {{ return {0}(); }}"


def build_library(root: Path, name: str, source: str, *needed: str, flags: list[str]) -> None:
    build_elf(
        root / "lib" / name, soname=name, source=source, needed=needed, runpath=LIB, flags=flags
    )


def build_server(root: Path, source: str, *libraries: str) -> Path:
    """Build a program that is linked with libraries of the pack."""
    flags = [f"-Wl,-rpath-link,{root}/lib", *(str(root / "lib" / name) for name in libraries)]
    return build_elf(root / "bin/x", program=True, source=source, runpath=LIB, flags=flags)


def test_the_library_that_ldd_reports_as_unused_is_reported_with_its_size(
    tmp_path: Path, check: Check
) -> None:
    build_library(tmp_path, "libused.so.1", FUNCTION.format("used"), flags=[])
    build_library(tmp_path, "libidle.so.1", FUNCTION.format("idle"), flags=[])
    program = build_server(
        tmp_path, CALL.format("used", "main"), "libused.so.1", "libidle.so.1"
    )  # fmt: skip
    (finding,) = check("BF117")
    size = (tmp_path / "lib/libidle.so.1").stat().st_size
    assert (finding.severity, finding.path) == ("note", "lib/libidle.so.1")
    assert finding.message == (
        "is needed by bin/x, but no object uses its symbols;"
        f" it costs the pack {size:,} bytes"
    )  # fmt: skip
    listed = subprocess.run(["ldd", "-u", program], capture_output=True, text=True, check=False)
    assert re.findall(r"lib\w+\.so\.1", listed.stdout) == ["libidle.so.1"]


def test_the_size_includes_libraries_that_only_the_unused_one_needs(
    tmp_path: Path, check: Check
) -> None:
    build_library(tmp_path, "libdeep.so.1", FUNCTION.format("deep"), flags=[])
    build_library(tmp_path, "libidle.so.1", CALL.format("deep", "idle"), "libdeep.so.1", flags=[])
    build_server(tmp_path, "int main(void) { return 0; }", "libidle.so.1")
    (finding,) = check("BF117")
    assert finding.evidence["libraries"] == ["lib/libdeep.so.1", "lib/libidle.so.1"]
    assert finding.evidence["bytes"] == sum(p.stat().st_size for p in tmp_path.glob("lib/*"))


def test_a_library_that_leads_to_a_used_one_is_used(tmp_path: Path, check: Check) -> None:
    build_library(tmp_path, "libdeep.so.1", FUNCTION.format("deep"), flags=[])
    build_library(tmp_path, "libidle.so.1", FUNCTION.format("idle"), "libdeep.so.1", flags=[])
    # The linker sees an older libidle.so.1, which defined the symbol itself.
    older = build_elf(
        tmp_path / "libidle.so.1", soname="libidle.so.1", source=FUNCTION.format("deep")
    )
    build_server(tmp_path, CALL.format("deep", "main"), f"../{older.name}")
    older.unlink()
    assert check("BF117") == []


@pytest.mark.parametrize(
    ("source", "flags", "found"),
    [
        ("int idle(void) { return 1; } __attribute__((constructor)) void c(void) { }", [], 0),
        ("int idle(void) { return 1; } __attribute__((constructor)) void c(void) { }",
         ["-nostartfiles"], 0),
        ("int pad(void) { return 2; } void idle(void) { }", ["-Wl,-init,idle"], 0),
        ("int idle(void) { return 1; }", ["-nostartfiles"], 1),
    ],
)  # fmt: skip
def test_a_library_that_runs_code_when_it_is_loaded_is_used(
    tmp_path: Path, check: Check, source: str, flags: list[str], found: int
) -> None:
    build_library(tmp_path, "libidle.so.1", source, flags=flags)
    build_server(tmp_path, "int main(void) { return 0; }", "libidle.so.1")
    assert len(check("BF117")) == found


def test_a_library_whose_symbols_a_plugin_uses_is_used(tmp_path: Path, check: Check) -> None:
    build_library(tmp_path, "libidle.so.1", FUNCTION.format("idle"), flags=[])
    build_server(tmp_path, "int main(void) { return 0; }", "libidle.so.1")
    build_elf(tmp_path / "plugins/p.so", source=CALL.format("idle", "start"))
    assert check("BF117") == []


def test_a_symbol_that_an_earlier_library_defines_is_not_used(tmp_path: Path, check: Check) -> None:
    for name in ("libfirst.so.1", "libsecond.so.1"):
        build_library(tmp_path, name, FUNCTION.format("both"), flags=[])
    build_server(tmp_path, CALL.format("both", "main"), "libfirst.so.1", "libsecond.so.1")
    assert [f.path for f in check("BF117")] == ["lib/libsecond.so.1"]
