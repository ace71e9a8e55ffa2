"""The locks of this process, in a module of their own that costs next to nothing to import."""

from __future__ import annotations

locks: set[int] = set()
"""Descriptors of locks that end with this process; a child closes them, or it would extend them."""
