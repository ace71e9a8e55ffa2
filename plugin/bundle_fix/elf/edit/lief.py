"""The LIEF editor: it parses the whole file and writes a new one.

By default, LIEF moves the code of a PIE by a page and leaves its DWARF as it was. So the program
headers go into the gap between two segments, or behind the last one, and nothing else moves. A
partial parse or a partial builder configuration writes a corrupt symbol table: both stay at their
defaults.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import compute_needed
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.parts.lief_repairs import repair_rewritten_file
from bundle_fix.elf.lief_library import load_lief
from bundle_fix.elf.verify.lief_crosscheck import find_excess
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.subprocesses.isolation import DiedError, LimitReachedError, run_isolated

if TYPE_CHECKING:
    import lief

MEMORY_LIMIT, MEMORY_RATIO = 512 << 20, 8
"""Limit of LIEF's memory: some bytes, and so many for each byte of the file."""
TIME_LIMIT = 600
"""Limit of LIEF's time for one file, in seconds."""


class HeaderPlace(Enum):
    """The new place of the program headers, by LIEF's name for it."""

    GAP = "SEGMENT_GAP"
    END = "BSS_END"


def rewrite_with_lief(
    source: Path, target: Path, changes: Changes, place: HeaderPlace = HeaderPlace.GAP
) -> None:
    """Write ``source`` with ``changes`` to ``target``.

    Raises:
        CannotEditError: LIEF cannot parse or write the file, or finds no gap for the headers.
    """
    if problem := load_lief():
        raise CannotEditError(problem)
    with PathContent(source, source.stat().st_size).open() as reader:
        try:
            excess = find_excess(reader)
        except DamagedElfError as error:
            raise CannotEditError(f"LIEF is not run: {error.message}") from error
    if excess:
        raise CannotEditError(f"LIEF is not run: {excess}")
    if not _is_encodable(changes):
        raise CannotEditError("LIEF accepts only names in UTF-8")
    try:
        memory = MEMORY_LIMIT + MEMORY_RATIO * source.stat().st_size
        refusal = run_isolated(
            lambda: _write_changes(source, target, changes, place), memory, TIME_LIMIT
        )
    except (DiedError, LimitReachedError) as error:
        raise CannotEditError(f"LIEF cannot write it: {error}") from error
    if refusal is not None:
        raise CannotEditError(refusal)
    # LIEF's write() does not report a full disk or a busy file: it leaves an empty file, or none.
    if not target.is_file() or target.stat().st_size < source.stat().st_size // 2:
        raise CannotEditError("LIEF wrote an incomplete file")
    try:
        repair_rewritten_file(source, target)
    except DamagedElfError as error:
        raise CannotEditError(f"the tables of its symbols are damaged: {error.message}") from error


def _write_changes(source: Path, target: Path, changes: Changes, place: HeaderPlace) -> str | None:
    """Write the file; return the reason if that is impossible, else None."""
    import lief

    lief.logging.disable()
    binary = lief.ELF.parse(str(source))
    if not isinstance(binary, lief.ELF.Binary):
        return "LIEF cannot parse it"
    kind = getattr(lief.ELF.Binary.PHDR_RELOC, place.value)
    if binary.relocate_phdr_table(kind) == 0:
        return "LIEF finds no place for the program headers"
    _apply_changes(binary, changes)
    binary.write(str(target))
    return None


def _is_encodable(changes: Changes) -> bool:
    """Return whether every new name is valid UTF-8, as LIEF requires."""
    needed = (*changes.replace_needed, *changes.insert_needed)
    texts = (changes.runpath, changes.rpath, changes.soname, *dict(needed).values())
    texts += changes.add_needed
    try:
        "".join(text for text in texts if text).encode()
    except UnicodeEncodeError:
        return False
    return True


def _apply_changes(binary: lief.ELF.Binary, changes: Changes) -> None:
    import lief

    tags = lief.ELF.DynamicEntry.TAG
    if changes.runpath is not None or changes.rpath is not None:
        _remove_tags(binary, {tags.RPATH, tags.RUNPATH})
        if changes.runpath:
            binary.add(lief.ELF.DynamicEntryRunPath(changes.runpath))
        if changes.rpath:
            binary.add(lief.ELF.DynamicEntryRpath(changes.rpath))
    if changes.soname is not None:
        _remove_tags(binary, {tags.SONAME})
        if changes.soname:
            binary.add(lief.ELF.DynamicSharedObject(changes.soname))
    _set_needed(binary, changes)
    replacements = dict(changes.replace_needed)
    for versions in binary.symbols_version_requirement:
        name = os.fsdecode(versions.name)
        if name in replacements:
            versions.name = replacements[name]


def _set_needed(binary: lief.ELF.Binary, changes: Changes) -> None:
    """Give the binary as many DT_NEEDED as there will be, and their names in the right order."""
    entries = _list_needed(binary)
    names = [os.fsdecode(entry.name) for entry in entries]
    new = compute_needed(names, changes)
    if new == tuple(names):
        return
    for name in new[len(entries) :]:
        binary.add_library(name)
    for entry in entries[len(new) :]:
        binary.remove(entry)
    for entry, name in zip(_list_needed(binary), new, strict=True):
        entry.name = name


def _list_needed(binary: lief.ELF.Binary) -> list[lief.ELF.DynamicEntryLibrary]:
    import lief

    return [e for e in binary.dynamic_entries if isinstance(e, lief.ELF.DynamicEntryLibrary)]


def _remove_tags(binary: lief.ELF.Binary, tags: set[lief.ELF.DynamicEntry.TAG]) -> None:
    for entry in [e for e in binary.dynamic_entries if e.tag in tags]:
        binary.remove(entry)
