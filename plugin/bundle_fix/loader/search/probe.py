"""The places that one search looks at: directories and files, and what is made of each.

Sources: glibc's elf/dl-load.c, open_path and open_verify.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.rtld import MUSL, is_default_directory
from bundle_fix.loader.hosts.view import NoImage
from bundle_fix.loader.objects import (
    BUNDLE,
    HOST,
    MISSING,
    LoadedObject,
    Outcome,
    ProcessContext,
    SearchStep,
)
from bundle_fix.loader.search.directories import SearchDirectory, expand_search_path
from bundle_fix.model.tree import Unresolved


class _Rejection(NamedTuple):
    """Why a candidate is not taken, and whether the loader gives up over it."""

    outcome: Outcome
    detail: str = ""
    is_fatal: bool = False


class Search(NamedTuple):
    """One search under way; `trace` grows with every step."""

    setting: ProcessContext
    name: str
    requester: LoadedObject
    trace: list[SearchStep]

    @property
    def image(self) -> Image:
        """The image of what needs the name."""
        image = self.requester.image
        assert image is not None  # noqa: S101 (only what was read needs anything)
        return image

    def expand_search_path(
        self, text: str, via: str, link: LoadedObject
    ) -> Iterator[SearchDirectory]:
        """The directories of a list; ``link`` is the object that has it, or inherits it on."""
        owner = "" if via == "ld_library_path" or link is self.requester else link.label
        return expand_search_path(self.setting, text, via, link.directory, owner)

    def build_object(self, path: str, real: str, via: str) -> LoadedObject:
        """The object at ``path``, which is really at ``real``."""
        view = self.setting.view
        image = view.find_image(real)
        member = view.find_member(real)
        home = posixpath.dirname(path)
        if view.host is None:
            # glibc keeps the path as it was put together; where nobody sees it, it need not grow.
            folder = view.resolve_directory(home)
            home = home if isinstance(folder, Unresolved) else folder
        return LoadedObject(
            self.name, path if member is None else member, HOST if member is None else BUNDLE,
            via, self.requester.label, tuple(self.trace), home,
            image if isinstance(image, Image) else None, self.requester, real,
        )  # fmt: skip

    def build_host_copy(self, path: str, via: str) -> LoadedObject:
        """The host's copy, of which nothing is known."""
        return LoadedObject(
            self.name, path, HOST, via, self.requester.label, tuple(self.trace),
            loaded_by=self.requester,
        )  # fmt: skip

    def build_missing(self, via: str) -> LoadedObject:
        """Nothing."""
        return LoadedObject(
            self.name, None, MISSING, via, self.requester.label, tuple(self.trace),
            loaded_by=self.requester,
        )  # fmt: skip


def search_directories(this: Search, listed: Iterable[SearchDirectory]) -> LoadedObject | None:
    """The first directory's that has the name; None also where the list ends early."""
    for directory in listed:
        if directory.refusal is not None:
            place = directory.entry or "(empty)"
            this.trace.append(directory.make_step(place, directory.refusal))
            continue
        before = len(this.trace)
        found = _search_directory(this, directory)
        if found is not None:
            return found
        if any(step.outcome is Outcome.SYMLINK_LOOP for step in this.trace[before:]):
            # open_path: an error other than "no such file" ends the list, not the search.
            break
    return None


def _search_directory(this: Search, directory: SearchDirectory) -> LoadedObject | None:
    view, path = this.setting.view, directory.path
    for subfolder in this.setting.loader.subdirectories:
        place = posixpath.join(path, subfolder + this.name)
        if isinstance(view.resolve_directory(posixpath.dirname(place)), Unresolved):
            continue
        if view.resolve_path(place) is not Unresolved.MISSING:
            found = try_candidate(this, place, format_place(this, place), directory)
            if found is not None:
                return found
    folder = view.resolve_directory(path)
    if isinstance(folder, Unresolved):
        return _report_missing_directory(this, folder, directory)
    full = posixpath.join(path.rstrip("/") or "/", this.name)
    return try_candidate(this, full, format_place(this, full), directory)


def _report_missing_directory(
    this: Search, lost: Unresolved, directory: SearchDirectory
) -> LoadedObject | None:
    """A directory that is not there, or of which nothing is known."""
    view, path = this.setting.view, directory.path
    if view.host is not None:
        path = posixpath.normpath(path)
    inside = view.get_relative_path(path) is not None
    if lost is Unresolved.OUTSIDE and not inside:
        full = posixpath.join(path, this.name)
        if is_default_directory(posixpath.normpath(path)):
            this.trace.append(directory.make_step(full, Outcome.HOST_COPY))
            return this.build_host_copy(full, directory.via)
        this.trace.append(directory.make_step(full, Outcome.OUTSIDE_PACK))
        return None
    outcome, detail = Outcome.UNRESOLVED_DIRECTORY, lost.value
    if lost is Unresolved.MISSING:
        outcome, detail = Outcome.NO_DIRECTORY_IN_PACK if inside else Outcome.NO_DIRECTORY, ""
    this.trace.append(
        directory.make_step(posixpath.normpath(view.format_path(path)), outcome, detail)
    )
    return None


def format_place(this: Search, path: str) -> str:
    """A candidate as a reader would write it: below the folder where it really is, in the pack."""
    view = this.setting.view
    folder = view.resolve_directory(posixpath.dirname(path))
    if isinstance(folder, str) and view.find_member(folder) is not None:
        return posixpath.join(view.format_path(folder), posixpath.basename(path))
    return posixpath.normpath(
        view.format_path(path if view.host is None else posixpath.normpath(path))
    )


def try_candidate(
    this: Search, path: str, place: str, directory: SearchDirectory
) -> LoadedObject | None:
    """The object at ``path`` if the loader takes it, with the step that says so."""
    miss = _verify_candidate(this, path)
    if isinstance(miss, str):
        this.trace.append(directory.make_step(place, Outcome.FOUND))
        return this.build_object(path, miss, directory.via)
    this.trace.append(directory.make_step(place, miss.outcome, miss.detail))
    return this.build_missing(directory.via) if miss.is_fatal else None


def _verify_candidate(this: Search, path: str) -> str | _Rejection:
    """Where the candidate at ``path`` really is, or why it is not taken (open_verify)."""
    view = this.setting.view
    real = view.resolve_path(path)
    if isinstance(real, Unresolved):
        if real is Unresolved.MISSING:
            return _Rejection(Outcome.NOT_THERE)
        is_loop = real is Unresolved.LOOP
        return _Rejection(
            Outcome.SYMLINK_LOOP if is_loop else Outcome.UNRESOLVED_SYMLINK, real.value
        )
    image = view.find_image(real)
    if isinstance(image, NoImage):
        outcome = Outcome.UNREADABLE if image.is_unreadable else Outcome.LOADER_FAILS
        return _Rejection(outcome, image.reason, is_fatal=not image.is_unreadable)
    if image.architecture != this.image.architecture:
        what = f"{image.format.bits}-bit {image.machine}"
        if this.setting.loader.flavour == MUSL:
            return _Rejection(Outcome.LOADER_FAILS, what, is_fatal=True)
        return _Rejection(Outcome.OTHER_MACHINE, what)
    if not image.is_dynamic:
        return _Rejection(Outcome.LOADER_FAILS, "it has no dynamic section", is_fatal=True)
    return real
