"""Names of their own for the libraries that a wheel bundles, such as ``libdep-1a2b3c4d.so.1``.

A process loads one library per soname: glibc compares a needed name with the sonames of all loaded
objects before it searches (dl-load.c, _dl_map_object). Of two wheels with different copies of one
soname, the second would use the copy of the first. The hash in the name stands for the contents of
the library and of all bundled libraries that it needs, so equal names mean equal libraries.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.loader.dlopen import find_library_name_strings, imports_dlopen
from bundle_fix.model.content import Content, PathContent, read_chunks
from bundle_fix.model.library_names import get_library_stem, get_library_version
from bundle_fix.model.tree import resolve_path
from bundle_fix.plan.naming.new_names import rename_files
from bundle_fix.storage.digests import compute_sha256

HASH_LENGTH = 8
"""Digits of the hash in a name, as in those of auditwheel."""
OVERLAP = 256
"""Bytes of a text that are searched again with the next chunk: a name may cross the border."""

NameKey = tuple[tuple[int, str, int], str]
"""The architecture of a library, and a name by which objects need it."""


class UniqueNames(Struct, frozen=True):
    """The new names of bundled libraries.

    Attributes:
        paths: old path to new path.
        names: the new soname for each name by which an object of an architecture may need one.
        remarks: why a library keeps its name, by its path.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[NameKey, str] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)


def choose_unique_names(
    bundle: Bundle,
    libraries: Collection[str],
    opened: Collection[str] = (),
    code: Sequence[Path] = (),
) -> UniqueNames:
    """Return the new names of bundled libraries; those that may be opened by name keep theirs.

    Args:
        bundle: the wheel; its contents must be open.
        libraries: the paths of the bundled libraries.
        opened: names that something opens with dlopen(3).
        code: files outside the wheel that may contain names of libraries.
    """
    named = {path: _list_file_names(bundle, path) for path in libraries}
    reasons = _find_openers(bundle, {name for names in named.values() for name in names}, code)
    reasons |= dict.fromkeys(opened, "it is opened by this name")
    remarks = {
        path: f"name kept: {reason}"
        for path, names in named.items()
        for reason in [reasons[name] for name in names if name in reasons][:1]
    }
    digests = _compute_digests(bundle, named)
    paths: dict[str, str] = {}
    by_name: dict[NameKey, str] = {}
    for path, names in named.items():
        if path in remarks:
            continue
        new = insert_hash(names[0], digests[path])
        paths[path] = posixpath.join(posixpath.dirname(path), new)
        by_name |= {(bundle.images[path].architecture, name): new for name in names}
    return UniqueNames(paths, by_name, remarks)


def rename_libraries(bundle: Bundle, names: UniqueNames) -> Bundle:
    """Return ``bundle`` with the files under their new names, without symlinks to the old ones."""
    links = {
        p for p, _ in bundle.tree.iter_symlinks() if resolve_path(bundle.tree, p) in names.paths
    }
    nodes = {path: node for path, node in bundle.tree.nodes.items() if path not in links}
    return rename_files(build_bundle(replace(bundle.tree, nodes=nodes), bundle.images), names.paths)


def plan_name_edits(bundle: Bundle, names: UniqueNames) -> dict[str, Changes]:
    """Return the changes of sonames and needed names, by path, after `rename_libraries`."""
    renamed = set(names.paths.values())
    edits: dict[str, Changes] = {}
    for path, image in bundle.images.items():
        needed = tuple(
            (name, new)
            for name in dict.fromkeys(image.needed)
            if (new := names.names.get((image.architecture, posixpath.basename(name))))
        )
        soname = posixpath.basename(path) if path in renamed else None
        if needed or soname:
            edits[path] = Changes(soname=soname, replace_needed=needed)
    return edits


