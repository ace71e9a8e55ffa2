"""Search path entries that lead, or may lead, to files that another package installs.

An entry of a wheel is seen from the place to which pip installs the object. The directories of
other wheels are beside it in site-packages; their ``NAME.data/data`` is installed to the prefix
(the binary distribution format of the Python packaging specifications).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from bundle_fix.archive.wheel import METADATA_SUFFIX, is_wheel
from bundle_fix.check.facts.library_tables import find_vendor_stack
from bundle_fix.check.facts.packages.dependencies import (
    COMMON_DIRECTORIES,
    find_package_of_entry,
    normalize_name,
)
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.runpath import RunpathKind, classify_runpath_entry
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.tree import Tree

SITE_PACKAGES = "lib/python3/site-packages"
"""The place of a wheel's files below the prefix; the version does not matter."""
SCHEMES = {"purelib": SITE_PACKAGES, "platlib": SITE_PACKAGES, "scripts": "bin", "data": ""}
"""The directories below the prefix to which the parts of ``NAME.data`` are installed."""


def find_owner_of_entry(
    tree: Tree, path: str, image: Image, entry: str, packages: Sequence[str]
) -> str | None:
    """Return who may install the directory of a search path entry, or None.

    Args:
        tree: the artifact.
        path: the object that has the entry.
        image: its image.
        entry: the entry.
        packages: the packages that the artifact depends on.
    """
    home = posixpath.dirname(path)
    kind = classify_runpath_entry(tree, entry, home, image)
    if kind is RunpathKind.ABSOLUTE:
        stack = find_vendor_stack(entry)
        return stack.name if stack else None
    if kind not in (RunpathKind.OUTSIDE, RunpathKind.ABSENT):
        return None
    return find_package_of_entry(entry, packages) or find_owner_in_environment(tree, home, entry)


def find_owner_in_environment(tree: Tree, home: str, entry: str) -> str | None:
    """Return who may install the directory of an entry in a Python environment, or None.

    Args:
        tree: the artifact; only those of wheels have an environment.
        home: the directory of the object that has the entry.
        entry: an entry that begins with ``$ORIGIN``.
    """
    base, path = expand_entry(entry, _get_installed_path(home))
    if base is not PathBase.ORIGIN or not is_wheel(tree):
        return None
    place = posixpath.normpath(path)
    if place.startswith(".."):
        return None
    if posixpath.commonpath([place, SITE_PACKAGES]) == SITE_PACKAGES:
        below = posixpath.relpath(place, SITE_PACKAGES)
        return "another wheel" if _belongs_to_another_wheel(tree, below) else None
    first, _, rest = place.partition("/")
    is_data = first in COMMON_DIRECTORIES and not rest.startswith("python")
    return "the data of another wheel" if is_data else None


def _get_installed_path(directory: str) -> str:
    """Return the place of a directory of a wheel, relative to the prefix."""
    first, _, rest = directory.partition("/")
    scheme, _, below = rest.partition("/")
    if first.endswith(".data") and scheme in SCHEMES:
        return posixpath.join(SCHEMES[scheme], below)
    return posixpath.join(SITE_PACKAGES, directory)


def _belongs_to_another_wheel(tree: Tree, directory: str) -> bool:
    """Return whether a missing directory in site-packages cannot be one of this wheel.

    The first missing part must be in site-packages itself, or in a namespace package, which has no
    files of its own and whose directories belong to several wheels (PEP 420).
    """
    parent = ""
    for part in directory.split("/"):
        if posixpath.join(parent, part) not in tree.directories:
            break
        parent = posixpath.join(parent, part)
    else:
        return False
    name = normalize_name(part)
    has_files = parent and any(posixpath.dirname(path) == parent for path, _ in tree.iter_files())
    if name in COMMON_DIRECTORIES or has_files:
        return False
    own = {normalize_name(path.partition("/")[0].partition(".")[0]) for path in tree.nodes}
    own |= {
        normalize_name(path.partition("-")[0])
        for path in tree.directories
        if path.endswith(METADATA_SUFFIX)
    }
    return name.removesuffix("_libs") not in own
