"""The dynamic loader of a host: which one it is, and what is built into it.

glibc's loader has its default directories and the meaning of ``$LIB`` compiled in, and they differ
from one distribution to the next. They are read from the loader's own file: glibc keeps the default
directories (rtld's ``system_dirs``) as strings that end in a slash, one behind the other.
"""

from __future__ import annotations

import posixpath
import re

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.loader.hosts.cpu import LEVELS, Cpu

GLIBC, MUSL = "glibc", "musl"
SYSTEM_DIRS = re.compile(rb"(?:/(?:[\w.+-]{1,100}/){0,8}lib[\w.+-]{0,20}/(?:[\w.+-]{1,60}/)?\0)+")
MUSL_NAME = re.compile(r"ld-musl-([\w.-]+?)\.so\.1")
MUSL_PATHS = ("/lib", "/usr/local/lib", "/usr/lib")
"""What musl searches where there is no path file (ldso/dynlink.c, load_library)."""
MAX_LOADER = 16 << 20
"""Bytes of a loader that are read; glibc's has 250,000, musl's, all of libc, a million."""
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
"""Where glibc's loader is by the ABI of each machine, for libraries, which name none."""


class Loader(Struct, frozen=True):
    """The loader of one process.

    Attributes:
        flavour: ``glibc`` or ``musl``.
        path: its path on the host as in PT_INTERP; None if unknown.
        defaults: the directories that it searches last; with musl those of its path file.
        trusted: the directories below which a set-uid program may use ``$ORIGIN``.
        lib: the value of ``$LIB``; None if unknown.
        platform: the value of ``$PLATFORM``; None if unknown.
        subdirectories: the subdirectories that it searches in every directory before the
            directory itself, each with a slash at its end.
        hwcaps: the levels of ``glibc-hwcaps``, the best first.
        hwcap: the processor's bits in the cache's entries of the old kind.
    """

    flavour: str
    path: str | None
    defaults: tuple[str, ...]
    trusted: tuple[str, ...] = ()
    lib: str | None = None
    platform: str | None = None
    subdirectories: tuple[str, ...] = ()
    hwcaps: tuple[str, ...] = ()
    hwcap: int = 0


def list_default_directories(image: Image) -> tuple[str, ...]:
    """The directories that glibc searches last (ld.so(8), DEFAULT): 64-bit ABIs have lib64."""
    if image.format.bits == 64:
        return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
    return ("/lib", "/usr/lib")


def is_default_directory(directory: str) -> bool:
    """Whether an absolute directory is one that hosts search by default, multiarch included."""
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


def is_linked_for_musl(image: Image) -> bool:
    """Whether a program or library was linked for musl."""
    if image.interpreter is not None:
        return MUSL_NAME.fullmatch(posixpath.basename(image.interpreter)) is not None
    return any(name == "libc.so" or name.startswith("libc.musl-") for name in image.needed)


def parse_musl_architecture(path: str) -> str:
    """The architecture in the name of musl's loader, by which its path file is named."""
    found = MUSL_NAME.fullmatch(posixpath.basename(path))
    return found[1] if found else "unknown"


def parse_musl_path_file(text: bytes | None) -> tuple[str, ...]:
    """The directories of musl's path file: colons and newlines divide them."""
    if text is None:
        return MUSL_PATHS
    entries = re.split(r"[:\n]+", text.decode("utf-8", "surrogateescape"))
    return tuple(entry for entry in entries if entry)


def guess_loader(image: Image, levels: tuple[str, ...] = ()) -> Loader:
    """The loader of a host of which nothing is known."""
    if is_linked_for_musl(image):
        return Loader(MUSL, image.interpreter, MUSL_PATHS)
    defaults = list_default_directories(image)
    trusted = tuple(f"{directory}/" for directory in defaults)
    folders = tuple(f"glibc-hwcaps/{level}/" for level in levels)
    return Loader(GLIBC, image.interpreter, defaults, trusted, None, None, folders, levels)


def read_glibc_loader(path: str, data: bytes, image: Image, cpu: Cpu) -> Loader:
    """What is built into glibc's loader.

    Args:
        path: where it is.
        data: its bytes.
        image: the program that it loads.
        cpu: the processor.
    """
    built_in = _find_system_dirs(data) or tuple(f"{d}/" for d in list_default_directories(image))
    # glibc has glibc-hwcaps since 2.33, and lost the folders named after AT_HWCAP in 2.37.
    named = b"glibc-hwcaps" in data
    known = LEVELS.get(image.machine, ()) if named else ()
    hwcaps = tuple(level for level in cpu.levels if level in known)
    folders = [f"glibc-hwcaps/{level}/" for level in hwcaps]
    if not named or b"Legacy HWCAP" in data:
        folders += _list_legacy_subdirectories(cpu.legacy)
    return Loader(
        GLIBC, path, tuple(d.rstrip("/") or "/" for d in built_in), built_in,
        _derive_lib(built_in[0]), cpu.platform, tuple(folders), hwcaps, cpu.hwcap,
    )  # fmt: skip


def _find_system_dirs(data: bytes) -> tuple[str, ...]:
    runs = [match[0].decode("ascii").split("\0")[:-1] for match in SYSTEM_DIRS.finditer(data)]
    # Nothing else in a loader is a row of such strings; the longest is the array itself.
    longest: list[str] = max(runs, key=len, default=[])
    return tuple(dict.fromkeys(longest))


def _derive_lib(first: str) -> str:
    """What ``$LIB`` means where ``first`` is the first default directory.

    It is the last part of the directory that glibc was configured with (elf/Makefile, DL_DST_LIB);
    Debian keeps its multiarch tuple as well.
    """
    *_, before, last = ["", *first.strip("/").split("/")]
    return f"{before}/{last}" if "-linux-" in last else last


def _list_legacy_subdirectories(names: tuple[str, ...]) -> list[str]:
    """The folders of elf/dl-hwcaps.c up to glibc 2.36, in its order: every choice of the names."""
    found = []
    for bits in range((1 << len(names)) - 1, 0, -1):
        chosen = [n for at, n in enumerate(names) if bits >> (len(names) - 1 - at) & 1]
        found.append("/".join(chosen) + "/")
    return list(dict.fromkeys(found))
