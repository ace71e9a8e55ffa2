"""A root file system in which every library of a pack is a decoy.

The C library, the loader and a few programs are those of this machine. Decoys are in the loader's
default directories, in a directory of the ``ld.so.cache`` and in one for ``LD_LIBRARY_PATH``.
"""

from __future__ import annotations

import posixpath
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.cache import ABI_FLAGS, CacheEntry
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.model.errors import BundleFixError
from bundle_fix.run.host.decoy import build_decoy
from bundle_fix.run.host.ld_cache import build_cache
from bundle_fix.run.host.machine_files import (
    HostLibraries,
    copy_file,
    copy_libc,
    copy_programs,
    find_host_libraries,
    find_loaders,
    group_images,
    mirror_directory,
)

CACHED_DIRECTORY = "/decoys/ld.so.cache"
"""The directory that only the ld.so.cache names."""
HOSTILE_DIRECTORY = "/decoys/LD_LIBRARY_PATH"
"""The directory for LD_LIBRARY_PATH in a hostile environment."""
FLAG_ELF = 1
"""The flags of a library without a known ABI in the ld.so.cache."""
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"
    "nobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""Files that programs read to find the user's name and localhost."""


class DecoyHost(Struct, frozen=True):
    """A decoy host on disk.

    Attributes:
        root: its root directory on this machine.
        decoys: the name of each decoy by its absolute path on the host, without symlinks.
        directories: the directories on the host that contain decoys.
    """

    root: Path
    decoys: dict[str, str]
    directories: tuple[str, ...]


def build_decoy_host(
    root: Path, bundle: Bundle, names: tuple[str, ...], provides: tuple[str, ...],
    files: tuple[Path, ...],
) -> DecoyHost:  # fmt: skip
    """Create the root file system of a decoy host in the empty directory ``root``.

    Args:
        root: an empty directory.
        bundle: the pack.
        names: further names of decoys, such as those that the pack opens at run time.
        provides: patterns of the libraries that the host really has, copied from this machine.
        files: libraries that are used as the decoys of their sonames.

    Raises:
        BundleFixError: a file of ``files`` is not a library.
    """
    libraries = find_host_libraries(bundle, provides)
    given = {_read_soname(file): file for file in files}
    decoy_names = _list_decoy_names(bundle, libraries, (*names, *given))
    decoys: dict[str, str] = {}
    cached: list[CacheEntry] = []
    for images in group_images(bundle):
        loaders = find_loaders(bundle, images)
        defaults = dict.fromkeys(path for loader in loaders for path in loader.defaults)
        copy_libc(defaults, [loader.path for loader in loaders if loader.path], root)
        # Two architectures have different decoys of the same name.
        own = f"{CACHED_DIRECTORY}/{images[0].machine}-{images[0].format.bits}"
        for directory in (*defaults, own, HOSTILE_DIRECTORY):
            decoys |= _place_decoys(root, directory, decoy_names, given, images[0])
        cached += _list_cache_entries(dict.fromkeys(decoy_names, own), images[0])
        expected = {name: posixpath.dirname(file) for name, file in libraries.expected.items()}
        cached += _list_cache_entries(expected, images[0])
    for name, file in libraries.expected.items():
        copy_file(file, root, name)
    copy_programs(root, decoy_names)
    _write_configuration(root, build_cache(cached, sys.byteorder))
    return DecoyHost(root, decoys, tuple(dict.fromkeys(map(posixpath.dirname, decoys))))


def build_hostile_directory(
    root: Path, bundle: Bundle, names: tuple[str, ...], files: tuple[Path, ...]
) -> DecoyHost:
    """Create the directory of decoys for LD_LIBRARY_PATH in ``root``, for a real host.

    Args and errors are those of `build_decoy_host`.
    """
    given = {_read_soname(file): file for file in files}
    decoy_names = _list_decoy_names(bundle, find_host_libraries(bundle, ()), (*names, *given))
    decoys: dict[str, str] = {}
    for images in group_images(bundle):
        decoys |= _place_decoys(root, HOSTILE_DIRECTORY, decoy_names, given, images[0])
    return DecoyHost(root, decoys, (HOSTILE_DIRECTORY,))


def _list_decoy_names(
    bundle: Bundle, libraries: HostLibraries, others: Iterable[str]
) -> frozenset[str]:
    """Return the names of decoys: those of the pack, those that it needs, and ``others``."""
    names = {*bundle.paths_by_name, *libraries.others, *others}
    return frozenset(
        name
        for name in names - libraries.expected.keys()
        if "/" not in name and not is_part_of_libc(name)
    )


def _place_decoys(
    root: Path, directory: str, names: Iterable[str], given: Mapping[str, Path], like: Image
) -> dict[str, str]:
    """Write decoys into a directory of the host; return their names by path.

    Files of another architecture, and of this machine, stay.
    """
    place = mirror_directory(directory, root)
    decoys = {}
    for name in sorted(names):
        if not (place / name).exists():
            _write_decoy(place / name, given.get(name), like)
            decoys[f"/{place.relative_to(root)}/{name}"] = name
    return decoys


def _read_soname(file: Path) -> str:
    image = read_image_at(file)
    if image is None or not image.is_library:
        raise BundleFixError("this is not a shared library", where=str(file))
    return posixpath.basename(image.soname or file.name)


def _write_decoy(target: Path, given: Path | None, like: Image) -> None:
    if given is not None:
        shutil.copy(given, target)
    else:
        target.write_bytes(build_decoy(target.name, like))
        target.chmod(0o755)


def _list_cache_entries(directories: Mapping[str, str], image: Image) -> Iterator[CacheEntry]:
    """Yield the entries of libraries, given the directory of each name."""
    flags = ABI_FLAGS.get((image.machine, image.format.bits), FLAG_ELF)
    for name, directory in directories.items():
        yield CacheEntry(name, f"{directory}/{name}", flags, 0, None)


def _write_configuration(root: Path, cache: bytes) -> None:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/ld.so.cache").write_bytes(cache)
    for name, text in ACCOUNTS.items():
        (root / name).write_text(text, encoding="ascii")
