"""The objects that the loader maps, and the process that it maps them for."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from enum import Enum

from msgspec import Struct, field
from msgspec.structs import replace

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.host import Environment, Host
from bundle_fix.loader.hosts.rtld import Loader
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.search.steps import SearchRule, SearchStep


class ObjectOrigin(Enum):
    """The side that an object comes from; the values are codes for JSON."""

    BUNDLE = "bundle"
    HOST = "host"
    MISSING = "missing"


class LoadedObject(Struct, frozen=True):
    """An object that the loader maps (``struct link_map``), or that it fails to find.

    Attributes:
        name: the name by which it was needed.
        path: relative to the pack for origin ``bundle``, absolute for ``host``, None for
            ``missing``.
        origin: the side that it comes from.
        via: the rule that found it, or the last one that was tried.
        needed_by: the label of the object that needs it.
        trace: the steps of the search.
        directory: the value of ``$ORIGIN`` in it, an absolute path in the view: the directory in
            which it was found, also if that contains a symlink to it (glibc's elf/dl-object.c,
            l_origin). For the program it is the directory of the file itself.
        image: None if the object cannot be read.
        loaded_by: the object that caused it to be loaded (l_loader).
        real_path: its path in the view, without symlinks.
    """

    name: str
    path: str | None
    origin: ObjectOrigin
    via: SearchRule
    needed_by: str = ""
    trace: tuple[SearchStep, ...] = ()
    directory: str = ""
    image: Image | None = None
    loaded_by: LoadedObject | None = None
    real_path: str | None = None

    def walk_load_chain(self) -> Iterator[LoadedObject]:
        """Yield the object, the one that caused it to be loaded, and so on up to the program."""
        current: LoadedObject | None = self
        while current is not None:
            yield current
            current = current.loaded_by

    def hide_search_path(self) -> LoadedObject:
        """Return the object without its RPATH and RUNPATH."""
        image = self.image and replace(self.image, rpath=None, runpath=None)
        return replace(self, image=image)

    @property
    def soname(self) -> str:
        """The soname, or the last part of the name by which the object was needed."""
        soname = self.image.soname if self.image is not None else None
        return posixpath.basename(soname or self.name)

    @property
    def label(self) -> str:
        """The path for messages, or the name if the object is missing."""
        return self.path or self.name


class ProcessContext(Struct, frozen=True):
    """The files, the loader and the environment of one process.

    ``secure`` is secure-execution mode, for privileged programs (ld.so(8)).
    """

    view: View
    host: Host
    loader: Loader
    environment: Environment
    main: LoadedObject
    secure: bool
    rpath_owners_by_id: dict[int, tuple[LoadedObject, ...]] = field(default_factory=dict)
    """The results of `find_rpath_owners`, by the object's id: a large process asks often."""

    def find_rpath_owners(self, requester: LoadedObject) -> tuple[LoadedObject, ...]:
        """Return the objects whose RPATH serves ``requester``, in the order of the search.

        They are the objects with an RPATH on its load chain, then the program (glibc's
        elf/dl-load.c, _dl_map_object). Of two with the same RPATH and directory only the nearer
        one is kept.
        """
        pending: list[LoadedObject] = []
        for ancestor in requester.walk_load_chain():
            if id(ancestor) in self.rpath_owners_by_id:
                break
            pending.append(ancestor)
        else:
            # The RPATH of the program also serves objects that dlopen() loads, whoever calls it.
            if not any(ancestor is self.main for ancestor in pending):
                pending.append(self.main)
        for ancestor in reversed(pending):
            above: tuple[LoadedObject, ...] = ()
            if ancestor.loaded_by is not None:
                above = self.rpath_owners_by_id.get(id(ancestor.loaded_by), ())
            elif ancestor is not self.main:
                above = self.rpath_owners_by_id.get(id(self.main), ())
            self.rpath_owners_by_id[id(ancestor)] = _prepend_own_rpath(ancestor, above)
        return self.rpath_owners_by_id[id(requester)]


def _prepend_own_rpath(
    owner: LoadedObject, above: tuple[LoadedObject, ...]
) -> tuple[LoadedObject, ...]:
    """Return ``above`` with ``owner`` before it, if that has an RPATH that counts."""
    image = owner.image
    # DT_RPATH is ignored if the object has a DT_RUNPATH.
    if image is None or image.runpath is not None or not image.rpath:
        return above
    same = (image.rpath, owner.directory)
    others = [o for o in above if o.image is None or (o.image.rpath, o.directory) != same]
    return (owner, *others)
