"""One door to write artifacts, each checked as it was written before it gets its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from bundle_fix.archive.compression.codecs import compression_for
from bundle_fix.archive.directory import read_directory, write_directory
from bundle_fix.archive.formats import DIRECTORY, TAR, WHEEL, ZIP
from bundle_fix.archive.limits import UNLIMITED
from bundle_fix.archive.reading import Artifact
from bundle_fix.archive.tar.writer import write_tarball
from bundle_fix.archive.wheel import renew_record
from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.archive.zip.writer import write_zip
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.storage.atomic import commit_directory, pending_directory, pending_file

T = TypeVar("T")


def write_artifact(
    tree: Tree,
    kind: str,
    target: Path,
    judge: Callable[[Tree], T],
    approve: Callable[[T], bool] = bool,
    progress: Progress = no_progress,
) -> bool:
    """Write ``tree`` to ``target``, which appears only when what was written is approved.

    Args:
        tree: what to write.
        kind: the format, as in `Artifact`.
        target: the final name.
        judge: is given the tree of the written artifact, read back from the disk; for large ones
            in a process of its own, that it changes nothing in.
        approve: is given what ``judge`` made of it, and says whether it may appear.
        progress: is told how much is written.

    Returns:
        What ``approve`` said; where it said no, nothing is left.

    Raises:
        BundleFixError: it cannot be written.
    """
    size = sum(file.content.size for _, file in tree.files())
    step = ProgressStep(f"writing {target.name}", size, parts=len(tree.nodes))
    tell = partial(progress, step)
    if kind == DIRECTORY:
        with pending_directory(target) as folder:
            write_directory(tree, folder, tell)
            approved = approve(judge(read_directory(folder, UNLIMITED)))
            if approved:
                commit_directory(folder, target)
        return approved
    if kind == WHEEL:
        tree = renew_record(tree)
    with pending_file(target) as pending:
        if kind in (WHEEL, ZIP):
            write_zip(tree, pending.file, tell)
            pending.file.flush()
            with read_zip(pending.path, UNLIMITED) as written:
                approved = approve(judge(written))
        else:
            compression = compression_for(kind.removeprefix(TAR))
            fd = pending.file.fileno()
            approved = approve(write_tarball(tree, fd, compression, target, judge, progress))
        if approved:
            pending.commit()
    return approved


def copy_artifact(artifact: Artifact, target: Path) -> None:
    """Make ``target`` a copy of an artifact; a file's is the same byte for byte."""
    if artifact.format == DIRECTORY:
        write_artifact(artifact.tree, DIRECTORY, target, lambda _: True)
        return
    with artifact.path.open("rb") as original, pending_file(target) as pending:
        shutil.copyfileobj(original, pending.file, 1 << 20)
        pending.commit()
