"""Which format an artifact has, told by its content, and one door to read and write each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.artifacts.compression import compression_for, compression_of
from bundle_fix.artifacts.container import is_container, merged_layers
from bundle_fix.artifacts.deb import MAGIC as AR_MAGIC
from bundle_fix.artifacts.deb import read_deb
from bundle_fix.artifacts.directory import read_directory, write_directory
from bundle_fix.artifacts.limits import DEFAULT_LIMITS, UNLIMITED, Limits
from bundle_fix.artifacts.output import commit_directory, pending_directory, pending_file
from bundle_fix.artifacts.places import place_of
from bundle_fix.artifacts.rpm import MAGIC as RPM_MAGIC
from bundle_fix.artifacts.rpm import read_rpm
from bundle_fix.artifacts.tar import read_tar
from bundle_fix.artifacts.tarball import write_tarball
from bundle_fix.artifacts.wheel import is_wheel, renew_record
from bundle_fix.artifacts.zip import read_zip
from bundle_fix.artifacts.zip_writing import write_zip
from bundle_fix.content import PathContent
from bundle_fix.elf.image import MAGIC
from bundle_fix.errors import BundleFixError
from bundle_fix.progress import Progress, Step, unheard
from bundle_fix.tree import File, Stamp, Tree, detached

DIRECTORY = "dir"
ELF = "elf"
TAR = "tar"
WHEEL = "whl"
DEB, RPM, CONTAINER = "deb", "rpm", "container image"
READ_ONLY = {
    DEB: "a Debian package is read, never written",
    RPM: "an RPM package is read, never written",
    CONTAINER: "a container image is read, never written",
}
"""Formats that only `check`, `tree` and `why` take, and what is said of them elsewhere."""
ZIP = "zip"
STARTS = {
    MAGIC: ELF, b"PK\3\4": ZIP, b"PK\5\6": ZIP, b"PK\7\b": ZIP, AR_MAGIC: DEB, RPM_MAGIC: RPM,
}  # fmt: skip
"""How files of each format start; what starts otherwise is a tarball, or nothing that is known."""
SUFFIXES = (
    ".tar.gz",
    ".tar.zst",
    ".tar.xz",
    ".tar.bz2",
    ".tgz",
    ".txz",
    ".tzst",
    ".tar",
    ".whl",
    ".zip",
)


class Artifact(Struct, frozen=True):
    """An artifact that is open: its tree can be read until the context ends.

    ``format`` is ``dir``, ``elf``, ``whl``, ``zip``, one of `READ_ONLY`, or ``tar`` with its
    compression's suffix (``tar.gz``).
    """

    path: Path
    format: str
    tree: Tree


@contextmanager
def open_artifact(
    path: Path, limits: Limits = DEFAULT_LIMITS, progress: Progress = unheard
) -> Iterator[Artifact]:
    """Open the artifact at ``path``: a folder, an archive, a package, an image or an ELF file.

    Args:
        path: where it is.
        limits: how much it may hold.
        progress: is told how much of a tarball is unpacked; nothing else takes long to open.

    Raises:
        BundleFixError: there is none, it cannot be read, or holds more than ``limits`` allow.
    """
    kind = format_of(path)
    if kind == ELF:
        status = path.stat()
        stamp = Stamp(status.st_mode & 0o7777, status.st_uid, status.st_gid, mtime=status.st_mtime)
        file = File(PathContent(path.resolve(), status.st_size), stamp)
        yield Artifact(path, kind, Tree({path.name: file}))
        return
    with ExitStack() as stack:
        read = READERS.get(kind)
        reading = read(path, limits) if read else read_tar(path, limits, progress)
        tree = _entered(stack, reading, path)
        if kind == ZIP:
            yield Artifact(path, WHEEL if is_wheel(tree) else ZIP, tree)
        elif kind in READ_ONLY:
            yield Artifact(path, kind, tree)
        elif is_container(tree):
            merged = _entered(stack, merged_layers(tree, path, limits), path)
            yield Artifact(path, CONTAINER, merged)
        else:
            yield Artifact(path, kind, replace(tree, place=place_of(tree)))


Read = Callable[[Path, Limits], AbstractContextManager[Tree]]


@contextmanager
def _read_directory(path: Path, limits: Limits) -> Iterator[Tree]:
    yield read_directory(path, limits)


READERS: dict[str, Read] = {
    DIRECTORY: _read_directory, ZIP: read_zip, DEB: read_deb, RPM: read_rpm,
}  # fmt: skip
"""What reads artifacts that are no tarballs."""


def _entered(stack: ExitStack, reading: AbstractContextManager[Tree], path: Path) -> Tree:
    """The tree that is being read; errors that do not say where get the artifact's name."""
    try:
        return stack.enter_context(reading)
    except BundleFixError as error:
        error.where = error.where or str(path)
        raise


