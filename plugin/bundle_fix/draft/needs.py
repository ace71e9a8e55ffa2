"""What a tree needs and does not have: put into the pack from this machine, or left to the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
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

HOSTS = {
    "the JDK's": ("libjvm.so", "libjava.so", "libverify.so", "libjli.so"),
    "of the graphics driver": (
        "libGL.so.*", "libGLX.so.*", "libEGL.so.*", "libGLdispatch.so.*", "libOpenGL.so.*",
        "libvulkan.so.*", "libdrm*.so.*", "libgbm.so.*", "libcuda.so.*", "libnvidia-*.so.*",
    ),
    "of the desktop": (
        "libX*.so.*", "libxcb*.so.*", "libwayland-*.so.*", "libasound.so.*", "libpulse*.so.*",
    ),
    "tied to the host's settings or plugins": (
        "libsasl2.so.*", "libgssapi_krb5.so.*", "libkrb5.so.*", "libk5crypto.so.*",
        "libcom_err.so.*", "libpam*.so.*", "libsystemd.so.*", "libudev.so.*", "libselinux.so.*",
        "libdbus-1.so.*",
    ),
}  # fmt: skip
"""Libraries that a pack usually leaves to the host, and whose they are."""


class Needs(Struct, frozen=True):
    """Names to bundle, each with its file on this machine; the host's, each with whose it is."""

    bundle: Mapping[str, Path]
    host: Mapping[str, str]


def needs_of(bundle: Bundle, root: Path | None) -> Needs:
    """Sort out the names that nothing in ``bundle`` provides, and what those need in turn.

    Args:
        bundle: the tree with its images.
        root: where the tree is on this machine, or None where it is in an archive.
    """
    found: dict[str, Path] = {}
    host: dict[str, str] = {}
    queue = list(_unmet(bundle, root))
    while queue:
        name, image, folder = queue.pop(0)
        if name in found or name in host or is_installed_with_libc(name) or "/" in name:
            continue
        path = None if bundle.find_providers(name, image) else _here(name, image, folder)
        whose = next((w for w, globs in HOSTS.items() if _matches(name, globs)), "")
        if bundle.find_providers(name, image):
            continue
        if whose or path is None:
            host[name] = whose or "not on this machine"
            continue
        found[name] = path
        more = read_image_at(path)
        if more is not None:
            queue += [(needed, more, path.resolve().parent) for needed in more.needed]
    return Needs(found, host)


def _unmet(bundle: Bundle, root: Path | None) -> Iterator[tuple[str, Image, Path | None]]:
    for path, image in bundle.images.items():
        folder = None if root is None else (root / path).parent
        yield from ((name, image, folder) for name in image.needed)


def _here(name: str, image: Image, folder: Path | None) -> Path | None:
    """The file that this machine's loader would take for an object in ``folder``."""
    text = image.runpath if image.runpath is not None else image.rpath
    places = []
    for entry in text.split(":") if text else ():
        base, place = expand_entry(entry, "")
        if base is PathBase.ROOT or (base is PathBase.ORIGIN and folder is not None):
            places.append(Path("/", place) if folder is None else folder / place)
    places += [Path(path).parent for soname, path in list_cached_libraries() if soname == name]
    places += [Path(place) for place in list_default_directories(image)]
    for candidate in (place / name for place in places):
        try:
            other = read_image_at(candidate)
        except BundleFixError:
            continue
        if other is not None and other.architecture == image.architecture:
            return candidate
    return None


def _matches(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in globs)
