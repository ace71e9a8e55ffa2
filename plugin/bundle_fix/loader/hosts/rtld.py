"""The dynamic loader of a host, with the settings that are compiled into it.

glibc's loader has its default directories and the value of ``$LIB`` compiled in, and they differ
from one distribution to the next. They are read from the loader's own file: glibc stores the
default directories (``system_dirs`` in elf/dl-load.c) as consecutive strings that end in a slash.
"""

from __future__ import annotations

import posixpath
import re
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import LEVELS, Cpu
from bundle_fix.loader.hosts.libc import (
    MUSL_LIBC_NAME,
    MUSL_LOADER_NAME,
    Libc,
    is_part_of_libc,
)

SYSTEM_DIRS = re.compile(rb"(?:/(?:[\w.+-]{1,100}/){0,8}lib[\w.+-]{0,20}/(?:[\w.+-]{1,60}/)?\0)+")
"""A sequence of strings that look like default directories."""
MUSL_PATHS = ("/lib", "/usr/local/lib", "/usr/lib")
"""The directories that musl searches if there is no path file (ldso/dynlink.c, load_library)."""
MUSL_PATH_LIST = re.compile(rb"\0(/[\w.+/-]{1,200}:/[\w.+/:-]{1,4000})(?=\0)")
"""The same in the file of a loader; some distributions build musl with other directories."""
MAX_PATH_LISTS = 100
"""Lists of directories in a loader that are looked at; musl has two."""
MAX_LOADER = 16 << 20
"""Limit of a loader, in bytes; glibc's has 250 KB, musl's, which is its libc as well, 1 MB."""
USUAL_LOADER_PATHS = {
    ("x86_64", 64): ("/lib64/ld-linux-x86-64.so.2",),
    ("x86_64", 32): ("/libx32/ld-linux-x32.so.2",),
    ("i386", 32): ("/lib/ld-linux.so.2",),
    ("aarch64", 64): ("/lib/ld-linux-aarch64.so.1",),
    ("arm", 32): ("/lib/ld-linux-armhf.so.3", "/lib/ld-linux.so.3"),
    ("powerpc64", 64): ("/lib64/ld64.so.2", "/lib64/ld64.so.1"),
    ("s390", 64): ("/lib/ld64.so.1",),
    ("riscv", 64): ("/lib/ld-linux-riscv64-lp64d.so.1",),
    ("loongarch", 64): ("/lib64/ld-linux-loongarch-lp64d.so.1",),
}
"""The path of glibc's loader by machine and class (psABIs); libraries do not name one."""
USUAL_MUSL_PATHS = {
    key: f"/lib/ld-musl-{name}.so.1"
    for key, name in {
        ("x86_64", 64): "x86_64", ("x86_64", 32): "x32", ("i386", 32): "i386",
        ("aarch64", 64): "aarch64", ("arm", 32): "armhf", ("powerpc64", 64): "powerpc64le",
        ("s390", 64): "s390x", ("riscv", 64): "riscv64", ("loongarch", 64): "loongarch64",
    }.items()
}  # fmt: skip
"""The usual path of musl's loader by machine and class (its configure script)."""
GCOMPAT = re.compile(rb"(/[^\0]{0,200}/ld-musl-[\w.-]+\.so\.1)\0")
"""The path of musl's loader in gcompat's replacement of glibc's loader."""
GCOMPAT_LIBRARY = re.compile(rb"(/[^\0]{0,200}/libgcompat\.so\.\d+)\0")
"""The path of the library that gcompat's loader preloads (its loader/loader.c)."""


class Loader(Struct, frozen=True):
    """The loader of one process.

    Attributes:
        libc: the C library to which it belongs.
        path: its path on the host as in PT_INTERP; None if unknown.
        defaults: the directories that it searches last; with musl those of its path file.
        trusted: the directories below which a set-uid program may use ``$ORIGIN``.
        lib: the value of ``$LIB``; None if unknown.
        platform: the value of ``$PLATFORM``; None if unknown.
        subdirectories: the subdirectories that it searches in every directory before the
            directory itself, each with a slash at its end.
        hwcaps: the levels of ``glibc-hwcaps``, the best first.
        hwcap: the processor's bits in cache entries of the old format.
        preloads: the libraries that it loads first by itself.
    """

    libc: Libc
    path: str | None
    defaults: tuple[str, ...]
    trusted: tuple[str, ...] = ()
    lib: str | None = None
    platform: str | None = None
    subdirectories: tuple[str, ...] = ()
    hwcaps: tuple[str, ...] = ()
    hwcap: int = 0
    preloads: tuple[str, ...] = ()


def list_default_directories(image: Image) -> tuple[str, ...]:
    """Return glibc's default directories: 64-bit ABIs have lib64 (ld.so(8))."""
    if image.format.bits == 64:
        return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
    return ("/lib", "/usr/lib")


def is_default_directory(directory: str) -> bool:
    """Return whether hosts search an absolute directory by default; some have multiarch tuples."""
    parts = directory.strip("/").split("/")
    if parts[:1] == ["usr"]:
        parts = parts[1:]
    if parts[:1] == ["local"]:
        parts = parts[1:]
    # Debian's multiarch tuples: x86_64-linux-gnu, arm-linux-gnueabihf, …
    multiarch = len(parts) == 2 and "-linux-" in parts[1]
    return parts[:1] in (["lib"], ["lib64"], ["lib32"], ["libx32"]) and (
        len(parts) == 1 or multiarch
    )


