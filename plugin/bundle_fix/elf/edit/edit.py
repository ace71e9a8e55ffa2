"""The edit of one ELF file: by the first editor whose result passes verification."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.differences import list_moved_parts
from bundle_fix.elf.edit.entries import NewInterpreter, NewName, PlannedItem, plan_entries
from bundle_fix.elf.edit.errors import CannotEditError, EditRefusedError
from bundle_fix.elf.edit.orders import LIEF_LAYOUTS, ORDERS, SELECTED_PATCHELF
from bundle_fix.elf.edit.refusals import find_lost_versions, find_refusal
from bundle_fix.elf.edit.string_tables.segment import grow_segment
from bundle_fix.elf.edit.string_tables.slot import edit_in_slots
from bundle_fix.elf.edit.string_tables.table import grow_string_table
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.model.content import Content, PathContent, Reader, read_chunks
from bundle_fix.model.errors import DamagedElfError
from bundle_fix.model.patches import (
    InsertedContent,
    Insertion,
    Patch,
    PatchedContent,
    overlay_patches,
)

if TYPE_CHECKING:
    from bundle_fix.elf.verify.lief_crosscheck import SecondOpinion


class EditResult(Struct, frozen=True):
    """A file after its changes.

    Attributes:
        content: its bytes.
        image: its image.
        editor: the editor that made the changes; empty if there was nothing to change.
        refusals: the reason of each editor that was tried before and failed.
        no_opinion: why the requested second opinion is missing; empty if it is not.
    """

    content: Content
    image: Image
    editor: str
    refusals: tuple[str, ...] = ()
    no_opinion: str = ""


CrossCheck = Callable[[Content, Content, Image], "SecondOpinion"]
"""A function that compares our image of the edited file with another reader's."""
IN_PLACE = {"slot": edit_in_slots, "table": grow_string_table}


def edit_file(
    content: Content,
    changes: Changes,
    scratch: Path,
    editor: str = "auto",
    cross_check: CrossCheck | None = None,
) -> EditResult:
    """Return ``content`` with ``changes``; the original is never written to.

    Args:
        content: the file as it is.
        changes: what to change.
        scratch: a directory for rewritten files, created if needed; the caller must keep it for as
            long as the result is used.
        editor: a key of `ORDERS`.
        cross_check: asks another reader for a second opinion on the edited file.

    Raises:
        EditRefusedError: files of this kind are never edited, or every editor failed.
        DamagedElfError: the file cannot be read.
    """
    with content.open() as reader:
        image = read_image(reader)
        reason = "" if changes.only_header else find_refusal(reader, image)
        reason = reason or find_lost_versions(reader, image, changes)
        if reason:
            raise EditRefusedError(f"it cannot be edited: {reason}")
        fixed, strings = _plan_parts(reader, image, changes)
    planned: tuple[PlannedItem, ...] | None = image.dynamic
    if image.is_dynamic:
        planned = (*plan_entries(image, changes), *strings)
    if planned == image.dynamic and not fixed:
        return EditResult(content, image, "")
    base = PatchedContent(content, fixed) if fixed else content
    # Values that are written where the old ones stand are the work of the slot editor.
    editors = ("slot",) if planned == image.dynamic else ORDERS[editor]
    refusals: list[str] = []
    for name in editors:
        try:
            changed, touched = _try_editor(name, base, image, planned or (), changes, scratch)
            image = _verify_result(name, content, changed, changes, touched)
            missing = _ask_for_opinion(cross_check, content, changed, image)
            return EditResult(changed, image, _get_editor(name), tuple(refusals), missing)
        except (CannotEditError, DamagedElfError) as error:
            refusals.append(f"{name}: {error}")
    raise EditRefusedError(f"every editor failed: {'; '.join(refusals)}")


def describe_doubts(before: Image, edited: EditResult) -> Iterator[str]:
    """Yield what a user should know of an edit, as sentences without the name of the file."""
    moved = ", ".join(list_moved_parts(before, edited.image))
    if moved:
        yield f"{edited.editor} moved {moved}; programs that read these in their own file may fail"
    if edited.no_opinion:
        yield f"no second opinion on the edit: {edited.no_opinion}"


def _plan_parts(
    reader: Reader, image: Image, changes: Changes
) -> tuple[tuple[Patch, ...], tuple[PlannedItem, ...]]:
    """Return the patches that need no space, and new strings beside those of dynamic entries."""
    if changes.only_dynamic:
        return (), ()
    # Most edits need none of these modules.
    from bundle_fix.elf.edit.parts.fixed_size import compute_fixed_size_patches
    from bundle_fix.elf.edit.parts.interpreter import plan_interpreter
    from bundle_fix.elf.edit.parts.symbol_names import plan_symbol_names

    fixed = compute_fixed_size_patches(reader, image, changes)
    return fixed, (*plan_symbol_names(reader, image, changes), *plan_interpreter(image, changes))


def _get_editor(name: str) -> str:
    """Return the editor of an entry of `ORDERS`, without the layout."""
    return name.partition(" ")[0]


