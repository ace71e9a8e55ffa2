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
from archive.views import names
from archive.writers import AGAIN, ONCE, Stopping, mark_of, marked, write_tree, writers

from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree
from bundle_fix.storage.atomic import pending_directory, pending_file

KINDS = ("tar", "tar.gz", "tar.xz", "tar.zst", "tar.bz2", "dir")


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a pending file waits: without a name, or under a hidden one where none can be without."""
    if request.param == "named":
        monkeypatch.setattr(os, "open", without_unnamed_files(os.open))
    return str(request.param)


def without_unnamed_files(real: Callable[..., int]) -> Callable[..., int]:
    def refusing(path: str, flags: int, *args: int, **options: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE and Path(path).is_dir():
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **options)

    return refusing


def visible(folder: Path) -> list[str]:
    return [name for name in names(folder) if not name.startswith(".")]


def put(target: Path, data: bytes) -> None:
    with pending_file(target) as pending:
        pending.file.write(data)
        pending.commit()


def test_a_file_appears_when_it_is_committed_and_not_before(tmp_path: Path, way: str) -> None:
    with pending_file(tmp_path / "out") as pending:
        pending.file.write(b"data")
        pending.file.flush()
        assert pending.path.read_bytes() == b"data"
        assert visible(tmp_path) == []
        assert (names(tmp_path) == []) == (way == "unnamed")
        pending.commit()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"data"


@pytest.mark.usefixtures("way")
def test_a_file_that_is_not_committed_vanishes(tmp_path: Path) -> None:
    with pending_file(tmp_path / "out") as pending:
        pending.file.write(b"data")
    assert names(tmp_path) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BundleFixError])
def test_a_file_vanishes_with_the_exception_that_stopped_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error), pending_file(tmp_path / "out") as pending:  # noqa: PT012
        pending.file.write(b"data")
        raise error("stopped")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


@pytest.mark.usefixtures("way")
def test_a_file_in_the_place_of_another_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o640)
    put(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o640
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_file_in_the_place_of_another_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    os.chown(tmp_path / "out", 1234, 2345)
    (tmp_path / "out").chmod(0o2755)
    put(tmp_path / "out", b"new")
    status = (tmp_path / "out").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1234, 2345, 0o2755)


@pytest.mark.usefixtures("way")
def test_a_new_file_has_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        put(tmp_path / "out", b"new")
    finally:
        os.umask(old)
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o640


@pytest.mark.usefixtures("way")
def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs/old").write_bytes(b"old")
    for name, target in (("current", "packs/old"), ("next", "packs/new")):
        (tmp_path / name).symlink_to(target)
        put(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"
    assert names(tmp_path / "packs") == ["new", "old"]


@pytest.mark.usefixtures("way")
def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("folder", "fifo", "link"):
        with pytest.raises(BundleFixError, match="is not a file"):
            put(tmp_path / name, b"new")
    with pytest.raises(BundleFixError, match="cannot write it"):
        put(tmp_path / "loop/out", b"new")
    assert names(tmp_path) == ["fifo", "folder", "link", "loop"]
    assert (tmp_path / "fifo").is_fifo()


@pytest.mark.usefixtures("way")
def test_a_folder_that_appears_under_the_name_leaves_no_hidden_file(tmp_path: Path) -> None:
    with (  # noqa: PT012
        pytest.raises(BundleFixError, match=r"out: cannot write it: Is a directory"),
        pending_file(tmp_path / "out") as pending,
    ):
        (tmp_path / "out").mkdir()
        pending.commit()
    assert names(tmp_path) == ["out"]


def test_where_no_file_can_be_unnamed_a_hidden_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = os.open, []

    def refusing_once(path: str, flags: int, *args: int, **options: int) -> int:
        if not refused:
            refused.append(path)
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refusing_once)
    put(tmp_path / "out", b"data")
    assert refused == [tmp_path]
    assert (tmp_path / "out").read_bytes() == b"data"
    assert names(tmp_path) == ["out"]


@pytest.mark.usefixtures("way")
def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleFixError, match="no/out: cannot write it: No such file"):
        put(tmp_path / "no/out", b"data")
    (tmp_path / "file").touch()
    with pytest.raises(BundleFixError, match="file/out: cannot write it: Not a directory"):
        put(tmp_path / "file/out", b"data")


@pytest.mark.usefixtures("nobody", "way")
@pytest.mark.parametrize("kind", ["tar.gz", "dir"])
def test_a_folder_that_may_not_be_written_to_is_told(common: Path, kind: str) -> None:
    (common / "closed").mkdir(0o555)
    with pytest.raises(BundleFixError, match="closed/out: cannot write it: Permission denied"):
        write_tree(marked(b"x"), kind, common / "closed/out")
    assert names(common / "closed") == []


@pytest.mark.usefixtures("nobody", "way")
def test_who_is_not_root_replaces_what_is_others(common: Path) -> None:
    put(common / "out", b"old")
    put(common / "out", b"new")
    assert (common / "out").read_bytes() == b"new"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_nothing_is_left(small_disk: Path, kind: str) -> None:
    (small_disk / "other").write_bytes(b"old")
    tree = Tree(
        {f"f{n}": File(BytesContent(os.urandom(200_000)), Metadata(0o644)) for n in range(8)}
    )
    with pytest.raises(BundleFixError, match="out: cannot write it: No space left on device"):
        write_tree(tree, kind, small_disk / "out")
    assert names(small_disk) == ["other"]
    assert write_tree(marked(b"x"), kind, small_disk / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_approved_leaves_nothing(tmp_path: Path, kind: str) -> None:
    assert not write_tree(marked(b"x"), kind, tmp_path / "out", commit=False)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_in_the_middle_of_a_file_leaves_nothing(tmp_path: Path, kind: str) -> None:
    tree = Tree({"lib/a": File(Stopping(), Metadata(0o644))})
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        write_tree(tree, kind, tmp_path / "out")
    assert names(tmp_path) == []
    assert threading.active_count() == threads


@pytest.mark.usefixtures("nobody")
def test_a_folder_with_folders_that_may_not_be_written_to_vanishes_all_the_same(
    common: Path,
) -> None:
    nodes: dict[str, Node] = {"": Directory(Metadata(0o500))}
    for path in ("a", "a/b", "closed"):
        nodes[path] = Directory(Metadata(0 if path == "closed" else 0o500))
    nodes["a/b/file"] = File(BytesContent(b"data"), Metadata(0o400))
    nodes["a/link"] = Symlink("/", Metadata(0o777))
    with pytest.raises(BundleFixError, match="closed: cannot read the folder"):
        write_tree(Tree(nodes), "dir", common / "out")
    assert names(common) == []


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert write_tree(marked(b"x"), "dir", tmp_path / "empty")
    with pytest.raises(BundleFixError, match="is there already and is not empty"):
        write_tree(marked(b"x"), "dir", tmp_path / "full")
    with pytest.raises(BundleFixError, match="a file is there already"):
        write_tree(marked(b"x"), "dir", tmp_path / "full/file")
    assert names(tmp_path) == ["empty", "full"]
    assert names(tmp_path / "full") == ["file"]


def test_a_pending_folder_vanishes_with_the_exception_that_stopped_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), pending_directory(tmp_path / "out") as folder:  # noqa: PT012
        (folder / "file").touch()
        raise KeyboardInterrupt
    assert names(tmp_path) == []


@pytest.mark.parametrize(("kind", "kills"), [("tar", 80), ("tar.gz", 40), ("dir", 40)])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_or_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, kills: int
) -> None:
    chance = random.Random(kills)  # noqa: S311 (moments to kill at are no secret)
    target = tmp_path / "pack"
    ends = {"whole": 0, "old": 0, "nothing": 0, "hidden": 0}
    span = 0.02
    with writers(kind, target) as kill_after:
        for number in range(kills):
            replacing = kind != "dir" and number % 2 == 0
            remove(target)
            if replacing:
                write_tree(marked(b"\xff"), kind, target)
            kill_after(AGAIN if replacing else ONCE, chance.uniform(0, span))
            end = end_of(target)
            assert end == "whole" or replacing == (end == "old")
            assert visible(tmp_path) == ([] if end == "nothing" else ["pack"])
            # Whatever the machine's speed, about half of the kills come in the middle.
            span *= 0.8 if end == "whole" else 1.3
            ends[end] += 1
            for left in tmp_path.glob(".*"):
                ends["hidden"] += 1
                remove(left)
    remove(target)
    assert write_tree(marked(b"y"), kind, target)
    assert ends["whole"] > kills // 10
    assert ends["old"] + ends["nothing"] > kills // 10
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} writers of a {kind} were killed; what they left: {ends}\n")


def end_of(target: Path) -> str:
    if not target.exists():
        return "nothing"
    return "old" if mark_of(target) == b"\xff" else "whole"


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
