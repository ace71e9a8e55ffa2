"""References to libraries by their file names: what may ask for a name must still find it.

A name is asked for by an object that needs it or opens it, by a script, a build-system file
(``-lx`` of pkg-config, CMake's and libtool's paths, a Python ``get_libraries()``), and by a scan of
a plugin directory for ``*.so``. All files are searched, whatever their names. A name that only
seems to be asked for costs a copy; a name that is missing breaks a program.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import Content, PathContent, SliceReader, read_chunks, read_exactly
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.tree import MANIFEST_NAME
from bundle_fix.plan.companions import list_signed_files
from bundle_fix.plan.links import list_links

MAX_NAMES = 200
"""Names that are searched for; with more of them, each counts as asked for."""
MAX_STRING_TABLE = 16 << 20
"""Bytes of a dynamic string table that are searched for an entry point."""
OVERLAP = 512
"""Bytes of each chunk that are searched again with the next: a name may cross the border."""
ENTRY_POINTS = (b"\0PyInit_", b"\0JNI_OnLoad\0", b"\0Java_", b"\0luaopen_", b"\0Init_", b"\0boot_")
"""Symbols of modules that an interpreter finds by a name without ``.so``: Python ("Building C
extensions"), Java (the JNI specification, "Resolving Native Method Names"), Lua (package.loadlib),
Ruby ("Creating extension libraries"), Perl (perlxs)."""
PATTERN_MARKS = rb"[*?%{$@\[\\]"
"""Characters that begin the variable part of a name in patterns and format strings."""
MAX_BEFORE = 40
"""Bytes before ``.so`` that are compared with the next two patterns."""
ALONE_IN_TEXT = re.compile(rb"(?:^|[^\w+.)\]-]|%[-.\d]*s|%\(\w+\)s|\$\w+)$")
"""What stands before the ``.so`` of a pattern (``*.so``, ``lib%s.so``, ``endswith(".so")``)."""
ALONE_IN_BINARY = re.compile(rb"(?:[\0*?}/]|%[-.\d]*s)$")
"""The same in a string of a program, which ends with a NUL."""


class _Searched(Struct, frozen=True):
    """A name with the patterns of the texts and of the binary files that ask for it."""

    path: str
    stem: bytes
    in_text: re.Pattern[bytes]
    in_binary: re.Pattern[bytes]
    has_version: bool


def find_references(
    bundle: Bundle, paths: Collection[str], code: Sequence[Path] = ()
) -> dict[str, str]:
    """Return the libraries whose names something may ask for, each with a remark that says what.

    Args:
        bundle: the pack; its contents must be open.
        paths: the libraries that may lose their names.
        code: files outside the pack that may contain names.
    """
    found: dict[str, str] = {}
    links = {end: link for link, end in list_links(bundle.tree).items()}
    signed = list_signed_files(bundle.tree, paths)
    for path in paths:
        if path in signed:
            found[path] = f"name kept: {signed[path]} belongs to it"
        elif remark := _find_structural_reference(bundle, path, links):
            found[path] = remark
    searched = [path for path in paths if path not in found]
    if len(searched) > MAX_NAMES:
        reason = f"name kept: more than {MAX_NAMES} names would have to be searched for"
        return found | dict.fromkeys(searched, reason)
    mentions = find_mentions(bundle, searched, code)
    return found | {path: f"name kept: {other} contains it" for path, other in mentions.items()}


def find_mentions(
    bundle: Bundle,
    paths: Collection[str],
    code: Sequence[Path] = (),
    own: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the names that occur in a file, each with the first such file.

    Args:
        bundle: the pack; its contents must be open.
        paths: the members whose names are searched for.
        code: files outside the pack that are searched as well.
        own: for members that are links, the file that they lead to, which contains its soname.
    """
    found: dict[str, str] = {}
    searched = [_make_searched(path) for path in paths]
    for other, content in _list_contents(bundle, code) if searched else ():
        foreign = [name for name in searched if (own or {}).get(name.path) != other]
        size = _get_loaded_size(bundle.images.get(other), content.size)
        for name in _find_names(content, size, foreign) if foreign else ():
            found.setdefault(name.path, other)
        searched = [name for name in searched if name.path not in found]
        if not searched:
            break
    return found


def _find_structural_reference(bundle: Bundle, path: str, links: dict[str, str]) -> str:
    """Return a remark on what asks for the name of a library by its place, or an empty text."""
    name = posixpath.basename(path)
    for other, image in bundle.images.items():
        if any(posixpath.basename(needed) == name for needed in image.needed):
            return f"name kept: {other} needs it"
    if path in links:
        return f"name kept: {links[path]} is a link to it"
    if not name.endswith(".so"):
        return ""
    if not name.startswith("lib") or _is_module(bundle, path):
        return "name kept: plugins are opened by their file names"
    if bundle.images[path].soname in bundle.needed_names:
        # A dependency of other objects: a scan of its directory looks for plugins only.
        return ""
    for other in bundle.list_libraries():
        if posixpath.dirname(other) == posixpath.dirname(path) and _is_plugin(bundle, other):
            return f"name kept: programs may scan its directory for plugins such as {other}"
    return ""


def _is_plugin(bundle: Bundle, path: str) -> bool:
    """Return whether a library looks like a plugin: a name without version that no object needs.

    Extension modules of Python are imported by name, so no program scans their directory.
    """
    names = {posixpath.basename(path), bundle.images[path].soname or ""}
    if not path.endswith(".so") or names & bundle.needed_names:
        return False
    return not _is_module(bundle, path)


def _is_module(bundle: Bundle, path: str) -> bool:
    """Return whether a library has the entry point of a module of an interpreter."""
    table = find_string_table(bundle.images[path])
    if table is None:
        return False
    with bundle.get_content(path).open() as reader:
        data = read_exactly(reader, table[0], min(table[1], MAX_STRING_TABLE)) or b""
    return any(symbol in data for symbol in ENTRY_POINTS)


def _make_searched(path: str) -> _Searched:
    name = posixpath.basename(path).encode("utf-8", "surrogateescape")
    stem = get_library_stem(path).encode("utf-8", "surrogateescape")
    short = stem.removeprefix(b"lib")
    # A pattern may begin with any part of the name that ends before a dot: libx.so.%d, libx*.
    versions = name[len(stem) + 3 :].split(b".")[1:]
    ends = b""
    for version in reversed(versions):
        ends = rb"(?:\.%b%b)?" % (re.escape(version), ends)
    pattern = rb"%b(?:\.so%b)?\.?%b" % (re.escape(stem), ends, PATTERN_MARKS)
    in_text = [rb"%b(?!\w|[.-]\w)" % re.escape(name), pattern, rb"%b\.so\.[\"']" % re.escape(stem)]
    # Names in Go programs and in bytecode are not separated from the next string.
    in_binary = [rb"%b(?!\.\d)" % re.escape(name), pattern]
    if name.endswith(b".so"):
        # Programs that add ".so", linker options, and lists of libraries without prefix.
        in_text += [
            rb"[\"']%b[\"']" % re.escape(short),
            rb"-l%b(?![\w.-])" % re.escape(short),
            rb"[}*]%b[*{$%%]" % re.escape(short),
            rb"%b(?!\w|[.-]\w)" % re.escape(stem),
        ]
        in_binary.append(rb"\0%b\0" % re.escape(stem))
    return _Searched(
        path, short, re.compile(b"|".join(in_text)), re.compile(b"|".join(in_binary)),
        not name.endswith(b".so"),
    )  # fmt: skip


def _list_contents(bundle: Bundle, code: Sequence[Path]) -> Iterator[tuple[str, Content]]:
    """Yield the files that may ask for names: not the lists of files that installers read."""
    for path, file in bundle.tree.iter_files():
        top = path.partition("/")[0]
        if not top.endswith(METADATA_SUFFIX) and path != MANIFEST_NAME:
            yield path, file.content
    for source in code:
        yield str(source), PathContent(source.resolve(), source.stat().st_size)


def _get_loaded_size(image: Image | None, size: int) -> int:
    """Return how much of a file a process sees; the symbols of an ELF file may name its source."""
    end = max((segment.file_end for segment in image.find_loads()), default=0) if image else 0
    return min(end, size) or size


def _find_names(content: Content, size: int, searched: Sequence[_Searched]) -> Iterator[_Searched]:
    """Yield the names that the first ``size`` bytes of a file ask for."""
    end = b""
    is_text = None
    with content.open() as reader:
        for piece in read_chunks(SliceReader(reader, 0, size)):
            is_text = b"\0" not in piece if is_text is None else is_text
            data = end + piece
            any_name = _contains_suffix_alone(data, is_text=is_text)
            for name in searched:
                if any_name and not name.has_version:
                    yield name
                elif name.stem in data:
                    pattern = name.in_text if is_text else name.in_binary
                    if pattern.search(data):
                        yield name
            end = data[-OVERLAP:]


def _contains_suffix_alone(data: bytes, *, is_text: bool) -> bool:
    """Return whether ``.so`` occurs without a name: in a pattern, or to be added to a name."""
    suffix, before = (b".so", ALONE_IN_TEXT) if is_text else (b".so\0", ALONE_IN_BINARY)
    at = data.find(suffix)
    while at >= 0:
        follows = data[at + 3 : at + 4]
        is_end = not (follows.isalnum() or follows == b"_")
        if is_end and before.search(data[max(0, at - MAX_BEFORE) : at]):
            return True
        at = data.find(suffix, at + 3)
    return False
