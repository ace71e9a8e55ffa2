from __future__ import annotations

import gzip
import io
import lzma
import random
import subprocess
import sys
import sysconfig
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bundle_fix.archive.compression import deflate_blocks as deflating
from bundle_fix.archive.compression import parallel as pieces
from bundle_fix.archive.compression.deflate_blocks import deflated
from bundle_fix.archive.compression.framing import GZIP, XZ
from bundle_fix.archive.compression.parallel import Framing, PieceStream
from bundle_fix.model.errors import BundleFixError

TEXT = b"".join(b"%d: the same again and again\n" % n for n in range(300_000))
NOISE = random.Random(7).randbytes(3 << 20)  # noqa: S311 (it is only to be dense)


def library() -> bytes:
    """Real machine code and its symbols: this Python's own."""
    shared = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDLIBRARY"))
    path = shared if shared.is_file() else Path(sys.executable).resolve()
    return path.read_bytes()[: 6 << 20]


DATA = {
    "nothing": b"",
    "a byte": b"a",
    "a piece": TEXT[: 2 << 20],
    "a piece and a byte": TEXT[: (2 << 20) + 1],
    "text": TEXT,
    "zeros": bytes(20 << 20),
    "noise": NOISE,
    "noise between texts": TEXT[:1_500_000] + NOISE[:1_000_000] + TEXT[:900_000],
    "a library": library(),
}
SMALL_XZ = replace(XZ, size=1 << 20)
both = pytest.mark.parametrize("framing", [GZIP, SMALL_XZ], ids=["gzip", "xz"])


def framed(framing: Framing, data: bytes, step: int = 1 << 20) -> bytes:
    target = io.BytesIO()
    with PieceStream(target, framing) as stream:
        for start in range(0, len(data), step):
            stream.write(data[start : start + step])
    return target.getvalue()


@pytest.mark.parametrize("kind", DATA)
def test_gzip_has_one_member_that_everybody_reads(kind: str) -> None:
    data = DATA[kind]
    packed = framed(GZIP, data)
    one = zlib.decompressobj(31)
    assert one.decompress(packed) == data
    assert one.eof
    assert one.unused_data == b""
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == data


@pytest.mark.parametrize("kind", ["nothing", "a byte", "zeros", "noise between texts"])
def test_xz_has_one_stream_that_everybody_reads(kind: str) -> None:
    data = DATA[kind]
    packed = framed(SMALL_XZ, data)
    one = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    assert one.decompress(packed) == data
    assert one.eof
    assert one.unused_data == b""
    done = subprocess.run(["xz", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == data


def test_xz_names_its_blocks_in_its_index(tmp_path: Path) -> None:
    (tmp_path / "packed.xz").write_bytes(framed(XZ, bytes(40 << 20)))
    listed = subprocess.run(
        ["xz", "--robot", "--list", "-vv", tmp_path / "packed.xz"], capture_output=True, check=True
    )
    blocks = [line.split(b"\t") for line in listed.stdout.splitlines() if line[:5] == b"block"]
    assert [int(block[7]) for block in blocks] == [16 << 20, 16 << 20, 8 << 20]


@pytest.mark.parametrize("mode", ["r:*", "r|*"])
@both
def test_tarfile_reads_it_from_a_file_and_from_a_pipe(framing: Framing, mode: str) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for number in range(4):
            info = tarfile.TarInfo(f"f{number}")
            info.size = len(TEXT[:1_500_000])
            archive.addfile(info, io.BytesIO(TEXT[:1_500_000]))
    packed = io.BytesIO(framed(framing, raw.getvalue()))
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        assert [member.name for member in archive] == [f"f{n}" for n in range(4)]


@both
def test_neither_processors_nor_the_size_of_writes_show_in_the_bytes(
    framing: Framing, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for processors, step in ((1, 1 << 20), (2, 777_777), (5, 1 << 25)):
        monkeypatch.setattr(pieces, "count_cores", lambda n=processors: n)
        found.add(
            framed(framing, DATA["a library"][: 1 << 20] + TEXT[: 1 << 20] + DATA["zeros"], step)
        )
    assert len(found) == 1


def test_gzip_is_as_small_as_gzip_makes_it() -> None:
    data = DATA["a library"] + TEXT[: 1 << 20]
    theirs = subprocess.run(["gzip", "-6c"], input=data, capture_output=True, check=True)
    assert len(framed(GZIP, data)) <= 1.02 * len(theirs.stdout)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=400),
            st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 30_000)).map(
                lambda pair: pair[0] * pair[1]
            ),
            st.tuples(st.integers(0, 3 << 19), st.integers(0, 1 << 19)).map(
                lambda at: DATA["a library"][at[0] : at[0] + at[1]]
            ),
            st.integers(0, 300_000).map(lambda size: NOISE[:size]),
        ),
        max_size=6,
    )
)
def test_pieces_in_a_row_are_one_stream(parts: list[bytes]) -> None:
    stream = b"".join(deflated(part, False) for part in parts) + deflated(b"end", True)
    one = zlib.decompressobj(-15)
    assert one.decompress(stream) == b"".join(parts) + b"end"
    assert one.eof
    assert one.unused_data == b""


def test_a_stream_of_libdeflate_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near to all of the pieces of real files: the other compressor is the exception."""
    others = []
    real = deflating._flushed

    def counting(compressor: object, data: memoryview) -> bytes:
        if not isinstance(compressor, type(deflating.isal_zlib.compressobj())):
            others.append(len(data))
        return real(compressor, data)

    monkeypatch.setattr(deflating, "_flushed", counting)
    framed(GZIP, DATA["a library"])
    assert sum(others) < 1 << 20


def test_where_the_last_block_is_not_found_another_compressor_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deflating, "_continued", lambda stream, data: None)
    packed = framed(GZIP, TEXT)
    assert gzip.decompress(packed) == TEXT


def test_what_does_not_give_the_same_bytes_again_is_not_handed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A compressor with a fault, or a machine with one."""
    real = deflating.deflate.deflate_compress
    monkeypatch.setattr(
        deflating.deflate, "deflate_compress", lambda data, level: real(bytes(data)[::-1], level)
    )
    assert gzip.decompress(framed(GZIP, TEXT)) == TEXT

    class Faulty:
        def compress(self, data: memoryview) -> bytes:
            packer = zlib.compressobj(wbits=-15)
            return packer.compress(bytes(data)[::-1]) + packer.flush()

        def flush(self, _mode: int) -> bytes:
            return b""

    monkeypatch.setattr(deflating.zlib_ng, "compressobj", lambda *_: Faulty())
    with pytest.raises(BundleFixError, match="does not give the same bytes again"):
        framed(GZIP, TEXT)


def test_an_error_of_a_thread_is_that_of_the_writer() -> None:
    def failing(data: bytes, last: bool) -> pieces.Encoded:
        raise MemoryError

    broken = Framing(1 << 10, b"", failing, lambda crc, found: b"")
    with pytest.raises(MemoryError), PieceStream(io.BytesIO(), broken) as stream:
        stream.write(TEXT)
