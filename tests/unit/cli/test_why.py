"""``bundle-fix why``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack
from builders.run import run_bundle_fix

LIB = "$ORIGIN/../lib"


def test_the_search_of_the_incident_is_explained(tmp_path: Path) -> None:
    done = run_bundle_fix("why", make_incident_pack(tmp_path), "libtcmalloc.so.4")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "bin/server needs libtcmalloc.so.4",
        "  1. RUNPATH .: depends on the working directory of the process",
        "  2. ld.so.cache, default directories: /lib64/libtcmalloc.so.4: the host's copy is found",
        "The pack has the library under another file name, bin/libtcmalloc.so, and has no file"
        " named libtcmalloc.so.4; so the host's copy would be used (/lib64/libtcmalloc.so.4).",
    ]


def test_every_search_step_is_printed_in_order_with_its_outcome(tmp_path: Path) -> None:
    from builders.elf import CROSS

    build_elf(tmp_path / "old/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("gone")
    path = "$ORIGIN/../no:$ORIGIN/../old:$ORIGIN/../bad:/opt/x:$ORIGIN/../$LIB:../lib"
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{path}:{LIB}")
    done = run_bundle_fix("why", tmp_path, "liba.so.1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "bin/x needs liba.so.1",
        "  1. RUNPATH $ORIGIN/../no: no: no such directory in the pack",
        "  2. RUNPATH $ORIGIN/../old: old/liba.so.1: skipped: 32-bit i386",
        "  3. RUNPATH $ORIGIN/../bad: bad/liba.so.1: not there",
        "  4. RUNPATH /opt/x: /opt/x/liba.so.1: outside the pack: the target may have anything"
        " there",
        "  5. RUNPATH $ORIGIN/../$LIB: differs from host to host",
        "  6. RUNPATH ../lib: depends on the working directory of the process",
        "  7. RUNPATH $ORIGIN/../lib: lib/liba.so.1: found",
        "The pack's lib/liba.so.1 is loaded.",
    ]


def test_a_plugin_may_be_a_filter_of_any_library(tmp_path: Path) -> None:
    """Its filtee comes before it in load order, also if it is missing."""
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "lib/libf.so.1", soname="libf.so.1", runpath="$ORIGIN")
    for name, filtee in (("one", "libf.so.1"), ("two", "libgone.so.1")):
        path = tmp_path / f"lib/plugin-{name}.so"
        build_elf(path, runpath="$ORIGIN", flags=[f"-Wl,-F,{filtee}"])
    for query in (["libelsewhere.so.1"], ["--symbol", "x"]):
        done = run_bundle_fix("why", tmp_path, *query)
        assert "Traceback" not in done.stderr
    for name, filtee in (("one", "lib/libf.so.1"), ("two", "libgone.so.1")):
        shown = run_bundle_fix("tree", tmp_path, f"lib/plugin-{name}.so").stdout
        assert shown.startswith(f"lib/plugin-{name}.so\n")
        assert f"── {filtee.rpartition('/')[2]} => " in shown


def test_an_inherited_entry_is_printed_with_its_owner(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath=LIB)
    done = run_bundle_fix("why", tmp_path, "libb.so.1")
    assert "  1. RPATH $ORIGIN/../lib of bin/x: lib/libb.so.1: found\n" in done.stdout


def test_from_prints_only_the_search_of_one_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1", "libb.so.1"], runpath=LIB)
    done = run_bundle_fix("why", tmp_path, "libb.so.1", "--from", "liba.so.1")
    assert done.stdout.splitlines() == [
        "lib/liba.so.1 needs libb.so.1",
        "  in the process of bin/x",
        "lib/libb.so.1 is loaded already, so nothing is searched.",
    ]


def test_needed_names_of_a_plugin_are_searched_in_the_processes_that_can_open_it(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "plugins/libplugin.so", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/other", program=True)
    assert run_bundle_fix("why", tmp_path, "libb.so.1").returncode == 1
    build_elf(tmp_path / "bin/x", program=True, rpath=LIB)
    done = run_bundle_fix("why", tmp_path, "libb.so.1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "plugins/libplugin.so needs libb.so.1",
        "  in the process of bin/x that opens plugins/libplugin.so",
        "  1. RPATH $ORIGIN/../lib of bin/x: lib/libb.so.1: found",
        "The pack's lib/libb.so.1 is loaded.",
    ]


def test_a_name_that_no_object_needs_is_searched_as_by_dlopen(tmp_path: Path) -> None:
    done = run_bundle_fix("why", make_healthy_pack(tmp_path), "libnew.so.1")
    assert done.returncode == 1
    assert done.stdout.startswith(
        "bin/server does not need libnew.so.1; dlopen() in it would search:\n"
    )
    assert "and neither has the host." in done.stdout


def test_another_version_in_the_pack_is_mentioned(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.2", soname="liba.so.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    done = run_bundle_fix("why", tmp_path, "liba.so.1")
    assert "the pack does not have it (it has lib/liba.so.2)" in done.stdout


def test_a_file_that_is_not_elf_stops_the_search(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").write_text("text")
    path = f"$ORIGIN/../bad:{LIB}"
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    done = run_bundle_fix("why", tmp_path, "liba.so.1")
    assert done.returncode == 1
    assert "Nothing is loaded: bad/liba.so.1 comes first" in done.stdout


def test_json_has_the_origin_and_the_steps(tmp_path: Path) -> None:
    done = run_bundle_fix(
        "why", make_incident_pack(tmp_path), "libtcmalloc.so.4", "--format", "json"
    )
    (record,) = json.loads(done.stdout)
    assert record["needed_by"] == "bin/server"
    assert (record["origin"], record["good"]) == ("host", False)
    assert [step["via"] for step in record["steps"]] == ["runpath", "default"]


def test_the_c_library_of_the_host_is_a_good_result(tmp_path: Path) -> None:
    done = run_bundle_fix("why", make_healthy_pack(tmp_path), "libc.so.6")
    assert done.returncode == 0
    assert "It belongs to the C library" in done.stdout


ALLOCATOR = """
#include <stddef.h>
void *malloc(size_t size) { (void)size; return NULL; }
void free(void *block) { (void)block; }
"""


def test_providers_of_a_symbol_are_printed_in_lookup_order(tmp_path: Path) -> None:
    script = tmp_path / "versions"
    script.write_text("ALLOC_1 { global: malloc; free; };\n")
    flags = [f"-Wl,--version-script={script}"]
    build_elf(tmp_path / "p/lib/libone.so.1", soname="libone.so.1", source=ALLOCATOR, flags=flags)
    build_elf(tmp_path / "p/lib/libtwo.so.1", soname="libtwo.so.1", source=ALLOCATOR)
    needed = ["libtwo.so.1", "libone.so.1"]
    build_elf(tmp_path / "p/bin/x", program=True, needed=needed, runpath=LIB)
    done = run_bundle_fix("why", tmp_path / "p", "--symbol", "malloc")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "malloc in the process of bin/x",
        "  1. lib/libtwo.so.1",
        "  2. lib/libone.so.1 (ALLOC_1)",
        "  3. host /lib64/libc.so.6, which cannot be looked into but must have it",
        "lib/libtwo.so.1 answers: it comes first in load order.",
    ]
    done = run_bundle_fix("why", tmp_path / "p", "--symbol", "free", "--format", "json")
    (record,) = json.loads(done.stdout)
    assert [p["versions"] for p in record["providers"]] == [[], ["ALLOC_1"], []]


def test_operator_new_can_be_given_by_its_cxx_name(tmp_path: Path) -> None:
    source = "void *_Znwm(unsigned long size) { (void)size; return 0; }"
    build_elf(tmp_path / "lib/libnew.so.1", soname="libnew.so.1", source=source)
    build_elf(tmp_path / "bin/x", program=True, needed=["libnew.so.1"], runpath=LIB)
    done = run_bundle_fix("why", tmp_path, "--symbol", "operator new")
    assert "lib/libnew.so.1 _Znwm\n" in done.stdout


def test_a_symbol_without_a_provider_fails(tmp_path: Path) -> None:
    done = run_bundle_fix("why", make_healthy_pack(tmp_path), "--symbol", "no_such_symbol")
    assert done.returncode == 1
    assert "No object of the process is known to define it" in done.stdout


def test_the_symbols_of_the_libc_of_this_machine_are_read(tmp_path: Path) -> None:
    done = run_bundle_fix("why", make_healthy_pack(tmp_path), "--symbol", "malloc", "--host", "/")
    assert "(GLIBC_2." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing NAME or --symbol SYMBOL"),
        (["x", "--symbol", "y"], "missing NAME or --symbol SYMBOL"),
        (["libc.so.6", "--from", "nix"], "it has no ELF file nix"),
    ],
)
def test_an_invalid_request_is_an_error_of_one_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_bundle_fix("why", make_healthy_pack(tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_pack_without_elf_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("nothing")
    done = run_bundle_fix("why", tmp_path, "libc.so.6")
    assert done.returncode == 2
    assert "it has no programs and no libraries" in done.stderr


@pytest.mark.parametrize("words", [["libc.so.6"], ["--symbol", "malloc"]])
def test_in_a_pack_of_static_programs_nothing_is_searched(tmp_path: Path, words: list[str]) -> None:
    build_elf(tmp_path / "bin/x", program=True, flags=["-static"])
    ran = run_bundle_fix("why", tmp_path, *words)
    problem = "it has only static programs, which load no libraries"
    assert (ran.returncode, ran.stderr) == (2, f"bundle-fix: error: {tmp_path}: {problem}\n")
