"""A root file system as host: its loader and cache are read from its own files, on demand."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

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
from bundle_fix.loader.hosts.host import LD_CACHE, LD_CONF, CachedLibrary
from bundle_fix.loader.hosts.ld_conf import read_ld_conf, simulate_ldconfig
from bundle_fix.loader.hosts.libc import MUSL_LOADER_NAME, Libc, is_part_of_libc
from bundle_fix.loader.hosts.rtld import (
    GCOMPAT,
    GCOMPAT_LIBRARY,
    MAX_LOADER,
    USUAL_LOADER_PATHS,
    Loader,
    find_musl_paths,
    guess_loader,
    list_default_directories,
    parse_musl_architecture,
    parse_musl_path_file,
    read_glibc_loader,
)
from bundle_fix.loader.hosts.view import View
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.symlinks import Unresolved

PRELOAD_FILE = "/etc/ld.so.preload"


class _Memory(Struct):
    """The facts that were read from a host.

    Attributes:
        loaders: the loader for each interpreter and architecture.
        cache: its ld.so.cache; None if it is missing, invalid or not read yet.
        ldconfig_paths: the result of `simulate_ldconfig` if there is no ld.so.cache.
        is_read: whether the two above are final.
    """

    loaders: dict[object, Loader] = field(default_factory=dict)
    cache: LoaderCache | None = None
    ldconfig_paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_read: bool = False


class RealHost(Struct, frozen=True, eq=False):
    """A root file system.

    Attributes:
        files: its files.
        pack_path: the directory in which the pack is unpacked.
        provides: patterns of names that it will have, although they are not among its files.
        level: the level of its processor. None means this machine's processor for programs of
            this machine, and the oldest one for other programs.
        running: whether the system has been started. If it then has no ld.so.cache, ldconfig was
            never run; an image of a system still gets its cache later.
    """

    files: HostFiles
    pack_path: str
    provides: tuple[str, ...] = ()
    level: str | None = None
    running: bool = False
    _memory: _Memory = field(default_factory=_Memory)

    def is_expected(self, name: str, libc: Libc) -> bool:
        """See `Host`."""
        return matches_any(name, self.provides)

    def is_common(self, name: str, libc: Libc) -> bool:
        """See `Host`; False, as its files are known."""
        return False

    def find_loader(self, view: View, image: Image) -> Loader:
        """See `Host`; it is read from the interpreter that the program names.

        A library is loaded by the loader of the C library with which it was linked, or else by
        the only one that the host has.
        """
        libc = view.bundle.guess_libc(image)
        key = (image.interpreter, image.architecture, libc)
        known = self._memory.loaders.get(key)
        if known is None:
            known = self._memory.loaders[key] = self._read_loader(view, image, libc)
        return known

    def _read_loader(self, view: View, image: Image, libc: Libc) -> Loader:
        paths = _list_interpreter_paths(view, image, libc)
        path = next((path for path in paths if view.read_bytes(path, 4)), None)
        cpu = self._get_cpu(image)
        if path is None:
            return guess_loader(image, libc, cpu.levels)
        if MUSL_LOADER_NAME.fullmatch(posixpath.basename(path)):
            return _read_musl_loader(view, path)
        data = view.read_bytes(path, MAX_LOADER) or b""
        if (real := GCOMPAT.search(data)) is not None:
            # gcompat's loader starts musl's, with a library that has symbols of glibc.
            library = GCOMPAT_LIBRARY.search(data)
            preloads = (os.fsdecode(library[1]),) if library else ()
            return replace(_read_musl_loader(view, os.fsdecode(real[1])), preloads=preloads)
        return read_glibc_loader(path, data, image, cpu)

    def _get_cpu(self, image: Image) -> Cpu:
        is_own = get_machine_name() == image.machine and self.level is None
        return detect_cpu() if is_own else get_cpu_of_level(self.level, image.machine)

    def find_cached_libraries(
        self, view: View, name: str, image: Image, loader: Loader
    ) -> Iterator[CachedLibrary]:
        """See `Host`."""
        self._read_cache(view)
        memory = self._memory
        if memory.cache is not None:
            path = memory.cache.find_library(name, image, loader.hwcaps, loader.hwcap)
            if path is not None:
                yield CachedLibrary(path, LD_CACHE)
        for path in memory.ldconfig_paths.get(name, ()):
            yield CachedLibrary(path, LD_CONF)

    def _read_cache(self, view: View) -> None:
        memory = self._memory
        if memory.is_read:
            return
        memory.is_read = True
        data = view.read_bytes(str(CACHE_PATH), MAX_SIZE)
        memory.cache = read_cache(data) if data is not None else None
        if data is None and not self.running:
            memory.ldconfig_paths = simulate_ldconfig(view, read_ld_conf(view))

    def list_preloads(self, view: View) -> tuple[str, ...]:
        """See `Host`; blanks or colons separate the names, ``#`` starts a comment."""
        text = os.fsdecode(view.read_bytes(PRELOAD_FILE) or b"")
        lines = [line.partition("#")[0] for line in text.splitlines()]
        return tuple(" ".join(lines).replace(":", " ").split())


def _read_musl_loader(view: View, path: str) -> Loader:
    # The path file of PREFIX/lib/ld-musl-*.so.1 is in PREFIX/etc (ldso/dynlink.c).
    prefix = posixpath.dirname(posixpath.dirname(path)).rstrip("/")
    text = view.read_bytes(f"{prefix}/etc/ld-musl-{parse_musl_architecture(path)}.path")
    if text is not None:
        return Loader(Libc.MUSL, path, parse_musl_path_file(text))
    return Loader(Libc.MUSL, path, find_musl_paths(view.read_bytes(path, MAX_LOADER) or b""))


def _list_interpreter_paths(view: View, image: Image, libc: Libc) -> Iterator[str]:
    """Yield the possible paths of the loader: for a library, first those of ``libc``."""
    if image.interpreter is not None:
        yield image.interpreter
        return
    glibc = USUAL_LOADER_PATHS.get((image.machine, image.format.bits), ())
    musl = _list_musl_loaders(view, image)
    yield from (*musl, *glibc) if libc is Libc.MUSL else (*glibc, *musl)


def _list_musl_loaders(view: View, image: Image) -> list[str]:
    """Return the paths of musl's loaders for the machine of ``image``; normally one."""
    directory = view.resolve_directory("/lib")
    if isinstance(directory, Unresolved) or view.host is None:
        return []
    paths = [f"/lib/{n}" for n in view.host.list_names(directory) if MUSL_LOADER_NAME.fullmatch(n)]
    return [path for path in paths if _is_for_same_machine(view, path, image)]


def _is_for_same_machine(view: View, path: str, image: Image) -> bool:
    real = view.resolve_path(path)
    found = view.find_image(real) if isinstance(real, str) else None
    return isinstance(found, Image) and found.architecture == image.architecture


def find_names_on_this_machine(bundle: Bundle) -> list[str]:
    """Return the needed names that only this machine's own directories provide.

    Names that ``bundle`` provides and the libraries of the C library are left out.
    """
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
    """Yield the files of ld.so.cache for a name, then those in default directories (ld.so(8))."""
    yield from (Path(path) for soname, path in list_cached_libraries() if soname == name)
    yield from (Path(directory, name) for directory in list_default_directories(image))


def _has_architecture_of(path: Path, like: Image) -> bool:
    try:
        image = read_image_at(path)
    except BundleFixError:
        return False
    return image is not None and image.architecture == like.architecture
