"""One needed name, searched as the loader searches it, with the trace of every step.

Sources: glibc's elf/dl-load.c, _dl_map_object and open_path; musl's ldso/dynlink.c, load_library.
docs/loader.md has the orders in words.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from bundle_fix.elf import constants as c
from bundle_fix.elf.image import Image
from bundle_fix.loader.directories import WORKING, Directory, directories, expanded, is_plain
from bundle_fix.loader.files import UNREADABLE
from bundle_fix.loader.objects import BUNDLE, HOST, MISSING, Mapped, Setting, Step
from bundle_fix.loader.rtld import GLIBC, MUSL, is_default_directory
from bundle_fix.loader.tokens import Refusal
from bundle_fix.tree import Lost

HOST_HAS_IT = "the host's copy is found"
NOBODY_HAS_IT = "no host is expected to have it"
NOT_THERE = "not there"
NOT_SEARCHED = "not searched: -z nodefaultlib"
CIRCLE = f"a link that {Lost.LOOP.value}"
UNKNOWN_PLACE = "outside the pack: the target may have anything there"
GIVES_UP = "the loader gives up here"


class _Miss(NamedTuple):
    """Why a candidate is not taken, and whether the loader gives up over it."""

    verdict: str
    is_fatal: bool = False


class _Search(NamedTuple):
    """One search under way."""

    setting: Setting
    name: str
    requester: Mapped
    trace: list[Step]

    @property
    def image(self) -> Image:
        image = self.requester.image
        assert image is not None  # noqa: S101 (only what was read needs anything)
        return image

    def listed(self, text: str, via: str, link: Mapped) -> Iterator[Directory]:
        """The directories of a list; ``link`` is the object that has it, or inherits it on."""
        owner = "" if via == "ld_library_path" or link is self.requester else link.label
        return directories(self.setting, text, via, link.home, owner)

    def found(self, path: str, real: str, via: str) -> Mapped:
        """The object at ``path``, which is really at ``real``."""
        view = self.setting.view
        image = view.image(real)
        member = view.member(real)
        home = posixpath.dirname(path)
        if view.host is None:
            # glibc keeps the path as it was put together; where nobody sees it, it need not grow.
            folder = view.folder(home)
            home = home if isinstance(folder, Lost) else folder
        return Mapped(
            self.name, path if member is None else member, HOST if member is None else BUNDLE,
            via, self.requester.label, tuple(self.trace), home,
            image if isinstance(image, Image) else None, self.requester, real,
        )  # fmt: skip

    def from_host(self, path: str, via: str) -> Mapped:
        """The host's copy, of which nothing is known."""
        return Mapped(
            self.name, path, HOST, via, self.requester.label, tuple(self.trace),
            loader=self.requester,
        )  # fmt: skip

    def missing(self, via: str) -> Mapped:
        """Nothing."""
        return Mapped(
            self.name, None, MISSING, via, self.requester.label, tuple(self.trace),
            loader=self.requester,
        )  # fmt: skip


def search(setting: Setting, name: str, requester: Mapped) -> Mapped:
    """What the loader maps for ``name``, which ``requester`` needs and which is not loaded yet.

    Args:
        setting: where the process runs.
        name: the needed name, as it stands in the file.
        requester: the object that needs it; its image is known.
    """
    this = _Search(setting, name, requester, [])
    if "/" in name:
        return _direct(this)
    for stage in ORDERS[setting.loader.flavour]:
        found = stage(this)
        if found is not None:
            return found
    if setting.host.expected(name) and setting.view.host is not None:
        place = posixpath.join(setting.loader.defaults[0], name)
        this.trace.append(Step(place, "default", "expected there"))
        return this.from_host(place, "default")
    return this.missing("default")


def _rpaths(this: _Search) -> Mapped | None:
    """RPATH: the requester's, then of what caused it to load; silent where it has a RUNPATH."""
    if this.image.runpath is not None:
        return None
    seen: set[Directory] = set()
    for link in this.setting.rpath_chain(this.requester):
        rpath = (link.image.rpath if link.image else None) or ""
        # A directory that several objects of one folder name alike is told once.
        listed = this.listed(rpath, "rpath", link)
        new = [d for d in listed if d._replace(owner="") not in seen]
        seen.update(d._replace(owner="") for d in new)
        found = _in_list(this, new)
        if found is not None:
            return found
    return None


