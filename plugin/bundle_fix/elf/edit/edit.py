"""Changes one ELF file: the first editor whose result keeps every invariant wins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.entries import PlannedEntry, plan_entries
from bundle_fix.elf.edit.errors import CannotEditError, EditRefusedError
from bundle_fix.elf.edit.lief import rewrite_with_lief
from bundle_fix.elf.edit.patchelf import rewrite_with_patchelf
from bundle_fix.elf.edit.slot import edit_in_slots
from bundle_fix.elf.edit.table import grow_string_table
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.ranges import Span
from bundle_fix.elf.symbols.hashes import provides_symbol
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.elf.verify.lief_crosscheck import SIZE_LIMIT, crosscheck
from bundle_fix.model.content import Content, PatchedContent, PathContent, Reader, read_chunks

LOADERS = re.compile(r"ld(64|32)?[.-](so|linux|musl|lsb)|ld\.so|ld64\.so|libc\.musl-")
"""Sonames of dynamic loaders, which find themselves by their own layout: never edited."""
MUSL_LOADER = b"__dls3"
"""A symbol of musl's libc, which is its loader, and has a soname only in some distributions."""


class EditResult(Struct, frozen=True):
    """A file after its changes. ``editor`` is who made them: empty when nothing had to change.

    ``refusals`` says why each editor that was tried before did not.
    """

    content: Content
    image: Image
    editor: str
    refusals: tuple[str, ...] = ()


CrossCheck = Callable[[Content, Image], str | None]
"""Says what another reader reads otherwise than we do, or None."""
IN_PLACE = {"slot": edit_in_slots, "table": grow_string_table}
REWRITE = {"lief": rewrite_with_lief, "patchelf": rewrite_with_patchelf}
ORDERS = {
    "auto": ("slot", "table", "lief", "patchelf"),
    "inplace": ("slot", "table"),
    "lief": ("lief",),
    "patchelf": ("patchelf",),
}
"""The editors to try, in order, for each value of ``--editor``."""


def edit_file(
    content: Content,
    changes: Changes,
    scratch: Path,
    editor: str = "auto",
    second_reader: CrossCheck = crosscheck,
) -> EditResult:
    """``content`` with ``changes``; the original is never written to.

    Args:
        content: the file as it is.
        changes: what to change.
        scratch: a folder for rewritten files, made when there is one, and kept by the caller for as
            long as the result is used.
        editor: ``auto``, ``inplace``, ``lief`` or ``patchelf``.
        second_reader: tells what another reader reads otherwise of the edited file.

    Raises:
        EditRefusedError: the file is of a kind that is never edited, or every editor failed.
        DamagedElfError: the file cannot be read.
    """
    with content.open() as reader:
        image = read_image(reader)
        reason = find_refusal(reader, image) or _find_lost_versions(reader, image, changes)
    if reason:
        raise EditRefusedError(f"it cannot be edited: {reason}")
    wanted = plan_entries(image, changes)
    if wanted == image.dynamic:
        return EditResult(content, image, "")
    refusals: list[str] = []
    for name in ORDERS[editor]:
        try:
            changed, touched = _try_editor(name, content, image, wanted, changes, scratch)
            image = _verify_result(content, changed, changes, touched, second_reader)
            return EditResult(changed, image, name, tuple(refusals))
        except (CannotEditError, DamagedElfError) as error:
            refusals.append(f"{name}: {error}")
    raise EditRefusedError(f"no editor can change it without harm: {'; '.join(refusals)}")


def find_refusal(reader: Reader, image: Image) -> str:
    """Why a file of this kind is never edited; empty where it may be."""
    if not image.is_dynamic:
        kinds = {"rel": "an object file", "core": "a core file"}
        return f"it is {kinds.get(image.type, 'static or holds debug information only')}"
    if image.interpreter is not None or image.needed:
        return ""
    pie = (image.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
    if pie or image.type == "exec":
        return "it is a static program"
    if LOADERS.match(image.soname or "") or provides_symbol(reader, image, MUSL_LOADER):
        return "it is the dynamic loader"
    return ""


def _find_lost_versions(reader: Reader, image: Image, changes: Changes) -> str:
    """Why the loader would not find the versions wanted of a replaced library; empty if it does.

    It looks for the one that was loaded under the name that stands beside the versions, and that
    is never the name before ``$ORIGIN`` was expanded (glibc's dl-version.c, find_needed).
    """
    for old, new in changes.replace_needed:
        if "$" in new and old in read_needed_versions(reader, image):
            return f"it wants versions of {old}, which the loader would not look for in {new}"
    return ""


def _try_editor(
    name: str,
    content: Content,
    image: Image,
    wanted: Sequence[PlannedEntry],
    changes: Changes,
    scratch: Path,
) -> tuple[Content, tuple[Span, ...] | None]:
    """What editor ``name`` makes of the file, and the only bytes that can differ, if known."""
    if name in IN_PLACE:
        with content.open() as reader:
            patches = IN_PLACE[name](reader, image, wanted)
        touched = tuple(Span(patch.offset, patch.end) for patch in patches)
        return PatchedContent(content, patches), touched
    folder = scratch / f"{name}-{os.urandom(6).hex()}"
    folder.mkdir(0o700, parents=True)
    source, target = folder / "before", folder / "after"
    with content.open() as reader, source.open("wb") as copy:
        for piece in read_chunks(reader):
            copy.write(piece)
    try:
        REWRITE[name](source, target, changes)
    finally:
        source.unlink()
    return PathContent(target, target.stat().st_size), None


def _verify_result(
    before: Content,
    after: Content,
    changes: Changes,
    touched: tuple[Span, ...] | None,
    second_reader: CrossCheck,
) -> Image:
    """The image of an edited file that keeps every invariant and that both readers agree on.

    Raises:
        CannotEditError: it does not.
    """
    with before.open() as old, after.open() as new:
        broken = next(find_broken_invariants(old, new, changes, touched), None)
        image = read_image(new)
    if broken is None and after.size <= SIZE_LIMIT:
        broken = second_reader(after, image)
    if broken is not None:
        raise CannotEditError(f"its result was thrown away: {broken}")
    return image
