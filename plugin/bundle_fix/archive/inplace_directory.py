"""Directories changed in place: all changed files are written first, then each is renamed.

The changed files are written into a hidden staging directory at the root. When all are flushed to
the disk, a journal in the staging directory lists their final paths. From then on the change is
complete in principle: it is rolled back if the disk fails, and the next run completes it if the
process is killed (`complete_update`). A staging directory without a journal is a leftover of a
killed process and is removed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.archive.directory import UPDATE_DIRECTORY, apply_metadata, write_content
from bundle_fix.archive.names import clean_name
from bundle_fix.archive.writing import StagedArtifact
from bundle_fix.model.content import make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import Directory, File, Node, Symlink, Tree, break_missing_hardlink
from bundle_fix.storage.atomic import sync_directory
from bundle_fix.storage.staging import LockedError, lock_directory, remove_directory

JOURNAL = "journal"
"""Name of the journal in the staging directory: a JSON list of paths."""
OLD_PREFIX = "old-"
"""Prefix of the number under which a replaced file is kept until the update is complete."""


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
        with _create_staging(root) as staging:
            staged_paths: dict[str, Path] = {}
            nodes: dict[str, Node] = dict(after.nodes)
            for path, node in track_parts(changed.items(), partial(progress, step)):
                if isinstance(node, File | Symlink) and not _shares_content(before, path, node):
                    staged_path = staging / str(len(staged_paths))
                    nodes[path] = _stage_member(node, staged_path, after, root, staged_paths)
                    staged_paths[path] = staged_path
            path = ""
            modes = {
                path: node.metadata.mode
                for path, node in changed.items()
                if path not in staged_paths and isinstance(node, Directory | File)
            }
            removed = [path for path in before.nodes if path not in after.nodes]
            commit = partial(_commit_update, root, staging, list(staged_paths), modes, removed)
            yield StagedArtifact(replace(after, nodes=nodes), commit)
    except OSError as error:
        # For a rename `filename2` is the final path; `filename` is in the staging directory.
        failed = error.filename2 or root / path
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(failed)
        ) from error


def _commit_update(
    root: Path, staging: Path, renamed: list[str], modes: Mapping[str, int], removed: list[str]
) -> None:
    """Rename the staged files, set the modes of the other members and remove old files."""
    _rename_all(root, staging, renamed)
    for path, mode in modes.items():
        (root / path).chmod(mode)
    for path in removed:
        (root / path).unlink(missing_ok=True)


def complete_update(root: Path) -> str:
    """Complete or clean up an update of ``root`` whose process was killed.

    Returns:
        A sentence that describes it for the user; empty if there was no such update.

    Raises:
        BundleFixError: another process is updating it, or the directory is not writable.
    """
    staging = root / UPDATE_DIRECTORY
    if not staging.is_dir() or staging.is_symlink():
        return ""
    try:
        with lock_directory(staging):
            paths = _read_journal(staging, root)
            for number, path in enumerate(paths):
                if os.path.lexists(staging / str(number)):
                    (root / path).parent.mkdir(exist_ok=True, parents=True)
                    (staging / str(number)).replace(root / path)
            _finish_update(root, staging, paths)
            remove_directory(staging)
    except LockedError as error:
        raise _build_busy_error(root) from error
    except OSError as error:
        raise BundleFixError(
            f"cannot write it: {error.strerror or error}", where=str(root)
        ) from error
    if paths:
        return "completed an earlier change that was killed"
    return "removed the temporary files of an earlier change that was killed"


@contextmanager
def _create_staging(root: Path) -> Iterator[Path]:
    """Create and lock the staging directory of ``root``.

    Raises:
        BundleFixError: it exists already.
    """
    staging = root / UPDATE_DIRECTORY
    try:
        staging.mkdir(0o700)
    except FileExistsError as error:
        raise _build_busy_error(root) from error
    except BaseException:
        remove_directory(staging)
        raise
    try:
        with lock_directory(staging):
            yield staging
    finally:
        # `complete_update` of the next process needs a staging directory with a journal.
        if not (staging / JOURNAL).exists():
            remove_directory(staging)


def _build_busy_error(root: Path) -> BundleFixError:
    """Return the error for a directory that another process is updating."""
    return BundleFixError(
        "another process is changing it", where=str(root), hint="run again when it has finished"
    )


def _write_journal(staging: Path, paths: list[str]) -> None:
    """Write the journal: the final paths of the staged files, in the order of their numbers."""
    draft = staging / f"{JOURNAL}.tmp"
    with draft.open("xb") as file:
        file.write(os.fsencode(json.dumps(paths, ensure_ascii=False)))
        file.flush()
        os.fsync(file.fileno())
    # The staged files must be on the disk before the journal that refers to them.
    sync_directory(staging)
    draft.replace(staging / JOURNAL)
    sync_directory(staging)


def _read_journal(staging: Path, root: Path) -> list[str]:
    """Return the paths of a journal; empty if there is none or it is not trustworthy.

    The journal may have been unpacked with the directory, so it must not lead outside of it.
    """
    try:
        paths = json.loads(os.fsdecode((staging / JOURNAL).read_bytes()))
        clean_paths = [clean_name(path, root) for path in paths]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, BundleFixError):
        return []
    real = os.path.realpath(root)
    directories = {path.rpartition("/")[0] for path in clean_paths}
    has_symlinks = any(
        os.path.realpath(os.path.join(real, d)) != os.path.normpath(os.path.join(real, d))  # noqa: PTH118
        for d in directories
    )
    return clean_paths if clean_paths == paths and not has_symlinks else []


def _rename_all(root: Path, staging: Path, paths: list[str]) -> None:
    """Rename all staged files to their final paths; if one rename fails, undo all of them."""
    created: list[Path] = []
    try:
        _write_journal(staging, paths)
        for number, path in enumerate(paths):
            _create_parents((root / path).parent, created)
            # A hard link and not a rename, so that the name exists at any time.
            with suppress(FileNotFoundError):
                os.link(root / path, staging / f"{OLD_PREFIX}{number}", follow_symlinks=False)
            (staging / str(number)).replace(root / path)
        _finish_update(root, staging, paths)
    except BaseException:
        _roll_back(root, staging, paths)
        for directory in reversed(created):
            directory.rmdir()
        raise


def _create_parents(directory: Path, created: list[Path]) -> None:
    """Create ``directory`` with its parents and append the new ones to ``created``."""
    if not directory.is_dir():
        _create_parents(directory.parent, created)
        directory.mkdir()
        created.append(directory)


def _roll_back(root: Path, staging: Path, paths: list[str]) -> None:
    """Move the renamed files back to the staging directory and restore the old ones."""
    for number, path in enumerate(paths):
        new, old = staging / str(number), staging / f"{OLD_PREFIX}{number}"
        if os.path.lexists(new):
            continue
        # After every step the journal matches the files, so that a kill does no harm.
        if not os.path.lexists(old):
            (root / path).replace(new)
            continue
        try:
            os.link(root / path, new, follow_symlinks=False)
        except OSError:
            # There may be no space for one more name: on tmpfs each takes an inode.
            (root / path).replace(new)
        old.replace(root / path)
    (staging / JOURNAL).unlink(missing_ok=True)


def _finish_update(root: Path, staging: Path, paths: list[str]) -> None:
    """Flush the new names to the disk, then remove the journal, which is obsolete."""
    for directory in sorted({(root / path).parent for path in paths}):
        sync_directory(directory)
    (staging / JOURNAL).unlink(missing_ok=True)


def _shares_content(before: Tree, path: str, node: Node) -> bool:
    """Return whether at most the metadata of a file has changed."""
    old = before.nodes.get(path)
    return (
        isinstance(node, File)
        and isinstance(old, File)
        and (node.content, node.hardlink) == (old.content, old.hardlink)
    )


def _stage_member(
    node: File | Symlink, path: Path, after: Tree, root: Path, staged_paths: Mapping[str, Path]
) -> Node:
    """Write a member to ``path`` in the staging directory; return it with its new content.

    A hard link to a member that is not staged is linked to the file in ``root``.
    """
    if isinstance(node, Symlink):
        path.symlink_to(node.target)
        apply_metadata(path, node.metadata, follow=False)
        return node
    node = break_missing_hardlink(after, node)
    if node.hardlink is not None:
        path.hardlink_to(staged_paths.get(node.hardlink, root / node.hardlink))
    else:
        write_content(node, path)
    return replace(node, content=make_path_content(path))
