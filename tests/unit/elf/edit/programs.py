"""A program with an old RUNPATH, edited in memory."""

from __future__ import annotations

from pathlib import Path

from builders.elf import LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.model.content import BytesContent
from elf.support import (
    read_bytes_of,
)

OLD = "/opt/old"
LONGER = "/opt/longer/" + "x" * 40


def build_program(directory: Path, toolchain: Toolchain = LINKERS["bfd"], *flags: str) -> bytes:
    """Build a program with the RUNPATH `OLD` and return its bytes."""
    path = directory / "x"
    return build_elf(path, program=True, runpath=OLD, toolchain=toolchain, flags=flags).read_bytes()


def edit_data(data: bytes, changes: Changes, directory: Path, editor: str = "inplace") -> bytes:
    """Edit ``data`` and return the result."""
    return read_bytes_of(edit_file(BytesContent(data), changes, directory, editor).content)
