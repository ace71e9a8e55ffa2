"""Folders changed in place: all that is new is written first, then each file takes its name.

What is new waits in a hidden folder at the root. When it is complete and on the disk, a journal in
that folder says which file goes where; from then on the change counts as made: where the disk fails
it is taken back, and where the process is killed, the next one completes it (`complete_update`).
Without the journal the hidden folder is what a killed process left, and is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.directory import UPDATE, apply_metadata, write_content
from bundle_fix.archive.names import clean_name
from bundle_fix.archive.writing import StagedArtifact
from bundle_fix.model.content import make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import Directory, File, Node, Symlink, Tree, break_missing_hardlink
from bundle_fix.storage.atomic import sync_directory
from bundle_fix.storage.staging import LockedError, lock_directory, remove_directory

JOURNAL = "journal"
OLD = "old-"
"""What precedes the number of a file that was replaced."""


@contextmanager
def stage_update(
    before: Tree, after: Tree, root: Path, progress: Progress = no_progress
) -> Iterator[StagedArtifact]:
    """Prepare to make the directory ``root``, whose tree is ``before``, into ``after``.

    Each changed member is written into a hidden directory. When it is committed, each takes its
    name by a rename, and files that ``after`` lacks are removed last. Without a commit, or if a
    rename fails, the directory is as it was.

    Raises:
        BundleFixError: a member cannot be written, or another process changes the directory.
    """
    changed = {p: n for p, n in after.nodes.items() if before.nodes.get(p) != n}
    size = sum(node.content.size for node in changed.values() if isinstance(node, File))
    step = ProgressStep(f"writing {root.resolve().name}", size, parts=len(changed))
    path = ""
    try:
        with _staged(root) as staging:
            waiting: dict[str, Path] = {}
            nodes: dict[str, Node] = dict(after.nodes)
            for path, node in track_parts(changed.items(), partial(progress, step)):
                if isinstance(node, File | Symlink) and not _same_bytes(before, path, node):
                    place = staging / str(len(waiting))
                    nodes[path] = _written(node, place, after, root, waiting)
                    waiting[path] = place
            path = ""
            modes = {
                path: node.metadata.mode
                for path, node in changed.items()
                if path not in waiting and isinstance(node, Directory | File)
            }
            removed = [path for path in before.nodes if path not in after.nodes]
            commit = partial(_commit_update, root, staging, list(waiting), modes, removed)
            yield StagedArtifact(replace(after, nodes=nodes), commit)
    except OSError as error:
        place = error.filename2 or root / path
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(place)
        ) from error


def _commit_update(
    root: Path, staging: Path, renamed: list[str], modes: Mapping[str, int], removed: list[str]
) -> None:
    _rename_all(root, staging, renamed)
    for path, mode in modes.items():
        (root / path).chmod(mode)
    for path in removed:
        (root / path).unlink(missing_ok=True)


def complete_update(root: Path) -> str:
    """End what a process that was killed in the midst of `update_directory` left.

    Returns:
        What was done about it; empty where there was nothing.

    Raises:
        BundleFixError: a process is at work there, or the folder cannot be written to.
    """
    staging = root / UPDATE
    if not staging.is_dir() or staging.is_symlink():
        return ""
    try:
        with lock_directory(staging):
            paths = _journal(staging, root)
            for number, path in enumerate(paths):
                if os.path.lexists(staging / str(number)):
                    (root / path).parent.mkdir(exist_ok=True, parents=True)
                    (staging / str(number)).replace(root / path)
            _end(root, staging, paths)
            remove_directory(staging)
    except LockedError as error:
        raise _busy(root) from error
    except OSError as error:
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(root)
        ) from error
    if paths:
        return "an earlier change of it, which was killed, has been completed"
    return "what an earlier change of it, which was killed, had left has been removed"


@contextmanager
def _staged(root: Path) -> Iterator[Path]:
    staging = root / UPDATE
    try:
        staging.mkdir(0o700)
    except FileExistsError as error:
        raise _busy(root) from error
    except BaseException:
        remove_directory(staging)
        raise
    try:
        with lock_directory(staging):
            yield staging
    finally:
        # With a journal it is what the next process needs.
        if not (staging / JOURNAL).exists():
            remove_directory(staging)


def _busy(root: Path) -> BundleFixError:
    return BundleFixError(
        "another process is changing it", where=str(root), hint="run again when that has ended"
    )


def _write_journal(staging: Path, paths: list[str]) -> None:
    """Say, once all files are there, which goes where; they are numbered in this order."""
    draft = staging / f"{JOURNAL}.tmp"
    with draft.open("xb") as file:
        file.write(os.fsencode(json.dumps(paths, ensure_ascii=False)))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(staging)
    draft.replace(staging / JOURNAL)
    sync_directory(staging)


def _journal(staging: Path, root: Path) -> list[str]:
    """The paths of a journal, where there is an honest one: it may have come with the folder."""
    try:
        paths = json.loads(os.fsdecode((staging / JOURNAL).read_bytes()))
        inside = [clean_name(path, root) for path in paths]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, BundleFixError):
        return []
    real = os.path.realpath(root)
    folders = {path.rpartition("/")[0] for path in inside}
    straight = all(
        os.path.realpath(os.path.join(real, f)) == os.path.normpath(os.path.join(real, f))  # noqa: PTH118
        for f in folders
    )
    return inside if inside == paths and straight else []


def _rename_all(root: Path, staging: Path, paths: list[str]) -> None:
    """Give every file its name; where one cannot have it, none has."""
    made: list[Path] = []
    try:
        _write_journal(staging, paths)
        for number, path in enumerate(paths):
            _make_folder((root / path).parent, made)
            # A link, so that there is a file under the name at any time.
            with suppress(FileNotFoundError):
                os.link(root / path, staging / f"{OLD}{number}", follow_symlinks=False)
            (staging / str(number)).replace(root / path)
        _end(root, staging, paths)
    except BaseException:
        _take_back(root, staging, paths)
        for folder in reversed(made):
            folder.rmdir()
        raise


def _make_folder(folder: Path, made: list[Path]) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent, made)
        folder.mkdir()
        made.append(folder)


def _take_back(root: Path, staging: Path, paths: list[str]) -> None:
    for number, path in enumerate(paths):
        new, old = staging / str(number), staging / f"{OLD}{number}"
        if os.path.lexists(new):
            continue
        # Whatever happens meanwhile, the journal stays true.
        if not os.path.lexists(old):
            (root / path).replace(new)
            continue
        try:
            os.link(root / path, new, follow_symlinks=False)
        except OSError:
            # One more name may be what there is no room for: tmpfs counts them as files.
            (root / path).replace(new)
        old.replace(root / path)
    (staging / JOURNAL).unlink(missing_ok=True)


def _end(root: Path, staging: Path, paths: list[str]) -> None:
    """Once all files have their names, and these are on the disk, the journal is of no use."""
    for folder in sorted({(root / path).parent for path in paths}):
        sync_directory(folder)
    (staging / JOURNAL).unlink(missing_ok=True)


def _same_bytes(before: Tree, path: str, node: Node) -> bool:
    """Whether nothing but the stamp of a file has changed."""
    old = before.nodes.get(path)
    return (
        isinstance(node, File)
        and isinstance(old, File)
        and (node.content, node.hardlink) == (old.content, old.hardlink)
    )


def _written(
    node: File | Symlink, place: Path, after: Tree, root: Path, waiting: Mapping[str, Path]
) -> Node:
    if isinstance(node, Symlink):
        place.symlink_to(node.target)
        apply_metadata(place, node.metadata, follow=False)
        return node
    node = break_missing_hardlink(after, node)
    if node.hardlink is not None:
        place.hardlink_to(waiting.get(node.hardlink, root / node.hardlink))
    else:
        write_content(node, place)
    return replace(node, content=make_path_content(place))
