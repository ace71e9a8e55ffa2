"""Directories that are changed in place: completely or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from archive.views import describe_directory, describe_tree
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.inplace_directory import complete_update, stage_update
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import Patch, PatchedContent
from bundle_fix.model.tree import File, Metadata, Node, Symlink, Tree


def make_pack(directory: Path) -> Path:
    for name in ("bin/server", "bin/tool", "lib/libx.so.1.2", "lib/liby.so.1"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(os.urandom(5000))
        (directory / name).chmod(0o750)
        os.utime(directory / name, ns=(0, 1_600_000_000_123_456_789))
    (directory / "bin/again").hardlink_to(directory / "bin/server")
    (directory / "lib/libx.so").symlink_to("missing")
    return directory


def repair_tree(before: Tree) -> Tree:
    """Return a tree like one of `fix`: one file edited, symlinks added and replaced."""
    server = before.nodes["bin/again"]
    assert isinstance(server, File)
    content = PatchedContent(server.content, (Patch(100, b"edited"),))
    nodes: dict[str, Node] = dict(before.nodes)
    nodes["bin/again"] = replace(server, content=content)
    nodes["bin/server"] = replace(before.nodes["bin/server"], content=content)
    metadata = before.nodes["lib/libx.so.1.2"].metadata
    nodes["lib/libx.so.1"] = Symlink("libx.so.1.2", metadata)
    nodes["lib/libx.so"] = Symlink("libx.so.1.2", metadata)
    nodes["lib/liby.so.1"] = Symlink("libx.so.1.2", metadata)
    for path in ("lib", "bin/tool"):
        nodes[path] = replace(nodes[path], metadata=replace(nodes[path].metadata, mode=0o711))
    return Tree(nodes)


def update_directory(before: Tree, after: Tree, root: Path, *, commit: bool = True) -> bool:
    """Change a directory in place and commit it, if asked; return ``commit``."""
    with stage_update(before, after, root) as staged:
        if commit:
            staged.commit()
    return commit


def test_an_update_that_is_not_committed_changes_nothing(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    seen = describe_directory(tmp_path)
    assert not update_directory(before, repair_tree(before), tmp_path, commit=False)
    assert describe_directory(tmp_path) == seen


def test_the_staged_content_is_the_committed_content(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = (tmp_path / "bin/server").read_bytes()
    with stage_update(before, repair_tree(before), tmp_path) as staged:
        node = staged.tree.nodes["bin/server"]
        assert isinstance(node, File)
        with node.content.open() as reader:
            staged_bytes = reader.pread(0, reader.size)
        staged.commit()
    assert staged_bytes == was[:100] + b"edited" + was[106:]
    assert (tmp_path / "bin/server").read_bytes() == staged_bytes
    assert (tmp_path / "lib/libx.so.1").readlink() == Path("libx.so.1.2")


def test_only_changed_members_are_touched(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = describe_directory(tmp_path)
    assert update_directory(before, repair_tree(before), tmp_path)
    now = describe_directory(tmp_path)
    assert now.keys() - was.keys() == {"lib/libx.so.1"}
    assert {path for path in was if was[path] != now[path]} == {
        "bin/again", "bin/server", "bin/tool", "lib", "lib/libx.so", "lib/liby.so.1",
    }  # fmt: skip


def test_an_edited_file_keeps_mode_time_and_hard_links(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    assert update_directory(before, repair_tree(before), tmp_path)
    status = (tmp_path / "bin/server").stat()
    assert (status.st_mode & 0o7777, status.st_nlink) == (0o750, 2)
    assert status.st_mtime_ns == 1_600_000_000_123_456_789
    assert (tmp_path / "bin/server").samefile(tmp_path / "bin/again")


def test_a_changed_mode_rewrites_no_content(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = (tmp_path / "bin/tool").stat()
    assert update_directory(before, repair_tree(before), tmp_path)
    now = (tmp_path / "bin/tool").stat()
    assert now.st_mode & 0o7777 == 0o711
    assert (now.st_ino, now.st_mtime_ns) == (was.st_ino, was.st_mtime_ns)


def test_a_hard_link_stays_a_file_if_the_other_name_becomes_a_symlink(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = (tmp_path / "bin/server").read_bytes()
    nodes: dict[str, Node] = {**before.nodes, "bin/again": Symlink("tool", Metadata(0o777))}
    assert update_directory(before, Tree(nodes), tmp_path)
    assert (tmp_path / "bin/server").read_bytes() == was
    assert not (tmp_path / "bin/server").is_symlink()


def test_extended_attributes_of_an_edited_file_are_kept(tmp_path: Path) -> None:
    make_pack(tmp_path)
    try:
        os.setxattr(tmp_path / "bin/server", "user.origin", b"here")
    except OSError as error:
        pytest.skip(f"this file system keeps no extended attributes: {error.strerror}")
    before = read_directory(tmp_path)
    assert update_directory(before, repair_tree(before), tmp_path)
    assert os.getxattr(tmp_path / "bin/server", "user.origin") == b"here"


def test_a_new_directory_is_created(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    nodes: dict[str, Node] = {**before.nodes, "no/such/link": Symlink("x", Metadata(0o777))}
    assert update_directory(before, Tree(nodes), tmp_path)
    assert (tmp_path / "no/such/link").readlink() == Path("x")


def test_an_interrupted_check_leaves_no_hidden_files(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = describe_directory(tmp_path)
    with pytest.raises(KeyboardInterrupt), stage_update(before, repair_tree(before), tmp_path):
        raise KeyboardInterrupt
    assert describe_directory(tmp_path) == was


@pytest.mark.parametrize("number", range(1, 9))
def test_a_failed_rename_leaves_the_directory_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The first rename is that of the journal; the rollback renames as well."""
    before = read_directory(make_pack(tmp_path))
    was = describe_directory(tmp_path)
    rename = Path.replace
    renamed: list[Path] = []

    def fail_at_number(self: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == number:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_number)
    if number > len(repair_tree(before).nodes) - 3:
        assert update_directory(before, repair_tree(before), tmp_path)
        return
    with pytest.raises(BundleFixError, match="Input/output error"):
        update_directory(before, repair_tree(before), tmp_path)
    assert describe_directory(tmp_path) == was