def format_of(path: Path) -> str:
    """The format of the artifact at ``path``, by its first bytes.

    A wheel's is ``zip``; an image's that of the tarball or folder that it is in.

    Raises:
        BundleFixError: there is nothing, or it cannot be read.
    """
    try:
        if path.is_dir():
            return DIRECTORY
        if not path.exists():
            raise BundleFixError("there is no such file or folder", where=str(path))
        if not path.is_file():
            raise BundleFixError("it is neither a file nor a folder", where=str(path))
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise BundleFixError(
                "the file is empty", where=str(path), hint="copy or download it again"
            )
        compression = compression_of(path)
    except OSError as error:
        raise BundleFixError(f"cannot read it: {error.strerror}", where=str(path)) from error
    kind = next((kind for mark, kind in STARTS.items() if start.startswith(mark)), None)
    return kind or TAR + (compression.suffix if compression else "")


def write_artifact(
    tree: Tree,
    kind: str,
    target: Path,
    approve: Callable[[Tree], bool],
    progress: Progress = unheard,
) -> bool:
    """Write ``tree`` to ``target``, which appears only when ``approve`` likes what was written.

    Args:
        tree: what to write.
        kind: the format, as in `Artifact`.
        target: the final name.
        approve: is given the tree of the written artifact, read back from the disk.
        progress: is told how much is written.

    Returns:
        What ``approve`` said; where it said no, nothing is left.

    Raises:
        BundleFixError: it cannot be written.
    """
    size = sum(file.content.size for _, file in tree.files())
    step = Step(f"writing {target.name}", size, parts=len(tree.nodes))
    tell = partial(progress, step)
    if kind == DIRECTORY:
        with pending_directory(target) as folder:
            write_directory(tree, folder, tell)
            approved = approve(read_directory(folder, UNLIMITED))
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
                approved = approve(written)
        else:
            compression = compression_for(kind.removeprefix(TAR))
            fd = pending.file.fileno()
            approved = approve(write_tarball(tree, fd, compression, target, progress))
        if approved:
            pending.commit()
    return approved


def converted(tree: Tree, source: str, target: str) -> Tree:
    """``tree``, read from an artifact of the format ``source``, for one of the format ``target``.

    Raises:
        BundleFixError: there is no way from the one to the other.
    """
    if target == WHEEL and source != WHEEL:
        raise BundleFixError(
            "only a wheel can be written as a wheel", hint="'pip wheel' makes wheels of projects"
        )
    families = {kind: kind.partition(".")[0] for kind in (source, target)}
    return tree if families[source] == families[target] else detached(tree)


def copy_artifact(artifact: Artifact, target: Path) -> None:
    """Make ``target`` a copy of an artifact; a file's is the same byte for byte."""
    if artifact.format == DIRECTORY:
        write_artifact(artifact.tree, DIRECTORY, target, lambda _: True)
        return
    with artifact.path.open("rb") as original, pending_file(target) as pending:
        shutil.copyfileobj(original, pending.file, 1 << 20)
        pending.commit()


def format_for(target: Path, otherwise: str) -> str:
    """The format that the name of an output asks for, or ``otherwise`` where it asks for none.

    Raises:
        BundleFixError: it asks for one that cannot be written.
    """
    short = {".tgz": ".tar.gz", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
    suffix = split_name(target.name)[1]
    if suffix:
        return short.get(suffix, suffix).removeprefix(".")
    if target.suffix in (".7z", ".rar", ".deb", ".rpm"):
        raise BundleFixError(
            f"{target.suffix} cannot be written", where=str(target),
            hint="tar, tar.gz, tar.xz, tar.zst, tar.bz2, zip, wheels and folders can",
        )  # fmt: skip
    return otherwise


def split_name(name: str) -> tuple[str, str]:
    """An artifact's file name as stem and suffix: ``pack.tar.gz`` is ``pack`` and ``.tar.gz``."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name[: -len(suffix)], suffix
    return name, ""
