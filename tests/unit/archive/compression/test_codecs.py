"""Compression formats: round trips, the standard tools, and detection by the first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.archive.compression import codecs
from bundle_fix.archive.compression.codecs import (
    COMPRESSIONS,
    Compression,
    detect_compression,
    get_compression,
)
from bundle_fix.archive.compression.spool import decompress_file

DATA = {
    "a byte": b"a",
    "text": b"the same again and again\n" * 30_000,
    "noise": os.urandom(1_200_001),
}
TOOLS = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".bz2": "bzip2", ".lzma": "lzma"}

for_every_compression = pytest.mark.parametrize("compression", COMPRESSIONS, ids=lambda c: c.suffix)


def compress(compression: Compression, data: bytes) -> bytes:
    target = io.BytesIO()
    with compression.writer(target) as stream:
        for start in range(0, len(data), 700_000):
            stream.write(data[start : start + 700_000])
    return target.getvalue()


@for_every_compression
@pytest.mark.parametrize("kind", DATA)
def test_data_is_the_same_after_compression_and_decompression(
    tmp_path: Path, compression: Compression, kind: str
) -> None:
    path = tmp_path / "packed"
    path.write_bytes(compress(compression, DATA[kind]))
    assert detect_compression(path) is compression
    with compression.reader(str(path)) as stream:
        assert stream.read() == DATA[kind]
    with decompress_file(path) as file:
        assert file.read() == DATA[kind]


@for_every_compression
def test_the_standard_tools_decompress_written_files(compression: Compression) -> None:
    packed = compress(compression, DATA["text"])
    done = subprocess.run(
        [TOOLS[compression.suffix], "-dc"], input=packed, capture_output=True, check=True
    )
    assert done.stdout == DATA["text"]
    assert done.stderr == b""


@for_every_compression
def test_files_of_the_standard_tools_are_decompressed(
    tmp_path: Path, compression: Compression
) -> None:
    (tmp_path / "data").write_bytes(DATA["text"])
    subprocess.run([TOOLS[compression.suffix], tmp_path / "data"], check=True)
    (path,) = (path for path in tmp_path.iterdir() if path.name != "data")
    assert detect_compression(path) is compression
    with decompress_file(path) as file:
        assert file.read() == DATA["text"]


@for_every_compression
def test_the_same_bytes_are_compressed_to_the_same_bytes(compression: Compression) -> None:
    first = compress(compression, DATA["text"])
    time.sleep(1.1 if compression.suffix == ".gz" else 0)
    assert compress(compression, DATA["text"]) == first


def test_a_gzip_header_has_neither_a_time_nor_a_name() -> None:
    for data in DATA.values():
        packed = compress(COMPRESSIONS[0], data)
        assert packed[:4] == b"\x1f\x8b\x08\x00"
        assert packed[4:8] == bytes(4)


def test_gzip_compresses_about_as_well_as_gzip_does() -> None:
    data = b"".join(path.read_bytes() for path in sorted(Path(os.__file__).parent.glob("*.py")))
    theirs = subprocess.run(["gzip", "-6"], input=data, capture_output=True, check=True).stdout
    assert len(compress(COMPRESSIONS[0], data)) <= 1.03 * len(theirs)


def test_the_number_of_processors_does_not_change_a_gzip_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = set()
    for processors in (1, 2, 5):
        monkeypatch.setattr(codecs, "count_cores", lambda n=processors: n)
        found.add(compress(COMPRESSIONS[0], DATA["text"] * 6 + DATA["noise"]))
    assert len(found) == 1


def test_gzip_has_one_member() -> None:
    one = zlib.decompressobj(31)
    assert one.decompress(compress(COMPRESSIONS[0], DATA["text"] * 6)) == DATA["text"] * 6
    assert one.eof
    assert one.unused_data == b""


@for_every_compression
def test_the_writer_leaves_the_file_open(compression: Compression) -> None:
    target = io.BytesIO(b"kept")
    target.seek(0, io.SEEK_END)
    with compression.writer(target) as stream:
        stream.write(b"data")
    assert target.getvalue().startswith(b"kept")


def test_an_uncompressed_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b"plain")
    assert detect_compression(path) is None
    with decompress_file(path) as file:
        assert Path(f"/proc/self/fd/{file.fileno()}").samefile(path)


@pytest.mark.parametrize(
    "start", [b"", b"B", b"BZh", b"BZhang/lib/libx.so\0", b"PK", b"\x1f", b"(\xb5/", b"Q*M\x19"]
)
def test_a_plain_file_that_starts_with_part_of_a_signature_is_not_compressed(
    tmp_path: Path, start: bytes
) -> None:
    (tmp_path / "plain").write_bytes(start)
    assert detect_compression(tmp_path / "plain") is None


def test_a_zstd_file_may_start_with_a_skippable_frame(tmp_path: Path) -> None:
    zstd = next(c for c in COMPRESSIONS if c.suffix == ".zst")
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    (tmp_path / "packed").write_bytes(skipped + compress(zstd, b"data"))
    assert detect_compression(tmp_path / "packed") is zstd
    with decompress_file(tmp_path / "packed") as file:
        assert file.read() == b"data"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_files_of_pythons_own_modules_are_detected(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    for number, data in enumerate(DATA.values()):
        (tmp_path / str(number)).write_bytes(pack(data[:1000]))
        found = detect_compression(tmp_path / str(number))
        assert found is not None
        assert found.suffix in str({gzip: ".gz", bz2: ".bz2", lzma: ".xz"})


def test_a_compression_is_found_by_the_suffix_of_its_files() -> None:
    assert [get_compression(c.suffix) for c in COMPRESSIONS] == list(COMPRESSIONS)
    assert get_compression("") is None
    assert get_compression(".zip") is None