def merge_edits(names: Mapping[str, Changes], others: Mapping[str, Changes]) -> dict[str, Changes]:
    """Return the changes of `plan_name_edits` together with those that were planned after them."""
    merged = {**names, **others}
    for path in names.keys() & others.keys():
        first, then = names[path], others[path]
        new = {name for _, name in first.replace_needed}
        merged[path] = replace(
            first,
            runpath=then.runpath,
            rpath=then.rpath,
            replace_needed=(
                *first.replace_needed, *(p for p in then.replace_needed if p[0] not in new)
            ),
            insert_needed=tuple(p for p in then.insert_needed if p[0] not in new),
        )  # fmt: skip
    return merged


def insert_hash(name: str, digest: str) -> str:
    """Return the name of a library with a hash before its ``.so``."""
    suffix = (
        name[len(get_library_stem(name)) :]
        if get_library_version(name) or name.endswith(".so")
        else ""
    )
    return f"{name.removesuffix(suffix)}-{digest[:HASH_LENGTH]}{suffix}"


def _list_file_names(bundle: Bundle, path: str) -> list[str]:
    """Return the names by which objects may need a library, its soname first."""
    image = bundle.images[path]
    links = (
        posixpath.basename(link)
        for link, _ in bundle.tree.iter_symlinks()
        if resolve_path(bundle.tree, link) == path
    )
    return list(dict.fromkeys([*filter(None, [image.soname]), posixpath.basename(path), *links]))


def _compute_digests(bundle: Bundle, named: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the hash of each library together with those of the libraries that it needs."""
    own = {path: compute_sha256(bundle.get_content(path)) for path in named}
    providers = {
        (bundle.images[path].architecture, name): path
        for path, names in named.items()
        for name in names
    }
    found = {}
    for path in named:
        reached, queue = {path}, [bundle.images[path]]
        while queue:
            for other in _iter_providers(queue.pop(), providers):
                if other not in reached:
                    reached.add(other)
                    queue.append(bundle.images[other])
        parts = sorted(own[other] for other in reached - {path})
        joined = "".join([own[path], *parts]).encode()
        found[path] = hashlib.sha256(joined).hexdigest() if parts else own[path]
    return found


def _iter_providers(image: Image, providers: Mapping[NameKey, str]) -> Iterator[str]:
    for name in image.needed:
        key = (image.architecture, posixpath.basename(name))
        if key in providers:
            yield providers[key]


def _find_openers(bundle: Bundle, names: Collection[str], code: Sequence[Path]) -> dict[str, str]:
    """Return what may open a library by one of ``names``: an object with dlopen, or other code."""
    found: dict[str, str] = {}
    for path, image in bundle.images.items():
        if image.is_dynamic:
            with bundle.get_content(path).open() as reader:
                if imports_dlopen(reader, image):
                    strings = find_library_name_strings(reader, image)
                    found |= {name: f"{path} may open it" for name in names if name in strings}
    searched = re.compile(
        rb"(?<![\w.+-])(%b)(?![\w.-]*[\w])"
        % b"|".join(re.escape(n).encode() for n in sorted(names))
    )
    for label, content in _list_texts(bundle, code) if names else ():
        for name in _find_in_text(content, searched):
            found.setdefault(name, f"{label} contains it")
    return found


def _list_texts(bundle: Bundle, code: Sequence[Path]) -> Iterator[tuple[str, Content]]:
    """Yield the files that are not ELF files and not the wheel's metadata."""
    for path, file in bundle.tree.iter_files():
        is_metadata = path.partition("/")[0].endswith(METADATA_SUFFIX)
        if path not in bundle.images and path not in bundle.foreign_systems and not is_metadata:
            yield path, file.content
    for source in code:
        yield str(source), PathContent(source.resolve(), source.stat().st_size)


def _find_in_text(content: Content, searched: re.Pattern[bytes]) -> Iterator[str]:
    end = b""
    with content.open() as reader:
        for piece in read_chunks(reader):
            data = end + piece
            yield from (match[1].decode() for match in searched.finditer(data))
            end = data[-OVERLAP:]
