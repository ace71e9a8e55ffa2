"""BF202 to BF206: wrong and useless entries of RPATH and RUNPATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check


def build_program(root: Path, *, rpath: str | None = None, runpath: str | None = None) -> None:
    """Build a pack with a program that has a search path and needs a library of the pack."""
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "bin/x", program=True, needed=["liba.so.1"], rpath=rpath, runpath=runpath)


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
