"""Resolution of needed libraries on the build machine."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from msgspec import Struct

from bundle_fix.collect.libraries.build_machine import BuildMachine
from bundle_fix.collect.libraries.link_names import find_by_soname, has_same_content
from bundle_fix.collect.libraries.unresolved import UnresolvedNeed, format_chains
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.loader.search.order import search_paths, search_system
from bundle_fix.loader.search.steps import OUTCOME_TEXTS, Outcome
from bundle_fix.model.errors import BundleFixError

ABSENT = (Outcome.NOT_THERE, Outcome.NOT_LISTED, Outcome.NO_DIRECTORY)
"""Outcomes of a search step that mean no more than that a name is not in a directory."""


class FoundFile(Struct, frozen=True):
    """A file that was found for a name, and the needs that lead to it."""

    path: Path
    needs: tuple[UnresolvedNeed, ...]


def resolve_library(
    needs: Sequence[UnresolvedNeed], search: Sequence[Path], machine: BuildMachine, where: str
) -> Path:
    """Return the one file on the build machine that provides a name.

    The search order is: RPATH and RUNPATH of the objects, ``search``, the directories of the
    build, ld.so.cache and default directories of this machine or of the sysroot. In a process the
    first file that is found serves all objects, as a loaded library does. The files found for
    different objects and programs must be the same.

    Args:
        needs: all needs of the name by objects of one machine.
        search: the directories of the spec.
        machine: the build machine.
        where: the position of the spec's entry, for messages.

    Raises:
        BundleFixError: no file of the right class and machine is found, or different ones are.
    """
    by_path = {need: search_paths(need.context, need.search_name, need.requester) for need in needs}
    found = [FoundFile(machine.locate(o), (need,)) for need, o in by_path.items() if o.path]
    if found:
        served = {file.needs[0].program for file in found}
        unserved = [need for need in needs if need.program and need.program not in served]
        found += _find_for_programs(unserved, search, machine)
    else:
        found = _find_beyond_paths(needs[0], search, machine) or _find_in_system(needs, machine)
    found = _merge_same_files(found)
    if len(found) > 1:
        raise _build_ambiguity_error(needs[0].name, found, where)
    if not found:
        raise _build_not_found_error(needs, (*search, *machine.sources.directories), by_path, where)
    return found[0].path


def _find_for_programs(
    needs: Sequence[UnresolvedNeed], search: Sequence[Path], machine: BuildMachine
) -> Iterator[FoundFile]:
    """Yield the files that programs load if no RPATH or RUNPATH in them leads to the name."""
    for need in needs:
        found = _find_beyond_paths(need, search, machine)
        yield from found or _find_in_system([need], machine)


def _find_beyond_paths(
    need: UnresolvedNeed, search: Sequence[Path], machine: BuildMachine
) -> list[FoundFile]:
    """Return the files in the directories of the spec, or the first in those of the build."""
    found = list(_find_in_directories(need, search))
    found = found or list(islice(_find_in_directories(need, machine.sources.directories), 1))
    return [FoundFile(path, (need,)) for path in found]


def _find_in_system(needs: Sequence[UnresolvedNeed], machine: BuildMachine) -> list[FoundFile]:
    found = [(need, search_system(need.system, need.name, need.requester)) for need in needs]
    return [FoundFile(machine.locate(file), (need,)) for need, file in found if file.path]


def _find_in_directories(need: UnresolvedNeed, search: Iterable[Path]) -> Iterator[Path]:
    """Yield from each directory the compatible file of that name, else those of that soname."""
    for directory in search:
        libraries = find_by_soname(directory, need.name)
        files = (path for path, image in libraries if _is_compatible(image, need))
        first = next(files, None)
        if first is not None:
            # The file with the name itself comes first, and excludes others with that soname.
            yield from [first] if first.name == need.name else [first, *files]


def _is_compatible(image: Image, need: UnresolvedNeed) -> bool:
    requester = need.requester.image
    return requester is not None and image.architecture == requester.architecture


def _merge_same_files(found: Iterable[FoundFile]) -> list[FoundFile]:
    """Merge files with the same content, and with them the needs that lead to them."""
    different: list[FoundFile] = []
    for file in found:
        same = next((d for d in different if has_same_content(d.path, file.path)), None)
        if same is None:
            different.append(file)
        else:
            merged = FoundFile(same.path, (*same.needs, *file.needs))
            different[different.index(same)] = merged
    return different


def _build_ambiguity_error(name: str, found: Sequence[FoundFile], where: str) -> BundleFixError:
    """Return the error for a name that leads to different files."""
    files = [
        f"{file.path} (for {', '.join(dict.fromkeys(need.requester_path for need in file.needs))})"
        for file in found
    ]
    return BundleFixError(
        f"{name} leads to different files on this machine: {' and '.join(files)}",
        where=where,
        hint="choose one with an entry in [[libraries]], or remove one of them",
    )


def _build_not_found_error(
    needs: Sequence[UnresolvedNeed],
    search: Sequence[Path],
    by_path: Mapping[UnresolvedNeed, LoadedObject],
    where: str,
) -> BundleFixError:
    """Return the error for a name that is not found, with the search path and the skipped files."""
    first = needs[0]
    in_system = search_system(first.system, first.name, first.requester)
    steps = [step for file in (*by_path.values(), in_system) for step in file.trace]
    skipped = [f"{step.place}: {step.verdict}" for step in steps if step.outcome not in ABSENT]
    # A file of another machine in `search`, reported like one that the loader itself skips.
    skipped += [
        f"{path}: {OUTCOME_TEXTS[Outcome.OTHER_MACHINE].format(detail=_describe_machine(image))}"
        for directory in search
        for path, image in find_by_soname(directory, first.name)
    ]
    directories = [
        s.place if s.outcome is Outcome.NO_DIRECTORY else posixpath.dirname(s.place)
        for s in steps
        if s.place.startswith("/")
    ]
    searched = ", ".join(dict.fromkeys([*directories, *map(str, search)])) or "no directory"
    details = f"; {', '.join(dict.fromkeys(skipped))}" if skipped else ""
    return BundleFixError(
        f"{first.name} is not found on this machine: {format_chains(needs)}"
        f" (searched {searched}{details})",
        where=where,
        hint="install it, add its directory to `search`, or add it to `host`",
    )


def _describe_machine(image: Image) -> str:
    return f"{image.format.bits}-bit {image.machine}"
