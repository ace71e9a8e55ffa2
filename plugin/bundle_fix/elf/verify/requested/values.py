"""The values after an edit that are computed from the old file and the requested changes."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.reading import ElfStructure

EI_OSABI = 7
STACK_FLAGS = c.PF_R | c.PF_W
"""The flags of a new PT_GNU_STACK, without that of an executable stack."""

SegmentFacts = dict[int, list[tuple[int, ...]]]
"""Address, flags, memory size and file size of segments, by type."""


def expect_ident(old: ElfStructure, changes: Changes) -> bytes:
    """Return e_ident after ``changes``."""
    if changes.os_abi is None:
        return old.ident
    return old.ident[:EI_OSABI] + bytes([changes.os_abi]) + old.ident[EI_OSABI + 1 :]


def expect_segments(facts: SegmentFacts, changes: Changes) -> SegmentFacts:
    """Return the facts of segments after ``changes``: only the flags of the stack may differ."""
    if changes.executable_stack is None:
        return facts
    stacks = []
    for address, flags, *sizes in facts.get(c.PT_GNU_STACK) or [(0, STACK_FLAGS, 0, 0)]:
        wanted = flags | c.PF_X if changes.executable_stack else flags & ~c.PF_X
        stacks.append((address, wanted, *sizes))
    return {**facts, c.PT_GNU_STACK: sorted(stacks)}


def expect_entries(entries: list[tuple[int, int]], changes: Changes) -> list[tuple[int, int]]:
    """Return the dynamic entries without a string after ``changes``, sorted."""
    result = list(entries)
    if changes.no_default_lib:
        # Loaders use the last of several DT_FLAGS_1.
        last = max((n for n, (tag, _) in enumerate(result) if tag == c.DT_FLAGS_1), default=None)
        value = (0 if last is None else result.pop(last)[1]) | c.DF_1_NODEFLIB
        result.append((c.DT_FLAGS_1, value))
    if changes.debug_tag and all(tag != c.DT_DEBUG for tag, _ in result):
        result.append((c.DT_DEBUG, 0))
    return sorted(result)


def expect_interpreter(old: bytes | None, changes: Changes) -> bytes | None:
    """Return the name of the interpreter after ``changes``."""
    return old if changes.interpreter is None else os.fsencode(changes.interpreter)


def expect_version_indices(
    indices: bytes, names: list[bytes], changes: Changes, mark: str
) -> bytes:
    """Return a DT_VERSYM table after ``changes``.

    Args:
        indices: the table: 16 bits for each symbol.
        names: the names of the symbols.
        changes: the requested changes.
        mark: the byte order as the first character of a format of `struct`.
    """
    cleared = {os.fsencode(name) for name in changes.clear_versions}
    values = list(struct.unpack(f"{mark}{len(names)}H", indices))
    for number, name in enumerate(names):
        if name in cleared:
            values[number] = 1  # VER_NDX_GLOBAL
    return struct.pack(f"{mark}{len(names)}H", *values)


def expect_names(
    names: Mapping[int, tuple[str, ...]], changes: Changes
) -> Mapping[int, tuple[str, ...]]:
    """Return the strings of the dynamic entries after ``changes``, by tag."""
    result = dict(names)
    result[c.DT_NEEDED] = _expect_needed(names.get(c.DT_NEEDED, ()), changes)
    if changes.soname is not None:
        result[c.DT_SONAME] = (changes.soname,) if changes.soname else ()
    if changes.runpath is not None or changes.rpath is not None:
        result[c.DT_RUNPATH] = (changes.runpath,) if changes.runpath else ()
        result[c.DT_RPATH] = (changes.rpath,) if changes.rpath else ()
    return result


def _expect_needed(needed: Sequence[str], changes: Changes) -> tuple[str, ...]:
    """Return the needed names that ``changes`` must lead to, computed without the editors' code."""
    names = list(needed)
    for anchor, new in changes.insert_needed:
        for at in range(len(names) - 1, -1, -1):
            if names[at] == anchor and (at == 0 or names[at - 1] != new):
                names.insert(at, new)
    replaced = dict(changes.replace_needed)
    present = {*needed, *(replaced[name] for name in needed if name in replaced)}
    added = [name for name in dict.fromkeys(changes.add_needed) if name not in present]
    kept = [replaced.get(name, name) for name in names if name not in changes.remove_needed]
    return (*added, *kept)
