"""Ranges of file offsets, and comparison of the bytes in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from bundle_fix.model.content import CHUNK, Reader

Touched = Sequence[tuple[int, int]] | None
"""The only ranges of a file that can differ, as start and end; None if they are unknown."""


class Span(NamedTuple):
    """The file offsets from ``start`` up to, but not including, ``end``."""

    start: int
    end: int


def intersect(spans: Iterable[tuple[int, int]], start: int, end: int) -> list[Span]:
    """Return the parts of ``spans`` between ``start`` and ``end``."""
    clipped = [Span(max(a, start), min(b, end)) for a, b in spans]
    return [span for span in clipped if span.start < span.end]


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return ``spans`` sorted, without empty ones, and with those joined that overlap."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if merged and span.start < merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def subtract(spans: Iterable[Span], holes: Sequence[Span]) -> Iterator[Span]:
    """Yield the parts of ``spans`` outside all ``holes``, which are sorted and do not overlap."""
    for start, end in spans:
        first = bisect_right(holes, start, key=lambda hole: hole.end)
        for hole in islice(holes, first, None):
            if hole.start >= end:
                break
            if start < hole.start:
                yield Span(start, hole.start)
            start = max(start, hole.end)  # noqa: PLW2901 (the rest of the span)
        if start < end:
            yield Span(start, end)


def has_same_range(one: Reader, at: int, other: Reader, other_at: int, length: int) -> bool:
    """Return whether ``length`` bytes at ``at`` of ``one`` equal those at ``other_at``.

    Bytes beyond the end of a file are equal to each other.
    """
    for start in range(0, length, CHUNK):
        size = min(CHUNK, length - start)
        data = one.pread(at + start, size)
        if data != other.pread(other_at + start, size):
            return False
        if len(data) < size:
            return True
    return True


def is_zero(reader: Reader, start: int, end: int) -> bool:
    """Return whether a range has only zeros; those beyond the end of the file do not count."""
    return not any(
        reader.pread(at, min(CHUNK, end - at)).strip(b"\0") for at in range(start, end, CHUNK)
    )
