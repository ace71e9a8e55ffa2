"""The differences between two images of one ELF file, as phrases for people."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.flags import list_flag_names
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.os_abi import format_os_abi

READ_SEGMENTS = {
    c.PT_DYNAMIC: "the dynamic section",
    c.PT_NOTE: "notes",
    c.PT_GNU_PROPERTY: "GNU properties",
}
"""Types of segments that programs and tools read, with their names."""


def describe_differences(before: Image, after: Image) -> Iterator[str]:
    """Yield the differences between two images of one file, each as a short phrase."""
    if (before.rpath, before.runpath) != (after.rpath, after.runpath):
        yield f"{_format_search_path(before)} became {_format_search_path(after)}"
    if before.soname != after.soname:
        yield f"soname {before.soname or '(none)'} became {after.soname or '(none)'}"
    for name in after.needed:
        if name not in before.needed:
            yield f"needs {name}"
    for name in before.needed:
        if name not in after.needed:
            yield f"no longer needs {name}"
    if before.interpreter != after.interpreter:
        yield f"interpreter {before.interpreter or '(none)'} became {after.interpreter or '(none)'}"
    if before.os_abi != after.os_abi:
        yield f"OS ABI {format_os_abi(before.os_abi)} became {format_os_abi(after.os_abi)}"
    if before.requests_executable_stack != after.requests_executable_stack:
        yield f"{_format_stack(before)} became {_format_stack(after)}"
    flags = {*list_flag_names(after)} - {*list_flag_names(before)}
    if flags:
        yield f"has the flag {', '.join(sorted(flags))}"
    if before.find_value(c.DT_DEBUG) is None and after.find_value(c.DT_DEBUG) is not None:
        yield "has DT_DEBUG"


def list_moved_parts(before: Image, after: Image) -> Iterator[str]:
    """Yield the parts that changed their place although programs and tools may read them there."""
    if _locate_headers(before) != _locate_headers(after):
        yield "the program headers"
    for kind, name in READ_SEGMENTS.items():
        places, moved = (
            sorted(s.vaddr for s in x.segments if s.type == kind) for x in (before, after)
        )
        if places != moved:
            yield name
    if before.find_value(c.DT_SYMTAB) != after.find_value(c.DT_SYMTAB):
        yield "the dynamic symbols"


def _locate_headers(image: Image) -> tuple[int, ...]:
    """Return the offset of the program headers, and the address of the file's first byte."""
    return image.header.phoff, *(s.vaddr - s.offset for s in image.find_loads()[:1])


def _format_stack(image: Image) -> str:
    names = {None: "no stack flags", True: "executable stack", False: "non-executable stack"}
    return names[image.requests_executable_stack]


def _format_search_path(image: Image) -> str:
    """Return the RPATH or RUNPATH of a file with its name, as readelf names it."""
    if image.runpath is not None:
        return f"RUNPATH {image.runpath or '(empty)'}"
    return f"RPATH {image.rpath or '(empty)'}" if image.rpath is not None else "no RUNPATH"
