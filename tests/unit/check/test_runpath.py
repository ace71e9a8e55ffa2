"""BF201 to BF206: missing, wrong and useless entries of RPATH and RUNPATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check


def build_program(root: Path, *, rpath: str | None = None, runpath: str | None = None) -> None:
    """Build a pack with a program that has a search path and needs a library of the pack."""
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], rpath=rpath, runpath=runpath)


def test_a_name_that_is_not_found_without_a_runpath_is_one_finding(
    tmp_path: Path, check: Check
) -> None:
    build_program(tmp_path)
    (finding,) = check("BF102")
    assert (finding.severity, finding.path) == ("error", "bin/x")
    assert finding.evidence["causes"] == ["BF201"]
    assert check("BF201") == []


def test_bf201_is_a_warning_in_a_library_if_another_object_loads_what_it_needs(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libb.so.1", "liba.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert [(f.severity, f.path) for f in check("BF201")] == [("warning", "lib/liba.so.1")]


def test_bf201_is_silent_if_an_inherited_rpath_leads_to_the_library(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert check("BF201") == []


@pytest.mark.parametrize(("tag", "found"), [("rpath", 0), ("runpath", 1)])
def test_bf201_follows_the_rpath_of_the_plugin_that_loads_a_library(
    tmp_path: Path, check: Check, tag: str, found: int
) -> None:
    """As in wheels: an RPATH applies to all libraries of an extension, a RUNPATH to itself only."""
    build_elf(tmp_path / "libs/libc1.so.1", soname="libc1.so.1")
    build_elf(tmp_path / "libs/libb.so.1", soname="libb.so.1", needed=["libc1.so.1"])
    names = ["libc1.so.1", "libb.so.1"]
    rpath, runpath = ("$ORIGIN/libs", None) if tag == "rpath" else (None, "$ORIGIN/libs")
    build_elf(tmp_path / "ext.so", needed=names, rpath=rpath, runpath=runpath)
    assert [f.path for f in check("BF201")] == ["libs/libb.so.1"] * found


def test_bf201_is_silent_if_no_library_of_the_pack_is_needed(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"])
    assert check("BF201") == []


def test_bf202_is_a_note_about_a_directory_that_every_host_searches(
    tmp_path: Path, check: Check
) -> None:
    build_program(tmp_path, runpath="$ORIGIN/../lib:/usr/lib/")
    assert [f.severity for f in check("BF202")] == ["note"]
    build_program(tmp_path, runpath="/usr/lib/:$ORIGIN/../lib")
    assert [f.severity for f in check("BF202")] == ["warning"]


@pytest.mark.parametrize(
    ("entry", "rule", "severity"),
    [
        ("/usr/lib/private", "BF202", "warning"),
        ("/opt/build/lib", "BF202", "warning"),
        (".", "BF203", "error"),
        ("lib", "BF203", "error"),
        ("", "BF203", "error"),
        ("$ORIGIN/../../elsewhere", "BF204", "warning"),
    ],
)
def test_a_bad_entry_next_to_a_good_one_is_reported(
    tmp_path: Path, check: Check, entry: str, rule: str, severity: str
) -> None:
    build_program(tmp_path, runpath=f"{entry}:$ORIGIN/../lib")
    (finding,) = check(rule)
    assert (finding.severity, finding.evidence["entry"]) == (severity, entry)
    assert check("BF102") == []


@pytest.mark.parametrize(
    ("entry", "rule"),
    [("ORIGIN/../lib", "BF203"), ("/../lib", "BF202"), ("\\$ORIGIN/lib", "BF203"),
     ("$$ORIGIN/lib", "BF203")],
)  # fmt: skip
def test_an_origin_that_a_shell_expanded_gets_a_hint(
    tmp_path: Path, check: Check, entry: str, rule: str
) -> None:
    build_program(tmp_path, runpath=entry)
    assert [
        f.hint.startswith("A shell or make probably expanded $ORIGIN") for f in check(rule)
    ] == [True]
    build_program(tmp_path, runpath="lib:/opt/x:$ORIGIN/../../x:${ORIGIN}/gone")
    found = [f for code in ("BF202", "BF203", "BF204", "BF206") for f in check(code)]
    assert ["probably expanded" in f.hint for f in found] == [False] * 4


def test_good_entries_are_not_reported(tmp_path: Path, check: Check) -> None:
    build_program(tmp_path, runpath="$ORIGIN/../lib:${ORIGIN}:$ORIGIN/../absent")
    for rule in ("BF202", "BF203", "BF204", "BF205"):
        assert check(rule) == []


def test_the_message_names_rpath_if_the_entry_is_in_an_rpath(tmp_path: Path, check: Check) -> None:
    build_program(tmp_path, rpath=".:$ORIGIN/../lib")
    (finding,) = check("BF203")
    assert "has the RPATH entry ." in finding.message


def test_bf206_reports_an_entry_whose_directory_does_not_exist(
    tmp_path: Path, check: Check
) -> None:
    build_program(tmp_path, runpath="$ORIGIN/../lib:$ORIGIN/../absent:$ORIGIN/$LIB")
    (finding,) = check("BF206")
    assert (finding.severity, finding.evidence["entry"]) == ("note", "$ORIGIN/../absent")


def test_bf206_reports_a_repeated_entry(tmp_path: Path, check: Check) -> None:
    build_program(tmp_path, runpath="$ORIGIN/../lib:$ORIGIN:$ORIGIN/../lib")
    assert [f.message for f in check("BF206")] == ["has the entry $ORIGIN/../lib 2 times"]
