"""The packages that a package depends on; they may contain its missing libraries.

Large wheels and npm packages are often split: the RUNPATH of one leads to a directory of another.
Distribution packages need the libraries of others in the default directories.

Sources: the core metadata specifications (Requires-Dist); npm's documentation of package.json;
PKGBUILD(5) and apk-package(5) (``depend`` in .PKGINFO); the Debian Policy Manual, section 8.1, for
the names of library packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bundle_fix.archive.packages.npm import PACKAGE_JSON, read_package_json
from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.check.facts.library_tables import (
    DATA_PACKAGES,
    PYTHON_PACKAGES,
    SYSTEM_PACKAGES,
    iter_packages_with,
)
from bundle_fix.model.content import read_exactly
from bundle_fix.model.library_names import matches_any
from bundle_fix.model.tree import File, Tree

# Dependencies with a marker on an extra are optional and left out.
REQUIRED = re.compile(r"^Requires-Dist:\s*([A-Za-z0-9][\w.-]*)(?!.*\bextra\s*==)", re.MULTILINE)
DEPEND = re.compile(r"^depend\s*=\s*(\S+)", re.MULTILINE)
NPM_KEYS = ("dependencies", "optionalDependencies", "peerDependencies")
COMMON_DIRECTORIES = frozenset(
    {"bin", "lib", "lib32", "lib64", "libs", "node_modules", "site_packages"}
)
"""Names of directories that do not identify a package."""
MIN_FAMILY = 4
"""Letters of the shortest name of a family of libraries."""
MAX_METADATA = 1 << 20
"""Bytes of a metadata file that are read."""


def read_dependencies(tree: Tree) -> tuple[str, ...]:
    """Return the names of the packages, and of rpm the sonames, that a package depends on."""
    names = [*tree.requires]
    for path, file in tree.iter_files():
        if path == PACKAGE_JSON:
            names += _list_npm_dependencies(tree)
        elif path == ".PKGINFO":
            names += DEPEND.findall(_read_text(file))
        elif path.count("/") == 1 and path.endswith(f"{METADATA_SUFFIX}/METADATA"):
            headers, _, _ = _read_text(file).partition("\n\n")
            names += REQUIRED.findall(headers)
    return tuple(dict.fromkeys(names))


def _list_npm_dependencies(tree: Tree) -> Iterator[str]:
    package = read_package_json(tree)
    for key in NPM_KEYS:
        dependencies = package.get(key)
        yield from dependencies if isinstance(dependencies, dict) else ()


def _read_text(file: File) -> str:
    with file.content.open() as reader:
        data = read_exactly(reader, 0, min(file.content.size, MAX_METADATA)) or b""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def find_package_of_entry(entry: str, packages: Sequence[str]) -> str | None:
    """Return the package to which a search path entry leads, or None.

    A directory in the entry must be the package's name or a part of it, as in
    ``$ORIGIN/../../cublas/lib``, which leads to ``nvidia-cublas-cu12``.
    """
    directories = _split_entry(entry) if packages else frozenset[str]()
    for package in packages:
        name = normalize_name(package.rpartition("/")[2])
        if any(f"_{directory}_" in f"_{name}_" for directory in directories):
            return package
        # auditwheel puts the libraries of a wheel into this directory beside its package.
        if f"{name}_libs" in directories:
            return package
    return None


def find_packages_of_library(
    name: str, entries: Iterable[str], packages: Sequence[str]
) -> list[str]:
    """Return the packages that may contain a library.

    Args:
        name: the needed name of the library.
        entries: the search path entries of the object that needs it.
        packages: the candidates.

    Returns:
        The packages to which an entry leads by a directory that occurs in the library's name; if
        there are none, all packages to which an entry leads.
    """
    found = {p: entry for entry in entries if (p := find_package_of_entry(entry, packages))}
    library = normalize_name(name)
    alike = [p for p, entry in found.items() if any(d in library for d in _split_entry(entry))]
    return alike or list(found)


def _split_entry(entry: str) -> frozenset[str]:
    """Return the normalized directory names in an entry that may identify a package."""
    return frozenset(map(normalize_name, entry.split("/")[1:])) - COMMON_DIRECTORIES - {""}


def normalize_name(name: str) -> str:
    """Normalize the name of a package or directory, as wheels do in their file names."""
    return re.sub(r"[-_.]+", "_", name).strip("_").lower()


def find_package_of_library(name: str, packages: Sequence[str]) -> str | None:
    """Return the package that contains a library, judging by their names, or None.

    Packages of Alpine Linux and rpm require sonames: ``so:libz.so.1``, ``libz.so.1()(64bit)``.
    """
    core, _, version = name.removeprefix("lib").partition(".so")
    stem, number = _squeeze(core), _squeeze(version)
    tables = (PYTHON_PACKAGES, DATA_PACKAGES, SYSTEM_PACKAGES) if packages else ()
    patterns = [pattern for table in tables for pattern in iter_packages_with(name, table)]
    for package in packages:
        required = re.split(r"[(<>=~\s]", package.removeprefix("so:"))[0]
        if _is_named_after(required, core):
            return required
        short = _squeeze(required.rpartition("/")[2]).removeprefix("lib")
        # Debian renamed packages when time_t became 64 bits wide.
        if name == required or short.removesuffix("t64") in (stem, stem + number):
            return required
        if matches_any(normalize_name(required).replace("_", "-"), patterns):
            return required
    return None


def _is_named_after(package: str, core: str) -> bool:
    """Return whether a package has a vendor's prefix and then a library's name or its family.

    ``cmeel-boost`` contains libboost_atomic.so.1.90.0, for example.
    """
    _, _, rest = normalize_name(package).partition("_")
    library = normalize_name(core)
    return len(rest) >= MIN_FAMILY and (library == rest or library.startswith(f"{rest}_"))


def _squeeze(name: str) -> str:
    """Return a name without separators: Debian's ``libglib2.0-0`` contains libglib-2.0.so.0."""
    return normalize_name(name).replace("_", "")
