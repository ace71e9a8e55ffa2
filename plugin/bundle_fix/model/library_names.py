"""File names of shared libraries: ``STEM.so.VERSION``."""

from __future__ import annotations

import posixpath


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
