"""BF114: directories of plugins that are compiled into an object as absolute paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf

from .conftest import Check
from .packs import build_compiled_in_directory, build_program_and_library


def test_bf114_reports_a_plugin_directory_of_the_pack(tmp_path: Path, check: Check) -> None:
    build_compiled_in_directory(tmp_path, "/usr/lib64/xplug")
    (finding,) = check("BF114")
    assert (finding.path, finding.severity) == ("lib/liba.so.1", "warning")
    assert finding.message == (
        "contains the plugin directory /usr/lib64/xplug; the pack has its own plugins in lib/xplug"
    )
    assert finding.evidence["provided"] == ["lib/xplug/legacy.so"]


@pytest.mark.parametrize(
    "text",
    [
        "/usr/lib/xplug/%s.so",
        "/usr/lib/xplug/legacy.so",
        "/usr/lib/xplug/",
        "/etc/xplug:/usr/lib/xplug",
        "plugin_path=/usr/lib/xplug",
        "\\x01/opt/x/lib/xplug",
    ],
)
def test_bf114_finds_a_directory_in_other_strings(tmp_path: Path, check: Check, text: str) -> None:
    build_compiled_in_directory(tmp_path, text)
    assert [f.evidence["entry"] for f in check("BF114")] == ["lib/xplug"]


@pytest.mark.parametrize(
    "text",
    [
        "/usr/share/doc/xplug",
        "/usr/lib/xplug/README.txt",
        "see /usr/lib/xplug",
        "/Resources/xplug",
        "lib/xplug",
        "/usr/lib",
        "/usr/lib/other",
        "/usr/lib/yplug",
    ],
)
def test_bf114_is_silent_about_other_paths(tmp_path: Path, check: Check, text: str) -> None:
    (tmp_path / "lib/yplug").mkdir(parents=True)
    (tmp_path / "lib/yplug/README.txt").write_text("no library")
    build_compiled_in_directory(tmp_path, text)
    assert check("BF114") == []


def test_bf114_needs_a_part_that_identifies_the_project(tmp_path: Path, check: Check) -> None:
    build_compiled_in_directory(tmp_path, "/usr/lib/xplug/plugins", plugin="lib/yplug/plugins/p.so")
    assert check("BF114") == []
    build_elf(tmp_path / "lib/xplug/plugins/p.so")
    assert [f.evidence["entry"] for f in check("BF114")] == ["lib/xplug/plugins"]


def test_bf114_is_silent_about_a_directory_of_libraries_that_are_linked(
    tmp_path: Path, check: Check
) -> None:
    build_compiled_in_directory(tmp_path, "/usr/lib/xplug", plugin=None)
    build_elf(tmp_path / "lib/xplug/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "bin/y", program=True, needed=["libb.so.1"], runpath="$ORIGIN/../lib/xplug"
    )
    assert check("BF114") == []


def test_bf114_is_silent_if_the_object_knows_its_own_bin_directory(
    tmp_path: Path, check: Check
) -> None:
    """As PostgreSQL does, which derives all paths from that of the program."""
    build_compiled_in_directory(tmp_path, '/opt/x/lib/xplug", "/opt/x/bin')
    assert check("BF114") == []


def test_bf114_is_a_note_if_a_script_names_the_directory(tmp_path: Path, check: Check) -> None:
    build_compiled_in_directory(tmp_path, "/usr/lib/xplug")
    (tmp_path / "start").write_text("#!/bin/sh\nXPLUG=$PWD/lib/xplug exec bin/server\n")
    assert [f.severity for f in check("BF114")] == ["note"]


def test_bf114_is_silent_about_a_directory_that_contains_the_object(
    tmp_path: Path, check: Check
) -> None:
    source = '#include <dlfcn.h>\nvoid *f(void) { return dlopen("/usr/lib64/acme/x.so", 1); }'
    build_elf(tmp_path / "acme/lib/liba.so.1", source=source)
    build_elf(tmp_path / "acme/lib/libb.so.1")
    assert check("BF114") == []


@pytest.mark.parametrize(
    ("function", "relative", "count"),
    [("dladdr", "xplug", 0), ("dladdr", "yplug", 1), ("dladdr", "old/xplug", 1), ("f", "xplug", 1)],
)
def test_bf114_is_silent_about_a_directory_that_the_object_finds_relative_to_itself(
    tmp_path: Path, check: Check, function: str, relative: str, count: int
) -> None:
    source = f"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    static const char path[] = "/usr/lib64/xplug", relative[] = "{relative}";
    void *f(int at) {{ return dlopen(at ? path : relative, RTLD_NOW); }}
    void *g(void) {{ return (void *){function}; }}
    """
    build_program_and_library(tmp_path, source=source)
    build_elf(tmp_path / "lib/xplug/legacy.so")
    assert len(check("BF114")) == count
