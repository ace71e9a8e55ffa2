"""The versions of what else has a part in a pack's bytes: editors, compressors, objcopy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from bundle_fix.collect.libraries.packages import run_query
from bundle_fix.debug.objcopy import find_objcopy
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.read.image import Image
from bundle_fix.model.errors import BundleFixError

PACKAGES = ("lief", "isal", "zlib-ng", "backports.zstd")
"""Python packages that rewrite ELF files or compress."""


def tool_versions(images: Iterable[Image], strip: str) -> tuple[str, ...]:
    """What each tool says of its version, in a fixed order; those that are not installed say none.

    Args:
        images: the ELF files of the pack.
        strip: what becomes of their debug information, as the spec says it.
    """
    found = []
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    programs = {program for program in (find_patchelf(),) if program}
    programs.update(_objcopies(images) if strip != "none" else ())
    told = sorted(run_query(program, "--version").partition("\n")[0] for program in programs)
    return (*found, *told)


def _objcopies(images: Iterable[Image]) -> Iterator[str]:
    for image in {image.architecture: image for image in images}.values():
        with suppress(BundleFixError):  # it is missed only where there is something to strip
            yield find_objcopy(image, "")
