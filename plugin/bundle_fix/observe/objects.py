"""The ELF files that a process has loaded: those of its link maps, and other mapped code."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from msgspec import Struct

from bundle_fix.observe.link_map import LinkMapEntry, read_link_maps, scan_for_link_maps
from bundle_fix.observe.loaded_image import LoadedImage, read_loaded_image
from bundle_fix.observe.memory import DumpedMemory, read_text
from bundle_fix.observe.snapshot import (
    VDSO,
    Aux,
    FileMapping,
    ProcessSnapshot,
    find_header,
    find_mapping,
)

MAX_ENTRIES = 300_000
"""Limit of the headers and dynamic entries of all objects; 3,000 libraries have 150,000."""
INTERPRETER, UNKNOWN_NAME = "[interpreter]", "[unknown]"
"""Paths of objects whose names are not in the core file."""


class ObservedObject(Struct, frozen=True):
    """An ELF file that a process has loaded.

    Attributes:
        name: the path by which the loader opened it; empty if no link map contains it.
        path: its file, without symlinks, as the kernel names it; if that is unknown, ``name`` or a
            word in brackets. None for the kernel's own object.
        address: the address of its ELF header.
        loaded: its headers in memory; None if they are not in the core file.
        namespace: the number of its link map; None if no link map contains it.
        is_main: whether it is the program.
        is_deleted: whether its file was removed or replaced since it was loaded.
    """

    name: str
    path: str | None
    address: int
    loaded: LoadedImage | None
    namespace: int | None
    is_main: bool = False
    is_deleted: bool = False

    @property
    def build_id(self) -> str | None:
        """The build-id in memory, or None."""
        return self.loaded.build_id if self.loaded is not None else None

    @property
    def soname(self) -> str | None:
        """DT_SONAME as it is in memory, or None."""
        return self.loaded.image.soname if self.loaded is not None else None

    @property
    def label(self) -> str:
        """The path for messages, or its name if it has no file."""
        return self.path or self.name or VDSO

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which a library may ask for it: soname and file names."""
        files = (posixpath.basename(self.name), posixpath.basename(self.path or ""))
        return tuple(dict.fromkeys(name for name in (self.soname, *files) if name))


class LoadedObjects(Struct, frozen=True):
    """The objects of a process, in load order, and whether a link map was read."""

    objects: tuple[ObservedObject, ...]
    has_link_map: bool

    @property
    def is_static(self) -> bool:
        """Return whether the program is static, so that it has no link map."""
        main = next((o.loaded for o in self.objects if o.is_main), None)
        return not self.has_link_map and main is not None and main.image.interpreter is None


def list_objects(snapshot: ProcessSnapshot) -> LoadedObjects:
    """Return the objects of a process: its link maps, then other code of ELF files.

    Without a link map they are in the order of their addresses.
    """
    images = _ImageCache(snapshot)
    main = _find_main_header(snapshot)
    entries = _read_entries(snapshot, images, main)
    listed = [
        _build_listed_object(snapshot, images, entry, main, is_main=index == 0)
        for index, entry in enumerate(entries)
    ]
    known = {o.address for o in listed}
    others = [o for o in _find_mapped_objects(snapshot, images, main) if o.address not in known]
    return LoadedObjects((*listed, *others), bool(entries))


class _ImageCache(dict[int, LoadedImage | None]):
    """The images in memory by the address of their header, up to a total of their entries."""

    def __init__(self, snapshot: ProcessSnapshot) -> None:
        super().__init__()
        self.memory = snapshot.memory
        self.left = MAX_ENTRIES

    def __missing__(self, header: int) -> LoadedImage | None:
        found = read_loaded_image(self.memory, header) if self.left > 0 else None
        if found is not None:
            self.left -= found.count_entries()
        self[header] = found
        return found


def _find_main_header(snapshot: ProcessSnapshot) -> int | None:
    """Return the address of the program's ELF header, or that of a loader that was run directly."""
    table = snapshot.vector.get(Aux.PHDR)
    if table is None:
        return None
    mapping = find_mapping(snapshot.mappings, table)
    header = find_header(snapshot.mappings, mapping) if mapping is not None else None
    # Program headers follow the ELF header in nearly all programs.
    return table - table % 4096 if header is None else header


def _read_entries(
    snapshot: ProcessSnapshot, images: _ImageCache, main: int | None
) -> list[LinkMapEntry]:
    """Return the link maps that the program's DT_DEBUG leads to.

    If the loader was run as a program, the kernel knows only that; its own program is then one of
    the other mapped files.
    """
    candidates = [main] if main is not None else []
    candidates += [m.start for m in snapshot.mappings if m.offset == 0 and m.start != main]
    for header in candidates:
        image = images[header]
        if image is None or (header != main and image.image.interpreter is None):
            continue
        debug = image.find_debug_pointer(snapshot.memory)
        entries = read_link_maps(snapshot.memory, snapshot.layout, debug) if debug else []
        if entries:
            return entries
    if isinstance(snapshot.memory, DumpedMemory):
        return scan_for_link_maps(snapshot.memory, snapshot.layout, main or 0)
    return []


def _build_listed_object(
    snapshot: ProcessSnapshot,
    images: _ImageCache,
    entry: LinkMapEntry,
    main: int | None,
    *,
    is_main: bool,
) -> ObservedObject:
    mapping = find_mapping(snapshot.mappings, entry.dynamic)
    header = find_header(snapshot.mappings, mapping) if mapping is not None else None
    if header is None:
        # The core file does not name its mapped files (before Linux 3.7, or qemu).
        is_static_address = is_main and entry.bias == 0 and main is not None
        header = main if is_static_address and main is not None else entry.bias
    name = entry.name or (_find_program_name(snapshot) if is_main else "")
    path = mapping.path if mapping is not None else posixpath.normpath(name) if name else ""
    if not path:
        path = INTERPRETER if header == snapshot.vector.get(Aux.BASE) else UNKNOWN_NAME
    is_vdso = header == snapshot.vector.get(Aux.SYSINFO_EHDR) or path == VDSO
    return ObservedObject(
        name, None if is_vdso else path, header, images[header], entry.namespace,
        is_main, mapping is not None and mapping.is_deleted,
    )  # fmt: skip


def _find_program_name(snapshot: ProcessSnapshot) -> str:
    """Return the path by which the program was started (AT_EXECFN), or an empty text."""
    address = snapshot.vector.get(Aux.EXECFN)
    text = read_text(snapshot.memory, address) if address else None
    return text or snapshot.program or ""


def _find_mapped_objects(
    snapshot: ProcessSnapshot, images: _ImageCache, main: int | None
) -> Iterator[ObservedObject]:
    """Yield the ELF files with code in memory, by address."""
    for mapping in _find_code(snapshot.mappings):
        image = images[mapping.start]
        if image is None and snapshot.memory.pread(mapping.start, 4):
            continue
        is_vdso = mapping.path == VDSO
        yield ObservedObject(
            "", None if is_vdso else mapping.path, mapping.start, image, None,
            mapping.start == main, mapping.is_deleted,
        )  # fmt: skip


def _find_code(mappings: Iterable[FileMapping]) -> Iterator[FileMapping]:
    """Yield the first mapping of each mapped file that contains code."""
    first: FileMapping | None = None
    is_yielded = False
    for mapping in mappings:
        if mapping.offset == 0 or first is None or mapping.path != first.path:
            first, is_yielded = (mapping if mapping.offset == 0 else None), False
        if first is not None and mapping.is_executable and not is_yielded:
            is_yielded = True
            yield first
