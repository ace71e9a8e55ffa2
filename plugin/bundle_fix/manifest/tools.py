"""Versions of the other programs that determine a pack's bytes: editors, compressors, objcopy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from bundle_fix.collect.libraries.packages import run_query
from bundle_fix.debug.objcopy import Architecture, find_objcopy
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.read.image import Image
from bundle_fix.model.errors import BundleFixError

PACKAGES = ("lief", "isal", "zlib-ng", "backports.zstd")
"""Python packages that rewrite ELF files or compress."""


def list_tool_versions(
    images: Iterable[Image], strip: str, toolchain: Mapping[Architecture, str]
) -> tuple[str, ...]:
    """Return the name and version of each tool that is installed, in a fixed order.

    Args:
        images: the ELF files of the pack.
        strip: the value of ``strip`` in the spec.
        toolchain: see `find_objcopy`.
    """
    packages = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    programs = {program for program in (find_patchelf(),) if program}
    programs.update(_find_objcopies(images, toolchain) if strip != "none" else ())
    lines = sorted(run_query(program, "--version").partition("\n")[0] for program in programs)
    return (*packages, *lines)


def _find_objcopies(
    images: Iterable[Image], toolchain: Mapping[Architecture, str]
) -> Iterator[str]:
    """Yield the objcopy for each architecture of the images."""
    for image in {image.architecture: image for image in images}.values():
        with suppress(BundleFixError):  # an error only if a file must be stripped
            yield find_objcopy(image, "", toolchain)
