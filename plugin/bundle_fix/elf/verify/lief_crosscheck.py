"""A second opinion on edited files: LIEF must read the same dynamic section as our reader.

LIEF believes the sizes in headers, so they are checked first, and it runs in a process with limits.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct

from bundle_fix.elf.lief_library import load_lief
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.verify.reading import read_structure
from bundle_fix.model.content import Content, Reader
from bundle_fix.subprocesses.isolation import DiedError, LimitReachedError, run_isolated

if TYPE_CHECKING:
    import lief

SIZE_LIMIT = 64 << 20
"""Limit of a file for LIEF, which reads all of it into memory, in bytes."""
MEMORY_LIMIT = 512 << 20
"""Limit of the memory that LIEF may allocate, in bytes."""
TIME_LIMIT = 30
"""Limit of LIEF's time for one file, in seconds."""


UNREADABLE = "LIEF cannot read the edited file"


class SecondOpinion(Struct, frozen=True):
    """The result of a cross-check; both texts are empty if the readers agree.

    Attributes:
        mismatch: a difference between what LIEF and our reader read.
        missing: why LIEF gave no opinion: it cannot be loaded, or a limit is reached.
    """

    mismatch: str = ""
    missing: str = ""


def crosscheck(before: Content, after: Content, image: Image) -> SecondOpinion:
    """Compare how LIEF reads an edited file with how our reader does; LIEF runs in a fork.

    Args:
        before: the original file: if LIEF cannot read it either, it has no opinion.
        after: the edited file.
        image: what our reader read from ``after``.

    Raises:
        DamagedElfError: a file cannot be read.
    """
    # Imported before the fork, so that later forks need not import it again.
    if problem := load_lief():
        return SecondOpinion(missing=f"{problem}; only bundle-fix verified the result")
    for content in (before, after):
        if content.size > SIZE_LIMIT:
            reason = f"it has {content.size >> 20} MiB; the limit for LIEF is {SIZE_LIMIT >> 20}"
            return SecondOpinion(missing=reason)
        with content.open() as reader:
            excess = find_excess(reader)
        if excess:
            return SecondOpinion(missing=f"LIEF is not run: {excess}")
    try:
        mismatch = run_isolated(lambda: _compare(after, image), MEMORY_LIMIT, TIME_LIMIT)
        unreadable = mismatch == UNREADABLE
    except LimitReachedError as error:
        return SecondOpinion(missing=f"LIEF did not finish: {error}")
    except OSError as error:
        return SecondOpinion(missing=f"LIEF cannot be started: {error.strerror}")
    except DiedError as error:
        mismatch, unreadable = f"{UNREADABLE}: {error}", True
    if unreadable and not _can_read(before):
        return SecondOpinion(missing="LIEF cannot read the original file either")
    return SecondOpinion(mismatch or "")


def _can_read(content: Content) -> bool:
    try:
        return (
            run_isolated(lambda: "" if _parse(content) else None, MEMORY_LIMIT, TIME_LIMIT)
            is not None
        )
    except (DiedError, LimitReachedError, OSError):
        return False


def find_excess(reader: Reader) -> str:
    """Return which header promises bytes beyond the end of the file, or an empty text.

    Raises:
        DamagedElfError: the headers cannot be read.
    """
    elf = read_structure(reader)
    spans = [("segment", n, s.span) for n, s in enumerate(elf.segments) if s.type != c.PT_NULL]
    spans += [("section", n, s.span) for n, s in enumerate(elf.section_headers) if n]
    for kind, number, span in spans:
        if span.end > reader.size and span.start != span.end:
            return f"its {kind} {number} ends at {span.end}, but the file at {reader.size}"
    return ""


def _parse(content: Content) -> lief.ELF.Binary | None:
    """Return what LIEF reads; it may end this process."""
    import lief

    lief.logging.disable()
    config = lief.ELF.ParserConfig()
    config.parse_dyn_symbols = config.parse_symtab_symbols = config.parse_symbol_versions = False
    config.parse_relocations = config.parse_notes = config.parse_overlay = False
    with content.open() as reader:
        binary = lief.ELF.parse(reader.pread(0, reader.size), config)
    return binary if isinstance(binary, lief.ELF.Binary) else None


def _compare(content: Content, image: Image) -> str | None:
    """Return the first difference between LIEF and ``image``, or None."""
    import lief

    binary = _parse(content)
    if binary is None:
        return UNREADABLE
    needed: list[str] = []
    theirs: dict[str, object] = {"soname": None, "rpath": None, "runpath": None}
    for entry in binary.dynamic_entries:
        if isinstance(entry, lief.ELF.DynamicEntryLibrary):
            needed.append(os.fsdecode(entry.name))
        elif isinstance(entry, lief.ELF.DynamicSharedObject):
            theirs["soname"] = os.fsdecode(entry.name)
        elif isinstance(entry, lief.ELF.DynamicEntryRunPath):
            theirs["runpath"] = os.fsdecode(entry.runpath)
        elif isinstance(entry, lief.ELF.DynamicEntryRpath):
            theirs["rpath"] = os.fsdecode(entry.rpath)
    for field, value in {"needed": tuple(needed), **theirs}.items():
        ours = getattr(image, field)
        if ours != value:
            return f"LIEF reads the {field} as {value!r}, our reader as {ours!r}"
    return None
