"""Shared libraries of an entry: each is added with its real name, and symlinks for its others."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bundle_fix.collect.files import create_node
from bundle_fix.collect.pack_builder import Origin, PackBuilder
from bundle_fix.collect.patterns import KeyLocator, build_no_match_error, find_matches
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.model.content import PathContent, has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.suggestions import suggest_word
from bundle_fix.model.tree import Metadata, Symlink
from bundle_fix.spec.table_types import LibrariesEntry
from bundle_fix.spec.variables import Values, substitute_variables


def find_library_sources(
    builder: PackBuilder, entry: LibrariesEntry, values: Values, locate: KeyLocator
) -> list[tuple[Path, frozenset[str]]]:
    """Return the files of an entry of ``[[libraries]]``; ``locate`` returns its keys' positions.

    Returns:
        Each file with the names of its copies that were found as well.

    Raises:
        BundleFixError: no file is found and the entry is not optional; or a library is for another
            machine than the pack's programs; or two different versions of a library are found.
    """
    machines = _list_program_machines(builder)
    if entry.source is not None:
        pattern = substitute_variables(entry.source, values)
        exclude = [substitute_variables(text, values) for text in entry.exclude]
        found = find_matches(builder.root, pattern, exclude)
        if not found and not entry.optional:
            raise build_no_match_error(pattern, builder.root, locate("from"))
        return _deduplicate_libraries(found, machines, locate("from"))
    name = substitute_variables(entry.name or "", values)
    directories = [
        builder.root / substitute_variables(text, values) for text in entry.search if text
    ]
    skipped: dict[Path, str] = {}
    for directory in directories:
        fitting = []
        for path, image in find_by_soname(directory, name):
            if not machines or image.architecture in machines:
                fitting.append(path)
            else:
                skipped[path] = f"; {path} is for {image.machine}"
        if fitting:
            return [(_select_library(fitting, name, locate("name")), frozenset())]
    if entry.optional:
        return []
    searched = ", ".join(map(str, directories)) or "no directory"
    stem = get_library_stem(name)
    others = [i.soname or "" for d in directories for _, i in _iterate_libraries(d, "*.so*")]
    raise BundleFixError(
        f"no library with the soname {name} in {searched}{''.join(skipped.values())}",
        where=locate("name"),
        hint=suggest_word(name, [o for o in others if get_library_stem(o) == stem and o != name])
        or "build it, or add its directory to `search`",
    )


def _list_program_machines(builder: PackBuilder) -> Mapping[tuple[int, str, int], str]:
    """Return the architectures of the pack's programs, with their names."""
    programs = (image for image in builder.images.values() if image.is_program)
    return {image.architecture: image.machine for image in programs}


def _deduplicate_libraries(
    found: Iterable[Path], machines: Mapping[tuple[int, str, int], str], where: str
) -> list[tuple[Path, frozenset[str]]]:
    """Return each library once, however many names and full copies of it a pattern finds.

    Libraries for other machines and older versions of a library are errors, because a pattern
    matches them only by mistake. Of several copies the one with the longest name, which contains
    the version, is returned.
    """
    copies: dict[str, list[Path]] = {}
    for path in found:
        image = read_image_at(path)
        if image is None or not image.is_library:
            raise BundleFixError(
                f"{path} is not a shared library", where=where,
                hint="add it to `exclude`, or use [[files]]",
            )  # fmt: skip
        if machines and image.architecture not in machines:
            raise BundleFixError(
                f"{path} is for {image.machine}, but the pack's programs are for"
                f" {', '.join(machines.values())}",
                where=where,
                hint="use the directory for the right machine",
            )
        known = copies.setdefault(get_library_stem(image.soname or path.name), [])
        if known and not has_same_content(known[0], path):
            raise BundleFixError(
                f"{known[0]} and {path} are two versions of one library",
                where=where,
                hint="remove the one from an earlier build, or add it to `exclude`; if the pack"
                " needs both, write an entry for each",
            )
        known.append(path)
    return [
        (max(paths, key=lambda path: len(path.resolve().name)), frozenset(p.name for p in paths))
        for paths in copies.values()
    ]


def _select_library(found: Sequence[Path], name: str, where: str) -> Path:
    """Return the library with the file name ``name``, else the only one with that soname."""
    first, *others = found
    other = next((p for p in others if not has_same_content(first, p)), None)
    if first.name != name and other is not None:
        raise BundleFixError(
            f"{first} and {other} are different files with the soname {name}", where=where,
            hint=f"remove the one from an earlier build, or make {name} a symlink to the right one",
        )  # fmt: skip
    return first


def has_same_content(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, or to files with the same bytes."""
    if one.samefile(other):
        return True
    left, right = one.resolve(), other.resolve()
    return has_same_bytes(
        PathContent(left, left.stat().st_size), PathContent(right, right.stat().st_size)
    )


def find_by_soname(directory: Path, name: str) -> Iterator[tuple[Path, Image]]:
    """Yield the library with the file name ``name``, then those with the soname ``name``."""
    image = read_image_at(directory / name)
    if image is not None:
        yield directory / name, image
    for path, other in _iterate_libraries(directory, "*.so*"):
        if other.soname == name and path.name != name:
            yield path, other


def _iterate_libraries(directory: Path, pattern: str) -> Iterator[tuple[Path, Image]]:
    for path in sorted(directory.glob(pattern)) if directory.is_dir() else ():
        with suppress(BundleFixError):
            # A damaged file has no readable soname, and it may be unrelated to the pack.
            image = read_image_at(path)
            if image is not None:
                yield path, image


def add_library(
    builder: PackBuilder,
    source: Path,
    directory: str,
    where: str,
    needed_by: str = "",
    copies: frozenset[str] = frozenset(),
) -> str:
    """Add the real file of ``source``, with symlinks for its soname and its name at ``source``.

    ``copies`` are names of other files with the same bytes; they become symlinks as well.

    Returns:
        Its soname, or its file name if it has no soname.
    """
    real = source.resolve()
    image = read_image_at(real)
    if image is None or not image.is_library:
        raise BundleFixError(f"{source} is not a shared library", where=where)
    soname = image.soname or source.name
    names = {soname, source.name, real.name, *copies}
    # The development symlink `libx.so` is for the linker; a pack may ship it, a closure does not.
    development = source.parent / f"{get_library_stem(soname)}.so"
    if not needed_by and development.is_symlink() and development.resolve() == real:
        names.add(development.name)
    origin = Origin(real, needed_by or where, bool(needed_by), source)
    node = create_node(real, real, None, where)
    builder.add_member(posixpath.join(directory, real.name), node, origin)
    for name in sorted(names - {real.name}):
        link = Symlink(real.name, Metadata(0o777))
        builder.add_member(posixpath.join(directory, name), link, origin)
    return soname
