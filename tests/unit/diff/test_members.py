"""Files, links and headers that changed, and which file took the place of which."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from builders.elf import elf
from builders.pack import healthy, tarball
from builders.wheel import wheel
from bundle_fix.diff.compare import Difference
from bundle_fix.diff.members import AttributeChange
from bundle_fix.model.errors import BundleFixError

from .conftest import Compare

R = "$ORIGIN/../lib"


def linked(folder: Path, real: str, soname: str, *more: str, **how: str) -> Path:
    """A library under its real name, with links of the other names."""
    elf(folder / "lib" / real, soname=soname, **how)
    for name in (soname, *more):
        (folder / "lib" / name).symlink_to(real)
    return folder


def listed(found: Difference) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    members = found.members
    return (
        [m.path for m in members.removed],
        [m.path for m in members.added],
        [(a.old_path, a.path) for a in members.changed],
    )


def whats(found: Difference) -> set[str]:
    return {change.attribute for altered in found.members.changed for change in altered.changes}


def test_a_library_of_a_newer_version_with_its_links_is_one_change(
    tmp_path: Path, compare: Compare
) -> None:
    linked(tmp_path / "old", "libssl.so.3.0.11", "libssl.so.3", "libssl.so", tag="3.0.11")
    linked(tmp_path / "new", "libssl.so.3.0.15", "libssl.so.3", "libssl.so", tag="3.0.15")
    found = compare()
    assert listed(found) == ([], [], [("lib/libssl.so.3.0.11", "lib/libssl.so.3.0.15")])
    assert found.members.changed[0].soname == "libssl.so.3"
    assert (found.findings, found.failed) == ((), False)


def test_a_new_soname_with_its_links_is_one_change(tmp_path: Path, compare: Compare) -> None:
    linked(tmp_path / "old", "libx.so.4.6.1", "libx.so.4", "libx.so", tag="a")
    linked(tmp_path / "new", "libx.so.5.0.0", "libx.so.5", "libx.so", tag="b")
    found = compare()
    assert listed(found) == ([], [], [("lib/libx.so.4.6.1", "lib/libx.so.5.0.0")])
    assert found.members.changed[0].find_change("soname") == AttributeChange(
        "soname", "libx.so.4", "libx.so.5"
    )


def test_a_link_that_went_or_leads_elsewhere_is_told(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        linked(tmp_path / name, "libx.so.4.6.1", "libx.so.4", "libx.so")
        linked(tmp_path / name, "liby.so.1.0", "liby.so.1")
    (tmp_path / "new/lib/libx.so.4").unlink()
    (tmp_path / "new/lib/libx.so").unlink()
    (tmp_path / "new/lib/libx.so").symlink_to("liby.so.1")
    found = compare()
    assert listed(found) == (["lib/libx.so.4"], [], [("lib/libx.so", "lib/libx.so")])
    assert found.members.changed[0].changes == (
        AttributeChange("target", "libx.so.4.6.1", "liby.so.1"),
    )


def test_a_link_that_leads_nowhere_now_is_told(tmp_path: Path, compare: Compare) -> None:
    linked(tmp_path / "old", "libx.so.4.6.1", "libx.so.4")
    (tmp_path / "new/lib").mkdir(parents=True)
    (tmp_path / "new/lib/libx.so.4").symlink_to("libx.so.4.7")
    found = compare()
    assert found.members.changed[0].changes == (
        AttributeChange("target", "libx.so.4.6.1", "libx.so.4.7"),
    )


def test_headers_modes_and_sizes_are_told_with_both_values(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        elf(tmp_path / name / "lib/libx.so.1", soname="libx.so.1")
    elf(tmp_path / "old/bin/x", program=True, needed=["libx.so.1"], runpath=R)
    elf(tmp_path / "new/bin/x", program=True, needed=["libx.so.1", "libm.so.6"], rpath=R)
    (tmp_path / "new/bin/x").chmod(0o750)
    (tmp_path / "new/bin/x").write_bytes((tmp_path / "new/bin/x").read_bytes() + b"more")
    (altered,) = compare().members.changed
    told = {c.attribute: (c.old, c.new) for c in altered.changes}
    assert told["mode"] == ("0755", "0750")
    assert told["needed"] == (("libx.so.1", "libc.so.6"), ("libx.so.1", "libm.so.6", "libc.so.6"))
    assert (told["runpath"], told["rpath"]) == ((R, None), (None, R))
    size = (tmp_path / "new/bin/x").stat().st_size
    assert told["size"] == ((tmp_path / "old/bin/x").stat().st_size, size)
    assert told["build-id"][0] != told["build-id"][1]


def test_other_bytes_of_the_same_size_are_a_change(tmp_path: Path, compare: Compare) -> None:
    for name, text in (("old", "one"), ("new", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "VERSION").write_text(text)
    assert compare().members.changed[0].changes == (AttributeChange("content"),)


def test_a_file_that_became_a_link_is_one_change(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        linked(tmp_path / name, "libx.so.4.6", "libx.so.4")
    copy = tmp_path / "old/lib/libx.so.4"
    copy.unlink()
    shutil.copy(tmp_path / "old/lib/libx.so.4.6", copy)
    found = compare()
    assert listed(found) == ([], [], [("lib/libx.so.4", "lib/libx.so.4")])
    assert found.members.changed[0].changes == (AttributeChange("kind", "file", "symlink"),)


def test_the_folder_around_a_pack_does_not_matter_in_any_format(
    tmp_path: Path, compare: Compare
) -> None:
    pack = healthy(tmp_path / "content")
    one = tarball(pack, tmp_path / "pack-1.0.tar.gz", "pack-1.0")
    two = tarball(pack, tmp_path / "pack-2.0.tar.xz", "pack-2.0")
    bare = tarball(pack, tmp_path / "bare.tar", ".")
    unpacked = tmp_path / "unpacked/pack-3.0"
    shutil.copytree(pack, unpacked, symlinks=True)
    for old, new in ((one, two), (two, bare), (bare, unpacked.parent), (unpacked.parent, one)):
        found = compare(old, new)
        assert listed(found) == ([], [], []), (old.name, new.name)
        assert found.findings == ()


def test_a_folder_that_stands_beside_others_is_not_the_one_around_all(
    tmp_path: Path, compare: Compare
) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "server").mkdir(parents=True)
        (tmp_path / name / "server/conf").write_text("x")
    (tmp_path / "new/client").mkdir()
    (tmp_path / "new/client/conf").write_text("y")
    pack = tarball(tmp_path / "new", tmp_path / "new.tar", ".")
    assert listed(compare(tmp_path / "old", pack)) == ([], ["client", "client/conf"], [])
    one = tarball(tmp_path / "old", tmp_path / "old.tar", ".")
    assert listed(compare(one, pack)) == ([], ["client", "client/conf"], [])
    assert listed(compare(pack, one)) == (["client", "client/conf"], [], [])


def test_a_wheel_without_links_holds_the_same_libraries(tmp_path: Path, compare: Compare) -> None:
    pack = linked(tmp_path / "old", "libx.so.4.6.1", "libx.so.4")
    elf(pack / "bin/x", program=True, needed=["libx.so.4"], runpath=R)
    flat = tmp_path / "flat"
    elf(flat / "lib/libx.so.4", soname="libx.so.4", tag="libx.so.4.6.1")
    shutil.copytree(pack / "bin", flat / "bin")
    (flat / "lib/libx.so.4").write_bytes((pack / "lib/libx.so.4.6.1").read_bytes())
    whl = wheel(flat, tmp_path / "demo-1.0-py3-none-linux_x86_64.whl")
    removed, added, altered = listed(compare(pack, whl))
    assert removed == []
    assert {path.partition("/")[0] for path in added} == {"demo-1.0.dist-info"}
    assert ("lib/libx.so.4.6.1", "lib/libx.so.4") in altered
    assert not compare(pack, whl).resolutions


def test_folders_with_version_numbers_are_followed(tmp_path: Path, compare: Compare) -> None:
    for name, version in (("old", "3.3.4"), ("new", "3.3.6")):
        for part in ("common", "hdfs"):
            folder = tmp_path / name / f"hadoop-{version}" / part
            folder.mkdir(parents=True)
            (folder / f"hadoop-{part}-{version}.jar").write_text(part + version)
            (folder / "LICENSE").write_text(f"{part}\n")
        (tmp_path / name / "bin").mkdir()
        (tmp_path / name / "bin/start").write_text("#!/bin/sh\n")
    removed, added, altered = listed(compare())
    assert removed == ["hadoop-3.3.4", "hadoop-3.3.4/common", "hadoop-3.3.4/hdfs"]
    assert added == ["hadoop-3.3.6", "hadoop-3.3.6/common", "hadoop-3.3.6/hdfs"]
    assert len(altered) == 4


def test_two_lone_files_are_compared_whatever_their_names(tmp_path: Path, compare: Compare) -> None:
    for version in ("3.0.11", "3.0.15"):
        elf(tmp_path / version / f"libssl.so.{version}", soname="libssl.so.3", tag=version)
    old, new = tmp_path / "3.0.11/libssl.so.3.0.11", tmp_path / "3.0.15/libssl.so.3.0.15"
    assert listed(compare(old, new)) == ([], [], [("libssl.so.3.0.11", "libssl.so.3.0.15")])
    assert compare(old, old).members.same == 1


def test_a_lone_file_is_compared_with_the_one_of_its_soname_in_a_pack(
    tmp_path: Path, compare: Compare
) -> None:
    pack = linked(tmp_path / "old", "libssl.so.3.0.11", "libssl.so.3", tag="a")
    elf(pack / "lib/libz.so.1", soname="libz.so.1")
    alone = elf(tmp_path / "libssl.so.3.0.15", soname="libssl.so.3", tag="b")
    assert listed(compare(pack, alone)) == ([], [], [("lib/libssl.so.3.0.11", alone.name)])
    assert listed(compare(alone, pack)) == ([], [], [(alone.name, "lib/libssl.so.3.0.11")])
    with pytest.raises(BundleFixError, match=r"it has no ELF file libother\.so\.9"):
        compare(pack, elf(tmp_path / "libother.so.9", soname="libother.so.9"))


def test_a_lone_program_keeps_what_stands_beside_it(tmp_path: Path, compare: Compare) -> None:
    for name in ("old", "new"):
        elf(tmp_path / name / "bin/x", program=True, needed=["libx.so.1"], runpath=R)
        elf(tmp_path / name / "lib/libx.so.1", soname="libx.so.1", tag=name)
    found = compare(tmp_path / "old/bin/x", tmp_path / "new/bin/x")
    assert (found.resolutions, found.findings, listed(found)) == ((), (), ([], [], []))
    (tmp_path / "new/lib/libx.so.1").unlink()
    gone = compare(tmp_path / "old/bin/x", tmp_path / "new/bin/x")
    assert [f.rule for f in gone.findings if f.severity == "error"] == ["BF702"]
