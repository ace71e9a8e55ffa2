"""Formats of artifacts: detected, opened, written and copied."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from archive.views import describe_tree, list_names
from builders.elf import build_elf
from builders.pack import make_tarball
from builders.tar import make_archive, make_member
from bundle_fix.archive.formats import detect_format, split_name
from bundle_fix.archive.reading import open_artifact
from bundle_fix.archive.writing import copy_artifact, stage_artifact
from bundle_fix.model.errors import BundleFixError


@pytest.fixture
def pack_directory(tmp_path: Path) -> Path:
    (tmp_path / "source/bin").mkdir(parents=True)
    (tmp_path / "source/bin/server").write_bytes(b"server" * 1000)
    (tmp_path / "source/bin/tool").symlink_to("server")
    return tmp_path / "source"


def open_refused(path: Path) -> str:
    """Return the message of the error that opening an artifact raises, and check its form."""
    with pytest.raises(BundleFixError) as error, open_artifact(path):
        pass
    assert error.value.where == str(path)
    assert "\n" not in str(error.value)
    return error.value.message


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        ("cat", "tar"),
        ("gzip", "tar.gz"),
        ("xz", "tar.xz"),
        ("zstd", "tar.zst"),
        ("bzip2", "tar.bz2"),
    ],
)
@pytest.mark.parametrize("name", ["pack", "pack.tar", "pack.tar.gz", "pack.zip"])
def test_a_tarball_is_detected_by_its_content_and_not_by_its_name(
    tmp_path: Path, pack_directory: Path, tool: str, kind: str, name: str
) -> None:
    plain = make_tarball(pack_directory, tmp_path / "plain").read_bytes()
    packed = subprocess.run([tool], input=plain, capture_output=True, check=True).stdout
    (tmp_path / name).write_bytes(packed)
    assert detect_format(tmp_path / name) == kind
    with open_artifact(tmp_path / name) as artifact:
        assert artifact.format == kind
        assert set(artifact.tree.nodes) == {"", "bin", "bin/server", "bin/tool"}


@pytest.mark.parametrize("top", ["PKWARE-2.5", "BZhang", "BZh9"])
def test_a_tarball_whose_first_name_resembles_another_format_is_detected(
    tmp_path: Path, pack_directory: Path, top: str
) -> None:
    path = make_tarball(pack_directory, tmp_path / "pack.tar", top)
    with open_artifact(path) as artifact:
        assert (artifact.format, artifact.tree.top) == ("tar", top)


def test_a_directory_is_an_artifact(pack_directory: Path) -> None:
    with open_artifact(pack_directory) as artifact:
        assert artifact.format == "dir"
        assert list(artifact.tree.nodes) == ["bin", "bin/server", "bin/tool"]


def test_a_symlink_to_an_artifact_opens_that_artifact(tmp_path: Path, pack_directory: Path) -> None:
    for kind, original in (
        ("dir", pack_directory),
        ("tar", make_tarball(pack_directory, tmp_path / "pack.tar")),
    ):
        (tmp_path / f"{kind}.link").symlink_to(original.name)
        with open_artifact(tmp_path / f"{kind}.link") as artifact:
            assert artifact.format == kind
            assert "bin/server" in artifact.tree.nodes


def test_a_single_elf_file_is_an_artifact(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "libx.so.1", soname="libx.so.1")
    (tmp_path / "link.so").symlink_to("libx.so.1")
    for name in ("libx.so.1", "link.so"):
        with open_artifact(tmp_path / name) as artifact:
            assert artifact.format == "elf"
            ((found, file),) = artifact.tree.iter_files()
            assert found == name
            with file.content.open() as reader:
                assert reader.pread(0, reader.size) == path.read_bytes()


def test_a_wheel_is_recognized_by_its_members(tmp_path: Path) -> None:
    for name, member in (("a.zip", "x-1.dist-info/WHEEL"), ("b.whl", "x/WHEEL")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, "Wheel-Version: 1.0\n")
    for name, kind in (("a.zip", "whl"), ("b.whl", "zip")):
        with open_artifact(tmp_path / name) as artifact:
            assert artifact.format == kind


def append_zip(path: Path, start: bytes, end: bytes = b"") -> Path:
    """Write a zip archive of one member between other bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/readme", "text")
    path.write_bytes(start + path.read_bytes() + end)
    return path


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (b"#!/usr/bin/env python3\n", b""),
        (b"#!/bin/sh\nexec unzip $0\n", b"signature"),
        (b"MZ" + bytes(600), b""),
        (Path("/bin/true").read_bytes(), b""),
    ],
    ids=["zipapp", "script", "Windows", "ELF"],
)
def test_a_zip_archive_is_read_after_other_bytes(tmp_path: Path, start: bytes, end: bytes) -> None:
    path = append_zip(tmp_path / "x", start, end)
    with open_artifact(path) as artifact:
        assert (artifact.format, list(artifact.tree.nodes)) == ("zip", ["readme"])
        with stage_artifact(artifact.tree, "zip", tmp_path / "copy") as staged:
            staged.commit()
    assert (tmp_path / "copy").read_bytes().startswith(start + b"PK")
    with zipfile.ZipFile(tmp_path / "copy") as copy:
        assert copy.testzip() is None


