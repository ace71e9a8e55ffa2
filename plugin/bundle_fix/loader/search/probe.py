"""The directories and files that one search tries.

Sources: glibc's elf/dl-load.c, open_path (a list of directories) and open_verify (one file).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.hosts.rtld import is_default_directory
from bundle_fix.loader.hosts.view import NoImage
from bundle_fix.loader.objects import LoadedObject, ObjectOrigin, ProcessContext
from bundle_fix.loader.search.directories import SearchDirectory, expand_search_path
from bundle_fix.loader.search.steps import Outcome, SearchRule, SearchStep
from bundle_fix.model.symlinks import UNRESOLVED_TEXTS, Unresolved


class _Rejection(NamedTuple):
    """The reason why a candidate is not loaded, and whether the whole search fails with it."""

    outcome: Outcome
    detail: str = ""
    is_fatal: bool = False


class Search(NamedTuple):
    """The search for one name; each step is appended to ``trace``."""

    context: ProcessContext
    name: str
    requester: LoadedObject
    trace: list[SearchStep]

    @property
    def image(self) -> Image:
        """The image of the object that needs the name."""
        image = self.requester.image
        assert image is not None  # noqa: S101 (needed names are read from images)
        return image

    def expand_path(
        self, text: str, via: SearchRule, owner: LoadedObject
    ) -> Iterator[SearchDirectory]:
        """Yield the directories of the search path ``text``, which ``owner`` has."""
        is_own = via is SearchRule.LD_LIBRARY_PATH or owner is self.requester
        label = "" if is_own else owner.label
        return expand_search_path(self.context, text, via, owner, label)

    def build_object(self, path: str, real: str, via: SearchRule) -> LoadedObject:
        """Return the object of the file at ``path``, which resolves to ``real``."""
        view = self.context.view
        image = view.find_image(real)
        member = view.find_member(real)
        directory = posixpath.dirname(path)
        if view.host is None:
            # glibc keeps `..` and symlinks in $ORIGIN. Without a host they make no difference, and
            # resolved they do not grow with each object.
            resolved = view.resolve_directory(directory)
            directory = directory if isinstance(resolved, Unresolved) else resolved
        return LoadedObject(
            self.name, path if member is None else member,
            ObjectOrigin.HOST if member is None else ObjectOrigin.BUNDLE,
            via, self.requester.label, tuple(self.trace), directory,
            image if isinstance(image, Image) else None, self.requester, real,
        )  # fmt: skip

    def build_host_copy(self, path: str, via: SearchRule) -> LoadedObject:
        """Return the object that a host with unknown files has at ``path``."""
        return LoadedObject(
            self.name, path, ObjectOrigin.HOST, via, self.requester.label, tuple(self.trace),
            loaded_by=self.requester,
        )  # fmt: skip

    def build_missing(self, via: SearchRule) -> LoadedObject:
        """Return the object of a search that fails."""
        return LoadedObject(
            self.name, None, ObjectOrigin.MISSING, via, self.requester.label, tuple(self.trace),
            loaded_by=self.requester,
        )  # fmt: skip


def search_directories(
    search: Search, directories: Iterable[SearchDirectory]
) -> LoadedObject | None:
    """Return the first match in a list of directories, or None.

    The result is also None if a symlink loop ends the list early.
    """
    for directory in directories:
        if directory.refusal is not None:
            place = directory.entry or "(empty)"
            search.trace.append(directory.build_step(place, directory.refusal))
            continue
        found = _search_directory(search, directory)
        if found is not None:
            return found
        if search.trace[-1].outcome is Outcome.SYMLINK_LOOP:
            # open_path: an error other than ENOENT and EACCES ends the list, not the search. It is
            # that of the directory itself, which is tried after its subdirectories.
            break
    return None


def _search_directory(search: Search, directory: SearchDirectory) -> LoadedObject | None:
    view, path = search.context.view, directory.path
    for subdirectory in search.context.loader.subdirectories:
        candidate = posixpath.join(path, subdirectory + search.name)
        if isinstance(view.resolve_directory(posixpath.dirname(candidate)), Unresolved):
            continue
        # A missing file below glibc-hwcaps is the normal case and no step of its own.
        if view.resolve_path(candidate) is not Unresolved.MISSING:
            found = try_candidate(search, candidate, format_place(search, candidate), directory)
            if found is not None:
                return found
    resolved = view.resolve_directory(path)
    if isinstance(resolved, Unresolved):
        return _report_missing_directory(search, resolved, directory)
    candidate = posixpath.join(path.rstrip("/") or "/", search.name)
    return try_candidate(search, candidate, format_place(search, candidate), directory)


def _report_missing_directory(
    search: Search, reason: Unresolved, directory: SearchDirectory
) -> LoadedObject | None:
    """Append the step of a directory that is missing, or that only an unknown host may have.

    Returns:
        The host's copy for a default directory of such a host; a missing object if the search
        fails there, as musl's does at a symlink loop; None otherwise.
    """
    view, path = search.context.view, directory.path
    if view.host is not None:
        path = posixpath.normpath(path)
    is_inside = view.get_relative_path(path) is not None
    if reason is Unresolved.OUTSIDE and not is_inside:
        candidate = posixpath.join(path, search.name)
        if is_default_directory(posixpath.normpath(path)):
            search.trace.append(directory.build_step(candidate, Outcome.HOST_COPY))
            return search.build_host_copy(candidate, directory.via)
        search.trace.append(directory.build_step(candidate, Outcome.OUTSIDE_PACK))
        return None
    outcome, detail = Outcome.UNRESOLVED_DIRECTORY, UNRESOLVED_TEXTS[reason]
    if reason is Unresolved.MISSING:
        outcome = Outcome.NO_DIRECTORY_IN_PACK if is_inside else Outcome.NO_DIRECTORY
        detail = ""
    place = posixpath.normpath(view.format_path(path))
    search.trace.append(directory.build_step(place, outcome, detail))
    is_musl = search.context.loader.libc is Libc.MUSL
    return search.build_missing(directory.via) if is_musl and reason is Unresolved.LOOP else None


def format_place(search: Search, path: str) -> str:
    """Return the path of a candidate for messages: below its resolved directory in the pack."""
    view = search.context.view
    directory = view.resolve_directory(posixpath.dirname(path))
    if isinstance(directory, str) and view.find_member(directory) is not None:
        return posixpath.join(view.format_path(directory), posixpath.basename(path))
    known = path if view.host is None else posixpath.normpath(path)
    return posixpath.normpath(view.format_path(known))


def try_candidate(
    search: Search, path: str, place: str, directory: SearchDirectory
) -> LoadedObject | None:
    """Return the object at ``path`` if the loader loads it, and append the step.

    A candidate that is skipped gives None, one with which the search fails a missing object.
    """
    verified = _verify_candidate(search, path)
    if isinstance(verified, str):
        search.trace.append(directory.build_step(place, Outcome.FOUND))
        return search.build_object(path, verified, directory.via)
    search.trace.append(directory.build_step(place, verified.outcome, verified.detail))
    return search.build_missing(directory.via) if verified.is_fatal else None


def _verify_candidate(search: Search, path: str) -> str | _Rejection:
    """Return the resolved path of the candidate, or why it is rejected (open_verify)."""
    view = search.context.view
    real = view.resolve_path(path)
    if real is Unresolved.MISSING:
        return _Rejection(Outcome.NOT_THERE)
    is_musl = search.context.loader.libc is Libc.MUSL
    if real is Unresolved.LOOP:
        # musl's path_open ends the whole search, glibc's open_path only the list.
        return _Rejection(Outcome.SYMLINK_LOOP, is_fatal=is_musl)
    if isinstance(real, Unresolved):
        return _Rejection(Outcome.UNRESOLVED_SYMLINK, UNRESOLVED_TEXTS[real])
    image = view.find_image(real)
    if isinstance(image, NoImage):
        outcome = Outcome.UNREADABLE if image.is_unreadable else Outcome.LOADER_FAILS
        return _Rejection(outcome, image.reason, is_fatal=not image.is_unreadable)
    if image.architecture != search.image.architecture:
        architecture = f"{image.format.bits}-bit {image.machine}"
        # glibc skips a file of another architecture, musl's load_library returns an error.
        if is_musl:
            return _Rejection(Outcome.LOADER_FAILS, architecture, is_fatal=True)
        return _Rejection(Outcome.OTHER_MACHINE, architecture)
    if not image.is_dynamic:
        return _Rejection(Outcome.LOADER_FAILS, "missing dynamic section", is_fatal=True)
    return real
