"""Every dynamic file below /usr/bin, /usr/sbin and /usr/lib: the loader's list and the model's.

Known differences, which are the loader's ways of printing rather than of loading:

- what is not found is printed once for everything that needs it, and behind the interpreter;
- the kernel's own object (linux-vdso) is no file, and is left out.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from builders.loaders import Loaded, parse_loader_list
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.cpu import get_machine_name
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.rtld import MUSL
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Tree

ROOTS = ("/usr/bin", "/usr/sbin", "/usr/lib")
CHUNKS = 16
BITS = 64


@cache
def files() -> list[str]:
    """The ELF files, each once, in an order that every worker sees."""
    found = []
    for root in ROOTS:
        for folder, _, names in os.walk(root):
            # A hundred thousand files: no more than one look at each.
            paths = (f"{folder}/{name}" for name in names)
            found += [path for path in paths if not os.path.islink(path) and is_elf(path)]  # noqa: PTH114
    return sorted(found)


def is_elf(path: str) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return os.read(file, 4) == b"\x7fELF"
    except OSError:
        return False
    finally:
        os.close(file)


def dynamic(paths: list[str]) -> Iterator[tuple[str, Image]]:
    """Those that a loader of this machine can be asked about."""
    for path in paths:
        try:
            image = read_image_at(Path(path))
        except BundleFixError:
            continue
        if image is None or not image.is_dynamic or image.header.type == c.ET_REL:
            continue
        if image.machine == get_machine_name() and image.format.bits == BITS:
            yield path, image


def modelled(path: str, image: Image) -> tuple[Loaded, str | None]:
    folder, name = os.path.split(path)
    file = File(PathContent(Path(path), image.size), Metadata(0o755))
    bundle = build_bundle(Tree({name: file}), {name: image})
    host = RealHost(DirectoryFiles(Path("/")), folder, running=True)
    process = Deployment(bundle, host).map_process(name)
    loader = host.find_loader(View(bundle, folder, host.files), image)
    return [(o.name, o.path) for o in process.objects[1:]], loader.path and (
        f"musl:{loader.path}" if loader.flavour == MUSL else loader.path
    )


def real(path: str, loader: str) -> Loaded | None:
    """The loader's list, or None where it cannot load the file at all."""
    done = subprocess.run(
        [loader, path], env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return parse_loader_list(done.stdout) if done.returncode == 0 else None


def split(loaded: Loaded) -> tuple[Loaded, set[str]]:
    """What was found, in order, and the names that were not."""
    return [o for o in loaded if o[1]], {name for name, path in loaded if path is None}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_model_loads_what_the_loader_loads(chunk: int) -> None:
    mine = files()[chunk::CHUNKS]
    if not mine:
        pytest.skip(f"fewer than {CHUNKS} ELF files in {', '.join(ROOTS)}")
    different = []
    compared = 0
    for path, image in dynamic(mine):
        found, loader = modelled(path, image)
        if loader is None or loader.startswith("musl:"):
            continue  # of musl there are own tests: it has no system of its own here
        expected = real(path, loader)
        if expected is None:
            continue
        compared += 1
        if split(found) != split(expected):
            different.append(f"{path}\n  model:  {found}\n  loader: {expected}")
    assert compared
    assert not different, "\n".join(different[:5])
