"""One needed name, searched as glibc's loader searches it, with the trace of every step.

Source: glibc's elf/dl-load.c, _dl_map_object: first what is loaded already; then, where the
requester has no DT_RUNPATH, the DT_RPATH of it and of what loaded it, up to the program; then
LD_LIBRARY_PATH; the requester's own DT_RUNPATH; ld.so.cache; the default directories.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from bundle_fix.bundle import Bundle
from bundle_fix.elf import constants as c
from bundle_fix.elf.image import Image
from bundle_fix.loader.host import AdversarialHost, default_directories, is_default_directory
from bundle_fix.tree import Lost, walk

BUNDLE, HOST, MISSING = "bundle", "host", "missing"


@dataclass(frozen=True, slots=True)
class Step:
    """One place that the loader looks at.

    ``place`` is the directory as a reader would write it, ``via`` the rule that named it,
    ``entry`` the RPATH or RUNPATH entry as it stands in the file, ``verdict`` what was found.
    """

    place: str
    via: str
    verdict: str
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """An object that the loader maps, or fails to find.

    ``path`` is relative to the pack for origin ``bundle``, absolute for ``host``, None for
    ``missing``. ``home`` is what ``$ORIGIN`` means in it: the folder in which it was found, which
    for a link is the link's (dl-object.c), but for the program the file's own.
    """

    name: str
    path: str | None
    origin: str
    via: str
    needed_by: str = ""
    trace: tuple[Step, ...] = ()
    home: str = ""
    image: Image | None = None
    loader: Mapped | None = None

    def loaders(self) -> Iterator[Mapped]:
        """The object, what caused it to load, and so on up to the program."""
        link: Mapped | None = self
        while link is not None:
            yield link
            link = link.loader


class Base(Enum):
    """What a path counts from: a folder of the pack, the host's root, the working directory.

    Behind ``HOST`` it holds a token that each host replaces in its own way.
    """

    ORIGIN = "origin"
    ROOT = "root"
    WORKING = "working"
    HOST = "host"


class Expanded(NamedTuple):
    """A path whose tokens are replaced, and what it counts from (with ``ORIGIN``, the pack)."""

    base: Base
    path: str


class Directory(NamedTuple):
    """A directory to search: its text in the file, the rule, the object whose entry it is."""

    entry: str
    via: str
    home: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What a directory holds: a file of the pack, and the folder it was found in."""

    path: str
    home: str
    image: Image


def search(bundle: Bundle, host: AdversarialHost, name: str, requester: Mapped) -> Mapped:
    """What the loader maps for ``name``, which ``requester`` needs and which is not loaded yet.

    Args:
        bundle: the pack.
        host: what the target offers.
        name: the needed name, as it stands in the file.
        requester: the object that needs it; its image is known.
    """
    if "/" in name:
        return _direct(bundle, name, requester)
    trace: list[Step] = []
    for directory in own_directories(requester):
        result = _look(bundle, directory, name, requester)
        if isinstance(result, _Found):
            place = posixpath.join(result.home, name)
            trace.append(Step(place, directory.via, "found", directory.entry))
            return _mapped(name, result, directory.via, requester, trace)
        trace.append(result)
        if result.verdict == HOST_HAS_IT:
            return _from_host(name, result.place, directory.via, requester, trace)
    return _default(host, name, requester, trace)


HOST_HAS_IT = "the host's copy is found"
NOT_THERE = "not there"


def own_directories(requester: Mapped) -> Iterator[Directory]:
    """The directories of RPATH and RUNPATH that count for what ``requester`` needs, in order.

    A directory that several objects of one folder name in the same words is listed once.
    """
    yield from dict.fromkeys(_directories(requester))


def _directories(requester: Mapped) -> Iterator[Directory]:
    image = requester.image
    if image is not None and image.runpath is None:
        for link in requester.loaders():
            if link.image is not None and link.image.runpath is None:
                yield from _entries(link.image.rpath, "rpath", link.home)
    if image is not None:
        yield from _entries(image.runpath, "runpath", requester.home)


def _entries(text: str | None, via: str, home: str) -> Iterator[Directory]:
    if text:
        yield from (Directory(entry, via, home) for entry in text.split(":"))


