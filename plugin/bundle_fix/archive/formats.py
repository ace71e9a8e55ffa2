"""Formats of artifacts: detected by their content, chosen for outputs by the suffix of the name."""

from __future__ import annotations

import re
from pathlib import Path

from bundle_fix.archive.compression.codecs import COMPRESSIONS, detect_compression
from bundle_fix.archive.tar.fields import has_valid_checksum
from bundle_fix.archive.zip.end_records import find_zip_end
from bundle_fix.elf.read.parser import MAGIC
from bundle_fix.model.errors import AGAIN, UNTRUSTED, BundleFixError, build_os_error
from bundle_fix.model.suggestions import suggest_file
from bundle_fix.model.tree import Tree, drop_headers

DIRECTORY = "dir"
ELF = "elf"
TAR = "tar"
WHEEL = "whl"
DEB, RPM, CONTAINER = "deb", "rpm", "container image"
APPIMAGE, SQUASHFS, CONDA = "AppImage", "squashfs", "conda"
READ_ONLY = {
    DEB: "bundle-fix reads Debian packages but does not write them",
    RPM: "bundle-fix reads RPM packages but does not write them",
    CONTAINER: "bundle-fix reads container images but does not write them",
    APPIMAGE: "bundle-fix reads AppImages but does not write them",
    CONDA: "bundle-fix reads conda packages but does not write them",
    SQUASHFS: "bundle-fix reads squashfs images but does not write them",
}
"""Formats that only `check`, `tree` and `why` accept, with the error of the other commands."""
ZIP = "zip"
AR_MAGIC, THIN_AR_MAGIC, RPM_MAGIC = b"!<arch>\n", b"!<thin>\n", b"\xed\xab\xee\xdb"
MAGIC_NUMBERS = {
    MAGIC: ELF, b"PK\3\4": ZIP, b"PK\5\6": ZIP, b"PK\7\b": ZIP, AR_MAGIC: DEB,
    THIN_AR_MAGIC: DEB, RPM_MAGIC: RPM, b"hsqs": SQUASHFS,
}  # fmt: skip
"""First bytes of files and their formats; other files are tarballs, compressed or not."""
OTHER_ARCHIVES = re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|07070[127][0-9A-Fa-f]{8}")
"""Matches the first bytes of archives that are not read: 7z, RAR and cpio."""
APPIMAGE_MARK = slice(8, 11)
"""The place of ``AI`` and the type in the ELF header of an AppImage (its specification)."""
TAR_MAGIC, TAR_MAGIC_OFFSET = b"ustar", 257
BLOCK = 512
"""Bytes of a tar header."""
START_SIZE = TAR_MAGIC_OFFSET + len(TAR_MAGIC)
"""Bytes at the start of a file by which `is_archive_start` decides."""
ZIP_SUFFIXES = frozenset(
    {".zip", ".whl", ".jar", ".pyz", ".pex", ".egg", ".nupkg", ".apk", ".conda"}
)
"""Suffixes of names for which tools expect a zip archive."""
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
    """Return the format of the artifact at ``path``, detected by its first bytes.

    It is ``zip`` for a wheel, and for a container image the format of its tarball or directory.

    Raises:
        BundleFixError: it does not exist, or cannot be read.
    """
    try:
        if path.is_dir():
            return DIRECTORY
        if not path.exists():
            hint = suggest_file(path)
            raise BundleFixError("no such file or directory", where=str(path), hint=hint)
        if not path.is_file():
            raise BundleFixError("it is neither a file nor a directory", where=str(path))
        with path.open("rb") as file:
            start = file.read(BLOCK)
            if not start:
                raise BundleFixError("the file is empty", where=str(path), hint=AGAIN)
            zip_end = find_zip_end(file.fileno())
        compression = detect_compression(path)
    except OSError as error:
        raise build_os_error("cannot read it", error, where=str(path)) from error
    kinds = {kind for magic, kind in MAGIC_NUMBERS.items() if start.startswith(magic)}
    if kinds == {ELF} and start[APPIMAGE_MARK] in (b"AI\1", b"AI\2"):
        return _check_appimage(start, path)
    if compression:
        kinds.add(TAR + compression.suffix)
    if _is_tar_header(start):
        kinds.add(TAR)
    if _ends_as_zip(path, zip_end, only=not kinds):
        # Bytes before an archive, such as an interpreter line or a program, belong to it.
        kinds = kinds - {ELF} | {ZIP}
    if len(kinds) > 1:
        names = " and ".join(sorted(kinds))
        raise BundleFixError(
            f"it is of several formats, {names}, and each tool unpacks another one",
            where=str(path), hint=UNTRUSTED,
        )  # fmt: skip
    return kinds.pop() if kinds else TAR


