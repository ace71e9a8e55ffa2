"""BF108, BF109 and BF111: libraries that are loaded with dlopen(3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_note_source, make_dlopen_source
from builders.elf import build_elf

from .conftest import Check

LIB = "$ORIGIN/../lib"


def test_bf108_reports_strings_that_are_names_of_the_packs_libraries(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    build_elf(
        tmp_path / "lib/libopener.so.1",
        soname="libopener.so.1",
        source=make_dlopen_source("libplug.so.1"),
    )
    build_elf(tmp_path / "bin/x", program=True, needed=["libopener.so.1"], runpath=LIB)
    (finding,) = check("BF108")
    assert (finding.path, finding.severity) == ("lib/libopener.so.1", "note")
    assert finding.evidence["found"] == {"libplug.so.1": "host"}
    assert "libplug.so.1 (the host's copy would be opened)" in finding.message


def test_bf108_shows_which_file_of_the_pack_is_opened(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    source = make_dlopen_source("libplug.so.1")
    build_elf(tmp_path / "lib/libo.so.1", soname="libo.so.1", source=source, runpath="$ORIGIN")
    build_elf(tmp_path / "bin/x", program=True, needed=["libo.so.1"], runpath=LIB)
    (finding,) = check("BF108")
    assert finding.evidence["found"] == {"libplug.so.1": "lib/libplug.so.1"}


@pytest.mark.parametrize(
    "source",
    [
        make_dlopen_source("libelsewhere.so.1"),
        make_dlopen_source("libplug.so.1 is nice"),
        'const char *name = "libplug.so.1";',
    ],
    ids=["another name", "part of a sentence", "no dlopen"],
)
def test_bf108_is_silent_about_objects_that_do_not_open_the_library(
    tmp_path: Path, check: Check, source: str
) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    build_elf(tmp_path / "lib/libo.so.1", soname="libo.so.1", source=source)
    assert check("BF108") == []


@pytest.mark.parametrize("before", ["\\xff", "A", "7", "/", " ", "my-", "x.y\\n"])
def test_bf108_finds_a_name_whatever_byte_is_before_it(
    tmp_path: Path, check: Check, before: str
) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    source = (
        "#include <dlfcn.h>\n"
        f'static const char table[] = "{before}" "libplug.so.1";\n'
        "void *f(int at) { return dlopen(table + at, RTLD_NOW); }"
    )
    build_elf(tmp_path / "lib/libo.so.1", soname="libo.so.1", source=source)
    assert [f.evidence["dlopen"] for f in check("BF108")] == [["libplug.so.1"]]


def make_feature(name: str, priority: str) -> dict[str, object]:
    return {"soname": [name], "priority": priority, "feature": "f", "description": "its sake"}


@pytest.mark.parametrize(
    ("priority", "severities"),
    [("required", ["error"]), ("recommended", ["note"]), ("suggested", [])],
)
def test_bf109_follows_the_priority_in_a_note(
    tmp_path: Path, check: Check, priority: str, severities: list[str]
) -> None:
    source = make_dlopen_note_source([make_feature("libabsent.so.7", priority)])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    found = check("BF109")
    assert [f.severity for f in found] == severities
    assert all("libabsent.so.7 at run time, for its sake" in f.message for f in found)


def test_bf109_checks_the_names_that_the_policy_declares(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/libthere.so", soname="libthere.so")
    names = ("libthere.so", "libjvm.so", "libgone.so")
    found = check("BF109", dlopen=names, host=("libjvm.so",))
    assert [f.evidence["needed"] for f in found] == ["libgone.so"]


def test_bf109_accepts_any_of_several_names(tmp_path: Path, check: Check) -> None:
    source = make_dlopen_note_source(
        [{"soname": ["libnew.so.2", "libold.so.1"], "priority": "required"}]
    )
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    build_elf(tmp_path / "lib/libold.so.1", soname="libold.so.1")
    assert check("BF109") == []
    assert check("BF111") == []


def test_bf109_accepts_a_library_of_the_host(tmp_path: Path, check: Check) -> None:
    source = make_dlopen_note_source([make_feature("libjvm.so", "required")])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    assert len(check("BF109")) == 1
    assert check("BF109", host=("libjvm.so",)) == []


def test_bf111_reports_a_library_of_the_pack_that_is_opened_from_the_host(
    tmp_path: Path, check: Check
) -> None:
    source = make_dlopen_note_source([make_feature("libplug.so.1", "required")])
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    (finding,) = check("BF111")
    assert (finding.path, finding.severity) == ("lib/liba.so.1", "error")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    assert check("BF111") == []


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"soname": 1}]', "[[[[", '[{"priority": "x"}]'])
def test_a_damaged_note_is_ignored(tmp_path: Path, check: Check, text: str) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=make_dlopen_note_source(text))
    assert check("BF109") == []


@pytest.mark.parametrize("has_name", [True, False], ids=["by name", "by a setting"])
def test_bf111_checks_the_names_that_the_policy_declares(
    tmp_path: Path, check: Check, has_name: bool
) -> None:
    source = make_dlopen_source("libplug.so.1" if has_name else "another")
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    (finding,) = check("BF111", dlopen=("libplug.so.1",))
    assert (finding.path, finding.severity) == ("lib/liba.so.1", "error")
    assert "opens libplug.so.1, as declared in [closure] dlopen" in finding.message
    assert check("BF108", dlopen=("libplug.so.1",)) == []
    assert check("BF111") == []
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    assert check("BF111", dlopen=("libplug.so.1",)) == []


def test_bf111_assumes_that_the_object_with_the_name_opens_the_library(
    tmp_path: Path,
    check: Check,
) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    source = make_dlopen_source("libplug.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    build_elf(
        tmp_path / "lib/libb.so.1",
        soname="libb.so.1",
        source=make_dlopen_source("libelsewhere.so.1"),
    )
    needed = ["liba.so.1", "libb.so.1"]
    build_elf(tmp_path / "bin/x", program=True, needed=needed, runpath=LIB)
    assert check("BF111", dlopen=("libplug.so.1",)) == []
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", runpath="$ORIGIN")
    build_elf(
        tmp_path / "lib/libc1.so.1",
        soname="libc1.so.1",
        source=make_dlopen_source("no"),
        runpath="$ORIGIN",
    )
    build_elf(tmp_path / "bin/x", program=True, needed=[*needed, "libc1.so.1"], runpath=LIB)
    assert check("BF111", dlopen=("libplug.so.1",)) == []
