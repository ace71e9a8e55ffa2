"""The dynamic section after an edit: its entries in the space that it has.

No editor moves the section, as programs read it as ``_DYNAMIC``. lld leaves no entry to spare, so
that a new one replaces an entry that repeats another one or that no loader requires.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DynamicEntry, Image
from bundle_fix.model.patches import Patch


def compute_dynamic_patch(image: Image, planned: Sequence[DynamicEntry]) -> Patch:
    """Return the patch that writes ``planned`` over the dynamic section, followed by DT_NULL.

    Raises:
        CannotEditError: the section has no space for so many entries.
    """
    segment = next(s for s in image.segments if s.type == c.PT_DYNAMIC)
    layout = image.format.dynamic
    before = image.dynamic or ()
    entries = _fit_entries(image, planned, segment.filesz // layout.size)
    length = max(len(entries), len(before))
    filled = [*entries, *[DynamicEntry(c.DT_NULL, 0)] * (length - len(entries))]
    filled = [_adjust_relative(image, entry, number) for number, entry in enumerate(filled)]
    return Patch(segment.offset, b"".join(layout.pack(*entry) for entry in filled))


def _fit_entries(
    image: Image, planned: Sequence[DynamicEntry], capacity: int
) -> Sequence[DynamicEntry]:
    """Return ``planned`` without as many dispensable entries as the space requires."""
    # A section without DT_NULL (GNU ld's --spare-dynamic-tags=0) works as before with the same
    # number of entries; only a larger number needs space for DT_NULL.
    limit = max(len(image.dynamic or ()), capacity - 1)
    excess = len(planned) - limit
    for is_dispensable in DISPENSABLE:
        if excess <= 0:
            return planned
        dropped = [e for e in planned if is_dispensable(e, planned, image)][:excess]
        planned = [e for e in planned if e not in dropped]
        excess = len(planned) - limit
    if excess > 0:
        raise CannotEditError(
            f"its dynamic section has space for {capacity} entries;"
            f" {len(planned) + 1} are needed, and none can be dispensed with"
        )
    return planned


def _adjust_relative(image: Image, entry: DynamicEntry, number: int) -> DynamicEntry:
    """Return an entry with a value that suits its place, if that is relative to the place.

    DT_MIPS_RLD_MAP_REL has the distance from the entry itself to the debugger's pointer (glibc's
    sysdeps/mips/dl-debug.h).
    """
    if entry.tag != c.DT_MIPS_RLD_MAP_REL:
        return entry
    moved = (image.dynamic or ()).index(entry) - number
    value = entry.value + moved * image.format.dynamic.size
    return DynamicEntry(entry.tag, value % (1 << image.format.bits))


def _is_repeated_flags_1(entry: DynamicEntry, entries: Sequence[DynamicEntry], _: Image) -> bool:
    return entry == (c.DT_FLAGS_1, c.DF_1_NOW) and _has_flag(entries, c.DT_FLAGS, c.DF_BIND_NOW)


def _is_repeated_bind_now(entry: DynamicEntry, entries: Sequence[DynamicEntry], _: Image) -> bool:
    # The gABI: DF_BIND_NOW in DT_FLAGS supersedes DT_BIND_NOW.
    return entry.tag == c.DT_BIND_NOW and _has_flag(entries, c.DT_FLAGS, c.DF_BIND_NOW)


def _is_debug_of_library(entry: DynamicEntry, _: Sequence[DynamicEntry], image: Image) -> bool:
    # Debuggers read DT_DEBUG of the program (the gABI, "Dynamic Section").
    is_program = image.interpreter is not None or image.header.type == c.ET_EXEC
    return entry.tag == c.DT_DEBUG and not is_program


def _is_count_of_relative(entry: DynamicEntry, _: Sequence[DynamicEntry], __: Image) -> bool:
    # A hint: loaders process all relocations alike without it (glibc's do-rel.h).
    return entry.tag in (c.DT_RELACOUNT, c.DT_RELCOUNT)


def _is_repeated_flags(entry: DynamicEntry, entries: Sequence[DynamicEntry], _: Image) -> bool:
    return entry == (c.DT_FLAGS, c.DF_BIND_NOW) and _has_flag(entries, c.DT_FLAGS_1, c.DF_1_NOW)


def _is_symbol_size(entry: DynamicEntry, _: Sequence[DynamicEntry], __: Image) -> bool:
    # It can have only one value; bionic and FreeBSD's loader check it if it is there.
    return entry.tag == c.DT_SYMENT


def _has_flag(entries: Sequence[DynamicEntry], tag: int, flag: int) -> bool:
    return any(entry.tag == tag and entry.value & flag for entry in entries)


DISPENSABLE: tuple[Callable[[DynamicEntry, Sequence[DynamicEntry], Image], bool], ...] = (
    _is_repeated_flags_1,
    _is_repeated_bind_now,
    _is_debug_of_library,
    _is_count_of_relative,
    _is_repeated_flags,
    _is_symbol_size,
)
"""What may be given up for a new entry, the least useful kind first.

glibc (get-dynamic-info.h) treats DT_BIND_NOW, DF_BIND_NOW and DF_1_NOW alike; musl always binds
all symbols at once.
"""
