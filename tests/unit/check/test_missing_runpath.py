"""BF201: objects without RUNPATH that need libraries of the pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .test_runpath import build_program


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
