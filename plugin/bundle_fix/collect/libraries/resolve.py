"""Where the libraries that a pack's objects still need are on the build machine."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from bundle_fix.collect.libraries.link_names import with_soname
from bundle_fix.collect.libraries.unresolved import Want, chains
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.objects import LoadedObject, Outcome
from bundle_fix.loader.search.order import search_paths, search_system
from bundle_fix.model.content import PathContent, has_same_bytes
from bundle_fix.model.errors import BundleFixError

SILENT = (Outcome.NOT_THERE, Outcome.NOT_LISTED, Outcome.NO_DIRECTORY)
"""Verdicts of a search that say nothing more than that a name is not in a folder."""


class Candidate(Struct, frozen=True):
    """A file that one name leads to, and for whom."""

    path: Path
    wants: tuple[Want, ...]


def find(wants: Sequence[Want], search: Sequence[Path], where: str) -> Path:
    """The one file that the build machine has for a name.

    The order: what the paths of the objects themselves lead to, ``search``, this machine's cache
    and default directories. Within a process the first file that is found serves all, as a loaded
    library does; what the paths of two objects lead to must be the same, and so must what two
    programs would load.

    Args:
        wants: all that ask for the name, for one machine.
        search: the folders of the spec.
        where: the place of the spec's entry, for messages.

    Raises:
        BundleFixError: there is none of the right class and machine, or there are several.
    """
    own = {want: search_paths(want.setting, want.asked, want.requester) for want in wants}
    found = [Candidate(Path(m.path), (w,)) for w, m in own.items() if m.path]
    if found:
        served = {candidate.wants[0].program for candidate in found}
        left = [w for w in wants if w.program and w.program not in served]
        found += _elsewhere(left, search)
    else:
        found = [Candidate(path, (wants[0],)) for path in _in_folders(wants[0], search)]
        found = found or _in_system(wants)
    found = _different(found)
    if len(found) > 1:
        raise _ambiguous(wants[0].name, found, where)
    if not found:
        raise _nowhere(wants, search, own, where)
    return found[0].path


def _elsewhere(wants: Sequence[Want], search: Sequence[Path]) -> Iterator[Candidate]:
    """What programs load whose objects' own paths do not lead to the name."""
    for want in wants:
        listed = [Candidate(path, (want,)) for path in _in_folders(want, search)]
        yield from listed or _in_system([want])


def _in_system(wants: Sequence[Want]) -> list[Candidate]:
    found = [(w, search_system(w.setting, w.name, w.requester)) for w in wants]
    return [Candidate(Path(mapped.path), (want,)) for want, mapped in found if mapped.path]


def _in_folders(want: Want, search: Iterable[Path]) -> Iterator[Path]:
    """The files of ``search`` that serve: of the name, or else of that soname."""
    for folder in search:
        listed = (p for p, image in with_soname(folder, want.name) if _fits(image, want))
        first = next(listed, None)
        if first is not None:
            # One of the very name goes before others of that soname, and comes first.
            yield from [first] if first.name == want.name else [first, *listed]


def _fits(image: Image, want: Want) -> bool:
    like = want.requester.image
    return like is not None and image.architecture == like.architecture


def _different(found: Iterable[Candidate]) -> list[Candidate]:
    """The candidates that are different files, each with all that lead to it."""
    kept: list[Candidate] = []
    for candidate in found:
        same = next((k for k in kept if _same(k.path, candidate.path)), None)
        if same is None:
            kept.append(candidate)
        else:
            merged = Candidate(same.path, (*same.wants, *candidate.wants))
            kept[kept.index(same)] = merged
    return kept


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, or to files with the same bytes."""
    if os.path.samefile(one, other):  # noqa: PTH121
        return True
    left, right = one.resolve(), other.resolve()
    return has_same_bytes(
        PathContent(left, left.stat().st_size), PathContent(right, right.stat().st_size)
    )


def _ambiguous(name: str, found: Sequence[Candidate], where: str) -> BundleFixError:
    """The error that a name leads to several files."""
    told = [
        f"{c.path} (for {', '.join(dict.fromkeys(want.path for want in c.wants))})" for c in found
    ]
    return BundleFixError(
        f"{name} leads to different files on this machine: {' and '.join(told)}",
        where=where,
        hint="say which by an entry in [[libraries]], or remove one of them",
    )


def _nowhere(
    wants: Sequence[Want], search: Sequence[Path], own: Mapping[Want, LoadedObject], where: str
) -> BundleFixError:
    """The error that a name is nowhere, with where it was looked for and what was passed over."""
    first = wants[0]
    systems = search_system(first.setting, first.name, first.requester)
    steps = [step for mapped in (*own.values(), systems) for step in mapped.trace]
    passed = [f"{step.place}: {step.verdict}" for step in steps if step.outcome not in SILENT]
    passed += [
        f"{path}: passed over: {image.format.bits}-bit {image.machine}"
        for folder in search
        for path, image in with_soname(folder, first.name)
    ]
    folders = [
        s.place if s.outcome is Outcome.NO_DIRECTORY else posixpath.dirname(s.place)
        for s in steps
        if s.place.startswith("/")
    ]
    looked = dict.fromkeys([*folders, *map(str, search)])
    told = f"; {', '.join(dict.fromkeys(passed))}" if passed else ""
    return BundleFixError(
        f"{first.name} is nowhere on this machine: {chains(wants)}"
        f" (looked in {', '.join(looked) or 'no folder'}{told})",
        where=where,
        hint="install it, add its folder to `search`, or leave it to the host with `host`",
    )
