"""BF502 to BF508: hardening by the linker, set-uid bits, build-ids and interpreters."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check

CODES = ("BF502", "BF503", "BF504", "BF505", "BF506", "BF507", "BF508")


@pytest.mark.parametrize(
    ("code", "flags", "severity"),
    [
        ("BF502", ["-Wl,-z,execstack"], "warning"),
        ("BF504", ["-Wl,-z,norelro"], "note"),
        ("BF505", ["-no-pie"], "note"),
        ("BF507", ["-Wl,--build-id=none"], "note"),
        ("BF508", ["-Wl,--dynamic-linker,/nix/store/x/lib/ld-linux-x86-64.so.2"], "error"),
        ("BF508", ["-Wl,--dynamic-linker,/lib64/ld-mine.so.2"], "error"),
        ("BF508", ["-Wl,--dynamic-linker,lib64/ld-linux-x86-64.so.2"], "error"),
    ],
)
def test_a_program_without_one_property_has_one_finding(
    tmp_path: Path, check: Check, code: str, flags: list[str], severity: str
) -> None:
    build_elf(tmp_path / "x", program=True, flags=["-Wl,--build-id", *flags])
    assert [(f.severity, f.path) for f in check(code)] == [(severity, "x")]
    assert [other for other in CODES if other != code and check(other)] == []


def test_an_ordinary_program_and_library_have_no_findings(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True, flags=["-Wl,--build-id,-z,relro"])
    build_elf(tmp_path / "liba.so.1", soname="liba.so.1", flags=["-Wl,--build-id,-z,relro"])
    assert [code for code in CODES if check(code)] == []


def test_bf503_reports_code_with_relocations(tmp_path: Path, check: Check) -> None:
    source = 'void f(void); __asm__(".text\\n.globl f\\nf: .quad f\\n");'
    build_elf(tmp_path / "liba.so.1", soname="liba.so.1", source=source, flags=["-Wl,-z,notext"])
    (finding,) = check("BF503")
    assert finding.severity == "warning"


def test_bf506_reports_programs_and_scripts(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True).chmod(0o4755)
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o2755)
    assert sorted((f.path, f.evidence["mode"]) for f in check("BF506")) == [
        ("run.sh", "2755"),
        ("x", "4755"),
    ]


NESTED = """
int call(int (*function)(int)) { return function(3); }
int outer(int k) { int inner(int x) { return x + k; } return call(inner); }
"""
UNMARKED = 'int f(void);\n__asm__(".text\\n.globl f\\nf: ret\\n");'


def test_bf502_can_be_repaired_unless_code_of_the_pack_runs_on_the_stack(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "liba.so.1", source=UNMARKED, flags=["-Wl,-z,execstack"])
    assert [(f.fixable, f.evidence["code"]) for f in check("BF502")] == [(True, "no trampolines")]
    build_elf(tmp_path / "libn.so.1", source=NESTED, flags=["-O2", "-fno-inline"])
    findings = check("BF502")
    assert [(f.path, f.fixable) for f in findings] == [("liba.so.1", False), ("libn.so.1", False)]
    assert all("trampolines" in f.hint for f in findings)
