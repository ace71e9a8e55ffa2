"""The elf pipeline: read or edit single ELF files, in place or into another file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import CrossCheck, EditResult, describe_doubts, edit_file
from bundle_fix.elf.edit.entries import compute_needed
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.elf.search_path import SearchPathChange, apply_search_path_change
from bundle_fix.elf.symbols.versions import read_needed_versions
from bundle_fix.manifest.companions import find_stale_companions
from bundle_fix.model.content import (
    Content,
    FileReader,
    PathContent,
    make_path_content,
    read_chunks,
)
from bundle_fix.model.errors import BundleFixError, DamagedElfError
from bundle_fix.model.patches import PatchedContent
from bundle_fix.model.suggestions import suggest_file
from bundle_fix.storage.atomic import (
    PendingFile,
    copy_metadata,
    create_pending_file,
    generate_hidden_path,
)
from bundle_fix.storage.copy import copy_bytes
from bundle_fix.storage.inplace_file import FileBusyError, get_undo_path, patch_file, undo_patches
from bundle_fix.storage.staging import lock_directory, remove_directory

RENAMED = 32 << 20
"""Bytes up to which a file with one name is replaced by a changed copy."""


class ElfFile(Struct, frozen=True):
    """An ELF file on the disk; ``path`` is as the user gave it."""

    path: Path
    image: Image
    build_id: str | None


class EditedFile(Struct, frozen=True):
    """An edited file: its path, the image before the edit, the edit, and remarks for the user."""

    path: Path
    before: Image
    edited: EditResult
    remarks: tuple[str, ...]


def read_elf_file(path: Path) -> ElfFile:
    """Read the ELF file at ``path``; symlinks are followed.

    Raises:
        EditRefusedError: it is not an ELF file.
        BundleFixError: it is missing, damaged, or not readable.
    """
    with _open_content(path).open() as reader:
        if not is_elf(reader):
            raise EditRefusedError("not an ELF file", where=str(path))
        try:
            image = read_image(reader)
            return ElfFile(path, image, read_build_id(reader, image))
        except DamagedElfError as error:
            raise _make_damaged_error(error, path) from error


def edit_elf_file(
    path: Path,
    changes: Changes,
    output: Path | None,
    editor: str = "auto",
    search_path: SearchPathChange | None = None,
    cross_check: CrossCheck | None = None,
) -> EditedFile:
    """Change the ELF file at ``path``, or write the changed file to ``output``.

    Symlinks are followed and stay symlinks: their target is changed.

    Args:
        path: the file.
        changes: the changes to make.
        output: the path of the result; None changes the file itself.
        editor: ``auto``, ``inplace``, ``lief`` or ``patchelf``.
        search_path: a change of its search path, beside ``changes``.
        cross_check: asks another reader for a second opinion on the edited file.

    Raises:
        EditRefusedError: the file is of a kind that is never edited, or no editor could do it.
        BundleFixError: it cannot be read, or the result cannot be written.
    """
    real = Path(os.path.realpath(path))
    undone = undo_patches(real) if get_undo_path(real).exists() else False
    before = read_elf_file(path).image
    if search_path is not None:
        changes = apply_search_path_change(changes, before, search_path)
    content = _open_content(path)
    status = real.stat()
    scratch = generate_hidden_path(real if output is None or _is_stream(output) else output)
    stack = ExitStack()
    try:
        edited = edit_file(content, changes, scratch, editor, cross_check)
        if scratch.exists():
            # An unlocked one would be removed as a leftover when the output is created.
            stack.enter_context(lock_directory(scratch))
        remarks = [*_find_remarks(content, before, changes)]
        remarks += describe_doubts(before, edited)
        if undone:
            remarks.append("an earlier edit of it, which was killed, has been taken back")
        if edited.editor:
            target = real if output is None else output
            remarks += find_stale_companions(target, real, edited.content)
        if output is not None:
            lost = _write_copy(edited.content, edited.image, output, real)
            remarks += [f"{name} could not be copied to {output}" for name in lost]
        elif edited.editor:
            _write_in_place(real, status, edited)
    except DamagedElfError as error:
        raise _make_damaged_error(error, path) from error
    except EditRefusedError as error:
        raise EditRefusedError(error.message, where=str(path)) from error
    finally:
        stack.close()
        if scratch.exists():
            remove_directory(scratch)
    return EditedFile(output or path, before, edited, tuple(remarks))


def _open_content(path: Path) -> PathContent:
    real = Path(os.path.realpath(path))
    if not real.is_file():
        if real.exists():
            raise BundleFixError("not a file", where=str(path))
        raise BundleFixError("no such file", where=str(path), hint=suggest_file(path))
    return make_path_content(real)


def _make_damaged_error(error: DamagedElfError, path: Path) -> BundleFixError:
    return BundleFixError(
        f"the ELF file is damaged: {error.message}",
        where=str(path),
        hint="replace it with an intact copy",
    )


def _find_remarks(content: Content, image: Image, changes: Changes) -> Iterator[str]:
    """Yield a remark for each requested change without effect, or with a surprising one."""
    for name in (*(old for old, _ in changes.replace_needed), *changes.remove_needed):
        if name not in image.needed:
            yield f"{name} is not needed"
    for text in (changes.runpath, changes.rpath):
        if text and "" in text.split(":"):
            yield f"an empty entry in {text} means the working directory of the process"
    gone = {*image.needed, *changes.remove_needed} - {*compute_needed(image.needed, changes)}
    if gone & {*changes.remove_needed}:
        with content.open() as reader:
            versions = read_needed_versions(reader, image)
        for name in sorted(gone & {*changes.remove_needed} & {*versions}):
            yield f"it still requires versions of {name}: the loader fails if nothing else loads it"


def _write_in_place(path: Path, before: os.stat_result, edited: EditResult) -> None:
    """Change the bytes of the file at ``path``, which is not a symlink, and nothing else of it.

    A small file is replaced by a changed copy. A large one, or one with several hard links, is
    patched where it lies if no process uses it.

    Raises:
        BundleFixError: it cannot be written, or an attribute of it would be lost.
    """
    single, reason = before.st_nlink == 1, "the edit moves its content"
    content = edited.content
    if isinstance(content, PatchedContent) and not (single and before.st_size <= RENAMED):
        try:
            patch_file(path, content.patches, before)
        except FileBusyError as error:
            reason = str(error)
        else:
            return
    if not single:
        raise BundleFixError(
            f"it has {before.st_nlink} hard links and {reason}: a changed copy would keep only one",
            where=str(path), hint="use -o to write a copy",
        )  # fmt: skip
    with create_pending_file(path) as pending:
        _fill_and_verify(pending, content, edited.image)
        lost = copy_metadata(pending.file.fileno(), path)
        if lost:
            raise BundleFixError(
                f"a changed copy of it would lose its {', '.join(lost)}",
                where=str(path), hint="run as its owner or as root, or use -o to write a copy",
            )  # fmt: skip
        now = path.stat()
        if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            raise BundleFixError(
                "the file changed while it was read", where=str(path), hint="run again"
            )
        pending.commit()


def _write_copy(content: Content, image: Image, output: Path, like: Path) -> tuple[str, ...]:
    if _is_stream(output):
        with content.open() as reader, output.open("wb") as stream:
            stream.writelines(read_chunks(reader))
        return ()
    with create_pending_file(output) as pending:
        _fill_and_verify(pending, content, image)
        lost = copy_metadata(pending.file.fileno(), like)
        pending.commit(like)
    return lost


def _is_stream(path: Path) -> bool:
    """Return whether ``path`` is a device or a pipe, which no file can replace."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _fill_and_verify(pending: PendingFile, content: Content, image: Image) -> None:
    """Write the content, read the ELF image back from the disk, and compare it."""
    fd = pending.file.fileno()
    with content.open() as reader:
        copy_bytes(reader, fd, str(pending.target))
        if read_image(FileReader(fd, 0, reader.size)) != image:
            raise BundleFixError(
                "the disk returns other bytes than were written", where=str(pending.target),
                hint="the disk may be failing",
            )  # fmt: skip
