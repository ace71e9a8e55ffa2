"""BF307 and BF308: allocators that are opened at run time, and dlmopen."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_note_source, make_dlopen_source
from builders.elf import build_elf

from .conftest import Check
from .test_allocators import allocator, server

LIB = "$ORIGIN/../lib"


def test_bf307_names_an_allocator_that_a_plugin_needs(tmp_path: Path, check: Check) -> None:
    allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "plugins/p.so", needed=["libone.so.1"], runpath=LIB)
    server(tmp_path)
    (finding,) = check("BF307")
    assert (finding.severity, finding.path) == ("warning", "plugins/p.so")
    assert finding.evidence["needed"] == "libone.so.1"


def test_bf307_is_silent_where_the_program_has_it_too(tmp_path: Path, check: Check) -> None:
    allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "plugins/p.so", needed=["libone.so.1"], runpath=LIB)
    server(tmp_path, "libone.so.1")
    assert check("BF307") == []


def test_bf307_is_silent_about_an_allocator_for_ld_preload(tmp_path: Path, check: Check) -> None:
    allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    server(tmp_path)
    assert check("BF307") == []


def test_bf307_names_an_allocator_that_the_spec_says_is_opened(
    tmp_path: Path, check: Check
) -> None:
    allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    server(tmp_path)
    (finding,) = check("BF307", dlopen=("libone.so.1",))
    assert finding.message == (
        "loads the allocator lib/libone.so.1 at run time, when malloc is already bound to the C"
        " library"
    )
    assert check("BF307", dlopen=("libother.so.1",)) == []


@pytest.mark.parametrize(("how", "severity"), [("note", "warning"), ("string", "note")])
def test_bf307_heeds_what_an_object_says_of_itself(
    tmp_path: Path, check: Check, how: str, severity: str
) -> None:
    note = make_dlopen_note_source([{"soname": ["libone.so.1"], "priority": "required"}])
    source = note if how == "note" else make_dlopen_source("libone.so.1")
    allocator(tmp_path / "lib/libone.so.1", "libone.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=source, runpath="$ORIGIN")
    server(tmp_path, "liba.so.1")
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