def _library_path(this: _Search) -> Mapped | None:
    """LD_LIBRARY_PATH, which set-uid programs do not heed."""
    environment, via = this.setting.environment, "ld_library_path"
    if not environment.hostile and not environment.library_path:
        return None
    if this.setting.secure:
        this.trace.append(Step("LD_LIBRARY_PATH", via, Refusal.INSECURE.value))
        return None
    if environment.hostile:
        this.trace.append(Step("LD_LIBRARY_PATH", via, "whoever sets it may have any copy there"))
        return this.from_host(f"$LD_LIBRARY_PATH/{this.name}", via)
    return _in_list(
        this,
        this.listed(environment.library_path, via, this.setting.main),
    )


def _runpath(this: _Search) -> Mapped | None:
    """The requester's own RUNPATH, which serves nobody else."""
    return _in_list(
        this,
        this.listed(this.image.runpath or "", "runpath", this.requester),
    )


def _inherited(this: _Search) -> Mapped | None:
    """musl: RUNPATH or else RPATH of the requester, then of what caused it to load."""
    for link in this.requester.loaders():
        image = link.image
        if image is not None:
            via, text = (
                ("rpath", image.rpath) if image.runpath is None else ("runpath", image.runpath)
            )
            found = _in_list(this, this.listed(text or "", via, link))
            if found is not None:
                return found
    return None


def _cache(this: _Search) -> Mapped | None:
    """ld.so.cache; nothing is known of an adversarial host's."""
    setting = this.setting
    if setting.view.host is None:
        return None
    listed = list(setting.host.listed(setting.view, this.name, this.image, setting.loader))
    if not listed:
        this.trace.append(Step("ld.so.cache", "cache", "not listed"))
    for path, source in listed:
        if _no_defaults(this.image) and path.startswith(setting.loader.trusted):
            this.trace.append(Step(path, "cache", NOT_SEARCHED, source))
            continue
        found = _taken(this, path, path, Directory(source, "cache", path))
        if found is not None:
            return found
    return None


def _default(this: _Search) -> Mapped | None:
    """The default directories; the adversarial host has everything in them."""
    loader = this.setting.loader
    if loader.flavour == GLIBC and _no_defaults(this.image):
        this.trace.append(Step("default directories", "default", NOT_SEARCHED))
        return this.missing("default")
    if this.setting.view.host is None:
        place = posixpath.join(loader.defaults[0], this.name)
        this.trace.append(Step(place, "default", HOST_HAS_IT))
        return this.from_host(place, "default")
    return _in_list(this, [Directory("", "default", path) for path in loader.defaults])


def _no_defaults(image: Image) -> bool:
    return bool((image.first(c.DT_FLAGS_1) or 0) & c.DF_1_NODEFLIB)


ORDERS: dict[str, tuple[Callable[[_Search], Mapped | None], ...]] = {
    GLIBC: (_rpaths, _library_path, _runpath, _cache, _default),
    MUSL: (_library_path, _inherited, _default),
}
"""What each loader asks for a name without a slash, in this order, until one has it."""


def _in_list(this: _Search, listed: Iterable[Directory]) -> Mapped | None:
    """The first directory's that has the name; None also where the list ends early."""
    for directory in listed:
        if directory.verdict:
            place = directory.entry or "(empty)"
            this.trace.append(directory.step(place, directory.verdict))
            continue
        before = len(this.trace)
        found = _in_directory(this, directory)
        if found is not None:
            return found
        if any(step.verdict == CIRCLE for step in this.trace[before:]):
            # open_path: an error other than "no such file" ends the list, not the search.
            break
    return None


