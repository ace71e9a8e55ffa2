"""File names of shared libraries: ``STEM.so.VERSION``."""

from __future__ import annotations

import posixpath


def get_library_stem(path: str) -> str:
    """Return the file name of a library up to its ``.so``: ``libx`` for ``lib/libx.so.4``."""
    return posixpath.basename(path).partition(".so")[0]


def get_library_version(path: str) -> str:
    """Return the rest of the file name after ``.so``: ``.4`` for ``lib/libx.so.4``, or nothing."""
    return posixpath.basename(path).partition(".so")[2]
