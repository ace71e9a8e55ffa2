"""The layout of `bundle-manifest.json`, and how it is read and written.

JSON is UTF-8, and names of files need not be: others stand percent-encoded behind ``bytes:``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec

from bundle_fix import __version__
from bundle_fix.model.content import read_exactly
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Tree

NAME = "bundle-manifest.json"
SCHEMA = 1
"""Version of the layout; it grows when a reader of the old one would stumble."""
TOOL = "bundle-fix"
ENCODED = "bytes:"
"""What precedes a name that JSON cannot hold, or that begins like this itself."""
MAX_SIZE = 64 << 20
"""Bytes of the longest manifest that is read; one of 100,000 files has 40 million."""


class NoManifestError(BundleFixError):
    """What is there is not a manifest of this tool's."""


class NewerManifestError(BundleFixError):
    """The manifest is of a layout that only a later version of the tool knows."""


class PackageRecord(msgspec.Struct, frozen=True):
    """The installed package that a file came from; ``distribution`` is such as ``debian-12``."""

    type: str
    name: str
    version: str
    architecture: str
    distribution: str = ""


class ElfRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the loader reads of an ELF file in the pack, in the words of ``elf --format json``."""

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
        sha256: of its bytes, in hexadecimal.
        size: in bytes.
        mode: its permission bits in octal, such as ``0755``.
        elf: what it is where it is an ELF file.
        origin: where it was on the build machine: relative to the root, absolute for what belongs
            to the system, the bare name for the rest; empty for literal text.
        package: what owned it there.
    """

    path: str
    sha256: str
    size: int
    mode: str
    elf: ElfRecord | None = None
    origin: str = ""
    package: PackageRecord | None = None


class LinkRecord(msgspec.Struct, frozen=True):
    """One symbolic link of the pack and the text that it holds."""

    path: str
    target: str


class ToolRecord(msgspec.Struct, frozen=True):
    """What made the manifest."""

    name: str = TOOL
    version: str = __version__


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """All files and links of a pack, but for the manifest itself.

    Attributes:
        schema: the version of this layout.
        tool: what made it.
        name: the pack's name.
        files: sorted by path.
        links: sorted by path.
        inputs: a digest of all that the pack was made from; empty where it was changed since.
        debug: a digest of the files and links of the debug pack; empty where there is none.
    """

    schema: int
    tool: ToolRecord
    name: str
    files: Sequence[FileRecord] = ()
    links: Sequence[LinkRecord] = ()
    inputs: str = ""
    debug: str = ""


class _Name(msgspec.Struct):
    name: str


class _Head(msgspec.Struct):
    """What tells a manifest of any version from other files."""

    tool: _Name
    schema: int


def encode(manifest: Manifest) -> bytes:
    """The manifest as JSON text, the same for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def written(name: str) -> str:
    """A path or a name of a tree as the manifest has it."""
    if name.isascii() and not name.startswith(ENCODED):
        return name
    raw = os.fsencode(name)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ENCODED + quote(raw)
    return ENCODED + quote(raw) if name.startswith(ENCODED) else text


def path_of(text: str) -> str:
    """The path or name that a manifest has as ``text``: the reverse of `written`."""
    return os.fsdecode(unquote_to_bytes(text[len(ENCODED) :])) if text.startswith(ENCODED) else text


def read_manifest(tree: Tree) -> Manifest | None:
    """The manifest in ``tree``, whose contents must be open; None where it has none.

    Raises:
        NewerManifestError: a later version of the tool made it.
        NoManifestError: it is something else.
        BundleFixError: it is damaged, or too long to be read.
    """
    node = tree.nodes.get(NAME)
    if node is None:
        return None
    if not isinstance(node, File):
        raise BundleFixError("it is not a regular file", where=NAME)
    if node.content.size > MAX_SIZE:
        raise BundleFixError(f"it is longer than {MAX_SIZE >> 20} MiB", where=NAME)
    with node.content.open() as reader:
        data = read_exactly(reader, 0, node.content.size) or b""
    return _decoded(data)


def _decoded(data: bytes) -> Manifest:
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError as error:
        raise NoManifestError(f"it is not a manifest of {TOOL}'s: {error}", where=NAME) from error
    except (ValueError, RecursionError) as error:
        raise BundleFixError(f"it is not JSON: {_one_line(error)}", where=NAME) from error
    if head.tool.name != TOOL:
        raise NoManifestError(f"it is not a manifest of {TOOL}'s", where=NAME)
    if head.schema > SCHEMA:
        raise NewerManifestError(
            f"it is of the layout {head.schema}, and this version knows {SCHEMA}", where=NAME
        )
    if head.schema != SCHEMA:
        raise BundleFixError(f"it is of the layout {head.schema}, which there is not", where=NAME)
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise BundleFixError(
            f"it is not as it should be: {_one_line(error)}", where=NAME
        ) from error


def _one_line(error: Exception) -> str:
    text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return text.partition("\n")[0][:200]