def _try_editor(
    name: str,
    content: Content,
    image: Image,
    planned: Sequence[PlannedItem],
    changes: Changes,
    scratch: Path,
) -> tuple[Content, Sequence[tuple[int, int]] | None]:
    """Return the file edited by ``name``, and the only ranges that can differ, if known."""
    if name in IN_PLACE:
        patches: tuple[Patch, ...] = ()
        if planned != (image.dynamic or ()):
            with content.open() as reader:
                patches = IN_PLACE[name](reader, image, planned)
        return _add_interpreter(_patch_content(content, patches), None, image, planned)
    if name == "segment":
        with content.open() as reader:
            # Program headers may have changed already.
            patches, insertion = grow_segment(reader, read_image(reader), planned)
        return _add_interpreter(_patch_content(content, patches), insertion, image, planned)
    if (
        changes.no_default_lib
        or changes.debug_tag
        or any(isinstance(item, NewName | NewInterpreter) for item in planned)
    ):
        raise CannotEditError("it is used only for the names of libraries and the search path")
    directory = scratch / f"{_get_editor(name)}-{os.urandom(6).hex()}"
    directory.mkdir(0o700, parents=True)
    source, target = directory / "before", directory / "after"
    with content.open() as reader, source.open("wb") as copy:
        for piece in read_chunks(reader):
            copy.write(piece)
    try:
        _import_rewriter(name)(source, target, changes)
    finally:
        source.unlink()
    return PathContent(target, target.stat().st_size), None


def _patch_content(content: Content, patches: tuple[Patch, ...]) -> PatchedContent:
    """Return ``content`` with patches, all of them in one list."""
    if isinstance(content, PatchedContent):
        return PatchedContent(content.base, overlay_patches(content.patches, patches))
    return PatchedContent(content, patches)


def _add_interpreter(
    edited: PatchedContent,
    insertion: Insertion | None,
    image: Image,
    planned: Sequence[PlannedItem],
) -> tuple[Content, Sequence[tuple[int, int]]]:
    """Return a file whose strings were edited, with its new interpreter, and what can differ."""
    moved: tuple[Patch, ...] = ()
    if any(isinstance(item, NewInterpreter) for item in planned):
        from bundle_fix.elf.edit.parts.interpreter import compute_interpreter_patches

        content = InsertedContent(edited, insertion) if insertion else edited
        with content.open() as reader:
            moved = compute_interpreter_patches(reader, image, read_image(reader), planned)
    if insertion:
        end = insertion.offset + insertion.size
        moved = tuple(
            patch._replace(offset=patch.offset - insertion.size) if patch.offset >= end else patch
            for patch in moved
        )
    edited = _patch_content(edited, moved)
    touched = [(patch.offset, patch.end) for patch in edited.patches]
    return InsertedContent(edited, insertion) if insertion else edited, touched


def _import_rewriter(name: str) -> Callable[[Path, Path, Changes], None]:
    """Import an editor that writes a new file; most edits need none of them."""
    if name in LIEF_LAYOUTS:
        from bundle_fix.elf.edit.lief import HeaderPlace, rewrite_with_lief

        return partial(rewrite_with_lief, place=list(HeaderPlace)[LIEF_LAYOUTS.index(name)])
    from bundle_fix.elf.edit.patchelf import rewrite_with_patchelf

    return rewrite_with_patchelf


def _verify_result(
    name: str,
    before: Content,
    after: Content,
    changes: Changes,
    touched: Sequence[tuple[int, int]] | None,
) -> Image:
    """Return the image of a file that the editor ``name`` edited as its contract demands.

    Raises:
        CannotEditError: the contract is broken.
    """
    with before.open() as old, after.open() as new:
        broken = next(_find_broken_contract(name, old, new, changes, touched), None)
        image = read_image(new)
    if broken is not None:
        raise CannotEditError(f"its result is discarded: {broken}")
    return image


def _find_broken_contract(
    name: str,
    old: Reader,
    new: Reader,
    changes: Changes,
    touched: Sequence[tuple[int, int]] | None,
) -> Iterator[str]:
    if name not in (*LIEF_LAYOUTS, SELECTED_PATCHELF):
        return find_broken_invariants(old, new, changes, touched)
    from bundle_fix.elf.verify.equivalence.contract import (
        MOVED_BY_PATCHELF,
        UNMOVABLE,
        find_broken_equivalence,
    )

    movable = MOVED_BY_PATCHELF if name == SELECTED_PATCHELF else UNMOVABLE
    return find_broken_equivalence(old, new, changes, movable)


def _ask_for_opinion(
    cross_check: CrossCheck | None, before: Content, after: Content, image: Image
) -> str:
    """Return why the requested second opinion is missing, or an empty text.

    Raises:
        CannotEditError: the other reader disagrees.
    """
    if cross_check is None:
        return ""
    opinion = cross_check(before, after, image)
    if opinion.mismatch:
        raise CannotEditError(f"its result is discarded: {opinion.mismatch}")
    return opinion.missing
