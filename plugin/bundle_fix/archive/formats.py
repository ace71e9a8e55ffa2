"""The formats of artifacts, told by their content, and what their names end in."""

from __future__ import annotations

from pathlib import Path

from bundle_fix.archive.compression.codecs import detect_compression
from bundle_fix.elf.read.parser import MAGIC
from bundle_fix.model.errors import AGAIN, BundleFixError
from bundle_fix.model.tree import Tree, drop_headers

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
AR_MAGIC, RPM_MAGIC = b"!<arch>\n", b"\xed\xab\xee\xdb"
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


def detect_format(path: Path) -> str:
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
            raise BundleFixError("the file is empty", where=str(path), hint=AGAIN)
        compression = detect_compression(path)
    except OSError as error:
        raise BundleFixError(f"cannot read it: {error.strerror}", where=str(path)) from error
    kind = next((kind for mark, kind in STARTS.items() if start.startswith(mark)), None)
    return kind or TAR + (compression.suffix if compression else "")


def convert_tree(tree: Tree, source: str, target: str) -> Tree:
    """``tree``, read from an artifact of the format ``source``, for one of the format ``target``.

    Raises:
        BundleFixError: there is no way from the one to the other.
    """
    if target == WHEEL and source != WHEEL:
        raise BundleFixError(
            "only a wheel can be written as a wheel", hint="'pip wheel' makes wheels of projects"
        )
    families = {kind: kind.partition(".")[0] for kind in (source, target)}
    return tree if families[source] == families[target] else drop_headers(tree)


def choose_format(target: Path, otherwise: str) -> str:
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
