"""The objects of a process compared with a pack: which are the pack's, which took its place."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.elf.read.image import get_machine_name
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import read_image_from
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.observe.comparison.pack_contents import PackContents
from bundle_fix.observe.objects import ObservedObject
from bundle_fix.observe.snapshot import Aux, ProcessSnapshot

MEMFD = "/memfd:"
"""The start of the path of a file in memory (memfd_create(2))."""

SYSTEM_ROOTS = ("", "/usr", "/usr/local")
"""Directories with the layout of a pack that belong to the host."""


class ObservedOrigin(Enum):
    """The side that an object of a process comes from; the values are codes for JSON.

    ``ADDED`` is a file in the pack's directory that the pack does not contain.
    """

    PACK = "pack"
    OTHER_PACK = "other_pack"
    ADDED = "added"
    HOST = "host"
    MEMFD = "memfd"
    KERNEL = "kernel"


class Replacement(Enum):
    """How the file of an object differs from what was expected; the values are codes for JSON.

    ``DELETED``: the file has been removed or replaced since it was loaded. ``CHANGED``: the file of
    that path has another build-id now. ``OTHER_BUILD``: the pack's file has another build-id.
    """

    DELETED = "deleted"
    CHANGED = "changed"
    OTHER_BUILD = "other_build"


class Verdict(Enum):
    """The result of a comparison; the values are codes for JSON.

    ``UNRELATED``: no object is from the pack. ``NO_PACK``: no pack is known. ``UNREADABLE``: the
    process or the core file could not be read.
    """

    CLEAN = "clean"
    DISPLACED = "displaced"
    REPLACED = "replaced"
    UNRELATED = "unrelated"
    NO_PACK = "no_pack"
    UNREADABLE = "unreadable"


class DisplacementReason(Enum):
    """Why another copy of a library was loaded; the values are codes for JSON.

    ``OTHER_NAME``: no file or symlink of the pack has the name that was searched for.
    ``OTHER_PATH``: the search found another file first.
    """

    OTHER_NAME = "other_name"
    OTHER_PATH = "other_path"


class ComparedObject(Struct, frozen=True):
    """An object of a process with its place in the pack.

    Attributes:
        observed: the object.
        origin: the side that it comes from.
        member: the path of the pack's file at its place, or None.
        displaces: the path of the pack's file that should have been loaded instead, or None.
        reason: why it was not, or None.
        replacement: how its file differs from what was expected, or None.
        other_pack: the name of the other pack that it comes from, or an empty text.
    """

    observed: ObservedObject
    origin: ObservedOrigin
    member: str | None = None
    displaces: str | None = None
    reason: DisplacementReason | None = None
    replacement: Replacement | None = None
    other_pack: str = ""


class Comparison(Struct, frozen=True):
    """The objects of a process compared with a pack.

    Attributes:
        pack: the pack; None if none is known.
        root: the directory of the pack in the process; None if it is unknown.
        objects: the objects, in the order of the link map.
    """

    pack: PackContents | None
    root: str | None
    objects: tuple[ComparedObject, ...]

    @property
    def verdict(self) -> Verdict:
        """The result; a displaced library counts more than a replaced file."""
        own = [o for o in self.objects if o.origin is ObservedOrigin.PACK]
        if self.pack is None:
            return Verdict.NO_PACK
        if not own:
            # Many programs load a library whose name is in the pack as well.
            return Verdict.UNRELATED
        if any(o.displaces for o in self.objects):
            return Verdict.DISPLACED
        return Verdict.REPLACED if any(o.replacement for o in own) else Verdict.CLEAN


def compare_objects(
    snapshot: ProcessSnapshot,
    objects: Sequence[ObservedObject],
    pack: PackContents | None,
    others: Iterable[PackContents] = (),
) -> Comparison:
    """Return the objects with their origins.

    Args:
        snapshot: the process.
        objects: its objects.
        pack: the pack that it is compared with, or None.
        others: further packs, by which other objects may be recognised.
    """
    root = find_pack_root(objects, pack) if pack is not None else None
    owners = {
        b: other.name for other in others if other is not pack for b in other.paths_by_build_id
    }
    located = [_locate_object(snapshot, o, pack, root, owners) for o in objects]
    if pack is not None and root is None:
        located = _match_build_ids(located, pack)
    if pack is None:
        return Comparison(None, None, tuple(located))
    machine = get_machine_name(snapshot.machine)
    is_own_loader = any(
        o.origin is ObservedOrigin.PACK and o.observed.address == snapshot.vector.get(Aux.BASE)
        for o in located
    )
    # The C library must be that of the loader, and the kernel starts the loader by its path.
    compared = [
        o
        if not is_own_loader and any(map(is_part_of_libc, o.observed.names))
        else _add_displacement(o, pack, machine)
        for o in located
    ]
    return Comparison(pack, root, tuple(compared))


def _add_displacement(o: ComparedObject, pack: PackContents, machine: str) -> ComparedObject:
    """Return an object with the file of the pack in whose place it was loaded, if there is one."""
    if o.origin in (ObservedOrigin.PACK, ObservedOrigin.KERNEL) or o.observed.is_main:
        return o
    for name in o.observed.names:
        for path in pack.find_libraries(name, machine):
            searched = posixpath.basename(o.observed.name) or name
            is_named = pack.has_file_name(searched)
            reason = DisplacementReason.OTHER_PATH if is_named else DisplacementReason.OTHER_NAME
            return replace(o, displaces=path, reason=reason)
    return o


def find_pack_root(objects: Sequence[ObservedObject], pack: PackContents) -> str | None:
    """Return the directory in which a process has the pack, judging by the paths of its objects.

    The build-id of the program and the end of its path decide, or else its path and that of
    another file, as in a process of another release. Without the program, most of the files with
    build-ids of the pack do. A pack may contain files of the host: its directories do not count.
    """
    main = [o for o in objects if o.is_main and o.path is not None]
    roots = _list_roots(main, pack)
    if roots:
        return roots[0]
    programs = [path for path, file in pack.files.items() if not file.soname]
    for path in sorted(programs, key=len, reverse=True):
        roots += [o.label[: -len(path) - 1] for o in main if o.label.endswith("/" + path)]
    paths = {o.path for o in objects}
    roots = [r for r in roots if sum(f"{r}/{path}" in paths for path in pack.files) > 1]
    roots = [r for r in roots or _list_roots(objects, pack) if r not in SYSTEM_ROOTS]
    return Counter(roots).most_common(1)[0][0] if roots else None


def _list_roots(objects: Iterable[ObservedObject], pack: PackContents) -> list[str]:
    """Return the directory of the pack by each file with a build-id and a path of the pack."""
    return [
        o.path[: -len(path) - 1]
        for o in objects
        if o.path is not None
        for path in pack.paths_by_build_id.get(o.build_id or "", ())
        if o.path.endswith("/" + path)
    ]


def _locate_object(
    snapshot: ProcessSnapshot,
    observed: ObservedObject,
    pack: PackContents | None,
    root: str | None,
    owners: dict[str, str],
) -> ComparedObject:
    path, build_id = observed.path, observed.build_id
    if path is None:
        return ComparedObject(observed, ObservedOrigin.KERNEL)
    if path.startswith(MEMFD):
        return ComparedObject(observed, ObservedOrigin.MEMFD)
    replacement = _find_replacement(snapshot, observed)
    inside = path[len(root) + 1 :] if root is not None and path.startswith(root + "/") else None
    member = pack.find_member(inside) if pack is not None and inside is not None else None
    if pack is not None and member is not None:
        expected = pack.files[member].build_id
        if replacement is None and expected and build_id and expected != build_id:
            replacement = Replacement.OTHER_BUILD
        return ComparedObject(observed, ObservedOrigin.PACK, member, replacement=replacement)
    if build_id is not None and build_id in owners:
        return ComparedObject(
            observed,
            ObservedOrigin.OTHER_PACK,
            replacement=replacement,
            other_pack=owners[build_id],
        )
    origin = ObservedOrigin.HOST if inside is None else ObservedOrigin.ADDED
    return ComparedObject(observed, origin, replacement=replacement)


def _match_build_ids(objects: Sequence[ComparedObject], pack: PackContents) -> list[ComparedObject]:
    """Return the objects, those of the pack by their build-ids, if the program is the pack's.

    The files of such a pack were moved, for example into the directories of an image.
    """
    ids = pack.paths_by_build_id
    if not any(o.observed.is_main and o.observed.build_id in ids for o in objects):
        return list(objects)
    return [
        replace(o, origin=ObservedOrigin.PACK, member=ids[o.observed.build_id][0])
        if o.observed.build_id is not None and o.observed.build_id in ids
        else o
        for o in objects
    ]


def _find_replacement(snapshot: ProcessSnapshot, observed: ObservedObject) -> Replacement | None:
    if observed.is_deleted:
        return Replacement.DELETED
    if snapshot.root is None or observed.path is None or observed.build_id is None:
        return None
    path = snapshot.root / observed.path.lstrip("/")
    try:
        with PathContent(path, path.stat().st_size).open() as reader:
            image = read_image_from(reader, str(path))
            on_disk = read_build_id(reader, image) if image is not None else None
    except (OSError, BundleFixError):
        return None
    return Replacement.CHANGED if on_disk not in (None, observed.build_id) else None
