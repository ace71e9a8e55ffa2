"""Trees of files of this machine for the measurements."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

MIB = 1 << 20
MANY = 600
PACKS = 200


def make_tree(root: Path, size_limit: int) -> None:
    """Copy about ``size_limit`` bytes of files of this machine: many small, few large."""
    directories = {"lib": [*Path("/usr/lib").glob("*-linux-gnu*")], "bin": [Path("/usr/bin")]}
    found = [
        (path.stat().st_size, name, path)
        for name, sources in directories.items()
        for source in sources
        for path in source.glob("*")
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
    ]
    total = 0
    for number, (size, name, path) in enumerate(sorted(found)[::-1]):
        # Every fifth file of the larger half, and all files of the smaller half.
        is_chosen = number % 5 == 0 or number > len(found) // 2
        if is_chosen and total < size_limit:
            (root / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / name / path.name)
            total += size


def make_common_pack(root: Path) -> None:
    """Copy `MANY` ELF files of this machine, of all sizes up to 8 MiB: the common case."""
    found = [
        Path(path)
        for directory in ("/usr/bin", "/usr/lib")
        for path in list_elf_files(Path(directory))
    ]
    small = [path for path in found if path.stat().st_size <= 8 * MIB]
    step = max(1, len(small) // MANY)
    for number, path in enumerate(small[::step][:MANY]):
        directory = root / ("bin" if path.parent.name == "bin" else f"lib/{number % 5}")
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, directory / path.name)


def make_packs(root: Path, many: Path) -> list[str]:
    """Make `PACKS` small packs, each with some of the files in ``many``."""
    found = [Path(path) for path in list_elf_files(many)]
    small = sorted(found, key=lambda path: path.stat().st_size)[: len(found) // 2]
    root.mkdir()
    packs = []
    for number in range(PACKS):
        packs.append(str(root / f"{number}.tar.gz"))
        members = [path.relative_to(many) for path in small[number % 50 :: 50]]
        subprocess.run(["tar", "czf", packs[-1], "-C", many, *members], check=True)
    return packs


def list_elf_files(root: Path) -> list[str]:
    """Return the paths of the ELF files below ``root``."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
            continue
        if path.open("rb").read(4) == b"\x7fELF":
            found.append(str(path))
    return found
