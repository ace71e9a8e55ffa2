"""BF307 and BF308: allocators and libraries that dlopen(3) adds to a running process."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_note_source, make_dlopen_source
from builders.elf import build_elf

from .conftest import Check
from .test_allocators import build_allocator, build_server

LIB = "$ORIGIN/../lib"


def test_bf307_reports_an_allocator_that_a_plugin_needs(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "plugins/p.so", needed=["libone.so.1"], runpath=LIB)
    build_server(tmp_path)
    (finding,) = check("BF307")
    assert (finding.severity, finding.path) == ("warning", "plugins/p.so")
    assert finding.evidence["needed"] == "libone.so.1"


def test_bf307_is_silent_if_the_program_needs_the_allocator_too(
    tmp_path: Path, check: Check
) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "plugins/p.so", needed=["libone.so.1"], runpath=LIB)
    build_server(tmp_path, "libone.so.1")
    assert check("BF307") == []


def test_bf307_is_silent_about_an_allocator_for_ld_preload(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path)
    assert check("BF307") == []


def test_bf307_reports_an_allocator_that_the_policy_declares(tmp_path: Path, check: Check) -> None:
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_server(tmp_path)
    (finding,) = check("BF307", dlopen=("libone.so.1",))
    assert finding.message == (
        "loads the allocator lib/libone.so.1 at run time, when malloc is already bound to the C"
        " library"
    )
    assert check("BF307", dlopen=("libother.so.1",)) == []


@pytest.mark.parametrize(("has_note", "severity"), [(True, "warning"), (False, "note")])
def test_bf307_uses_the_dlopen_notes_and_strings_of_an_object(
    tmp_path: Path, check: Check, has_note: bool, severity: str
) -> None:
    note = make_dlopen_note_source([{"soname": ["libone.so.1"], "priority": "required"}])
    source = note if has_note else make_dlopen_source("libone.so.1")
    build_allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    build_server(tmp_path, "liba.so.1")
    assert [(f.severity, f.path) for f in check("BF307")] == [(severity, "bin/server")]


@pytest.mark.parametrize(
    ("call", "found"),
    [("dlmopen(LM_ID_NEWLM, name, RTLD_NOW)", 1), ("dlopen(name, RTLD_NOW)", 0)],
)
def test_bf308_reports_objects_that_import_dlmopen(
    tmp_path: Path, check: Check, call: str, found: int
) -> None:
    source = f"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    void *open_it(const char *name) {{ return {call}; }}
    """
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source)
    assert [f.severity for f in check("BF308")] == ["note"] * found