def _in_directory(this: _Search, directory: Directory) -> Mapped | None:
    view, path = this.setting.view, directory.path
    for subfolder in this.setting.loader.subfolders:
        place = posixpath.join(path, subfolder + this.name)
        if isinstance(view.folder(posixpath.dirname(place)), Lost):
            continue
        if view.real(place) is not Lost.MISSING:
            found = _taken(this, place, _place(this, place), directory)
            if found is not None:
                return found
    folder = view.folder(path)
    if isinstance(folder, Lost):
        return _lost_directory(this, folder, directory)
    full = posixpath.join(path.rstrip("/") or "/", this.name)
    return _taken(this, full, _place(this, full), directory)


def _lost_directory(this: _Search, lost: Lost, directory: Directory) -> Mapped | None:
    """A directory that is not there, or of which nothing is known."""
    view, path = this.setting.view, directory.path
    if view.host is not None:
        path = posixpath.normpath(path)
    inside = view.inside(path) is not None
    if lost is Lost.OUTSIDE and not inside:
        full = posixpath.join(path, this.name)
        if is_default_directory(posixpath.normpath(path)):
            this.trace.append(directory.step(full, HOST_HAS_IT))
            return this.from_host(full, directory.via)
        this.trace.append(directory.step(full, UNKNOWN_PLACE))
        return None
    missing = "no such folder in the pack" if inside else "no such folder"
    verdict = missing if lost is Lost.MISSING else lost.value
    this.trace.append(directory.step(posixpath.normpath(view.shown(path)), verdict))
    return None


def _place(this: _Search, path: str) -> str:
    """A candidate as a reader would write it: below the folder where it really is, in the pack."""
    view = this.setting.view
    folder = view.folder(posixpath.dirname(path))
    if isinstance(folder, str) and view.member(folder) is not None:
        return posixpath.join(view.shown(folder), posixpath.basename(path))
    return posixpath.normpath(view.shown(path if view.host is None else posixpath.normpath(path)))


def _taken(this: _Search, path: str, place: str, directory: Directory) -> Mapped | None:
    """The object at ``path`` if the loader takes it, with the step that says so."""
    miss = _refused(this, path)
    if isinstance(miss, str):
        this.trace.append(directory.step(place, "found"))
        return this.found(path, miss, directory.via)
    this.trace.append(directory.step(place, miss.verdict))
    return this.missing(directory.via) if miss.is_fatal else None


def _refused(this: _Search, path: str) -> str | _Miss:
    """Where the candidate at ``path`` really is, or why it is not taken (open_verify)."""
    view = this.setting.view
    real = view.real(path)
    if isinstance(real, Lost):
        if real is Lost.MISSING:
            return _Miss(NOT_THERE)
        return _Miss(f"a link that {real.value}")
    image = view.image(real)
    if image == UNREADABLE:
        return _Miss(image)
    if isinstance(image, str):
        return _Miss(f"{image}: {GIVES_UP}", is_fatal=True)
    if image.architecture != this.image.architecture:
        what = f"{image.format.bits}-bit {image.machine}"
        if this.setting.loader.flavour == MUSL:
            return _Miss(f"{what}: {GIVES_UP}", is_fatal=True)
        return _Miss(f"passed over: {what}")
    if not image.is_dynamic:
        return _Miss(f"it has no dynamic section: {GIVES_UP}", is_fatal=True)
    return real


def _direct(this: _Search) -> Mapped:
    """A needed name with a slash is a path: nothing is searched."""
    setting, via = this.setting, "direct"
    path: str | Refusal = this.name
    if not is_plain(setting, via):
        path = expanded(setting, this.name, this.requester.home)
    if "$" in this.name and setting.secure:
        path = Refusal.INSECURE
    if isinstance(path, Refusal):
        this.trace.append(Step(this.name, via, path.value))
        return this.missing(via)
    if setting.view.host is not None:
        # What the loader knows the object by; where the pack is unknown, its tokens say more.
        this = this._replace(name=path)
    if not path.startswith("/"):
        if setting.environment.directory is None:
            this.trace.append(Step(this.name, via, WORKING))
            return this.missing(via)
        path = posixpath.join(setting.environment.directory, path)
    view = setting.view
    if view.real(path) is Lost.OUTSIDE and view.inside(path) is None:
        this.trace.append(Step(path, via, "on the host"))
        return this.from_host(path, via)
    return _taken(this, path, _place(this, path), Directory("", via, path)) or this.missing(via)
