"""Reading of artifacts of every format; each reader is imported only if it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.directory import read_directory, read_metadata
from bundle_fix.archive.formats import (
    APPIMAGE,
    CONDA,
    CONTAINER,
    DEB,
    DIRECTORY,
    ELF,
    READ_ONLY,
    RPM,
    SQUASHFS,
    WHEEL,
    ZIP,
    detect_format,
)
from bundle_fix.archive.install_location import (
    IMAGE_MARKS,
    find_install_location,
    is_conda_package,
)
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.packages.npm import is_npm_package
from bundle_fix.archive.wheel import is_wheel, parse_platform_tags
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, no_progress
from bundle_fix.model.tree import File, Tree


class Artifact(Struct, frozen=True):
    """An open artifact.

    Attributes:
        path: its path.
        format: ``dir``, ``elf``, ``whl``, ``zip``, one of `READ_ONLY`, or ``tar`` with the suffix
            of its compression (``tar.gz``).
        tree: its members, whose contents can be read until the context ends.
    """

    path: Path
    format: str
    tree: Tree


@contextmanager
def open_artifact(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = no_progress
) -> Iterator[Artifact]:
    """Open a directory, an archive, a package, a container image or a single ELF file.

    Args:
        path: the artifact.
        limits: the limits of its unpacked size and number of members.
        progress: receives the number of unpacked bytes, if the artifact is compressed.

    Raises:
        BundleFixError: it does not exist, cannot be read, or exceeds ``limits``.
    """
    kind = detect_format(path)
    if kind == ELF:
        real, status = path.resolve(), path.stat()
        file = File(PathContent(real, status.st_size), read_metadata(str(real), status))
        yield Artifact(path, kind, Tree({path.name: file}))
        return
    with ExitStack() as stack:
        tree = _enter_tree(stack, _select_reader(kind, path, limits, progress), path)
        if (parts := _open_conda(tree, kind, path, limits, progress)) is not None:
            yield Artifact(path, CONDA, _enter_tree(stack, parts, path))
        elif kind == ZIP:
            tree = replace(tree, platforms=parse_platform_tags(path.name))
            yield Artifact(path, WHEEL if is_wheel(tree) else ZIP, tree)
        elif kind in READ_ONLY:
            yield Artifact(path, kind, tree)
        elif (layers := _open_container(tree, path, limits, progress)) is not None:
            yield Artifact(path, CONTAINER, _enter_tree(stack, layers, path))
        else:
            location, is_npm = find_install_location(tree), is_npm_package(tree)
            tree = replace(tree, location=location, keeps_symlinks=not is_npm)
            yield Artifact(path, kind, _read_requirements(tree))


def _select_reader(
    kind: str, path: Path, limits: Limits, progress: Progress
) -> AbstractContextManager[Tree]:
    """Return a context that reads an artifact of the format ``kind``."""
    if kind == DIRECTORY:
        return nullcontext(read_directory(path, limits))
    if kind == ZIP:
        from bundle_fix.archive.zip.reader import read_zip

        return read_zip(path, limits, progress)
    if kind == DEB:
        from bundle_fix.archive.packages.deb import read_deb

        return read_deb(path, limits, progress)
    if kind in (APPIMAGE, SQUASHFS):
        from bundle_fix.archive.packages.squashfs import read_squashfs

        return read_squashfs(path, limits)
    if kind == RPM:
        from bundle_fix.archive.packages.rpm import read_rpm

        return read_rpm(path, limits, progress)
    from bundle_fix.archive.tar.reader import read_tar

    return read_tar(path, limits, progress)


def _open_conda(
    tree: Tree, kind: str, path: Path, limits: Limits, progress: Progress
) -> AbstractContextManager[Tree] | None:
    """Return a context that merges the tarballs of a ``.conda`` package; None for other trees."""
    if kind != ZIP or "metadata.json" not in tree.nodes:
        return None
    from bundle_fix.archive.packages.conda import is_conda_archive, read_conda

    return read_conda(tree, path, limits, progress) if is_conda_archive(tree) else None


def _read_requirements(tree: Tree) -> Tree:
    """Return a tree, that of a conda package with the packages that it requires."""
    if not is_conda_package(tree):
        return tree
    from bundle_fix.archive.packages.conda import add_requirements

    return add_requirements(tree)


def _open_container(
    tree: Tree, path: Path, limits: Limits, progress: Progress
) -> AbstractContextManager[Tree] | None:
    """Return a context that merges the layers of a container image; None for other trees."""
    if not any(mark in tree.nodes for mark in IMAGE_MARKS):
        return None
    from bundle_fix.archive.packages.oci_index import is_container_image

    if not is_container_image(tree):
        return None
    from bundle_fix.archive.packages.oci import merge_layers

    return merge_layers(tree, path, limits, progress)


def _enter_tree(stack: ExitStack, reading: AbstractContextManager[Tree], path: Path) -> Tree:
    """Enter a context and return its tree; add the artifact's name to errors without a file."""
    try:
        return stack.enter_context(reading)
    except BundleFixError as error:
        error.where = error.where or str(path)
        raise
