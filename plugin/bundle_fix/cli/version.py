"""The versions of bundle-fix and of what it uses, for ``bundle-fix --version --verbose``."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from bundle_fix import __version__
from bundle_fix.archive.packages.squashfs import PROGRAM as UNSQUASHFS
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.lief_library import load_lief
from bundle_fix.spec.sources import read_builtin

PACKAGES = ("click", "rich", "msgspec", "tomli", "isal", "zlib-ng", "backports.zstd")
"""Python packages that bundle-fix requires, apart from LIEF."""
CYCLONEDX = "cyclonedx-python-lib"
LOSSES = {
    "LIEF": "no second opinion on edited files, and no editor lief",
    CYCLONEDX: "no --sbom",
    "patchelf": "no editor patchelf",
    UNSQUASHFS: "no squashfs images and AppImages",
    "bwrap": "no 'run' where user namespaces are restricted",
    "strace": "no 'run --strace'",
    "objcopy": "no `strip` of [debug]",
    "dot": "HTML reports draw their graphs in columns",
}
"""What does not work without each optional library and program."""
VERSION_OPTIONS = {UNSQUASHFS: "-version", "dot": "-V"}
"""The options of programs that do not know --version."""
TIME_LIMIT = 10
"""Limit of the time in which a program prints its version, in seconds."""


def list_versions() -> Iterator[str]:
    """Yield a line for bundle-fix and for each library and program that it uses or misses."""
    yield f"bundle-fix {__version__}"
    yield f"Python {platform.python_version()} ({sys.executable})"
    glibc = read_builtin("glibc", {}).value
    yield f"glibc {glibc}" if glibc else "no glibc: another C library"
    yield _describe_lief()
    for name in (*PACKAGES, CYCLONEDX):
        yield from _describe_package(name)
    yield _describe_program("patchelf", find_patchelf())
    for name in (UNSQUASHFS, "bwrap", "strace", "objcopy", "dot"):
        yield _describe_program(name, shutil.which(name))


def _describe_lief() -> str:
    if problem := load_lief():
        return f"{problem}: {LOSSES['LIEF']}"
    try:
        return f"LIEF {version('lief')}"
    except PackageNotFoundError:
        return "LIEF of an unknown version"


def _describe_package(name: str) -> Iterator[str]:
    """Yield a line, but none for a package whose work newer versions of Python do themselves."""
    try:
        yield f"{name} {version(name)}"
    except PackageNotFoundError:
        if name in LOSSES:
            yield f"{name} is not installed: {LOSSES[name]}"


def _describe_program(name: str, path: str | None) -> str:
    if path is None:
        return f"{name} is not installed: {LOSSES[name]}"
    try:
        ran = subprocess.run(
            [path, VERSION_OPTIONS.get(name, "--version")], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIME_LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name} cannot be run: {error}"
    found = re.search(r"\d+(\.\d+)+", os.fsdecode(ran.stdout).partition("\n")[0])
    return f"{name} {found[0] if found else 'of an unknown version'} ({path})"
