"""A root file system as host: everything is read from its own files, when it is asked for."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct, field

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.cache import (
    CACHE_PATH,
    MAX_SIZE,
    LoaderCache,
    list_cached_libraries,
    read_cache,
)
from bundle_fix.loader.hosts.cpu import Cpu, detect_cpu, get_cpu_of_level, get_machine_name
from bundle_fix.loader.hosts.files import HostFiles
from bundle_fix.loader.hosts.host import CachedLibrary
from bundle_fix.loader.hosts.ld_conf import read_ld_conf, simulate_ldconfig
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.hosts.rtld import (
    MAX_LOADER,
    MUSL,
    USUAL_LOADER_PATHS,
    Loader,
    guess_loader,
    is_linked_for_musl,
    list_default_directories,
    parse_musl_architecture,
    parse_musl_path_file,
    read_glibc_loader,
)
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.errors import BundleFixError

PRELOAD_FILE = "/etc/ld.so.preload"


class _Memory(Struct):
    """What was read of a host already."""

    loaders: dict[object, Loader] = field(default_factory=dict)
    cache: LoaderCache | None = None
    listed: dict[str, tuple[str, ...]] | None = None
    is_read: bool = False


class RealHost(Struct, frozen=True, eq=False):
    """A root file system.

    Attributes:
        files: its files.
        pack_path: where the pack is on it.
        provides: patterns of names that it will have, though they are not among its files.
        level: its processor's level; without one, this machine's processor where the program is
            for it, and else the oldest.
        running: whether this is a system that has been started: then what ldconfig was never run
            for is not listed.
    """

    files: HostFiles
    pack_path: str
    provides: tuple[str, ...] = ()
    level: str | None = None
    running: bool = False
    _memory: _Memory = field(default_factory=_Memory)

    def is_expected(self, name: str) -> bool:
        """See `Host`."""
        return any(fnmatchcase(name, p) for p in self.provides)

    def is_common(self, name: str) -> bool:
        """See `Host`: its files tell."""
        return False

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`: what is built into the interpreter that the program names."""
        key = (image.interpreter, image.architecture, is_linked_for_musl(image))
        known = self._memory.loaders.get(key)
        if known is None:
            known = self._memory.loaders[key] = self._read_loader(view, image)
        return known

    def _read_loader(self, view: View, image: Image) -> Loader:
        path = next(
            (p for p in _list_interpreter_paths(view, image) if view.read_bytes(p, 4)), None
        )
        cpu = self._cpu(image)
        if path is None:
            return guess_loader(image, cpu.levels)
        if is_linked_for_musl(image):
            # The path file is in the etc/ beside the folder that the loader is in.
            prefix = posixpath.dirname(posixpath.dirname(path)).rstrip("/")
            text = view.read_bytes(f"{prefix}/etc/ld-musl-{parse_musl_architecture(path)}.path")
            return Loader(MUSL, path, parse_musl_path_file(text))
        return read_glibc_loader(path, view.read_bytes(path, MAX_LOADER) or b"", image, cpu)

    def _cpu(self, image: Image) -> Cpu:
        here = get_machine_name() == image.machine and self.level is None
        return detect_cpu() if here else get_cpu_of_level(self.level, image.machine)

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`."""
        self._read_cache(view)
        memory = self._memory
        if memory.cache is not None:
            path = memory.cache.find_library(name, image, loader.hwcaps, loader.hwcap)
            if path is not None:
                yield CachedLibrary(path, "ld.so.cache")
        for path in (memory.listed or {}).get(name, ()):
            yield CachedLibrary(path, "ld.so.conf")

    def _read_cache(self, view: View) -> None:
        memory = self._memory
        if memory.is_read:
            return
        memory.is_read = True
        data = view.read_bytes(str(CACHE_PATH), MAX_SIZE)
        memory.cache = read_cache(data) if data is not None else None
        if data is None and not self.running:
            memory.listed = dict(simulate_ldconfig(view, read_ld_conf(view)))

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`: names divided by blanks or colons; ``#`` starts a comment."""
        text = os.fsdecode(view.read_bytes(PRELOAD_FILE) or b"")
        lines = [line.partition("#")[0] for line in text.splitlines()]
        return tuple(" ".join(lines).replace(":", " ").split())


def _list_interpreter_paths(view: View, image: Image) -> Iterator[str]:
    """Where the loader of a program may be; for a library, where its machine has it usually."""
    if image.interpreter is not None:
        yield image.interpreter
        return
    if is_linked_for_musl(image):
        real = view.resolve_directory("/lib")
        names = view.host.list_names(real) if isinstance(real, str) and view.host else []
        yield from (f"/lib/{name}" for name in names if name.startswith("ld-musl-"))
        return
    yield from USUAL_LOADER_PATHS.get((image.machine, image.format.bits), ())


def find_names_on_this_machine(bundle: Bundle) -> list[str]:
    """The names that nothing in ``bundle`` provides and this machine's loader finds by itself."""
    found: dict[str, None] = {}
    for image in bundle.images.values():
        for name in image.needed:
            if name in found or is_part_of_libc(name) or bundle.find_providers(name, image):
                continue
            if "/" not in name and any(
                _has_architecture_of(path, image) for path in _list_candidates(name, image)
            ):
                found[name] = None
    return list(found)


def _list_candidates(name: str, image: Image) -> Iterator[Path]:
    """Where a name may be: what ld.so.cache lists, then the default directories (ld.so(8))."""
    yield from (Path(path) for soname, path in list_cached_libraries() if soname == name)
    yield from (Path(folder, name) for folder in list_default_directories(image))


def _has_architecture_of(path: Path, like: Image) -> bool:
    try:
        image = read_image_at(path)
    except BundleFixError:
        return False
    return image is not None and image.architecture == like.architecture
