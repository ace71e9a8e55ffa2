"""Outputs that are complete or missing, whatever stops their writer."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from archive.views import list_names
from archive.writers import (
    ONCE,
    REPEATEDLY,
    InterruptedContent,
    make_marked_tree,
    read_mark,
    start_writer_process,
    write_tree,
)

from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree
from bundle_fix.storage.atomic import create_pending_directory, create_pending_file

KINDS = ("tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2", "dir")


@pytest.fixture(params=["unnamed", "hidden"])
def temporary_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a pending file be unnamed, or hidden as on a file system without O_TMPFILE."""
    if request.param == "hidden":
        monkeypatch.setattr(os, "open", without_unnamed_files(os.open))
    return str(request.param)


def without_unnamed_files(real: Callable[..., int]) -> Callable[..., int]:
    """Return os.open of a file system that does not support O_TMPFILE."""

    def refuse_unnamed(path: str, flags: int, *args: int, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE and Path(path).is_dir():
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **options)

    return refuse_unnamed


def list_visible(directory: Path) -> list[str]:
    return [name for name in list_names(directory) if not name.startswith(".")]


def write_bytes(target: Path, data: bytes) -> None:
    with create_pending_file(target) as pending:
        pending.file.write(data)
        pending.commit()


def test_a_file_appears_when_it_is_committed_and_not_before(
    tmp_path: Path, temporary_name: str
) -> None:
    with create_pending_file(tmp_path / "out") as pending:
        pending.file.write(b"data")
        pending.file.flush()
        assert pending.path.read_bytes() == b"data"
        assert list_visible(tmp_path) == []
        assert (list_names(tmp_path) == []) == (temporary_name == "unnamed")
        pending.commit()
    assert list_names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"data"


@pytest.mark.usefixtures("temporary_name")
def test_a_file_that_is_not_committed_is_removed(tmp_path: Path) -> None:
    with create_pending_file(tmp_path / "out") as pending:
        pending.file.write(b"data")
    assert list_names(tmp_path) == []


@pytest.mark.usefixtures("temporary_name")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BundleFixError])
def test_a_pending_file_is_removed_by_an_exception(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error), create_pending_file(tmp_path / "out") as pending:  # noqa: PT012
        pending.file.write(b"data")
        raise error("stopped")
    assert list_names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.usefixtures("temporary_name")
def test_a_file_that_replaces_another_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o640)
    write_bytes(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o640
    assert list_names(tmp_path) == ["out"]


@pytest.mark.usefixtures("temporary_name")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_file_that_replaces_another_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    os.chown(tmp_path / "out", 1234, 2345)
    (tmp_path / "out").chmod(0o2755)
    write_bytes(tmp_path / "out", b"new")
    status = (tmp_path / "out").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 2345, 0o2755)


@pytest.mark.usefixtures("temporary_name")
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "out", b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o640


@pytest.mark.usefixtures("temporary_name")
def test_a_symlink_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs/old").write_bytes(b"old")
    for name, target in (("current", "packs/old"), ("next", "packs/new")):
        (tmp_path / name).symlink_to(target)
        write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"
    assert list_names(tmp_path / "packs") == ["new", "old"]


@pytest.mark.usefixtures("temporary_name")
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("directory", "fifo", "link"):
        with pytest.raises(BundleFixError, match="it is not a regular file"):
            write_bytes(tmp_path / name, b"new")
    with pytest.raises(BundleFixError, match="cannot write it"):
        write_bytes(tmp_path / "loop/out", b"new")
    assert list_names(tmp_path) == ["directory", "fifo", "link", "loop"]
    assert (tmp_path / "fifo").is_fifo()


@pytest.mark.usefixtures("temporary_name")
def test_no_hidden_file_is_left_if_a_directory_takes_the_name(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match=r"out: cannot write it: Is a directory"),
        create_pending_file(tmp_path / "out") as pending,
    ):
        (tmp_path / "out").mkdir()
        pending.commit()
    assert list_names(tmp_path) == ["out"]


def test_a_hidden_file_is_used_without_unnamed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open
    refused: list[str | Path] = []

    def refuse_once(path: str | Path, flags: int, *args: int, **options: int) -> int:
        if not refused:
            refused.append(path)
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse_once)
    write_bytes(tmp_path / "out", b"data")
    assert refused == [tmp_path]
    assert (tmp_path / "out").read_bytes() == b"data"
    assert list_names(tmp_path) == ["out"]


@pytest.mark.usefixtures("temporary_name")
def test_a_missing_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BundleFixError, match="no/out: cannot write it: No such file"):
        write_bytes(tmp_path / "no/out", b"data")
    (tmp_path / "file").touch()
    with pytest.raises(BundleFixError, match="file/out: cannot write it: Not a directory"):
        write_bytes(tmp_path / "file/out", b"data")


