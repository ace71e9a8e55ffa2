"""Contents with bytes replaced or inserted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundle_fix.model.content import BytesContent, has_same_bytes
from bundle_fix.model.patches import InsertedContent, Insertion, Patch, PatchedContent

from .test_content import assert_reads_like, short_bytes, windows


@st.composite
def patched_bytes(draw: st.DrawFn) -> tuple[bytes, tuple[Patch, ...], bytes]:
    """Return bytes, patches to them, and the patched bytes."""
    data = draw(short_bytes)
    edges = sorted(draw(st.sets(st.integers(0, len(data)), max_size=8)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    patches = tuple(Patch(a, draw(st.binary(min_size=b - a, max_size=b - a))) for a, b in pairs)
    after = bytearray(data)
    for patch in patches:
        after[patch.offset : patch.end] = patch.data
    return data, patches, bytes(after)


@given(patched_bytes(), windows)
def test_patches_replace_the_bytes_at_their_offset(
    case: tuple[bytes, tuple[Patch, ...], bytes], window: tuple[int, int]
) -> None:
    data, patches, after = case
    assert_reads_like(PatchedContent(BytesContent(data), patches), after, window)


@given(short_bytes, short_bytes, st.integers(0, 9), st.integers(0, 9), st.data(), windows)
def test_inserted_bytes_follow_those_before_their_offset(
    base: bytes, data: bytes, zeros: int, padding: int, draw: st.DataObject, window: tuple[int, int]
) -> None:
    offset = draw.draw(st.integers(0, len(base)))
    inserted = bytes(zeros) + data + bytes(padding)
    content = InsertedContent(BytesContent(base), Insertion(offset, zeros, data, len(inserted)))
    assert_reads_like(content, base[:offset] + inserted + base[offset:], window)


@given(patched_bytes(), patched_bytes())
def test_contents_with_the_same_bytes_are_equal(
    one: tuple[bytes, tuple[Patch, ...], bytes], other: tuple[bytes, tuple[Patch, ...], bytes]
) -> None:
    content = PatchedContent(BytesContent(one[0]), one[1])
    assert has_same_bytes(content, BytesContent(one[2]))
    assert has_same_bytes(content, BytesContent(other[2])) == (one[2] == other[2])
