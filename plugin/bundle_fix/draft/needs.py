"""Libraries that a tree needs and does not contain: bundled from this machine, or the host's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.cache import list_cached_libraries
from bundle_fix.loader.hosts.libc import is_installed_with_libc
from bundle_fix.loader.hosts.rtld import list_default_directories
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.library_names import matches_any

HOST_LIBRARIES = {
    "part of the JDK": ("libjvm.so", "libjava.so", "libverify.so", "libjli.so"),
    "part of the graphics driver": (
        "libGL.so.*", "libGLX.so.*", "libEGL.so.*", "libGLdispatch.so.*", "libOpenGL.so.*",
        "libvulkan.so.*", "libdrm*.so.*", "libgbm.so.*", "libcuda.so.*", "libnvidia-*.so.*",
    ),
    "part of the desktop": (
        "libX*.so.*", "libxcb*.so.*", "libwayland-*.so.*", "libasound.so.*", "libpulse*.so.*",
    ),
    "depends on the host's settings or plugins": (
        "libsasl2.so.*", "libgssapi_krb5.so.*", "libkrb5.so.*", "libk5crypto.so.*",
        "libcom_err.so.*", "libpam*.so.*", "libsystemd.so.*", "libudev.so.*", "libselinux.so.*",
        "libdbus-1.so.*",
    ),
}  # fmt: skip
"""Globs of libraries that a pack usually leaves to the host, by the reason.

The reasons become comments in the spec.
"""
NOT_FOUND = "not found on this machine"
"""The reason to leave any other library to the host."""


class ClosureNeeds(Struct, frozen=True):
    """The values of ``[closure]`` for a tree.

    Attributes:
        bundle: the file on this machine of each name to bundle.
        host: the reason to leave a name to the host, by name.
        missing: those of ``host`` that are only there because this machine has no such library.
    """

    bundle: Mapping[str, Path]
    host: Mapping[str, str]
    missing: tuple[str, ...] = ()


def find_needs(bundle: Bundle, root: Path | None) -> ClosureNeeds:
    """Find the needed names that nothing in ``bundle`` provides, and their dependencies.

    Args:
        bundle: the tree with its images.
        root: the directory of the tree on this machine; None if the tree is in an archive.
    """
    found: dict[str, Path] = {}
    host: dict[str, str] = {}
    missing: list[str] = []
    queue = list(_list_needed_names(bundle, root))
    while queue:
        name, image, directory = queue.pop(0)
        if (
            name in found
            or name in host
            or is_installed_with_libc(name, bundle.guess_libc(image))
            or "/" in name
        ):
            continue
        if bundle.find_providers(name, image):
            continue
        reason = _find_host_reason(name)
        path = None if reason else _find_on_this_machine(name, image, directory)
        if path is None:
            host[name] = reason or NOT_FOUND
            if not reason:
                missing.append(name)
            continue
        found[name] = path
        library = read_image_at(path)
        if library is not None:
            queue += [(needed, library, path.resolve().parent) for needed in library.needed]
    return ClosureNeeds(found, host, tuple(missing))


def _list_needed_names(
    bundle: Bundle, root: Path | None
) -> Iterator[tuple[str, Image, Path | None]]:
    """Yield each needed name, with the image that needs it and its directory on this machine."""
    for path, image in bundle.images.items():
        directory = None if root is None else (root / path).parent
        yield from ((name, image, directory) for name in image.needed)


def _find_host_reason(name: str) -> str:
    """Return the reason of `HOST_LIBRARIES` to leave a library to the host, or an empty text."""
    for reason, globs in HOST_LIBRARIES.items():
        if matches_any(name, globs):
            return reason
    return ""


def _find_on_this_machine(name: str, image: Image, directory: Path | None) -> Path | None:
    """Return the file that this machine's loader would load for an object in ``directory``.

    The order is that of ld.so(8): RUNPATH or RPATH, ``ld.so.cache``, the default directories.
    """
    text = image.runpath if image.runpath is not None else image.rpath
    directories = []
    for entry in text.split(":") if text else ():
        base, place = expand_entry(entry, "")
        if base is PathBase.ROOT or (base is PathBase.ORIGIN and directory is not None):
            directories.append(Path("/", place) if directory is None else directory / place)
    directories += [Path(path).parent for soname, path in list_cached_libraries() if soname == name]
    directories += [Path(place) for place in list_default_directories(image)]
    for candidate in (place / name for place in directories):
        try:
            other = read_image_at(candidate)
        except BundleFixError:
            continue
        if other is not None and other.architecture == image.architecture:
            return candidate
    return None
