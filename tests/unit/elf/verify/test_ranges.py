"""Ranges of bytes."""

from __future__ import annotations

from bundle_fix.elf.verify.ranges import Span, has_same_range, intersect, merge_spans, subtract
from bundle_fix.model.content import BytesReader
from elf.verify.damage import flip_byte


def test_spans_are_intersected_with_a_range() -> None:
    assert intersect([Span(0, 4), Span(6, 20), Span(30, 40)], 3, 10) == [Span(3, 4), Span(6, 10)]


def test_holes_are_subtracted_from_spans() -> None:
    assert list(subtract([Span(0, 10)], [Span(2, 3), Span(8, 20)])) == [Span(0, 2), Span(3, 8)]
    assert list(subtract([Span(0, 10)], [])) == [Span(0, 10)]
    assert list(subtract([Span(3, 5)], [Span(0, 9)])) == []


def test_spans_that_overlap_are_merged() -> None:
    spans = [Span(8, 12), Span(0, 4), Span(9, 10), Span(4, 6), Span(11, 14)]
    assert merge_spans(spans) == [Span(0, 4), Span(4, 6), Span(8, 14)]


def test_a_comparison_ends_with_the_files() -> None:
    assert has_same_range(BytesReader(b"abc"), 1, BytesReader(b"bc"), 0, 1 << 63)


def test_bytes_are_compared_across_chunks() -> None:
    one = bytes(3 << 20)
    for at in (0, (1 << 20) - 1, 1 << 20, (3 << 20) - 1):
        assert not has_same_range(BytesReader(one), 0, BytesReader(flip_byte(one, at)), 0, len(one))
    assert has_same_range(BytesReader(one), 5, BytesReader(one), 9, len(one) - 9)
