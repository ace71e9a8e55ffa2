"""Every dynamic ELF file below /usr/bin, /usr/sbin and /usr/lib, for the loader and the model.

Known differences concern only the output of the loader:

- a missing library is printed once for each object that needs it, after the interpreter;
- the kernel's own object (linux-vdso) is not a file and is left out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from builders.loaders import LoadedFiles, parse_loader_list
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.cpu import get_machine_name
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Tree

ROOTS = ("/usr/bin", "/usr/sbin", "/usr/lib")
CHUNKS = 16
BITS = 64


@cache
def find_elf_files() -> list[str]:
    """Return all ELF files, sorted, so that every worker process has the same list."""
    found = []
    for root in ROOTS:
        for directory, _, names in os.walk(root):
            # There are 100,000 files, and pathlib is slow.
            paths = (f"{directory}/{name}" for name in names)
            found += [path for path in paths if not os.path.islink(path) and is_elf(path)]  # noqa: PTH114
    return sorted(found)


def is_elf(path: str) -> bool:
    try:
        # O_NONBLOCK: opening a fifo would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.read(file, 4) == b"\x7fELF"
    except OSError:
        return False
    finally:
        os.close(file)


def read_dynamic_files(paths: list[str]) -> Iterator[tuple[str, Image]]:
    """Yield the files that a loader of this machine may load, with their images."""
    for path in paths:
        try:
            image = read_image_at(Path(path))
        except BundleFixError:
            continue
        if image is None or not image.is_dynamic or image.header.type == c.ET_REL:
            continue
        if image.machine == get_machine_name() and image.format.bits == BITS:
            yield path, image


@cache
def read_host(pack_path: str) -> RealHost:
    """Return this machine with a pack at a path; it reads ld.so.cache once for all its files."""
    return RealHost(DirectoryFiles(Path("/")), pack_path, running=True)


def list_with_model(path: str, image: Image) -> tuple[LoadedFiles, str | None]:
    """Return the model's list for a file, and the path of its loader, with ``musl:`` for musl's."""
    directory, name = os.path.split(path)
    file = File(PathContent(Path(path), image.size), Metadata(0o755))
    bundle = build_bundle(Tree({name: file}), {name: image})
    host = read_host(directory)
    process = Deployment(bundle, host).map_process(name)
    loader = host.find_loader(View(bundle, directory, host.files), image)
    return [(o.name, o.path) for o in process.objects[1:]], loader.path and (
        f"musl:{loader.path}" if loader.libc is Libc.MUSL else loader.path
    )


def list_with_loader(path: str, loader: str) -> LoadedFiles | None:
    """Return the loader's list for a file, or None if it cannot load the file."""
    done = subprocess.run(
        [loader, path], env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return parse_loader_list(done.stdout) if done.returncode == 0 else None


def split_missing(loaded: LoadedFiles) -> tuple[LoadedFiles, set[str]]:
    """Return the objects that were found, in order, and the names of the missing ones."""
    return [o for o in loaded if o[1]], {name for name, path in loaded if path is None}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_model_loads_the_same_as_the_loader(chunk: int) -> None:
    paths = find_elf_files()[chunk::CHUNKS]
    if not paths:
        pytest.skip(f"fewer than {CHUNKS} ELF files in {', '.join(ROOTS)}")
    different = []
    compared = 0
    for path, image in read_dynamic_files(paths):
        found, loader = list_with_model(path, image)
        if loader is None or loader.startswith("musl:"):
            continue  # This machine's files are for glibc; search/test_musl_rules.py is about musl.
        expected = list_with_loader(path, loader)
        if expected is None:
            continue
        compared += 1
        if split_missing(found) != split_missing(expected):
            different.append(f"{path}\n  model:  {found}\n  loader: {expected}")
    assert compared
    assert not different, "\n".join(different[:5])
