"""Which file of the pack an object should find for a needed name, and in which folder."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.host import make_adversarial_host
from bundle_fix.loader.objects import BUNDLE
from bundle_fix.loader.process import map_process
from bundle_fix.loader.runpath import list_entries
from bundle_fix.model.tree import get_relative_path, resolve_path

HWCAPS = "glibc-hwcaps"
"""The folder of copies for better processors, which the loader prefers by itself."""


class ProviderChoice(Struct, frozen=True):
    """The folder in which an object is to find a name.

    ``directory`` is None if the pack does not have it, or has different files with nothing to tell
    them apart. ``remark`` says so, or which different files lost and why; it is empty where there
    was nothing to choose.
    """

    directory: str | None
    remark: str = ""


class ProviderCandidate(Struct, frozen=True):
    """A file that could satisfy a name, and a folder in which that name leads to it."""

    directory: str
    path: str


ProviderDirectories = Mapping[tuple[str, str], list[str]]
"""For every file and name, the folders in which that name leads to that file."""


def find_current_providers(bundle: Bundle) -> dict[tuple[str, str], str]:
    """The file that each need leads to today, by requester and name, where it is in the pack."""
    host = make_adversarial_host()
    mapped: set[str] = set()
    chosen: dict[tuple[str, str], str] = {}
    # Programs come first: their RPATHs reach into what they load.
    for path in (*bundle.programs(), *bundle.libraries()):
        if path in mapped:
            continue
        for need in map_process(bundle, host, path).needs:
            mapped.add(need.requester.path or "")
            if need.result.origin == BUNDLE and need.requester.path and need.result.path:
                chosen.setdefault((need.requester.path, need.name), need.result.path)
    return chosen


def map_provider_directories(bundle: Bundle) -> ProviderDirectories:
    """For every file and name, the folders in which that name leads to that file."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in bundle.tree.nodes:
        end = resolve_path(bundle.tree, path)
        folder = resolve_path(bundle.tree, posixpath.dirname(path))
        if isinstance(end, str) and isinstance(folder, str) and end in bundle.images:
            found.setdefault((end, posixpath.basename(path)), []).append(folder)
    return found


def choose_provider(
    bundle: Bundle, known: ProviderDirectories, path: str, name: str, original: str | None
) -> ProviderChoice:
    """Where ``path`` should find ``name``.

    What it finds today stays. Among different files, one in a folder that an entry of its RPATH or
    RUNPATH named on the build machine comes first, then the nearest.

    Args:
        bundle: the pack with all links in place; images as they were read.
        known: the result of `map_provider_directories`.
        path: an ELF file of the pack.
        name: what it needs, without a slash.
        original: the file that this leads to today, where it is in the pack.
    """
    providers = bundle.providers(name, bundle.images[path])
    if original in providers:
        providers = (str(original),)
    ordinary = tuple(provider for provider in providers if HWCAPS not in provider)
    home = posixpath.dirname(path)
    found = [
        ProviderCandidate(folder, provider)
        for provider in ordinary or providers
        for folder in _own_folder_first(provider, known.get((provider, name), ()))
    ]
    if not found:
        return ProviderChoice(None)
    near = sorted(found, key=lambda c: (_distance(c.directory, home), c.directory))
    first = near[0]
    others = _different(bundle, first, near)
    if not others:
        return ProviderChoice(first.directory)
    meant, entry = _meant(bundle, path, near)
    if meant is not None:
        lost = ", ".join(_different(bundle, meant, near))
        return ProviderChoice(
            meant.directory, f"{name} is {meant.path}, as {entry} says, not {lost}"
        )
    level = [c for c in near if _distance(c.directory, home) == _distance(first.directory, home)]
    rivals = _different(bundle, first, level)
    if rivals:
        listed = ", ".join((first.path, *rivals))
        return ProviderChoice(
            None, f"{name} could be any of {listed}, and nothing tells which: left alone"
        )
    return ProviderChoice(
        first.directory,
        f"{name} is {first.path}, the nearest; the different {', '.join(others)} is not",
    )


def _own_folder_first(path: str, folders: Sequence[str]) -> Sequence[str]:
    """The folder that ``path`` lies in, where it is among ``folders``: links may get lost."""
    own = posixpath.dirname(path)
    return (own,) if own in folders else folders


def _different(
    bundle: Bundle, chosen: ProviderCandidate, found: list[ProviderCandidate]
) -> list[str]:
    """The paths among ``found`` whose bytes are not those of ``chosen``, each once."""
    rest = dict.fromkeys(c.path for c in found if c.path != chosen.path)
    return [path for path in rest if not bundle.same_file(chosen.path, path)]


def _meant(
    bundle: Bundle, path: str, found: list[ProviderCandidate]
) -> tuple[ProviderCandidate | None, str]:
    """The candidate whose folder ends as an entry of ``path`` does, and that entry.

    ``/build/thirdparty/lib/v2`` named, on the build machine, what lies in ``lib/v2`` here.
    """
    for entry in list_entries(bundle.images[path]):
        parts = list(_parts(entry))
        best = max(found, key=lambda c: _shared_tail(list(_parts(c.directory)), parts))
        if _shared_tail(list(_parts(best.directory)), parts):
            return best, entry
    return None, ""


def _parts(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part not in ("", "."))


def _shared_tail(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def _distance(folder: str, home: str) -> int:
    return 0 if folder == home else len(get_relative_path(folder, home).split("/"))
