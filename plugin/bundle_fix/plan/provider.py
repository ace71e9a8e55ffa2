"""Choose the file of the pack that a needed name of an object should resolve to."""

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

HWCAPS_DIRECTORY = "glibc-hwcaps"
"""Directory of variants for newer processors, which the loader prefers without a RUNPATH."""


class ProviderChoice(Struct, frozen=True):
    """The directory in which an object should find a needed name.

    ``directory`` is None if the pack does not provide the name, or if the choice is ambiguous.
    ``remark`` explains an ambiguity, or a choice among different files; otherwise it is empty.
    """

    directory: str | None
    remark: str = ""


class ProviderCandidate(Struct, frozen=True):
    """A file that provides a name, and a directory in which the name resolves to it."""

    directory: str
    path: str


ProviderDirectories = Mapping[tuple[str, str], list[str]]
"""For every file and name, the directories in which the name resolves to the file."""


def find_current_providers(bundle: Bundle) -> dict[tuple[str, str], str]:
    """Return the file of the pack that each need resolves to now, by requester and name."""
    host = make_adversarial_host()
    mapped: set[str] = set()
    chosen: dict[tuple[str, str], str] = {}
    # Programs first, because the libraries that they load inherit their RPATHs (ld.so(8)).
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
    candidates_: dict[tuple[str, str], list[str]] = {}
    for path in bundle.tree.nodes:
        end = resolve_path(bundle.tree, path)
        folder = resolve_path(bundle.tree, posixpath.dirname(path))
        if isinstance(end, str) and isinstance(folder, str) and end in bundle.images:
            candidates_.setdefault((end, posixpath.basename(path)), []).append(folder)
    return candidates_


def choose_provider(
    bundle: Bundle, directories: ProviderDirectories, path: str, name: str, original: str | None
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
    ordinary = tuple(provider for provider in providers if HWCAPS_DIRECTORY not in provider)
    origin = posixpath.dirname(path)
    candidates_ = [
        ProviderCandidate(folder, provider)
        for provider in ordinary or providers
        for folder in _prefer_own_directory(provider, directories.get((provider, name), ()))
    ]
    if not candidates_:
        return ProviderChoice(None)
    ranked = sorted(candidates_, key=lambda c: (_compute_distance(c.directory, origin), c.directory))
    nearest = ranked[0]
    others = _list_different_files(bundle, nearest, ranked)
    if not others:
        return ProviderChoice(nearest.directory)
    matching, entry = _match_search_entry(bundle, path, ranked)
    if matching is not None:
        lost = ", ".join(_list_different_files(bundle, matching, ranked))
        return ProviderChoice(
            matching.directory, f"{name} is {matching.path}, as {entry} says, not {lost}"
        )
    equally_near = [c for c in ranked if _compute_distance(c.directory, origin) == _compute_distance(nearest.directory, origin)]
    ambiguous = _list_different_files(bundle, nearest, equally_near)
    if ambiguous:
        listed = ", ".join((nearest.path, *ambiguous))
        return ProviderChoice(
            None, f"{name} could be any of {listed}, and nothing tells which: left alone"
        )
    return ProviderChoice(
        nearest.directory,
        f"{name} is {nearest.path}, the nearest; the different {', '.join(others)} is not",
    )


def _prefer_own_directory(path: str, folders: Sequence[str]) -> Sequence[str]:
    """The folder that ``path`` lies in, where it is among ``folders``: links may get lost."""
    own = posixpath.dirname(path)
    return (own,) if own in folders else folders


def _list_different_files(
    bundle: Bundle, chosen: ProviderCandidate, candidates_: list[ProviderCandidate]
) -> list[str]:
    """The paths among ``found`` whose bytes are not those of ``chosen``, each once."""
    rest = dict.fromkeys(c.path for c in candidates_ if c.path != chosen.path)
    return [path for path in rest if not bundle.same_file(chosen.path, path)]


def _match_search_entry(
    bundle: Bundle, path: str, candidates_: list[ProviderCandidate]
) -> tuple[ProviderCandidate | None, str]:
    """The candidate whose folder ends as an entry of ``path`` does, and that entry.

    ``/build/thirdparty/lib/v2`` named, on the build machine, what lies in ``lib/v2`` here.
    """
    for entry in list_entries(bundle.images[path]):
        parts = list(_split_parts(entry))
        best = max(candidates_, key=lambda c: _count_common_tail(list(_split_parts(c.directory)), parts))
        if _count_common_tail(list(_split_parts(best.directory)), parts):
            return best, entry
    return None, ""


def _split_parts(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part not in ("", "."))


def _count_common_tail(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def _compute_distance(folder: str, origin: str) -> int:
    return 0 if folder == origin else len(get_relative_path(folder, origin).split("/"))
