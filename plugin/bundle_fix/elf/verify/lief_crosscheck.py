"""LIEF's opinion of an edited file, asked after every edit; it must be ours."""

from __future__ import annotations

import os

from bundle_fix.elf.read.image import Image
from bundle_fix.model.content import Content
from bundle_fix.subprocesses.isolation import DiedError, run_isolated

SIZE_LIMIT = 64 << 20
"""Bytes up to which a file is given to LIEF, which reads it whole into memory."""


def crosscheck(content: Content, image: Image) -> str | None:
    """What LIEF reads otherwise than we do, or None where both readers agree.

    Args:
        content: the edited file.
        image: what our own reader read of it.
    """
    # Imported before the process is forked, not in each.
    import lief  # noqa: F401

    try:
        return run_isolated(lambda: crosscheck_here(content, image))
    except DiedError as error:
        return f"LIEF cannot read the edited file: {error}"


def crosscheck_here(content: Content, image: Image) -> str | None:
    """`crosscheck`, asked in this process, which LIEF may end over headers that lie."""
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
            theirs["needed"] = (*_names(theirs["needed"]), os.fsdecode(entry.name))
        elif isinstance(entry, lief.ELF.DynamicSharedObject):
            theirs["soname"] = os.fsdecode(entry.name)
        elif isinstance(entry, lief.ELF.DynamicEntryRunPath):
            theirs["runpath"] = os.fsdecode(entry.runpath)
        elif isinstance(entry, lief.ELF.DynamicEntryRpath):
            theirs["rpath"] = os.fsdecode(entry.rpath)
    for field, value in theirs.items():
        ours = getattr(image, field)
        if ours != value:
            return f"LIEF reads the {field} as {value!r} where we read {ours!r}"
    return None


def _names(value: object) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()