def _check_appimage(start: bytes, path: Path) -> str:
    """Return the format of an AppImage; raise an error if it has an ISO 9660 image (type 1)."""
    if start[APPIMAGE_MARK] == b"AI\1":
        raise BundleFixError(
            "AppImages of type 1 are not supported", where=str(path),
            hint="unpack it with --appimage-extract, and check the directory",
        )  # fmt: skip
    return APPIMAGE


def _is_tar_header(start: bytes) -> bool:
    """Return whether a file starts with a tar header, also one that is damaged."""
    has_magic = start.startswith(TAR_MAGIC, TAR_MAGIC_OFFSET)
    return has_magic or (len(start) == BLOCK and has_valid_checksum(start))


def _ends_as_zip(path: Path, zip_end: int | None, *, only: bool) -> bool:
    """Return whether a file with a zip archive that ends at ``zip_end`` is read as one.

    Bytes after the archive are tolerated in a zip archive by its name, or if no other format is
    detected (``only``): the last member of a tarball may be a zip archive.
    """
    if zip_end is None:
        return False
    return only or zip_end == path.stat().st_size or path.suffix.lower() in ZIP_SUFFIXES


def is_archive_start(start: bytes) -> bool:
    """Return whether a file with the first bytes ``start`` is an archive or a compressed file."""
    archives = tuple(magic for magic, kind in MAGIC_NUMBERS.items() if kind != ELF)
    return (
        start.startswith(archives)
        or OTHER_ARCHIVES.match(start) is not None
        or start.startswith(TAR_MAGIC, TAR_MAGIC_OFFSET)
        or any(compression.signature.match(start) for compression in COMPRESSIONS)
    )


def convert_tree(tree: Tree, source: str, target: str) -> Tree:
    """Return a tree that was read from the format ``source``, for output in the format ``target``.

    Raw headers are dropped if the formats differ.

    Raises:
        BundleFixError: the formats cannot be converted.
    """
    if target == WHEEL and source != WHEEL:
        raise BundleFixError(
            "only a wheel can be written as a wheel",
            hint="build a wheel of a project with 'pip wheel'",
        )
    families = {kind: kind.partition(".")[0] for kind in (source, target)}
    return tree if families[source] == families[target] else drop_headers(tree)


def choose_format(target: Path, otherwise: str) -> str:
    """Return the format of the suffix of ``target``, or ``otherwise`` if it has no known suffix.

    Raises:
        BundleFixError: the suffix is that of a format that cannot be written.
    """
    long_suffixes = {".tgz": ".tar.gz", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
    suffix = split_name(target.name)[1]
    if suffix:
        return long_suffixes.get(suffix, suffix).removeprefix(".")
    if target.suffix in (".7z", ".rar", ".deb", ".rpm"):
        raise BundleFixError(
            f"cannot write the format {target.suffix}", where=str(target),
            hint="choose tar, tar.gz, tar.xz, tar.zst, tar.bz2, zip, a wheel or a directory",
        )  # fmt: skip
    return otherwise


def split_name(name: str) -> tuple[str, str]:
    """Return stem and suffix of an artifact's file name: ``pack`` and ``.tar.gz``."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name[: -len(suffix)], suffix
    return name, ""
