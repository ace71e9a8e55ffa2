"""What this machine offers the loader by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.cache import list_cached_libraries
from bundle_fix.loader.hosts.libc import is_part_of_libc
from bundle_fix.loader.hosts.rtld import list_default_directories
from bundle_fix.model.errors import BundleFixError


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