@pytest.mark.usefixtures("unprivileged_user", "temporary_name")
@pytest.mark.parametrize("kind", ["tar.gz", "dir"])
def test_a_directory_without_write_permission_is_reported(
    public_directory: Path, kind: str
) -> None:
    (public_directory / "closed").mkdir(0o555)
    with pytest.raises(BundleFixError, match="closed/out: cannot write it: Permission denied"):
        write_tree(make_marked_tree(b"x"), kind, public_directory / "closed/out")
    assert list_names(public_directory / "closed") == []


@pytest.mark.usefixtures("unprivileged_user", "temporary_name")
def test_an_unprivileged_user_replaces_a_file(public_directory: Path) -> None:
    write_bytes(public_directory / "out", b"old")
    write_bytes(public_directory / "out", b"new")
    assert (public_directory / "out").read_bytes() == b"new"


@pytest.mark.usefixtures("temporary_name")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_reported_and_nothing_is_left(small_disk: Path, kind: str) -> None:
    (small_disk / "other").write_bytes(b"old")
    tree = Tree(
        {f"f{n}": File(BytesContent(os.urandom(200_000)), Metadata(0o644)) for n in range(8)}
    )
    with pytest.raises(BundleFixError, match="out: cannot write it: No space left on device"):
        write_tree(tree, kind, small_disk / "out")
    assert list_names(small_disk) == ["other"]
    assert write_tree(make_marked_tree(b"x"), kind, small_disk / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_is_not_committed_leaves_nothing(tmp_path: Path, kind: str) -> None:
    assert not write_tree(make_marked_tree(b"x"), kind, tmp_path / "out", commit=False)
    assert list_names(tmp_path) == []


@pytest.mark.usefixtures("temporary_name")
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_in_the_middle_of_a_file_leaves_nothing(tmp_path: Path, kind: str) -> None:
    tree = Tree({"lib/a": File(InterruptedContent(), Metadata(0o644))})
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        write_tree(tree, kind, tmp_path / "out")
    assert list_names(tmp_path) == []
    assert threading.active_count() == threads


@pytest.mark.usefixtures("unprivileged_user")
def test_a_pending_directory_with_read_only_subdirectories_is_removed(
    public_directory: Path,
) -> None:
    nodes: dict[str, Node] = {"": Directory(Metadata(0o500))}
    for path in ("a", "a/b", "closed"):
        nodes[path] = Directory(Metadata(0 if path == "closed" else 0o500))
    nodes["a/b/file"] = File(BytesContent(b"data"), Metadata(0o400))
    nodes["a/link"] = Symlink("/", Metadata(0o777))
    with pytest.raises(BundleFixError, match="closed: cannot read the directory"):
        write_tree(Tree(nodes), "dir", public_directory / "out")
    assert list_names(public_directory) == []


def test_a_directory_replaces_only_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert write_tree(make_marked_tree(b"x"), "dir", tmp_path / "empty")
    with pytest.raises(BundleFixError, match="the directory already exists and is not empty"):
        write_tree(make_marked_tree(b"x"), "dir", tmp_path / "full")
    with pytest.raises(BundleFixError, match="a file with this name already exists"):
        write_tree(make_marked_tree(b"x"), "dir", tmp_path / "full/file")
    assert list_names(tmp_path) == ["empty", "full"]
    assert list_names(tmp_path / "full") == ["file"]


def test_a_pending_directory_is_removed_by_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create_pending_directory(tmp_path / "out") as directory:  # noqa: PT012
        (directory / "file").touch()
        raise KeyboardInterrupt
    assert list_names(tmp_path) == []


@pytest.mark.parametrize(("kind", "kills"), [("tar", 80), ("tar.gz", 40), ("dir", 40)])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_output_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, kills: int
) -> None:
    chance = random.Random(kills)  # noqa: S311 (not used for cryptography)
    target = tmp_path / "pack"
    ends = {"whole": 0, "old": 0, "nothing": 0, "hidden": 0}
    span = 0.02
    with start_writer_process(kind, target) as kill_after:
        for number in range(kills):
            replacing = kind != "dir" and number % 2 == 0
            remove_path(target)
            if replacing:
                write_tree(make_marked_tree(b"\xff"), kind, target)
            kill_after(REPEATEDLY if replacing else ONCE, chance.uniform(0, span))
            end = classify_end(target)
            assert end == "whole" or replacing == (end == "old")
            assert list_visible(tmp_path) == ([] if end == "nothing" else ["pack"])
            # Adapt to the speed of the machine: about half of the kills interrupt a writer.
            span *= 0.8 if end == "whole" else 1.3
            ends[end] += 1
            for left in tmp_path.glob(".*"):
                ends["hidden"] += 1
                remove_path(left)
    remove_path(target)
    assert write_tree(make_marked_tree(b"y"), kind, target)
    assert ends["whole"] > kills // 10
    assert ends["old"] + ends["nothing"] > kills // 10
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} writers of a {kind} were killed; they left: {ends}\n")


def classify_end(target: Path) -> str:
    """Return what a killed writer left under the final name."""
    if not target.exists():
        return "nothing"
    return "old" if read_mark(target) == b"\xff" else "whole"


def remove_path(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
