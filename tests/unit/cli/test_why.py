"""``bundle-fix why``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders.elf import elf
from builders.pack import healthy, incident
from builders.run import bundle_fix

LIB = "$ORIGIN/../lib"


def test_the_incident_is_told_in_plain_words(tmp_path: Path) -> None:
    done = bundle_fix("why", incident(tmp_path), "libtcmalloc.so.4")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "bin/server needs libtcmalloc.so.4",
        "  1. RUNPATH .: depends on the working directory of the process",
        "  2. ld.so.cache, default directories: /lib64/libtcmalloc.so.4: the host's copy is found",
        "The pack has the library under another file name, bin/libtcmalloc.so, and nothing in it is"
        " called libtcmalloc.so.4; so the host's copy would be used (/lib64/libtcmalloc.so.4).",
    ]


def test_every_directory_is_told_in_order_with_what_was_passed_over(tmp_path: Path) -> None:
    from builders.elf import CROSS

    elf(tmp_path / "old/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("gone")
    path = "$ORIGIN/../no:$ORIGIN/../old:$ORIGIN/../bad:/opt/x:$ORIGIN/../$LIB:../lib"
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{path}:{LIB}")
    done = bundle_fix("why", tmp_path, "liba.so.1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "bin/x needs liba.so.1",
        "  1. RUNPATH $ORIGIN/../no: no: no such folder in the pack",
        "  2. RUNPATH $ORIGIN/../old: old/liba.so.1: passed over: 32-bit i386",
        "  3. RUNPATH $ORIGIN/../bad: bad/liba.so.1: not there",
        "  4. RUNPATH /opt/x: /opt/x/liba.so.1: outside the pack: the target may have anything"
        " there",
        "  5. RUNPATH $ORIGIN/../$LIB: differs from host to host",
        "  6. RUNPATH ../lib: depends on the working directory of the process",
        "  7. RUNPATH $ORIGIN/../lib: lib/liba.so.1: found",
        "The pack's lib/liba.so.1 is loaded.",
    ]


def test_an_inherited_entry_is_told_with_its_owner(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath=LIB)
    done = bundle_fix("why", tmp_path, "libb.so.1")
    assert "  1. RPATH $ORIGIN/../lib of bin/x: lib/libb.so.1: found\n" in done.stdout


def test_only_the_search_of_one_object(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1", "libb.so.1"], runpath=LIB)
    done = bundle_fix("why", tmp_path, "libb.so.1", "--from", "liba.so.1")
    assert done.stdout.splitlines() == [
        "lib/liba.so.1 needs libb.so.1",
        "  in the process of bin/x",
        "lib/libb.so.1 is loaded already, so nothing is searched.",
    ]


def test_a_plugin_is_searched_for_in_the_programs_that_serve_it(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    elf(tmp_path / "plugins/libplugin.so", needed=["libb.so.1"])
    elf(tmp_path / "bin/other", program=True)
    assert bundle_fix("why", tmp_path, "libb.so.1").returncode == 1
    elf(tmp_path / "bin/x", program=True, rpath=LIB)
    done = bundle_fix("why", tmp_path, "libb.so.1")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "plugins/libplugin.so needs libb.so.1",
        "  in the process of bin/x that opens plugins/libplugin.so",
        "  1. RPATH $ORIGIN/../lib of bin/x: lib/libb.so.1: found",
        "The pack's lib/libb.so.1 is loaded.",
    ]


def test_what_nothing_needs_is_searched_as_dlopen_would(tmp_path: Path) -> None:
    done = bundle_fix("why", healthy(tmp_path), "libnew.so.1")
    assert done.returncode == 1
    assert done.stdout.startswith("bin/server does not need, but may dlopen(), libnew.so.1\n")
    assert "and neither has the host." in done.stdout


def test_another_version_in_the_pack_is_told(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.2", soname="liba.so.2")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    done = bundle_fix("why", tmp_path, "liba.so.1")
    assert "the pack does not have it (it has lib/liba.so.2)" in done.stdout


def test_a_file_over_which_the_loader_gives_up(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").write_text("text")
    path = f"$ORIGIN/../bad:{LIB}"
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    done = bundle_fix("why", tmp_path, "liba.so.1")
    assert done.returncode == 1
    assert "Nothing is loaded: bad/liba.so.1 comes first" in done.stdout


def test_json(tmp_path: Path) -> None:
    done = bundle_fix("why", incident(tmp_path), "libtcmalloc.so.4", "--format", "json")
    (record,) = json.loads(done.stdout)
    assert record["needed_by"] == "bin/server"
    assert (record["origin"], record["good"]) == ("host", False)
    assert [step["via"] for step in record["steps"]] == ["runpath", "default"]


def test_the_c_library_is_the_hosts_as_it_must(tmp_path: Path) -> None:
    done = bundle_fix("why", healthy(tmp_path), "libc.so.6")
    assert done.returncode == 0
    assert "It belongs to the C library" in done.stdout


ALLOCATOR = """
#include <stddef.h>
void *malloc(size_t size) { (void)size; return NULL; }
void free(void *block) { (void)block; }
"""


def test_providers_of_a_symbol_in_lookup_order(tmp_path: Path) -> None:
    script = tmp_path / "versions"
    script.write_text("ALLOC_1 { global: malloc; free; };\n")
    flags = [f"-Wl,--version-script={script}"]
    elf(tmp_path / "p/lib/libone.so.1", soname="libone.so.1", source=ALLOCATOR, flags=flags)
    elf(tmp_path / "p/lib/libtwo.so.1", soname="libtwo.so.1", source=ALLOCATOR)
    needed = ["libtwo.so.1", "libone.so.1"]
    elf(tmp_path / "p/bin/x", program=True, needed=needed, runpath=LIB)
    done = bundle_fix("why", tmp_path / "p", "--symbol", "malloc")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "malloc in the process of bin/x",
        "  1. lib/libtwo.so.1",
        "  2. lib/libone.so.1 (ALLOC_1)",
        "  3. host /lib64/libc.so.6, which cannot be looked into but must have it",
        "lib/libtwo.so.1 answers: it comes first in load order.",
    ]
    done = bundle_fix("why", tmp_path / "p", "--symbol", "free", "--format", "json")
    (record,) = json.loads(done.stdout)
    assert [p["versions"] for p in record["providers"]] == [[], ["ALLOC_1"], []]


def test_operator_new_by_its_name_in_cxx(tmp_path: Path) -> None:
    source = "void *_Znwm(unsigned long size) { (void)size; return 0; }"
    elf(tmp_path / "lib/libnew.so.1", soname="libnew.so.1", source=source)
    elf(tmp_path / "bin/x", program=True, needed=["libnew.so.1"], runpath=LIB)
    done = bundle_fix("why", tmp_path, "--symbol", "operator new")
    assert "lib/libnew.so.1 _Znwm\n" in done.stdout


def test_a_symbol_that_nothing_defines(tmp_path: Path) -> None:
    done = bundle_fix("why", healthy(tmp_path), "--symbol", "no_such_symbol")
    assert done.returncode == 1
    assert "No object of the process is known to define it" in done.stdout


def test_this_machines_libc_is_looked_into(tmp_path: Path) -> None:
    done = bundle_fix("why", healthy(tmp_path), "--symbol", "malloc", "--host", "/")
    assert "(GLIBC_2." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing NAME or --symbol SYMBOL"),
        (["x", "--symbol", "y"], "missing NAME or --symbol SYMBOL"),
        (["libc.so.6", "--from", "nix"], "it has no ELF file nix"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_one_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = bundle_fix("why", healthy(tmp_path), *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line


def test_a_pack_without_elf_files(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("nothing")
    done = bundle_fix("why", tmp_path, "libc.so.6")
    assert done.returncode == 2
    assert "it has no program and no library" in done.stderr
