"""Changed files, symlinks and headers, and the matching of files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_tarball
from builders.wheel import build_wheel
from bundle_fix.diff.attributes import AttributeChange
from bundle_fix.diff.compare import Difference
from bundle_fix.model.errors import BundleFixError

from .conftest import Compare

R = "$ORIGIN/../lib"


def build_linked_library(
    directory: Path, real: str, soname: str, *more: str, tag: str = ""
) -> Path:
    """Build a library under its real name, with symlinks of the other names."""
    build_elf(directory / "lib" / real, soname=soname, tag=tag)
    for name in (soname, *more):
        (directory / "lib" / name).symlink_to(real)
    return directory


def list_members(found: Difference) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    members = found.members
    return (
        [m.path for m in members.removed],
        [m.path for m in members.added],
        [(a.old_path, a.path) for a in members.changed],
    )


def list_attributes(found: Difference) -> set[str]:
    return {change.attribute for altered in found.members.changed for change in altered.changes}


def test_a_newer_library_with_its_symlinks_is_one_change(tmp_path: Path, compare: Compare) -> None:
    build_linked_library(
        tmp_path / "old", "libssl.so.3.0.11", "libssl.so.3", "libssl.so", tag="3.0.11"
    )
    build_linked_library(
        tmp_path / "new", "libssl.so.3.0.15", "libssl.so.3", "libssl.so", tag="3.0.15"
    )
    found = compare()
    assert list_members(found) == ([], [], [("lib/libssl.so.3.0.11", "lib/libssl.so.3.0.15")])
    assert found.members.changed[0].soname == "libssl.so.3"
    assert (found.findings, found.failed) == ((), False)


def test_a_new_soname_with_its_symlinks_is_one_change(tmp_path: Path, compare: Compare) -> None:
    build_linked_library(tmp_path / "old", "libx.so.4.6.1", "libx.so.4", "libx.so", tag="a")
    build_linked_library(tmp_path / "new", "libx.so.5.0.0", "libx.so.5", "libx.so", tag="b")
    found = compare()
    assert list_members(found) == ([], [], [("lib/libx.so.4.6.1", "lib/libx.so.5.0.0")])
    assert found.members.changed[0].find_change("soname") == AttributeChange(
        "soname", "libx.so.4", "libx.so.5"
    )


def test_a_removed_or_changed_symlink_is_reported(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        build_linked_library(tmp_path / name, "libx.so.4.6.1", "libx.so.4", "libx.so")
        build_linked_library(tmp_path / name, "liby.so.1.0", "liby.so.1")
    (tmp_path / "new/lib/libx.so.4").unlink()
    (tmp_path / "new/lib/libx.so").unlink()
    (tmp_path / "new/lib/libx.so").symlink_to("liby.so.1")
    found = compare()
    assert list_members(found) == (["lib/libx.so.4"], [], [("lib/libx.so", "lib/libx.so")])
    assert found.members.changed[0].changes == (
        AttributeChange("target", "libx.so.4.6.1", "liby.so.1"),
    )


def test_a_newly_broken_symlink_is_reported(tmp_path: Path, compare: Compare) -> None:
    build_linked_library(tmp_path / "old", "libx.so.4.6.1", "libx.so.4")
    (tmp_path / "new/lib").mkdir(parents=True)
    (tmp_path / "new/lib/libx.so.4").symlink_to("libx.so.4.7")
    found = compare()
    assert found.members.changed[0].changes == (
        AttributeChange("target", "libx.so.4.6.1", "libx.so.4.7"),
    )


def test_headers_modes_and_sizes_are_reported_with_both_values(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        build_elf(tmp_path / name / "lib/libx.so.1", soname="libx.so.1")
    build_elf(tmp_path / "old/bin/x", program=True, needed=["libx.so.1"], runpath=R)
    build_elf(tmp_path / "new/bin/x", program=True, needed=["libx.so.1", "libm.so.6"], rpath=R)
    (tmp_path / "new/bin/x").chmod(0o750)
    (tmp_path / "new/bin/x").write_bytes((tmp_path / "new/bin/x").read_bytes() + b"more")
    (altered,) = compare().members.changed
    changes = {c.attribute: (c.old, c.new) for c in altered.changes}
    assert changes["mode"] == ("0755", "0750")
    assert changes["needed"] == (
        ("libx.so.1", "libc.so.6"),
        ("libx.so.1", "libm.so.6", "libc.so.6"),
    )
    assert (changes["runpath"], changes["rpath"]) == ((R, None), (None, R))
    size = (tmp_path / "new/bin/x").stat().st_size
    assert changes["size"] == ((tmp_path / "old/bin/x").stat().st_size, size)
    assert changes["build-id"][0] != changes["build-id"][1]


def test_changed_content_of_the_same_size_is_reported(tmp_path: Path, compare: Compare) -> None:
    for name, text in (("old", "one"), ("new", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "VERSION").write_text(text)
    assert compare().members.changed[0].changes == (AttributeChange("content"),)


def test_a_file_that_became_a_symlink_is_one_change(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        build_linked_library(tmp_path / name, "libx.so.4.6", "libx.so.4")
    copy = tmp_path / "old/lib/libx.so.4"
    copy.unlink()
    shutil.copy(tmp_path / "old/lib/libx.so.4.6", copy)
    found = compare()
    assert list_members(found) == ([], [], [("lib/libx.so.4", "lib/libx.so.4")])
    assert found.members.changed[0].changes == (AttributeChange("kind", "file", "symlink"),)


def test_the_directory_around_a_pack_is_ignored_in_every_format(
    tmp_path: Path, compare: Compare
) -> None:
    pack = make_healthy_pack(tmp_path / "content")
    one = make_tarball(pack, tmp_path / "pack-1.0.tar.gz", "pack-1.0")
    two = make_tarball(pack, tmp_path / "pack-2.0.tar.xz", "pack-2.0")
    bare = make_tarball(pack, tmp_path / "bare.tar", ".")
    unpacked = tmp_path / "unpacked/pack-3.0"
    shutil.copytree(pack, unpacked, symlinks=True)
    for old, new in ((one, two), (two, bare), (bare, unpacked.parent), (unpacked.parent, one)):
        found = compare(old, new)
        assert list_members(found) == ([], [], []), (old.name, new.name)
        assert found.findings == ()


def test_a_directory_with_siblings_does_not_contain_the_whole_pack(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "server").mkdir(parents=True)
        (tmp_path / name / "server/conf").write_text("x")
    (tmp_path / "new/client").mkdir()
    (tmp_path / "new/client/conf").write_text("y")
    pack = make_tarball(tmp_path / "new", tmp_path / "new.tar", ".")
    assert list_members(compare(tmp_path / "old", pack)) == ([], ["client", "client/conf"], [])
    one = make_tarball(tmp_path / "old", tmp_path / "old.tar", ".")
    assert list_members(compare(one, pack)) == ([], ["client", "client/conf"], [])
    assert list_members(compare(pack, one)) == (["client", "client/conf"], [], [])


def test_a_wheel_without_symlinks_matches_a_pack_with_symlinks(
    tmp_path: Path, compare: Compare
) -> None:
    pack = build_linked_library(tmp_path / "old", "libx.so.4.6.1", "libx.so.4")
    build_elf(pack / "bin/x", program=True, needed=["libx.so.4"], runpath=R)
    flat = tmp_path / "flat"
    build_elf(flat / "lib/libx.so.4", soname="libx.so.4", tag="libx.so.4.6.1")
    shutil.copytree(pack / "bin", flat / "bin")
    (flat / "lib/libx.so.4").write_bytes((pack / "lib/libx.so.4.6.1").read_bytes())
    whl = build_wheel(flat, tmp_path / "demo-1.0-py3-none-linux_x86_64.whl")
    removed, added, altered = list_members(compare(pack, whl))
    assert removed == []
    assert {path.partition("/")[0] for path in added} == {"demo-1.0.dist-info"}
    assert ("lib/libx.so.4.6.1", "lib/libx.so.4") in altered
    assert not compare(pack, whl).resolutions


def test_directories_with_new_version_numbers_are_matched(tmp_path: Path, compare: Compare) -> None:
    for name, version in (("old", "3.3.4"), ("new", "3.3.6")):
        for part in ("common", "hdfs"):
            directory = tmp_path / name / f"hadoop-{version}" / part
            directory.mkdir(parents=True)
            (directory / f"hadoop-{part}-{version}.jar").write_text(part + version)
            (directory / "LICENSE").write_text(f"{part}\n")
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin/start").write_text("#!/bin/sh\n")
    removed, added, altered = list_members(compare())
    assert removed == ["hadoop-3.3.4", "hadoop-3.3.4/common", "hadoop-3.3.4/hdfs"]
    assert added == ["hadoop-3.3.6", "hadoop-3.3.6/common", "hadoop-3.3.6/hdfs"]
    assert len(altered) == 4


def test_two_single_files_are_compared_under_any_names(tmp_path: Path, compare: Compare) -> None:
    for version in ("3.0.11", "3.0.15"):
        build_elf(tmp_path / version / f"libssl.so.{version}", soname="libssl.so.3", tag=version)
    old, new = tmp_path / "3.0.11/libssl.so.3.0.11", tmp_path / "3.0.15/libssl.so.3.0.15"
    assert list_members(compare(old, new)) == ([], [], [("libssl.so.3.0.11", "libssl.so.3.0.15")])
    assert compare(old, old).members.same == 1


def test_a_single_file_is_compared_with_the_library_of_the_same_soname(
    tmp_path: Path, compare: Compare
) -> None:
    pack = build_linked_library(tmp_path / "old", "libssl.so.3.0.11", "libssl.so.3", tag="a")
    build_elf(pack / "lib/libz.so.1", soname="libz.so.1")
    alone = build_elf(tmp_path / "libssl.so.3.0.15", soname="libssl.so.3", tag="b")
    assert list_members(compare(pack, alone)) == ([], [], [("lib/libssl.so.3.0.11", alone.name)])
    assert list_members(compare(alone, pack)) == ([], [], [(alone.name, "lib/libssl.so.3.0.11")])
    with pytest.raises(BundleFixError, match=r"it has no ELF file libother\.so\.9"):
        compare(pack, build_elf(tmp_path / "libother.so.9", soname="libother.so.9"))


def test_a_single_program_is_compared_with_the_libraries_around_it(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        build_elf(tmp_path / name / "bin/x", program=True, needed=["libx.so.1"], runpath=R)
        build_elf(tmp_path / name / "lib/libx.so.1", soname="libx.so.1", tag=name)
    found = compare(tmp_path / "old/bin/x", tmp_path / "new/bin/x")
    assert (found.resolutions, found.findings, list_members(found)) == ((), (), ([], [], []))
    (tmp_path / "new/lib/libx.so.1").unlink()
    gone = compare(tmp_path / "old/bin/x", tmp_path / "new/bin/x")
    assert [f.rule for f in gone.findings if f.severity == "error"] == ["BF702"]


def test_a_library_that_auditwheel_renamed_is_one_change(tmp_path: Path, compare: Compare) -> None:
    for directory, name in (
        ("old", "libjp-05423b53.so"), ("new", "libjp-00aaff42-ca16f087.so.2.5.3"),
    ):  # fmt: skip
        build_elf(tmp_path / directory / "x.libs" / name, soname=name, tag="same")
        extension = tmp_path / directory / "x/_x.cpython-311-x86_64-linux-gnu.so"
        build_elf(extension, needed=[name], runpath="$ORIGIN/../x.libs")
    found = compare()
    assert found.findings == ()
    old, new = "x.libs/libjp-05423b53.so", "x.libs/libjp-00aaff42-ca16f087.so.2.5.3"
    assert (old, new) in list_members(found)[2]
    assert list_members(found)[:2] == ([], [])
    assert list_attributes(found).isdisjoint({"soname", "needed"})
