"""Libraries that an object finds although neither its package nor the host contains them."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from msgspec import Struct

from bundle_fix.archive.install_location import is_conda_package
from bundle_fix.archive.wheel import METADATA_SUFFIX
from bundle_fix.check.context import Context
from bundle_fix.check.facts.foreign_entries import find_owner_in_environment
from bundle_fix.check.facts.library_tables import (
    PYTHON_PACKAGES,
    find_vendor_stack,
    iter_packages_with,
)
from bundle_fix.check.facts.packages.dependencies import (
    find_packages_of_library,
    normalize_name,
)
from bundle_fix.loader.process import Resolution
from bundle_fix.loader.search.steps import Outcome, SearchRule
from bundle_fix.loader.search.tokens import PathBase, expand_entry
from bundle_fix.model.library_names import matches_any

MAX_NAMES = 3
"""Packages that a message lists."""


class LibrarySource(Struct, frozen=True):
    """The source of a library that is not in the package.

    Attributes:
        relation: the end of a message after the needed name: ``which torch ...``.
        hint: what to do.
    """

    relation: str
    hint: str


def find_library_source(context: Context, need: Resolution) -> LibrarySource | None:
    """Return the package or the vendor stack that may provide a missing library, or None."""
    if source := _find_conda_package(context, need):
        return source
    # If the directory exists in this package, the missing library is not expected elsewhere.
    entries = [
        step.entry
        for step in need.result.trace
        if step.via in (SearchRule.RPATH, SearchRule.RUNPATH)
        and step.outcome is not Outcome.NOT_THERE
    ]
    if packages := " or ".join(_find_packages_of_entries(context, need, entries)[:MAX_NAMES]):
        return LibrarySource(
            f"which {packages} may provide: the search path leads there",
            f"Make sure that {packages} contains {need.name}, or add it to the pack.",
        )
    for entry in entries:
        stack = find_vendor_stack(entry)
        if stack and matches_any(need.name, stack.libraries):
            return LibrarySource(
                f"which {stack.name} provides: the search path leads to {entry}",
                f"Install {stack.name} on the target.",
            )
    if packages := " or ".join(_list_packages_in_directory(context, need)[:MAX_NAMES]):
        return LibrarySource(
            f"which {packages} may provide: they are installed into the same directory",
            f"Make sure that one of them contains {need.name}, or add it to the pack.",
        )
    if package := context.find_dependency_of_library(need.name):
        return LibrarySource(
            f"which {package} may provide: the package depends on it",
            f"Make sure that {package} is loaded first, or add a RUNPATH entry that leads there.",
        )
    return _find_import(context, need)


def _find_conda_package(context: Context, need: Resolution) -> LibrarySource | None:
    """Return the conda packages that may have a library in the common prefix of all packages."""
    packages = context.package_dependencies
    if not packages or not is_conda_package(context.bundle.tree):
        return None
    directory = posixpath.dirname(need.requester.path or "")
    if not any(
        expand_entry(step.entry, directory).base is PathBase.ORIGIN
        for step in need.result.trace
        if step.via in (SearchRule.RPATH, SearchRule.RUNPATH)
    ):
        return None
    own = context.find_dependency_of_library(need.name)
    names = own or " or ".join(packages[:MAX_NAMES])
    return LibrarySource(
        f"which {names} may provide: all conda packages share the directories of a prefix",
        f"Make sure that {names} contains {need.name}.",
    )


def _find_packages_of_entries(
    context: Context, need: Resolution, entries: Sequence[str]
) -> list[str]:
    """Return the packages to which an entry leads and that may contain the needed name."""
    packages = context.package_dependencies
    found = find_packages_of_library(need.name, entries, packages)
    if found or not packages:
        return found
    home, tree = posixpath.dirname(need.requester.path or ""), context.bundle.tree
    if not any(find_owner_in_environment(tree, home, entry) for entry in entries):
        return []
    own = context.find_dependency_of_library(need.name)
    return [own] if own else list(packages)


def _list_packages_in_directory(context: Context, need: Resolution) -> list[str]:
    """Return the required packages that share the directory of an object with its wheel.

    The directory is named after them, and not after the wheel: ``cmeel.prefix`` in libcoal.
    """
    if not context.is_wheel:
        return []
    first = _get_family((need.requester.path or "").partition("/")[0])
    own = [path for path in context.bundle.tree.directories if path.endswith(METADATA_SUFFIX)]
    names = {_get_family(name) for name in own}
    alike = [p for p in context.package_dependencies if _get_family(p) == first]
    if first in names:
        return []
    package = context.find_dependency_of_library(need.name)
    return [package] if package in alike else alike


def _get_family(name: str) -> str:
    return normalize_name(name).partition("_")[0]


def is_loaded_by_import(context: Context, need: Resolution) -> bool:
    """Return whether the import of a required package loads a library before an extension module.

    The required package may itself require the one with the library, as torch does nvidia-*.
    """
    names = (normalize_name(package).replace("_", "-") for package in context.package_dependencies)
    is_required = any(matches_any(name, tuple(PYTHON_PACKAGES)) for name in names)
    return is_required and _find_importing_package(context, need) is not None


def _find_importing_package(context: Context, need: Resolution) -> str | None:
    """Return the pattern of the Python package whose import loads a library of a wheel, or None."""
    if not context.is_wheel or need.requester.path in context.loaded_at_start:
        return None
    return next(iter_packages_with(need.name, PYTHON_PACKAGES), None)


def _find_import(context: Context, need: Resolution) -> LibrarySource | None:
    """Return the Python package whose import loads a library before an extension module."""
    package = _find_importing_package(context, need)
    if package is None:
        return None
    name = package.rstrip("*-")
    return LibrarySource(
        f"which the import of {name} loads before",
        f"Import {name} first, and declare it as a dependency (Requires-Dist).",
    )
