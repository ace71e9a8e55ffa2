"""Bundled libraries of a wheel get names that no other wheel has."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.elf.changes import Changes
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.plan.wheels.unique_names import (
    UniqueNames,
    choose_unique_names,
    insert_hash,
    merge_edits,
    plan_name_edits,
    rename_libraries,
)

DEP, DEEP = "demo.libs/libdep.so.1.2", "demo.libs/libdeep.so.2"


def build_wheel_tree(root: Path, deep: str = "deep", source: str | None = None) -> Bundle:
    """Build an extension module and two bundled libraries, one of which needs the other."""
    build_elf(root / "demo/ext.so", needed=["libdep.so.1"], source=source)
    build_elf(root / DEP, soname="libdep.so.1", needed=["libdeep.so.2"], tag="dep")
    build_elf(root / DEEP, soname="libdeep.so.2", tag=deep)
    (root / "demo.libs/libdep.so.1").symlink_to("libdep.so.1.2")
    return read_bundle(read_directory(root), "demo.whl")


def choose_names(bundle: Bundle, *opened: str) -> UniqueNames:
    return choose_unique_names(bundle, (DEP, DEEP), opened)


@pytest.mark.parametrize(
    ("name", "unique"),
    [
        ("libdep.so.1", "libdep-1a2b3c4d.so.1"),
        ("libdep-1.2.so", "libdep-1.2-1a2b3c4d.so"),
        ("libdep", "libdep-1a2b3c4d"),
    ],
)
def test_the_hash_comes_before_the_suffix(name: str, unique: str) -> None:
    assert insert_hash(name, "1a2b3c4d5e6f") == unique


def test_sonames_and_needed_names_become_the_new_names(tmp_path: Path) -> None:
    bundle = build_wheel_tree(tmp_path)
    names = choose_names(bundle)
    renamed = rename_libraries(bundle, names)
    dep, deep = (names.paths[path].partition("/")[2] for path in (DEP, DEEP))
    assert set(renamed.images) == {"demo/ext.so", f"demo.libs/{dep}", f"demo.libs/{deep}"}
    assert "demo.libs/libdep.so.1" not in renamed.tree.nodes
    assert plan_name_edits(renamed, names) == {
        "demo/ext.so": Changes(replace_needed=(("libdep.so.1", dep),)),
        f"demo.libs/{dep}": Changes(soname=dep, replace_needed=(("libdeep.so.2", deep),)),
        f"demo.libs/{deep}": Changes(soname=deep),
    }


def test_the_name_depends_on_the_libraries_that_a_library_needs(tmp_path: Path) -> None:
    one = choose_names(build_wheel_tree(tmp_path / "one"))
    same = choose_names(build_wheel_tree(tmp_path / "same"))
    other = choose_names(build_wheel_tree(tmp_path / "other", deep="another"))
    assert one == same
    assert one.paths[DEEP] != other.paths[DEEP]
    assert one.paths[DEP] != other.paths[DEP]


def test_a_library_that_an_object_may_open_keeps_its_name(tmp_path: Path) -> None:
    source = make_dlopen_source("libdeep.so.2")
    names = choose_names(build_wheel_tree(tmp_path, source=source))
    assert names.remarks == {DEEP: "name kept: demo/ext.so may open it"}
    assert list(names.paths) == [DEP]


def test_a_library_that_code_names_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/load.py").write_text("ctypes.CDLL('libdep.so.1')  # not libdeep.so.20\n")
    names = choose_names(build_wheel_tree(tmp_path))
    assert names.remarks == {DEP: "name kept: demo/load.py contains it"}


def test_a_library_that_the_spec_opens_keeps_its_name(tmp_path: Path) -> None:
    assert DEEP not in choose_names(build_wheel_tree(tmp_path), "libdeep.so.2").paths


def test_other_changes_are_kept_beside_those_of_the_names() -> None:
    names = {"x": Changes(soname="b", replace_needed=(("c", "d"),)), "y": Changes(soname="e")}
    others = {"x": Changes(runpath="$ORIGIN", replace_needed=(("d", "$ORIGIN/d"),))}
    assert merge_edits(names, others) == {
        "x": Changes(runpath="$ORIGIN", soname="b", replace_needed=(("c", "d"),)),
        "y": Changes(soname="e"),
    }