@pytest.mark.parametrize("links", [0, 1, 2])
def test_a_disk_without_space_for_a_name_leaves_the_directory_unchanged(
    tmp_path: Path, links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tmpfs each name takes an inode; there may be none for the rollback either."""
    root = make_pack(tmp_path / "pack")
    before = describe_directory(root)
    real, left = os.link, [links]

    def link(source: Path, target: Path, **options: bool) -> None:
        if os.path.lexists(source) and not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        left[0] -= os.path.lexists(source)
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
    tree = read_directory(root)
    with pytest.raises(BundleFixError, match="No space left"):
        update_directory(tree, repair_tree(tree), root)
    assert describe_directory(root) == before


def leave_staging(root: Path, journal: str | None) -> Path:
    """Create the staging directory of a killed process, with a journal or without."""
    staging = root / ".bundle-fix-update"
    staging.mkdir()
    (staging / "0").write_bytes(b"new")
    if journal is not None:
        (staging / "journal").write_text(journal)
    return staging


def test_an_update_killed_before_its_journal_is_removed(tmp_path: Path) -> None:
    was = describe_tree(read_directory(make_pack(tmp_path)))
    staging = leave_staging(tmp_path, None)
    assert describe_tree(read_directory(tmp_path)) == was
    assert "removed the temporary files of an earlier change" in complete_update(tmp_path)
    assert not staging.exists()
    assert describe_tree(read_directory(tmp_path)) == was
    assert complete_update(tmp_path) == ""


def test_an_update_killed_after_its_journal_is_completed(tmp_path: Path) -> None:
    make_pack(tmp_path)
    staging = leave_staging(tmp_path, '["bin/tool", "bin/server"]')
    assert "completed an earlier change" in complete_update(tmp_path)
    assert (tmp_path / "bin/tool").read_bytes() == b"new"
    assert len((tmp_path / "bin/server").read_bytes()) == 5000
    assert not staging.exists()


@pytest.mark.parametrize(
    "journal",
    ['["../out"]', '["/tmp/out"]', '["to/x"]', '["bin//tool"]', '["to/../to/x"]', "[1]", "{}",
     '[["a"]]', "null", "", "[" * 100_000, '["bin/tool\\u0000"]'],
)  # fmt: skip
def test_a_hostile_journal_has_no_effect(tmp_path: Path, journal: str) -> None:
    (tmp_path / "outside").mkdir()
    root = make_pack(tmp_path / "pack")
    (root / "to").symlink_to("../outside")
    was = describe_directory(root)
    staging = leave_staging(root, journal)
    complete_update(root)
    assert not staging.exists()
    assert describe_directory(root) == was
    assert not list((tmp_path / "outside").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "pack"}


def test_a_symlink_with_the_name_of_the_staging_directory_is_not_followed(tmp_path: Path) -> None:
    root = make_pack(tmp_path / "pack")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (root / ".bundle-fix-update").symlink_to(tmp_path / "outside")
    assert complete_update(root) == ""
    assert (tmp_path / "outside/file").exists()


def test_a_second_update_at_the_same_time_is_refused(tmp_path: Path) -> None:
    before = read_directory(make_pack(tmp_path))
    was = describe_directory(tmp_path)
    with stage_update(before, repair_tree(before), tmp_path):
        for second in (
            lambda: update_directory(before, repair_tree(before), tmp_path),
            lambda: complete_update(tmp_path),
        ):
            with pytest.raises(BundleFixError, match="another process is changing it"):
                second()
    assert describe_directory(tmp_path) == was


def test_a_full_disk_leaves_the_directory_unchanged(small_disk: Path) -> None:
    (small_disk / "pack").mkdir()
    before = read_directory(make_pack(small_disk / "pack"))
    was = describe_directory(small_disk)
    nodes: dict[str, Node] = {
        path: replace(node, content=BytesContent(os.urandom(400_000)), hardlink=None)
        if isinstance(node, File)
        else node
        for path, node in before.nodes.items()
    }
    with pytest.raises(BundleFixError, match="No space left on device"):
        update_directory(before, Tree(nodes), small_disk / "pack")
    assert describe_directory(small_disk) == was


@pytest.mark.usefixtures("unprivileged_user")
def test_a_directory_without_write_permission_is_reported_and_unchanged(
    public_directory: Path,
) -> None:
    before = read_directory(make_pack(public_directory / "pack"))
    was = describe_directory(public_directory)
    (public_directory / "pack/lib").chmod(0o500)
    with pytest.raises(BundleFixError, match=r"pack/lib/[^:]*: cannot write it: Permission"):
        update_directory(before, repair_tree(before), public_directory / "pack")
    (public_directory / "pack/lib").chmod(0o755)
    assert describe_directory(public_directory) == was
