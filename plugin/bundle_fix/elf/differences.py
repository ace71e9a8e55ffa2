"""The differences between two images of one ELF file, as phrases for people."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.elf.read.image import Image


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


def _format_search_path(image: Image) -> str:
    """Return the RPATH or RUNPATH of a file with its name, as readelf names it."""
    if image.runpath is not None:
        return f"RUNPATH {image.runpath or '(empty)'}"
    return f"RPATH {image.rpath or '(empty)'}" if image.rpath is not None else "no RUNPATH"
