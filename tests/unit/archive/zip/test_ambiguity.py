"""Zip archives that tools read differently are refused; near misses are read."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from archive.zip.archives import make_zip, read_refused
from bundle_fix.archive.zip.reader import read_zip


def make_member(
    path: Path, name: str, content: bytes = b"x", *, mode: int = 0o100644, system: int = 3,
    extra: bytes = b"", attributes: int = 0,
) -> Path:  # fmt: skip
    """Write an archive of one stored member."""
    info = zipfile.ZipInfo("x", (2020, 9, 13, 12, 26, 40))
    # The constructor would cut the name at a NUL and replace backslashes on Windows.
    info.filename, info.extra = name, extra
    info.external_attr, info.create_system = mode << 16 | attributes, system
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, content)
    return path


def make_unicode_path(name: str, other: str) -> bytes:
    data = b"\1" + struct.pack("<I", zlib.crc32(name.encode())) + other.encode()
    return struct.pack("<HH", 0x7075, len(data)) + data


def test_another_name_in_the_unicode_path_field_is_refused(tmp_path: Path) -> None:
    for other in ("p/libssl.so.3", "../../evil"):
        extra = make_unicode_path("p/readme", other)
        path = make_member(tmp_path / "a.zip", "p/readme", extra=extra)
        assert read_refused(path).startswith(
            "the member 'p/readme' has another name in its Unicode path field: unzip, bsdtar and 7z"
        )


def test_the_same_name_in_the_unicode_path_field_is_read(tmp_path: Path) -> None:
    extra = make_unicode_path("p/readme", "p/readme")
    with read_zip(make_member(tmp_path / "a.zip", "p/readme", extra=extra)) as tree:
        assert list(tree.nodes) == ["readme"]


@pytest.mark.parametrize("name", ["..\\..\\evil", "lib\\x.so"])
def test_a_backslash_is_refused(tmp_path: Path, name: str) -> None:
    for system in (0, 3):
        path = make_member(tmp_path / "a.zip", name, system=system)
        assert "has a backslash in its name" in read_refused(path)


def mark_names(path: Path, local: bytes, central: bytes) -> None:
    """Set the flags of the first member in both headers."""
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2")
    raw[6:8], raw[entry + 8 : entry + 10] = local, central
    path.write_bytes(raw)


def test_a_name_in_utf_8_is_read_if_both_headers_agree(tmp_path: Path) -> None:
    path = make_member(tmp_path / "a.zip", "nameü")
    mark_names(path, b"\0\0", b"\0\0")
    with read_zip(path) as tree:
        assert list(tree.nodes) == ["nameü"]
    mark_names(path, b"\0\0", b"\0\x08")
    assert "is marked as UTF-8 in only one of its headers" in read_refused(path)


@pytest.mark.parametrize("flags", [b"\0\0", b"\0\x08"])
def test_a_name_in_a_code_page_is_refused(tmp_path: Path, flags: bytes) -> None:
    path = make_member(tmp_path / "a.zip", "name??")
    path.write_bytes(path.read_bytes().replace(b"??", b"\x81\x82"))
    mark_names(path, flags, flags)
    assert "has a name in an unknown code page" in read_refused(path)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("a", {"mode": stat.S_IFDIR | 0o755}, "is a directory by its name or by its attributes"),
        ("a", {"system": 0, "mode": 0, "attributes": 0x10}, "is a directory by its name or"),
        ("a/", {"mode": stat.S_IFLNK | 0o755, "content": b"x"}, "is a directory by its name or"),
        ("a/", {"mode": stat.S_IFDIR | 0o755}, "is a directory by its name or"),
        ("a", {"mode": stat.S_IFIFO | 0o644}, "is a device, fifo or socket by its mode"),
        ("a", {"mode": stat.S_IFLNK | 0o777, "system": 19}, "is a symlink by its mode, but not"),
        ("a", {"mode": stat.S_IFLNK | 0o777, "content": b""}, "is a symlink without a target"),
        ("a", {"extra": make_unicode_path("a", "a") * 2}, "has damaged or repeated extra fields"),
    ],
)
def test_a_member_of_two_kinds_is_refused(
    tmp_path: Path, name: str, options: dict[str, int | bytes], problem: str
) -> None:
    path = make_member(tmp_path / "a.zip", name, **options)  # type: ignore[arg-type]
    assert f"the member '{name}' {problem}" in read_refused(path)


def test_a_slash_makes_a_directory_of_any_mode(tmp_path: Path) -> None:
    for mode in (0o100755, 0o140755, 0o050755):
        with read_zip(make_member(tmp_path / "a.zip", "a/b/", b"", mode=mode)) as tree:
            assert "b" in tree.directories


def test_a_member_that_stands_between_others_is_refused(tmp_path: Path) -> None:
    first = make_member(tmp_path / "a.zip", "a").read_bytes()
    hidden = first[: first.index(b"PK\1\2")].replace(b"a", b"h", 1)
    entry = bytearray(first[first.index(b"PK\1\2") : first.index(b"PK\5\6")])
    local = first[: first.index(b"PK\1\2")]
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local + hidden), 0)
    (tmp_path / "a.zip").write_bytes(local + hidden + entry + end)
    assert "the member 'h' is missing from the central directory" in read_refused(
        tmp_path / "a.zip"
    )


def test_a_second_end_record_is_refused(tmp_path: Path) -> None:
    raw = make_zip(tmp_path / "a.zip", ("a", b"1")).read_bytes()
    end = raw[raw.rindex(b"PK\5\6") :]
    for suffix in (end + b"x", b"PK\5\6"):
        (tmp_path / "a.zip").write_bytes(raw[:-2] + struct.pack("<H", len(suffix)) + suffix)
        assert "it has two end records" in read_refused(tmp_path / "a.zip")


def test_a_second_central_directory_is_refused(tmp_path: Path) -> None:
    raw = make_zip(tmp_path / "a.zip", ("a", b"1")).read_bytes()
    start = raw.index(b"PK\1\2")
    (tmp_path / "a.zip").write_bytes(b"#!/bin/sh".ljust(start, b" ") + raw[start:-22] + raw)
    assert "it has two central directories" in read_refused(tmp_path / "a.zip")


def test_bytes_after_the_compressed_data_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", b"1" * 99)
    raw = (tmp_path / "a.zip").read_bytes()
    entry, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    packed = struct.unpack_from("<I", raw, 18)[0] + 5
    longer = bytearray(raw[:entry] + b"slack" + raw[entry:])
    struct.pack_into("<I", longer, 18, packed)
    struct.pack_into("<I", longer, entry + 5 + 20, packed)
    struct.pack_into("<I", longer, end + 5 + 16, entry + 5)
    (tmp_path / "a.zip").write_bytes(longer)
    assert "'a' has bytes after its compressed data" in read_refused(tmp_path / "a.zip")