def test_a_file_of_two_formats_is_refused(tmp_path: Path, pack_directory: Path) -> None:
    tarball = make_tarball(pack_directory, tmp_path / "pack.tar").read_bytes()
    packed = make_tarball(pack_directory, tmp_path / "pack.tar.gz").read_bytes()
    for name, raw in (
        ("tar, then zip", append_zip(tmp_path / "a.tar", tarball).read_bytes()),
        ("gzip, then zip", append_zip(tmp_path / "b.tar.gz", packed).read_bytes()),
        ("padded.whl", append_zip(tmp_path / "c.whl", packed, bytes(99)).read_bytes()),
        ("tar that starts like zip", make_archive(make_member("PK\3\4"))),
    ):
        (tmp_path / name).write_bytes(raw)
        assert "it is of several formats" in open_refused(tmp_path / name)


def test_a_tarball_that_ends_with_a_zip_archive_is_a_tarball(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    append_zip(tmp_path / "pack/x.whl", b"")
    with open_artifact(make_tarball(tmp_path / "pack", tmp_path / "a.tar")) as artifact:
        assert artifact.format == "tar"


def test_a_static_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(b"object")
    for name, options in (("libx.a", "rcs"), ("thin.a", "rcT"), ("empty.a", "rc")):
        members = ["x.o"] if name != "empty.a" else []
        subprocess.run(["ar", options, name, *members], cwd=tmp_path, check=True)
        assert "it is a static library" in open_refused(tmp_path / name)


def test_a_missing_artifact_is_reported(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for name in ("missing", "dangling", "loop", "file/missing"):
        assert "no such file" in open_refused(tmp_path / name)
    assert "cannot read it: File name too long" in open_refused(tmp_path / ("x" * 300))


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").touch()
    assert open_refused(tmp_path / "x.tar.gz") == "the file is empty"


def test_a_fifo_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        assert "neither a file nor a directory" in open_refused(path)


@pytest.mark.usefixtures("unprivileged_user")
def test_an_unreadable_artifact_is_reported(public_directory: Path) -> None:
    (public_directory / "file").touch(0)
    (public_directory / "closed").mkdir(0)
    assert "cannot read it: Permission denied" in open_refused(public_directory / "file")
    assert "cannot read the directory: Permission denied" in open_refused(
        public_directory / "closed"
    )
    assert "cannot read it: Permission denied" in open_refused(public_directory / "closed/file")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2", "dir"])
def test_a_tree_is_written_in_every_format(tmp_path: Path, pack_directory: Path, kind: str) -> None:
    target = tmp_path / "out"
    with open_artifact(pack_directory) as artifact:
        expected = describe_tree(artifact.tree)
        with stage_artifact(artifact.tree, kind, target) as staged:
            assert not target.exists()
            staged.commit()
    with open_artifact(target) as artifact:
        assert artifact.format == kind
        # The single directory `bin` belongs to the pack and is not taken for the top directory.
        assert describe_tree(artifact.tree) == expected


def test_a_tarball_is_copied_byte_for_byte(tmp_path: Path, pack_directory: Path) -> None:
    path = make_tarball(pack_directory, tmp_path / "pack.tar.gz")
    with open_artifact(path) as artifact:
        copy_artifact(artifact, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_directory_is_copied_with_the_same_members(tmp_path: Path, pack_directory: Path) -> None:
    with open_artifact(pack_directory) as artifact:
        copy_artifact(artifact, tmp_path / "copy")
        with open_artifact(tmp_path / "copy") as copy:
            assert describe_tree(copy.tree) == describe_tree(artifact.tree)


def test_a_copy_that_fails_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/file").write_bytes(os.urandom(3 << 20))
    for original in (tmp_path / "pack", make_tarball(tmp_path / "pack", tmp_path / "pack.tar")):
        with (
            open_artifact(original) as artifact,
            pytest.raises(BundleFixError, match="copy: cannot write it: No space left"),
        ):
            copy_artifact(artifact, small_disk / "copy")
        assert list_names(small_disk) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("pack.tar.gz", ("pack", ".tar.gz")),
        ("pegasus-2.5.0-glibc2.17.tar.zst", ("pegasus-2.5.0-glibc2.17", ".tar.zst")),
        ("pack.tgz", ("pack", ".tgz")),
        ("pack.tar", ("pack", ".tar")),
        ("pack.tar.bz2", ("pack", ".tar.bz2")),
        ("pack.1.2", ("pack.1.2", "")),
        (".tar.gz", (".tar.gz", "")),
        (".tar", (".tar", "")),
        ("tar", ("tar", "")),
        ("", ("", "")),
    ],
)
def test_a_name_is_split_into_stem_and_suffix(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
