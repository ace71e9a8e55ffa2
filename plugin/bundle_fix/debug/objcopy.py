"""Runs binutils' objcopy, or LLVM's, on one file; sources: objcopy(1), llvm-objcopy(1)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import get_machine_name
from bundle_fix.model.errors import BundleFixError

TRIPLETS = {
    ("x86_64", "little"): ("x86_64-linux-gnu",),
    ("i386", "little"): ("i686-linux-gnu", "i386-linux-gnu"),
    ("aarch64", "little"): ("aarch64-linux-gnu",),
    ("arm", "little"): ("arm-linux-gnueabihf", "arm-linux-gnueabi"),
    ("powerpc64", "little"): ("powerpc64le-linux-gnu",),
    ("powerpc64", "big"): ("powerpc64-linux-gnu",),
    ("riscv", "little"): ("riscv64-linux-gnu",),
    ("s390", "big"): ("s390x-linux-gnu",),
    ("loongarch", "little"): ("loongarch64-linux-gnu",),
}
"""What precedes the name of a cross objcopy, by machine and byte order."""
LLVM = ("llvm-objcopy", *(f"llvm-objcopy-{version}" for version in range(30, 12, -1)))
"""LLVM's takes the files of every machine."""


def find_objcopy(image: Image, where: str) -> str:
    """The path of an objcopy for files like ``image``.

    Raises:
        BundleFixError: none is installed.
    """
    found = next((path for name in _names(image) if (path := shutil.which(name))), None)
    if found is None:
        triplets = TRIPLETS.get((image.machine, image.format.order), ())
        package = f"binutils-{triplets[0]}" if triplets and not _is_native(image) else "binutils"
        raise BundleFixError(
            f"no objcopy for {image.machine} is installed, which [debug] strip needs", where=where,
            hint=f"install {package} or llvm, or say strip = \"none\"",
        )  # fmt: skip
    return found


def _is_native(image: Image) -> bool:
    here = get_machine_name()
    return image.machine == here or (image.machine, here) == ("i386", "x86_64")


def _names(image: Image) -> Iterator[str]:
    if _is_native(image):
        yield "objcopy"
    for triplet in TRIPLETS.get((image.machine, image.format.order), ()):
        yield f"{triplet}-objcopy"
    yield from LLVM


def run_objcopy(tool: str, source: Path, target: Path, *options: str) -> None:
    """Make ``target`` of ``source``, which stays as it is.

    Raises:
        BundleFixError: it fails.
    """
    done = subprocess.run(
        [tool, *options, str(source), str(target)],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0 or not target.is_file():
        lines = os.fsdecode(done.stderr).strip().splitlines() or ["it says nothing"]
        raise BundleFixError(
            f"{Path(tool).name} {options[0]} fails: {lines[0]}", where=str(source),
            hint='say [debug] strip = "none", or replace the file',
        )  # fmt: skip
