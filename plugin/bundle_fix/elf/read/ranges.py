"""Stretches of a file, and what two files have in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bundle_fix.model.content import CHUNK, Reader


class Span(NamedTuple):
    """File offsets from ``start`` to ``end``."""

    start: int
    end: int


def intersect(spans: Sequence[Span], start: int, end: int) -> list[Span]:
    """What of ``spans`` lies between ``start`` and ``end``."""
    cut = [Span(max(a, start), min(b, end)) for a, b in spans]
    return [span for span in cut if span.start < span.end]


def subtract(spans: Sequence[Span], holes: Sequence[Span]) -> list[Span]:
    """What of ``spans`` lies in none of ``holes``, which are sorted."""
    left = []
    for start, end in spans:
        for hole in holes:
            if hole.start >= end:
                break
            if start < hole.start:
                left.append(Span(start, hole.start))
            start = max(start, hole.end)  # noqa: PLW2901 (what is left of the span)
        if start < end:
            left.append(Span(start, end))
    return left


def has_same_range(one: Reader, at: int, two: Reader, there: int, length: int) -> bool:
    """Whether ``length`` bytes of ``one`` from ``at`` on stand in ``two`` from ``there`` on."""
    for start in range(0, length, CHUNK):
        size = min(CHUNK, length - start)
        if one.pread(at + start, size) != two.pread(there + start, size):
            return False
    return True
