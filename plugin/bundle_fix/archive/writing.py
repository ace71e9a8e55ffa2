"""Writing of artifacts: under a temporary name, read back from the disk, renamed if committed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.compression.codecs import get_compression
from bundle_fix.archive.directory import read_directory, write_directory
from bundle_fix.archive.formats import DIRECTORY, TAR, WHEEL, ZIP
from bundle_fix.archive.limits import UNLIMITED
from bundle_fix.archive.reading import Artifact
from bundle_fix.archive.tar.writer import write_tarball
from bundle_fix.archive.wheel import parse_platform_tags
from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.archive.zip.writer import write_zip
from bundle_fix.model.progress import Progress, ProgressStep, no_progress
from bundle_fix.model.tree import Tree
from bundle_fix.storage.atomic import (
    commit_directory,
    create_pending_directory,
    create_pending_file,
)


class StagedArtifact(Struct, frozen=True):
    """A complete artifact that does not have its final name yet.

    Attributes:
        tree: the tree as read back from the disk; valid until the context of the artifact ends.
        commit: give the artifact its final name; without it the artifact vanishes.
    """

    tree: Tree
    commit: Callable[[], None]


@contextmanager
def stage_artifact(
    tree: Tree, kind: str, target: Path, progress: Progress = no_progress
) -> Iterator[StagedArtifact]:
    """Write ``tree`` next to ``target``, read it back, and remove it unless it is committed.

    Args:
        tree: the members to write; their contents must stay open.
        kind: the format, as in `Artifact`.
        target: the final name.
        progress: receives the number of written bytes or members.

    Raises:
        BundleFixError: it cannot be written, or the disk does not return the written bytes.
    """
    if kind == DIRECTORY:
        with create_pending_directory(target) as directory:
            write_directory(tree, directory, partial(progress, _build_writing_step(tree, target)))
            commit = partial(commit_directory, directory, target)
            yield StagedArtifact(read_directory(directory, UNLIMITED), commit)
        return
    with create_pending_file(target) as pending:
        if kind in (WHEEL, ZIP):
            write_zip(tree, pending.file, partial(progress, _build_writing_step(tree, target)))
            pending.file.flush()
            with read_zip(pending.path, UNLIMITED) as written:
                platforms = parse_platform_tags(target.name)
                yield StagedArtifact(replace(written, platforms=platforms), pending.commit)
        else:
            compression = get_compression(kind.removeprefix(TAR))
            written = write_tarball(tree, pending.file.fileno(), compression, target, progress)
            yield StagedArtifact(written, pending.commit)


def _build_writing_step(tree: Tree, target: Path) -> ProgressStep:
    """Return the progress step in which ``tree`` is written."""
    size = sum(file.content.size for _, file in tree.iter_files())
    return ProgressStep(f"writing {target.name}", size, parts=len(tree.nodes))


@contextmanager
def stage_copy(artifact: Artifact, target: Path | None) -> Iterator[StagedArtifact]:
    """Yield an artifact as it is; the commit copies it to ``target``.

    If ``target`` is None, the commit does nothing: the artifact is already in its place.
    """
    commit = partial(copy_artifact, artifact, target) if target else lambda: None
    yield StagedArtifact(artifact.tree, commit)


def copy_artifact(artifact: Artifact, target: Path) -> None:
    """Copy an artifact to ``target``: a file byte for byte, a directory member by member."""
    if artifact.format == DIRECTORY:
        with stage_artifact(artifact.tree, DIRECTORY, target) as staged:
            staged.commit()
        return
    with artifact.path.open("rb") as original, create_pending_file(target) as pending:
        shutil.copyfileobj(original, pending.file, 1 << 20)
        pending.commit()
