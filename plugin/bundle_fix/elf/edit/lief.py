"""The LIEF editor: it parses the whole file and writes a new one.

By default, LIEF moves the code of a PIE by a page and leaves its DWARF as it was. So the program
headers must go into the gap between two segments, or the edit is refused. A partial parse or a
partial builder configuration writes a corrupt symbol table: both stay at their defaults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import CannotEditError
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


def rewrite_with_lief(source: Path, target: Path, changes: Changes) -> None:
    """Write ``source`` with ``changes`` to ``target``.

    Raises:
        CannotEditError: LIEF cannot parse or write the file, or finds no gap for the headers.
    """
    try:
        import lief
    except ImportError:
        raise CannotEditError("LIEF is not installed") from None
    with PathContent(source, source.stat().st_size).open() as reader:
        try:
            excess = find_excess(reader)
        except DamagedElfError as error:
            raise CannotEditError(f"LIEF is not run: {error.message}") from error
    if excess:
        raise CannotEditError(f"LIEF is not run: {excess}")
    if changes.insert_needed or changes.add_needed:
        raise CannotEditError("LIEF cannot add a needed name before others")
    if not _is_encodable(changes):
        raise CannotEditError("LIEF accepts only names in UTF-8")
    lief.logging.disable()
    try:
        memory = MEMORY_LIMIT + MEMORY_RATIO * source.stat().st_size
        refusal = run_isolated(lambda: _write_changes(source, target, changes), memory, TIME_LIMIT)
    except (DiedError, LimitReachedError) as error:
        raise CannotEditError(f"LIEF cannot write it: {error}") from error
    if refusal is not None:
        raise CannotEditError(refusal)
    # LIEF's write() does not report a full disk or a busy file: it leaves an empty file, or none.
    if not target.is_file() or target.stat().st_size < source.stat().st_size // 2:
        raise CannotEditError("LIEF wrote an incomplete file")


def _write_changes(source: Path, target: Path, changes: Changes) -> str | None:
    """Write the file; return the reason if that is impossible, else None."""
    import lief

    binary = lief.ELF.parse(str(source))
    if not isinstance(binary, lief.ELF.Binary):
        return "LIEF cannot parse it"
    if binary.relocate_phdr_table(lief.ELF.Binary.PHDR_RELOC.SEGMENT_GAP) == 0:
        return "LIEF finds no gap between two segments for the program headers"
    _apply_changes(binary, changes)
    binary.write(str(target))
    return None


def _is_encodable(changes: Changes) -> bool:
    """Return whether every new name is valid UTF-8, as LIEF requires."""
    texts = (changes.runpath, changes.rpath, changes.soname, *dict(changes.replace_needed).values())
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
    replacements = dict(changes.replace_needed)
    for entry in binary.dynamic_entries:
        if isinstance(entry, lief.ELF.DynamicEntryLibrary):
            name = os.fsdecode(entry.name)
            if name in replacements:
                entry.name = replacements[name]
    for name in changes.remove_needed:
        binary.remove_library(name)
    for versions in binary.symbols_version_requirement:
        name = os.fsdecode(versions.name)
        if name in replacements:
            versions.name = replacements[name]


def _remove_tags(binary: lief.ELF.Binary, tags: set[lief.ELF.DynamicEntry.TAG]) -> None:
    for entry in [e for e in binary.dynamic_entries if e.tag in tags]:
        binary.remove(entry)