class LinkedLibc(NamedTuple):
    """The C library with which an object was linked, and the name that shows it."""

    libc: Libc
    name: str


def find_linked_libc(image: Image) -> LinkedLibc | None:
    """Return the C library with which an object was linked, or None if it needs none."""
    if image.interpreter is not None:
        is_musl = MUSL_LOADER_NAME.fullmatch(posixpath.basename(image.interpreter))
        return LinkedLibc(Libc.MUSL if is_musl else Libc.GLIBC, image.interpreter)
    parts = [name for name in image.needed if is_part_of_libc(posixpath.basename(name))]
    # The library itself says more than the other parts, which musl may provide as well.
    parts.sort(key=lambda name: not posixpath.basename(name).startswith("libc."))
    for name in parts:
        last = posixpath.basename(name)
        is_musl = MUSL_LIBC_NAME.fullmatch(last) or MUSL_LOADER_NAME.fullmatch(last)
        return LinkedLibc(Libc.MUSL if is_musl else Libc.GLIBC, name)
    return None


def parse_musl_architecture(path: str) -> str:
    """Return the architecture in the name of musl's loader, and so in that of its path file."""
    found = MUSL_LOADER_NAME.fullmatch(posixpath.basename(path))
    return found[1] if found else "unknown"


def parse_musl_path_file(text: bytes) -> tuple[str, ...]:
    """Return the directories of musl's path file; colons and newlines separate them.

    An empty file means no directories. musl reads it as a string, up to the first NUL.
    """
    known = text.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return tuple(entry for entry in re.split(r"[:\n]+", known) if entry)


def find_musl_paths(data: bytes) -> tuple[str, ...]:
    """Return the directories that are compiled into a musl loader with the bytes ``data``."""
    for found in islice(MUSL_PATH_LIST.finditer(data), MAX_PATH_LISTS):
        # The default of PATH, which musl contains as well, has no libraries.
        if all(b"lib" in entry for entry in found[1].split(b":")):
            return parse_musl_path_file(found[1])
    return MUSL_PATHS


def guess_loader(image: Image, libc: Libc, levels: tuple[str, ...] = ()) -> Loader:
    """Return the usual loader of a process of ``libc``, for a host with unknown files."""
    if libc is Libc.MUSL:
        usual = USUAL_MUSL_PATHS.get((image.machine, image.format.bits))
        return Loader(libc, image.interpreter or usual, MUSL_PATHS)
    defaults = list_default_directories(image)
    trusted = tuple(f"{directory}/" for directory in defaults)
    subdirectories = tuple(f"glibc-hwcaps/{level}/" for level in levels)
    return Loader(libc, image.interpreter, defaults, trusted, None, None, subdirectories, levels)


def read_glibc_loader(path: str, data: bytes, image: Image, cpu: Cpu) -> Loader:
    """Return a glibc loader with the settings that are compiled into its file.

    Args:
        path: its path on the host.
        data: its bytes.
        image: the program that it loads.
        cpu: the processor.
    """
    built_in = _find_system_dirs(data) or tuple(f"{d}/" for d in list_default_directories(image))
    # glibc 2.33 added glibc-hwcaps; 2.37 removed the subdirectories named after AT_HWCAP.
    has_hwcaps = b"glibc-hwcaps" in data
    known = LEVELS.get(image.machine, ()) if has_hwcaps else ()
    hwcaps = tuple(level for level in cpu.levels if level in known)
    subdirectories = [f"glibc-hwcaps/{level}/" for level in hwcaps]
    # --help of glibc 2.33 to 2.36 has a section with the legacy subdirectories.
    if not has_hwcaps or b"Legacy HWCAP" in data:
        subdirectories += _list_legacy_subdirectories(cpu.legacy)
    return Loader(
        Libc.GLIBC, path, tuple(d.rstrip("/") or "/" for d in built_in), built_in,
        _derive_lib(built_in[0]), cpu.platform, tuple(subdirectories), hwcaps, cpu.hwcap,
    )  # fmt: skip


def _find_system_dirs(data: bytes) -> tuple[str, ...]:
    runs = [match[0].decode("ascii").split("\0")[:-1] for match in SYSTEM_DIRS.finditer(data)]
    # No other part of a loader is a sequence of such strings; the longest one is the array itself.
    longest: list[str] = max(runs, key=len, default=[])
    return tuple(dict.fromkeys(longest))


def _derive_lib(first: str) -> str:
    """Return the value of ``$LIB`` if ``first`` is the first default directory.

    It is the last part of the directory that glibc was configured with (elf/Makefile, DL_DST_LIB);
    on Debian it includes the multiarch tuple.
    """
    *_, before, last = ["", *first.strip("/").split("/")]
    return f"{before}/{last}" if "-linux-" in last else last


def _list_legacy_subdirectories(names: tuple[str, ...]) -> list[str]:
    """Return all combinations of ``names`` as subdirectories, in the order of the search.

    Source: elf/dl-hwcaps.c up to glibc 2.36, _dl_important_hwcaps.
    """
    found = []
    for bits in range((1 << len(names)) - 1, 0, -1):
        # The highest bit stands for the first name, so that paths that begin with it come first.
        chosen = [n for at, n in enumerate(names) if bits >> (len(names) - 1 - at) & 1]
        found.append("/".join(chosen) + "/")
    return list(dict.fromkeys(found))
