"""Shared libraries: each lands as its real file with the links that its names call for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bundle_fix.collect.collection import Collection, Origin
from bundle_fix.collect.files import node_at
from bundle_fix.collect.patterns import Where, matches, nothing_matches
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.model.content import PathContent, has_same_bytes
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.suggestions import suggest_word
from bundle_fix.model.tree import Metadata, Symlink
from bundle_fix.spec.model import LibrariesEntry
from bundle_fix.spec.variables import Values, substitute


def library_sources(
    collection: Collection, entry: LibrariesEntry, values: Values, where: Where
) -> list[tuple[Path, frozenset[str]]]:
    """The files that an entry of ``[[libraries]]``, whose keys stand at ``where``, names.

    Returns:
        Each with the names of copies of it that were found as well.

    Raises:
        BundleFixError: there is none, and the entry is not optional; or one is for a machine that
            no program of the pack is for; or two are versions of one library, or have the soname
            that is looked for.
    """
    machines = _machines(collection)
    if entry.source is not None:
        pattern = substitute(entry.source, values)
        exclude = [substitute(text, values) for text in entry.exclude]
        found = matches(collection.root, pattern, exclude)
        if not found and not entry.optional:
            raise nothing_matches(pattern, collection.root, where("from"))
        return _distinct(found, machines, where("from"))
    name = substitute(entry.name or "", values)
    folders = [collection.root / substitute(text, values) for text in entry.search if text]
    passed: dict[Path, str] = {}
    for folder in folders:
        fitting = []
        for path, image in with_soname(folder, name):
            if not machines or image.architecture in machines:
                fitting.append(path)
            else:
                passed[path] = f"; {path} is for {image.machine}"
        if fitting:
            return [(_only(fitting, name, where("name")), frozenset())]
    if entry.optional:
        return []
    looked = ", ".join(map(str, folders)) or "no folder"
    stem = name.partition(".so")[0]
    others = [i.soname or "" for f in folders for _, i in _libraries_in(f, "*.so*")]
    raise BundleFixError(
        f"no library with the soname {name} in {looked}{''.join(passed.values())}",
        where=where("name"),
        hint=suggest_word(name, [o for o in others if o.partition(".so")[0] == stem and o != name])
        or "build it, or add the folder that holds it to `search`",
    )


def _machines(collection: Collection) -> Mapping[tuple[int, str, int], str]:
    """The machines that the pack's programs are for, with their names."""
    programs = (image for image in collection.images.values() if image.is_program)
    return {image.architecture: image.machine for image in programs}


def _distinct(
    found: Iterable[Path], machines: Mapping[tuple[int, str, int], str], where: str
) -> list[tuple[Path, frozenset[str]]]:
    """Each library once, however many names and full copies of it a pattern finds.

    What a pattern sweeps in by mistake is refused: other machines' copies, versions left behind.
    The copy with the longest name, which is the version's, stands for all.
    """
    copies: dict[str, list[Path]] = {}
    for path in found:
        image = read_image_at(path)
        if image is None or not image.is_library:
            raise BundleFixError(
                f"{path} is not a shared library", where=where,
                hint="leave it out with `exclude`, or take it with [[files]]",
            )  # fmt: skip
        if machines and image.architecture not in machines:
            raise BundleFixError(
                f"{path} is for {image.machine}, the pack's programs are for"
                f" {', '.join(machines.values())}",
                where=where,
                hint="name the folder of the right one",
            )
        known = copies.setdefault((image.soname or path.name).partition(".so")[0], [])
        if known and not _same(known[0].resolve(), path.resolve()):
            raise BundleFixError(
                f"{known[0]} and {path} are two versions of one library",
                where=where,
                hint="remove the one from an earlier build, or leave it out with `exclude`; if the"
                " pack needs both, give each an entry",
            )
        known.append(path)
    return [
        (max(paths, key=lambda path: len(path.resolve().name)), frozenset(p.name for p in paths))
        for paths in copies.values()
    ]


def _only(found: Sequence[Path], name: str, where: str) -> Path:
    """The library of a folder that has the name, or else the only one that has the soname."""
    first, *others = found
    other = next((p for p in others if not _same(first.resolve(), p.resolve())), None)
    if first.name != name and other is not None:
        raise BundleFixError(
            f"{first} and {other} are different files with the soname {name}", where=where,
            hint=f"remove the one from an earlier build, or link {name} to the right one",
        )  # fmt: skip
    return first


def _same(one: Path, other: Path) -> bool:
    return one == other or has_same_bytes(
        PathContent(one, one.stat().st_size), PathContent(other, other.stat().st_size)
    )


def with_soname(folder: Path, name: str) -> Iterator[tuple[Path, Image]]:
    """The library of that name, and those of that DT_SONAME, whatever they are called."""
    image = read_image_at(folder / name)
    if image is not None:
        yield folder / name, image
    for path, other in _libraries_in(folder, "*.so*"):
        if other.soname == name and path.name != name:
            yield path, other


def _libraries_in(folder: Path, pattern: str) -> Iterator[tuple[Path, Image]]:
    for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
        with suppress(BundleFixError):
            # What is damaged has no name that can be told, and may be none of ours.
            image = read_image_at(path)
            if image is not None:
                yield path, image


def add_library(
    collection: Collection,
    source: Path,
    folder: str,
    where: str,
    needed_by: str = "",
    copies: frozenset[str] = frozenset(),
) -> str:
    """Add the real file behind ``source`` with the links that its soname and source call for.

    ``copies`` are names of other files with its bytes, for which it gets links as well.

    Returns:
        Its soname, or its file name where it has none.
    """
    real = source.resolve()
    image = read_image_at(real)
    if image is None or not image.is_library:
        raise BundleFixError(f"{source} is not a shared library", where=where)
    soname = image.soname or source.name
    names = {soname, source.name, real.name, *copies}
    development = source.parent / f"{soname.partition('.so')[0]}.so"
    if not needed_by and development.is_symlink() and development.resolve() == real:
        names.add(development.name)
    origin = Origin(real, needed_by or where, bool(needed_by), source)
    node = node_at(real, real, None, where)
    collection.add(posixpath.join(folder, real.name), node, origin)
    for name in sorted(names - {real.name}):
        link = Symlink(real.name, Metadata(0o777))
        collection.add(posixpath.join(folder, name), link, origin)
    return soname
