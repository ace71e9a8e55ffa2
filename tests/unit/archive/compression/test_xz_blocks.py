"""The writer of xz files: one stream of blocks, which every reader accepts."""

from __future__ import annotations

import io
import lzma
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from bundle_fix.archive.compression import xz_blocks
from bundle_fix.archive.compression.xz_blocks import XzWriter

TEXT = b"".join(b"%d: the same again and again\n" % n for n in range(300_000))
DATA = {
    "nothing": b"",
    "a byte": b"a",
    "a block": TEXT[: 1 << 20],
    "a block and a byte": TEXT[: (1 << 20) + 1],
    "zeros": bytes(5 << 20),
    "noise between texts": TEXT[:1_500_000] + os.urandom(1_000_000) + TEXT[:900_000],
}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xz_blocks, "BLOCK_SIZE", 1 << 20)


def compress(data: bytes, step: int = 1 << 20) -> bytes:
    target = io.BytesIO()
    with XzWriter(target) as stream:
        for start in range(0, len(data), step):
            stream.write(data[start : start + step])
    return target.getvalue()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", DATA)
def test_a_file_has_one_stream_that_python_and_xz_read(kind: str) -> None:
    packed = compress(DATA[kind])
    one = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    assert one.decompress(packed) == DATA[kind]
    assert one.eof
    assert one.unused_data == b""
    done = subprocess.run(["xz", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == DATA[kind]


def test_the_index_lists_the_blocks(tmp_path: Path) -> None:
    (tmp_path / "packed.xz").write_bytes(compress(bytes(40 << 20)))
    listed = subprocess.run(
        ["xz", "--robot", "--list", "-vv", tmp_path / "packed.xz"], capture_output=True, check=True
    )
    blocks = [line.split(b"\t") for line in listed.stdout.splitlines() if line[:5] == b"block"]
    assert [int(block[7]) for block in blocks] == [16 << 20, 16 << 20, 8 << 20]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("mode", ["r:*", "r|*"])
def test_tarfile_reads_the_xz_file_from_a_file_and_from_a_pipe(mode: str) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for number in range(4):
            info = tarfile.TarInfo(f"f{number}")
            info.size = len(TEXT[:1_500_000])
            archive.addfile(info, io.BytesIO(TEXT[:1_500_000]))
    with tarfile.open(fileobj=io.BytesIO(compress(raw.getvalue())), mode=mode) as archive:  # type: ignore[call-overload]
        assert [member.name for member in archive] == [f"f{n}" for n in range(4)]


@pytest.mark.usefixtures("small_blocks")
def test_the_bytes_depend_neither_on_the_processors_nor_on_the_size_of_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = set()
    for processors, step in ((1, 1 << 20), (2, 777_777), (5, 1 << 25)):
        monkeypatch.setattr(xz_blocks, "count_cores", lambda n=processors: n)
        found.add(compress(DATA["noise between texts"] + DATA["zeros"], step))
    assert len(found) == 1


def test_an_error_in_a_thread_is_raised_by_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(xz_blocks, "compress_block", fail)
    with pytest.raises(MemoryError), XzWriter(io.BytesIO()) as stream:
        stream.write(TEXT)
