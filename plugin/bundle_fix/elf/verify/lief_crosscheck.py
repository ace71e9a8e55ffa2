"""A cross-check of edited files: LIEF must read the same dynamic section as our reader."""

from __future__ import annotations

import os

from bundle_fix.elf.read.image import Image
from bundle_fix.model.content import Content
from bundle_fix.subprocesses.isolation import DiedError, run_isolated

SIZE_LIMIT = 64 << 20
"""Limit of a file for LIEF, which reads all of it into memory, in bytes."""


def crosscheck(content: Content, image: Image) -> str | None:
    """Return a difference between LIEF and our reader, or None; LIEF runs in a forked process.

    Args:
        content: the edited file.
        image: what our reader read from it.
    """
    # Imported before the fork, so that later forks need not import it again.
    import lief  # noqa: F401

    try:
        return run_isolated(lambda: crosscheck_here(content, image))
    except DiedError as error:
        return f"LIEF cannot read the edited file: {error}"


def crosscheck_here(content: Content, image: Image) -> str | None:
    """Cross-check in this process, which LIEF may end if headers are invalid."""
    import lief

    lief.logging.disable()
    config = lief.ELF.ParserConfig()
    config.parse_dyn_symbols = config.parse_symtab_symbols = config.parse_symbol_versions = False
    config.parse_relocations = config.parse_notes = config.parse_overlay = False
    with content.open() as reader:
        binary = lief.ELF.parse(reader.pread(0, reader.size), config)
    if not isinstance(binary, lief.ELF.Binary):
        return "LIEF cannot read the edited file"
    theirs: dict[str, object] = {"needed": (), "soname": None, "rpath": None, "runpath": None}
    for entry in binary.dynamic_entries:
        if isinstance(entry, lief.ELF.DynamicEntryLibrary):
            theirs["needed"] = (*_get_names(theirs["needed"]), os.fsdecode(entry.name))
        elif isinstance(entry, lief.ELF.DynamicSharedObject):
            theirs["soname"] = os.fsdecode(entry.name)
        elif isinstance(entry, lief.ELF.DynamicEntryRunPath):
            theirs["runpath"] = os.fsdecode(entry.runpath)
        elif isinstance(entry, lief.ELF.DynamicEntryRpath):
            theirs["rpath"] = os.fsdecode(entry.rpath)
    for field, value in theirs.items():
        ours = getattr(image, field)
        if ours != value:
            return f"LIEF reads the {field} as {value!r}, our reader as {ours!r}"
    return None


def _get_names(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
