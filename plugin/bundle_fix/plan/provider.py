"""Choose the file of the pack that a needed name of an object should resolve to."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.loader.runpath import list_runpath_entries
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


def find_current_providers(
    deployment: Deployment, programs: Mapping[str, Process]
) -> dict[tuple[str, str], str]:
    """Return the file of the pack that each need resolves to now, by requester and name.

    Args:
        deployment: the pack on the adversarial host.
        programs: the processes of its programs, by path.
    """
    mapped: set[str] = set()
    chosen: dict[tuple[str, str], str] = {}
    # Programs first, because the libraries that they load inherit their RPATHs (ld.so(8)).
    for path in (*programs, *deployment.bundle.list_libraries()):
        if path in mapped:
            continue
        process = programs.get(path) or deployment.map_process(path)
        for need in process.resolutions:
            mapped.add(need.requester.path or "")
            if (
                need.result.origin is ObjectOrigin.BUNDLE
                and need.requester.path
                and need.result.path
            ):
                chosen.setdefault((need.requester.path, need.name), need.result.path)
    return chosen


def map_provider_directories(bundle: Bundle) -> ProviderDirectories:
    """Return, for every file and name, the directories in which the name resolves to the file."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in bundle.tree.nodes:
        file = resolve_path(bundle.tree, path)
        directory = resolve_path(bundle.tree, posixpath.dirname(path))
        if isinstance(file, str) and isinstance(directory, str) and file in bundle.images:
            found.setdefault((file, posixpath.basename(path)), []).append(directory)
    return found


def choose_provider(
    bundle: Bundle, directories: ProviderDirectories, path: str, name: str, original: str | None
) -> ProviderChoice:
    """Choose the directory in which ``path`` should find ``name``.

    A name that resolves to a file of the pack now keeps this file. Among different files the first
    choice is the one in a directory that matches an RPATH or RUNPATH entry of the build machine,
    the second choice is the nearest one.

    Args:
        bundle: the pack with all planned symlinks; its images are unchanged.
        directories: the result of `map_provider_directories`.
        path: an ELF file of the pack.
        name: a needed name of the file, without a slash.
        original: the file of the pack that the name resolves to now, if any.
    """
    providers = bundle.find_providers(name, bundle.images[path])
    if original in providers:
        providers = (str(original),)
    ordinary = tuple(provider for provider in providers if HWCAPS_DIRECTORY not in provider)
    home = posixpath.dirname(path)
    candidates = [
        ProviderCandidate(directory, provider)
        for provider in ordinary or providers
        for directory in _prefer_own_directory(provider, directories.get((provider, name), ()))
    ]
    if not candidates:
        return ProviderChoice(None)
    candidates.sort(key=lambda c: (_compute_distance(c.directory, home), c.directory))
    nearest = candidates[0]
    others = _list_different_files(bundle, nearest, candidates)
    if not others:
        return ProviderChoice(nearest.directory)
    matching, entry = _match_search_entry(bundle, path, candidates)
    if matching is not None:
        rejected = ", ".join(_list_different_files(bundle, matching, candidates))
        remark = f"{name}: using {matching.path}, which matches the entry {entry}, not {rejected}"
        return ProviderChoice(matching.directory, remark)
    distance = _compute_distance(nearest.directory, home)
    equally_near = [c for c in candidates if _compute_distance(c.directory, home) == distance]
    rivals = _list_different_files(bundle, nearest, equally_near)
    if rivals:
        files = ", ".join((nearest.path, *rivals))
        remark = f"{name}: not changed, because the choice is ambiguous: {files} differ"
        return ProviderChoice(None, remark)
    remark = f"{name}: using {nearest.path}, the nearest file, not {', '.join(others)}"
    return ProviderChoice(nearest.directory, remark)


def _prefer_own_directory(path: str, directories: Sequence[str]) -> Sequence[str]:
    """Return only the directory of ``path`` if it is among ``directories``."""
    # A symlink in another directory may get lost when the pack is copied.
    own = posixpath.dirname(path)
    return (own,) if own in directories else directories


def _list_different_files(
    bundle: Bundle, chosen: ProviderCandidate, candidates: list[ProviderCandidate]
) -> list[str]:
    """Return the paths of the candidates whose content differs from ``chosen``, each once."""
    others = dict.fromkeys(c.path for c in candidates if c.path != chosen.path)
    return [path for path in others if not bundle.has_same_bytes(chosen.path, path)]


def _match_search_entry(
    bundle: Bundle, path: str, candidates: list[ProviderCandidate]
) -> tuple[ProviderCandidate | None, str]:
    """Return the candidate whose directory ends like an RPATH or RUNPATH entry, and the entry.

    ``/build/thirdparty/lib/v2`` on the build machine corresponds to ``lib/v2`` in the pack.
    """
    for entry in list_runpath_entries(bundle.images[path]):
        parts = _split_path(entry)
        counts = [_count_common_tail(_split_path(c.directory), parts) for c in candidates]
        if max(counts):
            return candidates[counts.index(max(counts))], entry
    return None, ""


def _split_path(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _count_common_tail(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(reversed(one), reversed(other), strict=False):
        if left != right:
            break
        count += 1
    return count


def _compute_distance(directory: str, home: str) -> int:
    """Return the number of path components between two directories."""
    return 0 if directory == home else len(get_relative_path(directory, home).split("/"))
