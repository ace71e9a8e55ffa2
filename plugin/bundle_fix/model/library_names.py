"""File names of shared libraries: ``STEM.so.VERSION``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

NAME_HASH = re.compile(r"(?:-(?!20\d{6})[0-9a-f]{8})+(?=\.|$)")
"""The hash that auditwheel adds to the name of a bundled library (repair.py, copylib); several if a
wheel was repaired again. A date, as in ``libabsl-20230802.so``, is not a hash."""
VERSION_NUMBERS = re.compile(rf"{NAME_HASH.pattern}|\d+(\.\d+)*")
"""Version numbers, and hashes in the names of libraries."""


def get_library_stem(path: str) -> str:
    """Return the file name of a library up to its ``.so``: ``libx`` for ``lib/libx.so.4``."""
    return posixpath.basename(path).partition(".so")[0]


def get_library_version(path: str) -> str:
    """Return the rest of the file name after ``.so``: ``.4`` for ``lib/libx.so.4``, or nothing."""
    return posixpath.basename(path).partition(".so")[2]


def has_version_of(name: str, other: str) -> bool:
    """Return whether the version of one library name is equal to the other, or a part of it.

    ``libx.so.4`` and ``libx.so.4.6.11`` may name one file, ``libx.so.4`` and ``libx.so.5`` do not.
    """
    one, two = (get_library_version(n).split(".") for n in (name, other))
    length = min(len(one), len(two))
    return one[:length] == two[:length]


def strip_version_numbers(path: str) -> str:
    """Return a path with each version number and hash replaced by a placeholder."""
    return VERSION_NUMBERS.sub("#", path)


@lru_cache(maxsize=4096)
def get_library_family(path: str) -> str:
    """Return the part of a library's name that all its versions share.

    It is ``libtcl`` for ``libtcl8.6.so`` and for ``libtcl.so.9``.
    """
    return strip_version_numbers(get_library_stem(path)).rstrip("#-_.")


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the globs matches a name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
