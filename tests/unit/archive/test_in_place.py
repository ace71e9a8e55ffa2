from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from archive.views import snapshot, view
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.inplace_directory import complete_update, stage_update
from bundle_fix.model.content import BytesContent, Patch, PatchedContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Node, Symlink, Tree


def pack(folder: Path) -> Path:
    for name in ("bin/server", "bin/tool", "lib/libx.so.1.2", "lib/liby.so.1"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.urandom(5000))
        (folder / name).chmod(0o750)
        os.utime(folder / name, ns=(0, 1_600_000_000_123_456_789))
    (folder / "bin/again").hardlink_to(folder / "bin/server")
    (folder / "lib/libx.so").symlink_to("nowhere")
    return folder


def mended(before: Tree) -> Tree:
    """What `fix` makes of a pack: one file edited, links added and put in the place of others."""
    server = before.nodes["bin/again"]
    assert isinstance(server, File)
    content = PatchedContent(server.content, (Patch(100, b"edited"),))
    nodes: dict[str, Node] = dict(before.nodes)
    nodes["bin/again"] = replace(server, content=content)
    nodes["bin/server"] = replace(before.nodes["bin/server"], content=content)
    stamp = before.nodes["lib/libx.so.1.2"].metadata
    nodes["lib/libx.so.1"] = Symlink("libx.so.1.2", stamp)
    nodes["lib/libx.so"] = Symlink("libx.so.1.2", stamp)
    nodes["lib/liby.so.1"] = Symlink("libx.so.1.2", stamp)
    for path in ("lib", "bin/tool"):
        nodes[path] = replace(nodes[path], metadata=replace(nodes[path].metadata, mode=0o711))
    return Tree(nodes)


def update(before: Tree, after: Tree, root: Path, *, commit: bool = True) -> bool:
    """Change a directory in place and commit it, if asked; return ``commit``."""
    with stage_update(before, after, root) as staged:
        if commit:
            staged.commit()
    return commit


def test_what_is_not_approved_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    seen = snapshot(tmp_path)
    assert not update(before, mended(before), tmp_path, commit=False)
    assert snapshot(tmp_path) == seen


