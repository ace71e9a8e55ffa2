from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import elf

from .conftest import Check


def program_with(folder: Path, **path: str) -> None:
    elf(folder / "lib/liba.so.1", soname="liba.so.1")
    elf(folder / "bin/x", program=True, needed=["liba.so.1"], **path)  # type: ignore[arg-type]


def test_bf201_names_a_program_without_a_runpath(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path)
    (finding,) = check("BF201")
    assert (finding.severity, finding.path) == ("error", "bin/x")
    assert finding.message == "has no RUNPATH, though the pack provides liba.so.1"


def test_bf201_is_a_warning_in_a_library_that_lives_on_anothers_luck(
    tmp_path: Path, check: Check
) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libb.so.1", "liba.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert [(f.severity, f.path) for f in check("BF201")] == [("warning", "lib/liba.so.1")]


def test_bf201_is_silent_where_an_inherited_rpath_does_it(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert check("BF201") == []


@pytest.mark.parametrize(("path", "found"), [("rpath", 0), ("runpath", 1)])
def test_bf201_heeds_the_rpath_of_what_loads_a_library_of_a_plugin(
    tmp_path: Path, check: Check, path: str, found: int
) -> None:
    """As in wheels: an extension's RPATH serves all that it loads, a RUNPATH itself alone."""
    elf(tmp_path / "libs/libc1.so.1", soname="libc1.so.1")
    elf(tmp_path / "libs/libb.so.1", soname="libb.so.1", needed=["libc1.so.1"])
    names = ["libc1.so.1", "libb.so.1"]
    elf(tmp_path / "ext.so", needed=names, **{path: "$ORIGIN/libs"})  # type: ignore[arg-type]
    assert [f.path for f in check("BF201")] == ["libs/libb.so.1"] * found


def test_bf201_is_silent_where_nothing_of_the_pack_is_needed(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"])
    assert check("BF201") == []


@pytest.mark.parametrize(
    ("entry", "rule", "severity"),
    [
        ("/opt/build/lib", "BF202", "warning"),
        (".", "BF203", "error"),
        ("lib", "BF203", "error"),
        ("", "BF203", "error"),
        ("$ORIGIN/../../elsewhere", "BF204", "warning"),
    ],
)
def test_a_bad_entry_beside_a_good_one_is_named(
    tmp_path: Path, check: Check, entry: str, rule: str, severity: str
) -> None:
    program_with(tmp_path, runpath=f"{entry}:$ORIGIN/../lib")
    (finding,) = check(rule)
    assert (finding.severity, finding.evidence["entry"]) == (severity, entry)
    assert check("BF102") == []


@pytest.mark.parametrize(
    ("entry", "rule"),
    [("ORIGIN/../lib", "BF203"), ("/../lib", "BF202"), ("\\$ORIGIN/lib", "BF203"),
     ("$$ORIGIN/lib", "BF203")],
)  # fmt: skip
def test_an_origin_that_a_shell_took_away_is_told(
    tmp_path: Path, check: Check, entry: str, rule: str
) -> None:
    program_with(tmp_path, runpath=entry)
    assert [f.hint.startswith("It looks like $ORIGIN") for f in check(rule)] == [True]
    program_with(tmp_path, runpath="lib:/opt/x:$ORIGIN/../../x:${ORIGIN}/gone")
    found = [f for code in ("BF202", "BF203", "BF204", "BF206") for f in check(code)]
    assert ["looks like" in f.hint for f in found] == [False] * 4


def test_good_entries_are_not_named(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path, runpath="$ORIGIN/../lib:${ORIGIN}:$ORIGIN/../absent")
    for rule in ("BF202", "BF203", "BF204", "BF205"):
        assert check(rule) == []


def test_a_bad_rpath_is_named_as_such(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path, rpath=".:$ORIGIN/../lib")
    (finding,) = check("BF203")
    assert "has the RPATH entry ." in finding.message


def test_bf206_notes_an_entry_to_a_folder_that_is_not_there(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path, runpath="$ORIGIN/../lib:$ORIGIN/../absent:$ORIGIN/$LIB")
    (finding,) = check("BF206")
    assert (finding.severity, finding.evidence["entry"]) == ("note", "$ORIGIN/../absent")


def test_bf206_notes_an_entry_that_is_there_twice(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path, runpath="$ORIGIN/../lib:$ORIGIN:$ORIGIN/../lib")
    assert [f.message for f in check("BF206")] == ["has the entry $ORIGIN/../lib 2 times"]


def test_bf207_names_a_set_uid_program_that_counts_on_origin(tmp_path: Path, check: Check) -> None:
    program_with(tmp_path, runpath="$ORIGIN/../lib")
    (tmp_path / "bin/x").chmod(0o4755)
    (finding,) = check("BF207")
    assert finding.severity == "error"
    assert finding.message == (
        "is set-uid, so the loader does not follow its entry $ORIGIN/../lib to liba.so.1"
    )


def test_bf207_is_a_warning_where_nothing_is_found_that_way(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"], runpath="${ORIGIN}")
    (tmp_path / "bin/x").chmod(0o2755)
    (finding,) = check("BF207")
    assert finding.severity == "warning"
    assert finding.message.startswith("is set-gid, ")


def test_bf207_is_silent_about_set_uid_programs_with_no_use_of_origin(
    tmp_path: Path, check: Check
) -> None:
    elf(tmp_path / "bin/x", program=True, needed=["libz.so.1"], runpath="/opt/pack/lib")
    (tmp_path / "bin/x").chmod(0o4755)
    assert check("BF207") == []
