"""Central directories and headers that are false or contradict each other are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.zip.archives import (
    make_zip,
    read_refused,
)
from bundle_fix.archive.zip import central_directory
from bundle_fix.archive.zip.reader import read_zip


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"1" * 999))
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2")
    raw[entry + 42 : entry + 46] = bytes(4)
    path.write_bytes(raw)
    assert "overlaps another member" in read_refused(path)


def test_a_false_size_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", b"1" * 999))
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2")
    raw[entry + 24 : entry + 28] = (5000).to_bytes(4, "little")
    path.write_bytes(raw)
    assert "the archive is damaged" in read_refused(path)


def test_a_bomb_is_refused_by_its_declared_sizes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", *((f"{n}", b"1") for n in range(20)))
    raw = bytearray(path.read_bytes())
    at = raw.find(b"PK\1\2")
    while at >= 0:
        raw[at + 24 : at + 28] = (0xFFFFFFF0).to_bytes(4, "little")
        at = raw.find(b"PK\1\2", at + 1)
    path.write_bytes(raw)
    assert "it unpacks to more than" in read_refused(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", b"1"))
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    assert "is encrypted" in read_refused(path)


def test_members_missing_from_the_central_directory_are_refused(tmp_path: Path) -> None:
    """A tool that reads the archive from its start would see other members."""
    hidden = make_zip(tmp_path / "x.zip", ("a", b"1")).read_bytes()
    path = make_zip(tmp_path / "y.zip", ("b", b"2"))
    for suffix in (path.read_bytes(), b"PK\5\6" + bytes(18)):
        path.write_bytes(hidden + suffix)
        assert "it starts with members that are missing from the central directory" in read_refused(
            path
        )


def test_a_huge_central_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_zip(tmp_path / "x.zip", *((f"{n:0200}", b"") for n in range(100)))
    with read_zip(path) as tree:
        assert len(tree.nodes) == 100
    monkeypatch.setattr(central_directory, "MAX_DIRECTORY", 20_000)
    assert "the central directory is longer than 19.5K" in read_refused(path)


def test_a_false_end_record_is_refused(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "x.zip", ("a", b"1" * 99), ("b", b"2")).read_bytes()
    end = whole.rindex(b"PK\5\6")
    for field, size in ((10, 2), (12, 4), (16, 4)):
        for value in (0, 1, (1 << 8 * size) - 1, (1 << 8 * size) - 2):
            raw = bytearray(whole)
            raw[end + field : end + field + size] = value.to_bytes(size, "little")
            (tmp_path / "x.zip").write_bytes(raw)
            # A lower offset is like bytes prepended to the archive.
            problem = (
                "overlaps another member"
                if field == 16 and value < 99
                else "the archive is damaged"
            )
            assert problem in read_refused(tmp_path / "x.zip")


@pytest.mark.parametrize(
    "field", [(4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (30, 1)]
)
def test_contradictory_headers_are_refused(tmp_path: Path, field: tuple[int, int]) -> None:
    path = make_zip(tmp_path / "x.zip", ("name", b"1" * 99), ("b", b"2"))
    raw = bytearray(path.read_bytes())
    at, size = field
    raw[at : at + size] = bytes(b ^ 0x11 for b in raw[at : at + size])
    path.write_bytes(raw)
    if at == 4:
        with read_zip(path) as tree:
            assert "name" in tree.nodes
    else:
        assert "is damaged: the local header of 'name' does not match" in read_refused(
            path
        ) or at in (6, 26)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", bytes(range(256)) * 40), ("b", b"2"))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "the archive is damaged" in read_refused(path)