def test_what_is_approved_is_what_stands_there_afterwards(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = (tmp_path / "bin/server").read_bytes()
    with stage_update(before, mended(before), tmp_path) as staged:
        node = staged.tree.nodes["bin/server"]
        assert isinstance(node, File)
        with node.content.open() as reader:
            approved = reader.pread(0, reader.size)
        staged.commit()
    assert approved == was[:100] + b"edited" + was[106:]
    assert (tmp_path / "bin/server").read_bytes() == approved
    assert (tmp_path / "lib/libx.so.1").readlink() == Path("libx.so.1.2")


def test_only_what_changed_is_touched(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = snapshot(tmp_path)
    assert update(before, mended(before), tmp_path)
    now = snapshot(tmp_path)
    assert now.keys() - was.keys() == {"lib/libx.so.1"}
    assert {path for path in was if was[path] != now[path]} == {
        "bin/again", "bin/server", "bin/tool", "lib", "lib/libx.so", "lib/liby.so.1",
    }  # fmt: skip


def test_an_edited_file_keeps_mode_time_and_hard_links(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    assert update(before, mended(before), tmp_path)
    status = (tmp_path / "bin/server").stat()
    assert (status.st_mode & 0o7777, status.st_nlink) == (0o750, 2)
    assert status.st_mtime_ns == 1_600_000_000_123_456_789
    assert (tmp_path / "bin/server").samefile(tmp_path / "bin/again")


def test_a_new_mode_alone_rewrites_nothing(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = (tmp_path / "bin/tool").stat()
    assert update(before, mended(before), tmp_path)
    now = (tmp_path / "bin/tool").stat()
    assert now.st_mode & 0o7777 == 0o711
    assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)


def test_a_hard_link_whose_other_name_becomes_a_link_stays_a_file(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = (tmp_path / "bin/server").read_bytes()
    nodes: dict[str, Node] = {**before.nodes, "bin/again": Symlink("tool", Metadata(0o777))}
    assert update(before, Tree(nodes), tmp_path)
    assert (tmp_path / "bin/server").read_bytes() == was
    assert not (tmp_path / "bin/server").is_symlink()


def test_extended_attributes_of_an_edited_file_are_kept(tmp_path: Path) -> None:
    pack(tmp_path)
    try:
        os.setxattr(tmp_path / "bin/server", "user.origin", b"here")
    except OSError as error:
        pytest.skip(f"this file system keeps no extended attributes: {error.strerror}")
    before = read_directory(tmp_path)
    assert update(before, mended(before), tmp_path)
    assert os.getxattr(tmp_path / "bin/server", "user.origin") == b"here"


def test_a_folder_that_is_new_is_made(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    nodes: dict[str, Node] = {**before.nodes, "no/such/link": Symlink("x", Metadata(0o777))}
    assert update(before, Tree(nodes), tmp_path)
    assert (tmp_path / "no/such/link").readlink() == Path("x")


def test_a_check_that_fails_leaves_no_hidden_files(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = snapshot(tmp_path)
    with pytest.raises(KeyboardInterrupt), stage_update(before, mended(before), tmp_path):
        raise KeyboardInterrupt
    assert snapshot(tmp_path) == was


@pytest.mark.parametrize("number", range(1, 9))
def test_a_rename_that_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The first rename is that of the journal; taking back takes more of them."""
    before = read_directory(pack(tmp_path))
    was = snapshot(tmp_path)
    rename, renamed = Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == number:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    if number > len(mended(before).nodes) - 3:
        assert update(before, mended(before), tmp_path)
        return
    with pytest.raises(BundleFixError, match="Input/output error"):
        update(before, mended(before), tmp_path)
    assert snapshot(tmp_path) == was


@pytest.mark.parametrize("links", [0, 1, 2])
def test_a_disk_without_room_for_a_name_leaves_the_folder_as_it_was(
    tmp_path: Path, links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of tmpfs, every name takes an inode; there may be none for taking back either."""
    root = pack(tmp_path / "pack")
    before = snapshot(root)
    real, left = os.link, [links]

    def link(source: Path, target: Path, **options: bool) -> None:
        if os.path.lexists(source) and not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        left[0] -= os.path.lexists(source)
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
    tree = read_directory(root)
    with pytest.raises(BundleFixError, match="No space left"):
        update(tree, mended(tree), root)
    assert snapshot(root) == before


def left_behind(root: Path, journal: str | None) -> Path:
    staging = root / ".bundle-fix-update"
    staging.mkdir()
    (staging / "0").write_bytes(b"new")
    if journal is not None:
        (staging / "journal").write_text(journal)
    return staging


def test_what_was_killed_before_it_was_complete_is_removed(tmp_path: Path) -> None:
    was = view(read_directory(pack(tmp_path)))
    staging = left_behind(tmp_path, None)
    assert view(read_directory(tmp_path)) == was
    assert "has been removed" in complete_update(tmp_path)
    assert not staging.exists()
    assert view(read_directory(tmp_path)) == was
    assert complete_update(tmp_path) == ""


def test_what_was_killed_when_it_was_complete_is_completed(tmp_path: Path) -> None:
    pack(tmp_path)
    staging = left_behind(tmp_path, '["bin/tool", "bin/server"]')
    assert "has been completed" in complete_update(tmp_path)
    assert (tmp_path / "bin/tool").read_bytes() == b"new"
    assert len((tmp_path / "bin/server").read_bytes()) == 5000
    assert not staging.exists()


@pytest.mark.parametrize(
    "journal",
    ['["../out"]', '["/tmp/out"]', '["to/x"]', '["bin//tool"]', '["to/../to/x"]', "[1]", "{}",
     '[["a"]]', "null", "", "[" * 100_000, '["bin/tool\\u0000"]'],
)  # fmt: skip
def test_a_journal_that_came_with_the_folder_leads_nowhere(tmp_path: Path, journal: str) -> None:
    (tmp_path / "outside").mkdir()
    root = pack(tmp_path / "pack")
    (root / "to").symlink_to("../outside")
    was = snapshot(root)
    staging = left_behind(root, journal)
    complete_update(root)
    assert not staging.exists()
    assert snapshot(root) == was
    assert not list((tmp_path / "outside").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "pack"}


def test_a_link_in_the_place_of_the_hidden_folder_is_not_followed(tmp_path: Path) -> None:
    root = pack(tmp_path / "pack")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (root / ".bundle-fix-update").symlink_to(tmp_path / "outside")
    assert complete_update(root) == ""
    assert (tmp_path / "outside/file").exists()


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    before = read_directory(pack(tmp_path))
    was = snapshot(tmp_path)
    with stage_update(before, mended(before), tmp_path):
        for second in (
            lambda: update(before, mended(before), tmp_path),
            lambda: complete_update(tmp_path),
        ):
            with pytest.raises(BundleFixError, match="another process is changing it"):
                second()
    assert snapshot(tmp_path) == was


def test_a_full_disk_leaves_the_folder_as_it_was(small_disk: Path) -> None:
    (small_disk / "pack").mkdir()
    before = read_directory(pack(small_disk / "pack"))
    was = snapshot(small_disk)
    nodes: dict[str, Node] = {
        path: replace(node, content=BytesContent(os.urandom(400_000)), hardlink=None)
        if isinstance(node, File)
        else node
        for path, node in before.nodes.items()
    }
    with pytest.raises(BundleFixError, match="No space left on device"):
        update(before, Tree(nodes), small_disk / "pack")
    assert snapshot(small_disk) == was


@pytest.mark.usefixtures("unprivileged_user")
def test_a_folder_that_may_not_be_written_to_is_told_and_stays_as_it_was(
    public_directory: Path,
) -> None:
    before = read_directory(pack(public_directory / "pack"))
    was = snapshot(public_directory)
    (public_directory / "pack/lib").chmod(0o500)
    with pytest.raises(BundleFixError, match=r"pack/lib/[^:]*: cannot write it: Permission"):
        update(before, mended(before), public_directory / "pack")
    (public_directory / "pack/lib").chmod(0o755)
    assert snapshot(public_directory) == was
