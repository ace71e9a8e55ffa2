from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack
from bundle_fix.collect.libraries.partial_tree import read_tree_with_dependencies

LIB = "$ORIGIN/../lib"


def test_a_tree_contains_the_libraries_on_a_programs_runpath(tmp_path: Path) -> None:
    make_healthy_pack(tmp_path)
    build_elf(tmp_path / "lib/libother.so.1", soname="libother.so.1")
    tree, entry = read_tree_with_dependencies(tmp_path / "bin/server")
    assert entry == "bin/server"
    assert set(tree.nodes) == {"bin/server", "lib/libtcmalloc.so.4", "lib/libtcmalloc.so.4.6"}


def test_a_tree_contains_indirect_dependencies(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/sub/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN/sub"
    )
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    tree, _ = read_tree_with_dependencies(tmp_path / "bin/x")
    assert "lib/sub/libb.so.1" in tree.nodes


def test_symlinks_to_directories_stay_symlinks(tmp_path: Path) -> None:
    build_elf(tmp_path / "real/liba.so.1", soname="liba.so.1")
    (tmp_path / "lib").symlink_to("real")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    tree, _ = read_tree_with_dependencies(tmp_path / "bin/x")
    assert set(tree.nodes) == {"bin/x", "lib", "real/liba.so.1"}


def test_a_tree_contains_other_versions_of_a_needed_library(tmp_path: Path) -> None:
    make_incident_pack(tmp_path)
    tree, entry = read_tree_with_dependencies(tmp_path / "bin/server")
    assert (entry, set(tree.nodes)) == ("server", {"server", "libtcmalloc.so"})


def test_the_root_contains_the_parents_that_a_runpath_leads_to(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    _, entry = read_tree_with_dependencies(tmp_path / "p/bin/x")
    assert entry == "bin/x"


def test_a_damaged_library_next_to_a_needed_one_is_left_out(tmp_path: Path) -> None:
    make_healthy_pack(tmp_path)
    (tmp_path / "lib/libtcmalloc.so.9").write_bytes(b"\x7fELF\2\1\1")
    tree, _ = read_tree_with_dependencies(tmp_path / "bin/server")
    assert "lib/libtcmalloc.so.4.6" in tree.nodes
    assert "lib/libtcmalloc.so.9" not in tree.nodes


def test_symlink_loops_and_circular_needs_end(tmp_path: Path) -> None:
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN"
    )
    build_elf(
        tmp_path / "lib/libb.so.1", soname="libb.so.1", needed=["liba.so.1"], runpath="$ORIGIN"
    )
    (tmp_path / "lib/liba.so").symlink_to("liba.so")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    tree, _ = read_tree_with_dependencies(tmp_path / "bin/x")
    assert {"lib/liba.so.1", "lib/libb.so.1"} <= set(tree.nodes)


def test_a_file_without_dynamic_section_has_no_dependencies(tmp_path: Path) -> None:
    build_elf(tmp_path / "x.so", flags=["-nostdlib"], source="int x;")
    tree, entry = read_tree_with_dependencies(tmp_path / "x.so")
    assert (entry, set(tree.nodes)) == ("x.so", {"x.so"})


def test_filtees_are_dependencies(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libreal.so.1", soname="libreal.so.1")
    build_elf(
        tmp_path / "lib/libf.so.1", soname="libf.so.1", runpath="$ORIGIN",
        flags=["-Wl,--filter=libreal.so.1"],
    )  # fmt: skip
    build_elf(tmp_path / "bin/x", program=True, needed=["libf.so.1"], runpath=LIB)
    tree, _ = read_tree_with_dependencies(tmp_path / "bin/x")
    assert "lib/libreal.so.1" in tree.nodes
