"""AppImages and squashfs images: read through unsquashfs, within limits, and never written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from archive.views import describe_directory, describe_tree
from builders.elf import build_elf
from builders.packages import build_appimage, build_squashfs
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Special

pytestmark = pytest.mark.skipif(
    shutil.which("mksquashfs") is None and os.environ.get("BUNDLE_FIX_TOOLCHAINS") != "all",
    reason="mksquashfs (squashfs-tools) is not installed",
)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    root = tmp_path / "AppDir"
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    (root / "usr/bin/same").hardlink_to(root / "usr/bin/x")
    (root / "AppRun").symlink_to("usr/bin/x")
    (root / 'a "name" with \\ and spaces').write_text("x\n#\n# START OF DATA - DO NOT MODIFY\n#\n")
    with (root / "sparse").open("wb") as file:
        file.truncate(3 << 20)
    return root


@pytest.mark.parametrize("kind", ["AppImage", "squashfs"])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_members_of_an_image_are_read(
    tmp_path: Path, pack: Path, kind: str, compression: str
) -> None:
    build = build_appimage if kind == "AppImage" else build_squashfs
    path = build(pack, tmp_path / "x", compression)
    with open_artifact(path) as artifact:
        assert artifact.format == kind
        found = describe_tree(artifact.tree)
    expected = describe_tree(read_directory(pack))
    for name, value in expected.items():
        # Which of two hard links is the first depends on the tool.
        assert found[name][:2] == value[:2]
    assert found.keys() == expected.keys()


def test_an_appimage_is_checked_and_not_written(tmp_path: Path, pack: Path) -> None:
    path = build_appimage(pack, tmp_path / "x.AppImage")
    ran = run_bundle_fix("check", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "(2 programs, 1 library," in ran.stdout
    was = describe_directory(tmp_path)
    ran = run_bundle_fix("fix", "--in-place", path)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "bundle-fix reads AppImages but does not write them" in ran.stderr
    assert describe_directory(tmp_path) == was


def test_without_unsquashfs_the_error_names_the_package(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_appimage(pack, tmp_path / "x.AppImage")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    message = r"unsquashfs, which is not installed \(install squashfs-tools 4.5 or newer"
    with pytest.raises(BundleFixError, match=message), open_artifact(path):
        pass


def test_an_appimage_of_type_1_is_refused(tmp_path: Path) -> None:
    """It is an ELF file as well, but its programs are in an ISO 9660 image after it."""
    path = build_elf(tmp_path / "x", program=True)
    path.write_bytes(b"\x7fELF\2\1\1\0AI\1" + path.read_bytes()[11:])
    with pytest.raises(BundleFixError, match="type 1 are not supported"), open_artifact(path):
        pass


def test_the_limits_apply_to_images(tmp_path: Path, pack: Path) -> None:
    path = build_squashfs(pack, tmp_path / "x")
    for limits, text in ((Limits(max_members=5), "more than 5"), (Limits(max_size=1 << 20), "1M")):
        with pytest.raises(BundleFixError, match=text), open_artifact(path, limits):
            pass


@pytest.mark.parametrize(
    "text",
    ["x\nusr/lib/libfake.so L usr/lib/liba.so.1", "x\n#\n# START OF DATA - DO NOT MODIFY\n#\n"],
)
def test_the_target_of_a_symlink_cannot_forge_or_hide_members(
    tmp_path: Path, pack: Path, text: str
) -> None:
    (pack / "evil").symlink_to(text)
    path = build_squashfs(pack, tmp_path / "x")
    with pytest.raises(BundleFixError, match="contains a line feed"), open_artifact(path):
        pass


def test_a_fifo_is_not_opened(tmp_path: Path, pack: Path) -> None:
    os.mkfifo(pack / "fifo")
    with open_artifact(build_squashfs(pack, tmp_path / "x")) as artifact:
        assert isinstance(artifact.tree.nodes["fifo"], Special)


def list_damaged(whole: bytes) -> Iterator[bytes]:
    """Yield truncated and changed copies of an image."""
    for length in range(12, len(whole), len(whole) // 5):
        yield whole[:length]
    for at in (*range(4, 96, 9), *range(len(whole) - 2000, len(whole), 333)):
        yield whole[:at] + b"\xff\x7f\0\x11" + whole[at + 4 :]


@pytest.mark.parametrize("kind", ["AppImage", "squashfs"])
def test_a_damaged_image_is_read_or_refused(tmp_path: Path, pack: Path, kind: str) -> None:
    build = build_appimage if kind == "AppImage" else build_squashfs
    path = build(pack, tmp_path / "x")
    for damaged in list_damaged(path.read_bytes()):
        path.write_bytes(damaged)
        with suppress(BundleFixError), open_artifact(path):
            pass
