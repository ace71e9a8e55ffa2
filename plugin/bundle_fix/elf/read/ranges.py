"""Ranges of file offsets, and comparison of the bytes in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bundle_fix.model.content import CHUNK, Reader


class Span(NamedTuple):
    """The file offsets from ``start`` up to, but not including, ``end``."""

    start: int
    end: int


def intersect(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """Return the parts of ``spans`` between ``start`` and ``end``."""
    clipped = [Span(max(a, start), min(b, end)) for a, b in spans]
    return [span for span in clipped if span.start < span.end]


def subtract(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """Return the parts of ``spans`` outside all ``holes``, which are sorted."""
    left = []
    for start, end in spans:
        for hole in holes:
            if hole.start >= end:
                break
            if start < hole.start:
                left.append(Span(start, hole.start))
            start = max(start, hole.end)  # noqa: PLW2901 (the rest of the span)
        if start < end:
            left.append(Span(start, end))
    return left


def has_same_range(one: Reader, at: int, other: Reader, other_at: int, length: int) -> bool:
    """Return whether ``length`` bytes at ``at`` of ``one`` equal those at ``other_at``."""
    for start in range(0, length, CHUNK):
        size = min(CHUNK, length - start)
        if one.pread(at + start, size) != other.pread(other_at + start, size):
            return False
    return True
