"""Search for objcopy and its run on one file; sources: objcopy(1), llvm-objcopy(1)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

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
"""Prefixes of the names of cross binutils, by machine and byte order."""
Architecture: TypeAlias = tuple[int, str, int]
"""See `Image.architecture`."""
LLVM_NAMES = ("llvm-objcopy", *(f"llvm-objcopy-{version}" for version in range(30, 12, -1)))
"""Names of LLVM's objcopy, which handles the files of every machine; the newest first."""


def find_objcopy(image: Image, where: str, toolchain: Mapping[Architecture, str] = {}) -> str:
    """Return the path of an objcopy that handles the machine of ``image``.

    Args:
        image: the ELF file to handle.
        where: its path, for the error.
        toolchain: the objcopy of the build's toolchain, for the files that it makes.

    Raises:
        BundleFixError: no such objcopy is installed.
    """
    if image.architecture in toolchain:
        return toolchain[image.architecture]
    tool = next((path for name in _list_tool_names(image) if (path := shutil.which(name))), None)
    if tool is None:
        triplets = TRIPLETS.get((image.machine, image.format.order), ())
        package = f"binutils-{triplets[0]}" if triplets and not _is_native(image) else "binutils"
        raise BundleFixError(
            f"missing objcopy for {image.machine}, required by `strip` of [debug]", where=where,
            hint=f'install {package} or llvm, or set strip = "none"',
        )  # fmt: skip
    return tool


def _is_native(image: Image) -> bool:
    """Return whether the objcopy of this machine handles the file."""
    machine = get_machine_name()
    # The binutils of x86_64 handle i386 as well.
    return image.machine == machine or (image.machine, machine) == ("i386", "x86_64")


def _list_tool_names(image: Image) -> Iterator[str]:
    """Yield the names under which an objcopy for the file may be installed, the best first."""
    if _is_native(image):
        yield "objcopy"
    for triplet in TRIPLETS.get((image.machine, image.format.order), ()):
        yield f"{triplet}-objcopy"
    yield from LLVM_NAMES


def run_objcopy(tool: str, source: Path, target: Path, *options: str) -> None:
    """Write ``target`` as a changed copy of ``source``.

    Raises:
        BundleFixError: objcopy fails.
    """
    done = subprocess.run(
        [tool, *options, str(source), str(target)],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0 or not target.is_file():
        lines = os.fsdecode(done.stderr).strip().splitlines() or [f"exit code {done.returncode}"]
        raise BundleFixError(
            f"{Path(tool).name} {options[0]} failed: {lines[0]}", where=str(source),
            hint='set strip = "none" in [debug], or replace the file',
        )  # fmt: skip
