"""Installed files, seen as the files of the build tree that they were copied from.

An installation removes or replaces the RUNPATHs that the linker wrote (CMake's file(RPATH_CHANGE),
libtool, Meson). Only the files in the build tree lead to the libraries that they were linked with.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from bundle_fix.collect.pack_builder import Origin
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.model.errors import BundleFixError


def follow_built_files(
    images: Mapping[str, Image], origins: Mapping[str, Origin], built: Iterable[Path]
) -> tuple[dict[str, Image], dict[str, Origin]]:
    """Return images with the search paths of the built files, and the built files as origins.

    Args:
        images: the installed ELF files.
        origins: the path on this machine of each installed file.
        built: files of the build tree; missing ones are ignored.
    """
    followed, sources = dict(images), dict(origins)
    by_name: dict[str, list[Path]] = {}
    for file in built:
        by_name.setdefault(file.name, []).append(file)
    for path, image in images.items():
        for file in by_name.get(posixpath.basename(path), ()):
            original = _read_image(file)
            if original is not None and _is_same_object(original, image):
                followed[path] = replace(
                    image,
                    rpath=_join_paths(original.rpath, image.rpath),
                    runpath=_join_paths(original.runpath, image.runpath),
                )
                sources[path] = Origin(file, path)
                break
    return followed, sources


def _read_image(file: Path) -> Image | None:
    try:
        return read_image_at(file)
    except BundleFixError:  # a target that this build left out, or one that is being written
        return None


def _is_same_object(one: Image, other: Image) -> bool:
    return (one.architecture, one.soname, one.needed) == (
        other.architecture,
        other.soname,
        other.needed,
    )


def _join_paths(*paths: str | None) -> str | None:
    known = [path for path in paths if path is not None]
    return ":".join(known) if known else None
