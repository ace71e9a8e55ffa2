"""The schema of `bundle-manifest.json`, its reader and its writer.

JSON is UTF-8, but file names on Linux are any bytes. A name that is not UTF-8 is stored as
``bytes:`` and the percent-encoded bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from bundle_fix import __version__
from bundle_fix.model.content import read_exactly
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import MANIFEST_NAME, File, Tree

SCHEMA_VERSION = 1
"""Version of the schema; a change that old readers cannot read increases it."""
TOOL_NAME = "bundle-fix"
ENCODED_PREFIX = "bytes:"
"""Prefix of a name that is not UTF-8, or that itself begins with this prefix."""
MAX_MANIFEST_SIZE = 64 << 20
"""Bytes of the largest manifest that is read; one of 100,000 files has about 40,000,000."""


class ForeignManifestError(BundleFixError):
    """The file is not a manifest of bundle-fix."""


class NewerManifestError(BundleFixError):
    """The schema of the manifest is newer than this version of bundle-fix."""


class PackageRecord(msgspec.Struct, frozen=True):
    """The installed package that a file is from; ``distribution`` is for example ``debian-12``."""

    type: str
    name: str
    version: str
    architecture: str
    distribution: str = ""


class ElfRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The dynamic section of an ELF file, with the keys of ``elf --format json``."""

    machine: str
    type: str
    soname: str | None = None
    needed: Sequence[str] = ()
    rpath: str | None = None
    runpath: str | None = None
    build_id: str | None = None


class FileRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One regular file of the pack.

    Attributes:
        path: relative to the pack's root.
        sha256: the digest of its bytes, in hexadecimal.
        size: its size in bytes.
        mode: its permissions in octal, such as ``0755``.
        elf: its dynamic section; None if it is not an ELF file.
        origin: its path on the build machine: relative to the root of the spec, or absolute in a
            directory of the system; otherwise only the file name. Empty for literal text.
        package: the installed package that owned it there, if any.
    """

    path: str
    sha256: str
    size: int
    mode: str
    elf: ElfRecord | None = None
    origin: str = ""
    package: PackageRecord | None = None


class SymlinkRecord(msgspec.Struct, frozen=True):
    """One symlink of the pack and its target."""

    path: str
    target: str


class ToolRecord(msgspec.Struct, frozen=True):
    """The program that wrote the manifest."""

    name: str = TOOL_NAME
    version: str = __version__


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All files and symlinks of a pack, except the manifest itself.

    Attributes:
        schema: the version of the schema.
        tool: the program that wrote the manifest.
        name: the pack's name.
        files: the files, sorted by path.
        links: the symlinks, sorted by path.
        inputs: a digest of everything that the pack was made from; empty if `fix` changed the pack
            later.
        debug: a digest of the files and symlinks of the debug pack; empty if there is none.
    """

    schema: int
    tool: ToolRecord
    name: str
    files: Sequence[FileRecord] = ()
    links: Sequence[SymlinkRecord] = ()
    inputs: str = ""
    debug: str = ""


class _ToolHead(msgspec.Struct):
    """The name of the program that wrote the file."""

    name: str


class _ManifestHead(msgspec.Struct):
    """The keys that identify a manifest of any schema."""

    tool: _ToolHead
    schema: int


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON; equal manifests give the same bytes."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def encode_path(name: str) -> str:
    """Return a path or name of a tree as the manifest stores it; see `decode_path`."""
    if name.isascii() and not name.startswith(ENCODED_PREFIX):
        return name
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ENCODED_PREFIX + quote(raw)
    return ENCODED_PREFIX + quote(raw) if name.startswith(ENCODED_PREFIX) else text


def decode_path(text: str) -> str:
    """Return the path or name that a manifest stores as ``text``: the inverse of `encode_path`."""
    if not text.startswith(ENCODED_PREFIX):
        return text
    return os.fsdecode(unquote_to_bytes(text.removeprefix(ENCODED_PREFIX)))


def read_manifest(tree: Tree) -> Manifest | None:
    """Return the manifest in ``tree``, whose contents must be open; None if it has none.

    Raises:
        NewerManifestError: a newer version of bundle-fix wrote it.
        ForeignManifestError: it is not a manifest of bundle-fix.
        BundleFixError: it is invalid, or larger than `MAX_MANIFEST_SIZE`.
    """
    node = tree.nodes.get(MANIFEST_NAME)
    if node is None:
        return None
    if not isinstance(node, File):
        raise BundleFixError("not a regular file", where=MANIFEST_NAME)
    if node.content.size > MAX_MANIFEST_SIZE:
        raise BundleFixError(
            f"larger than the limit of {MAX_MANIFEST_SIZE >> 20} MiB", where=MANIFEST_NAME
        )
    with node.content.open() as reader:
        data = read_exactly(reader, 0, node.content.size) or b""
    return decode_manifest(data)


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in the bytes of its file; see `read_manifest` for the errors."""
    try:
        # The head comes first, because any other key may differ in a newer schema.
        head = msgspec.json.decode(data, type=_ManifestHead)
    except msgspec.ValidationError as error:
        raise ForeignManifestError(
            f"not a manifest of {TOOL_NAME}: {error}", where=MANIFEST_NAME
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleFixError(
            f"invalid JSON: {_shorten_error(error)}", where=MANIFEST_NAME
        ) from error
    if head.tool.name != TOOL_NAME:
        raise ForeignManifestError(f"not a manifest of {TOOL_NAME}", where=MANIFEST_NAME)
    if head.schema > SCHEMA_VERSION:
        raise NewerManifestError(
            f"manifest schema {head.schema} is newer than {SCHEMA_VERSION}, the latest that this"
            " version supports",
            where=MANIFEST_NAME,
        )
    if head.schema != SCHEMA_VERSION:
        raise BundleFixError(f"unknown manifest schema {head.schema}", where=MANIFEST_NAME)
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise BundleFixError(
            f"invalid manifest: {_shorten_error(error)}", where=MANIFEST_NAME
        ) from error


def _shorten_error(error: Exception) -> str:
    """Return the first line of an error, at most 200 characters."""
    text = "too many nested levels" if isinstance(error, RecursionError) else str(error)
    return text.partition("\n")[0][:200]