def _look(bundle: Bundle, directory: Directory, name: str, requester: Mapped) -> _Found | Step:
    """What the loader finds of ``name`` in one directory."""
    entry, via, _ = directory
    base, place = expand(directory.entry, directory.home)
    if base is Base.WORKING:
        shown = entry or "(empty)"
        return Step(shown, via, "depends on the working directory of the process", entry)
    if base is Base.HOST:
        return Step(entry, via, "differs from host to host", entry)
    if base is Base.ROOT:
        full = posixpath.join(place, name)
        if is_default_directory(posixpath.normpath(place)):
            return Step(full, via, HOST_HAS_IT, entry)
        return Step(full, via, "outside the pack: the target may have anything there", entry)
    folder = walk(bundle.tree, place)
    if isinstance(folder, Lost):
        verdict = "no such folder in the pack" if folder is Lost.MISSING else folder.value
        return Step(posixpath.normpath(place), via, verdict, entry)
    found = _candidate(bundle, folder, name, requester.image)
    if isinstance(found, _Found):
        return found
    return Step(posixpath.join(folder, name), via, found, entry)


def _candidate(bundle: Bundle, folder: str, name: str, like: Image | None) -> _Found | str:
    path = walk(bundle.tree, posixpath.join(folder, name))
    if isinstance(path, Lost):
        return NOT_THERE if path is Lost.MISSING else f"a link that {path.value}"
    image = bundle.images.get(path)
    if image is None:
        return "not an ELF file" if path in bundle.tree.nodes else NOT_THERE
    if like is not None and image.architecture != like.architecture:
        return f"passed over: {image.format.bits}-bit {image.machine}"
    return _Found(path, folder, image)


def expand(entry: str, home: str) -> Expanded:
    """A search path's entry as a path.

    ``$ORIGIN`` is replaced as in ld.so(8). What ``$LIB`` and ``$PLATFORM`` mean differs from one
    host to the next (Debian's ``$LIB`` is ``lib/x86_64-linux-gnu``, Fedora's ``lib64``), so
    nothing can be counted on behind them.

    Args:
        entry: as it stands in RPATH or RUNPATH.
        home: what ``$ORIGIN`` means.
    """
    if any(token in entry for token in ("$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}")):
        return Expanded(Base.HOST, entry)
    entry = entry.replace("${ORIGIN}", "\0").replace("$ORIGIN", "\0")
    if entry.startswith("\0"):
        return Expanded(Base.ORIGIN, posixpath.join(home, entry[1:].lstrip("/")))
    return Expanded(Base.ROOT if entry.startswith("/") else Base.WORKING, entry)


def _direct(bundle: Bundle, name: str, requester: Mapped) -> Mapped:
    """A needed name with a slash is a path: nothing is searched."""
    base, place = expand(name, requester.home)
    if base in (Base.WORKING, Base.HOST):
        step = Step(name, "direct", "depends on the working directory of the process")
        return Mapped(name, None, MISSING, "direct", _label(requester), (step,), loader=requester)
    if base is Base.ROOT:
        step = Step(place, "direct", "on the host")
        return _from_host(name, place, "direct", requester, [step])
    folder, last = posixpath.split(place)
    home = walk(bundle.tree, folder)
    found = NOT_THERE if isinstance(home, Lost) else _candidate(bundle, home, last, requester.image)
    if isinstance(found, _Found):
        step = Step(posixpath.join(found.home, last), "direct", "found")
        return _mapped(name, found, "direct", requester, [step])
    step = Step(posixpath.normpath(place), "direct", found)
    return Mapped(name, None, MISSING, "direct", _label(requester), (step,), loader=requester)


def _default(host: AdversarialHost, name: str, requester: Mapped, trace: list[Step]) -> Mapped:
    """What ld.so.cache and the default directories of the adversarial host yield: all there is."""
    image = requester.image
    if image is not None and (image.first(c.DT_FLAGS_1) or 0) & c.DF_1_NODEFLIB:
        trace.append(Step("default directories", "default", "not searched: -z nodefaultlib"))
        return Mapped(name, None, MISSING, "default", _label(requester), tuple(trace),
                      loader=requester)  # fmt: skip
    directories = default_directories(image) if image is not None else ("/lib64",)
    place = posixpath.join(directories[0], name)
    trace.append(Step(place, "default", HOST_HAS_IT))
    return _from_host(name, place, "default", requester, trace)


def _from_host(name: str, path: str, via: str, requester: Mapped, trace: Sequence[Step]) -> Mapped:
    return Mapped(name, path, HOST, via, _label(requester), tuple(trace), loader=requester)


def _mapped(name: str, found: _Found, via: str, requester: Mapped, trace: Sequence[Step]) -> Mapped:
    return Mapped(
        name, found.path, BUNDLE, via, _label(requester), tuple(trace), found.home, found.image,
        requester,
    )  # fmt: skip


def _label(requester: Mapped) -> str:
    return requester.path or requester.name
