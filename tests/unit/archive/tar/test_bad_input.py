"""Damaged and malicious tarballs: an error of one line, and no temporary files are left."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from archive.views import list_names
from archive.writers import write_tree
from builders.tar import (
    DIR,
    END_SIZE,
    LNK,
    SYM,
    fix_checksum,
    make_archive,
    make_member,
    make_pax_header,
    set_size,
)
from bundle_fix.archive import limits as limits_module
from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Tree

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


def get_refusal(directory: Path, raw: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the message of the error; no files or threads may be left."""
    path = directory / "bad.tar"
    path.write_bytes(raw)
    threads = threading.active_count()
    with pytest.raises(BundleFixError) as error, read_tar(path, limits):
        pass
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert list_names(directory) == ["bad.tar"]
    assert threading.active_count() == threads
    return error.value.message


def read_tree(directory: Path, raw: bytes) -> Tree:
    (directory / "good.tar").write_bytes(raw)
    with read_tar(directory / "good.tar") as tree:
        return tree


@pytest.mark.parametrize("kind", [*COMPRESS, "zst"])
def test_an_archive_truncated_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    plain = make_archive(
        make_member("a/", DIR), make_member("a/b", content=os.urandom(3000)), make_member("a/c")
    )
    packed = (
        subprocess.run(["zstd"], input=plain, capture_output=True, check=True).stdout
        if kind == "zst"
        else COMPRESS[kind](plain)
    )
    end = len(plain) - END_SIZE + 1 if kind == "plain" else len(packed)
    start = 20 if kind != "plain" else 1
    # At the end of a member it is an archive without the blocks of zeros.
    complete = (512, 4096, end - 1) if kind == "plain" else ()
    for length in {*range(start, end, max(1, end // 60)), end - 1} - {*complete}:
        message = get_refusal(tmp_path, packed[:length])
        assert "truncated" in message or (kind == "plain" and length < 512)


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2"])
def test_a_flipped_bit_in_compressed_data_is_detected(tmp_path: Path, kind: str) -> None:
    packed = bytearray(COMPRESS[kind](make_archive(make_member("a", content=os.urandom(3000)))))
    packed[1500] ^= 0x10
    assert "damaged" in get_refusal(tmp_path, bytes(packed))


def test_a_damaged_header_is_not_mistaken_for_the_end(tmp_path: Path) -> None:
    raw = make_archive(
        make_member("a", content=b"a"), make_member("b", content=b"b"), make_member("c")
    )
    assert "damaged at byte 1024" in get_refusal(tmp_path, raw[:1124] + b"#" + raw[1125:])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"#!/bin/sh\necho a text file, quite a short one\n", id="text"),
        pytest.param(b"a long text file\n" * 1000, id="long text"),
        pytest.param(os.urandom(20000), id="random bytes"),
        pytest.param(gzip.compress(b""), id="empty gzip"),
        pytest.param(gzip.compress(b"a text file\n" * 1000), id="compressed text"),
        pytest.param(b"\x1f\x8b", id="two bytes of gzip"),
        pytest.param(b"\x1f\x8b" + bytes(1000), id="gzip magic number only"),
        pytest.param(b"\x28\xb5\x2f\xfd" + bytes(1000), id="zstd magic number only"),
        pytest.param(b"\xfd7zXZ\x00" + bytes(1000), id="xz magic number only"),
        pytest.param(b"BZh91AY&SY" + bytes(1000), id="bzip2 magic number only"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, raw: bytes) -> None:
    get_refusal(tmp_path, raw)


def test_an_archive_without_blocks_of_zeros_is_read_and_copied(tmp_path: Path) -> None:
    raw = make_member("a/", DIR) + make_member("a/b", content=b"b" * 700) + make_member("a/c")
    assert list(read_tree(tmp_path, raw).nodes) == ["", "b", "c"]
    (tmp_path / "x.tar").write_bytes(raw)
    with read_tar(tmp_path / "x.tar") as tree:
        write_tree(tree, "tar", tmp_path / "copy.tar")
    assert (tmp_path / "copy.tar").read_bytes() == raw


def test_an_empty_tarball_is_an_empty_tree(tmp_path: Path) -> None:
    tree = read_tree(tmp_path, make_archive())
    assert (tree.nodes, tree.top, tree.duplicates) == ({}, "", ())


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "//x", "./../x"])
def test_a_name_outside_the_target_directory_is_refused(tmp_path: Path, name: str) -> None:
    assert "outside" in get_refusal(
        tmp_path, make_archive(make_member("a/", DIR), make_member(name))
    )


def make_archive_with_hardlink(target: str) -> bytes:
    before = [make_member("x/", DIR), make_member("x/b"), make_member("x/link", SYM, target="b")]
    return make_archive(*before, make_member("x/c", LNK, target=target), make_member("x/later"))


@pytest.mark.parametrize(
    "target",
    [
        "x/nothing",
        "/x/b",
        "../x/b",
        "evil/b",
        "y/b",
        "xx/b",
        "x",
        "b",
        "",
        "x/c",
        "x/later",
    ],
)
def test_a_hard_link_to_anything_but_an_earlier_file_is_refused(
    tmp_path: Path, target: str
) -> None:
    assert "c" in read_tree(tmp_path.parent, make_archive_with_hardlink("x/b")).nodes
    get_refusal(tmp_path, make_archive_with_hardlink(target))


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([make_member("a"), make_member("a", LNK, target="a")], id="a link to itself"),
        pytest.param(
            [make_member("a"), make_member("c", LNK, target="a"), make_member("a")],
            id="a hard link's target",
        ),
        pytest.param(
            [make_member("a", SYM, target="b"), make_member("./a", SYM, target="c")], id="two links"
        ),
        pytest.param([make_member("a", DIR), make_member("a")], id="a directory, then a file"),
        pytest.param([make_member("a"), make_member("a", DIR)], id="a file, then a directory"),
        pytest.param(
            [make_member("a", DIR), make_member("a"), make_member("a", DIR)], id="in between"
        ),
        pytest.param(
            [make_member("a", SYM, target="/etc"), make_member("a")], id="a link, then a file"
        ),
    ],
)
def test_a_name_of_two_different_members_is_refused(
    tmp_path: Path, members: Sequence[bytes]
) -> None:
    assert "two members have the name 'a'" in get_refusal(
        tmp_path, make_archive(*members, make_member("b"))
    )


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([make_member("lib"), make_member("lib/x")], id="in a file"),
        pytest.param([make_member("lib/x"), make_member("lib")], id="in a file that comes later"),
        pytest.param(
            [make_member("lib", SYM, target="/etc"), make_member("lib/x")], id="through a link"
        ),
        pytest.param(
            [make_member("lib/a/b/x"), make_member("lib/a", SYM, target=".")], id="further up"
        ),
        pytest.param([make_member("lib", tarfile.FIFOTYPE), make_member("lib/x")], id="in a fifo"),
    ],
)
def test_a_member_below_anything_but_a_directory_is_refused(
    tmp_path: Path, members: Sequence[bytes]
) -> None:
    assert "is not a directory" in get_refusal(
        tmp_path, make_archive(*members, make_member("bin/y"))
    )


@pytest.mark.parametrize("name", ["", "."])
def test_a_file_without_a_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "has no name" in get_refusal(tmp_path, make_archive(make_member(name), make_member("x")))


def test_a_name_longer_than_any_path_is_refused_at_once(tmp_path: Path) -> None:
    deep = make_pax_header({"path": "a/" * 50_000 + "x"}) + make_member("x")
    assert "longer than 4096 characters" in get_refusal(tmp_path, make_archive(deep))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(set_size(make_member("a"), struct.pack(">iq", -1, -1024)), id="negative"),
        pytest.param(set_size(make_member("a"), struct.pack(">iq", -1, -512)), id="one block back"),
        pytest.param(
            set_size(make_member("a"), struct.pack(">Iq", 1 << 31, 1 << 62)), id="exabytes"
        ),
        pytest.param(set_size(make_member("a"), b"\x80" + b"\xff" * 11), id="beyond 64 bits"),
        pytest.param(set_size(make_member("a"), b"77777777777\0"), id="8 GiB"),
        pytest.param(make_pax_header({"size": "-1536"}) + make_member("a"), id="pax, negative"),
        pytest.param(
            make_pax_header({"size": "1" * 30}) + make_member("a"), id="pax, beyond 64 bits"
        ),
        pytest.param(
            make_pax_header({"size": "99999"}) + make_member("a", content=b"a"), id="pax, too much"
        ),
        pytest.param(set_size(make_member("a", b"x"), struct.pack(">iq", -1, -512)), id="no pax"),
        pytest.param(
            set_size(make_member("a", b"L"), struct.pack(">iq", -1, -512)), id="no long name"
        ),
        pytest.param(
            make_member("x", b"x", b"1 a=b\n") * 1000 + make_member("a"), id="lying pax records"
        ),
        pytest.param(
            make_pax_header({"comment": "again"}) * 3000 + make_member("a"),
            id="endless pax headers",
        ),
        pytest.param(
            make_member("x", b"L", b"name\0") * 3000 + make_member("a"), id="endless long names"
        ),
    ],
)
def test_invalid_sizes_and_endless_headers_are_refused(tmp_path: Path, raw: bytes) -> None:
    get_refusal(tmp_path, make_archive(make_member("pack/", DIR), raw, make_member("pack/last")))


@pytest.mark.parametrize("mtime", ["inf", "-inf", "nan", "1e300", "-1e300", "9" * 400])
def test_an_invalid_time_is_read_as_0(tmp_path: Path, mtime: str) -> None:
    tree = read_tree(
        tmp_path, make_archive(make_pax_header({"mtime": mtime}) + make_member("a", content=b"a"))
    )
    assert tree.nodes["a"].metadata.mtime == 0


@pytest.mark.parametrize("kind", list(COMPRESS))
def test_more_members_than_the_limit_are_refused(tmp_path: Path, kind: str) -> None:
    raw = make_archive(*(make_member(f"a{number}") for number in range(21)))
    message = get_refusal(tmp_path, COMPRESS[kind](raw), replace(DEFAULT_LIMITS, max_members=20))
    assert message == "it has more than 20 members"


def test_more_bytes_than_the_limit_are_refused(tmp_path: Path) -> None:
    limits = Limits(max_size=5 << 20)
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        assert get_refusal(tmp_path, pack(bytes(8 << 20)), limits) == "it unpacks to more than 5M"


def test_an_archive_exactly_at_the_limits_is_read(tmp_path: Path) -> None:
    raw = make_archive(make_member("a", content=bytes(5000)), make_member("b"))
    path = tmp_path / "good.tar"
    path.write_bytes(gzip.compress(raw))
    with read_tar(path, Limits(max_size=len(raw), max_members=2)) as tree:
        assert list(tree.nodes) == ["a", "b"]


def test_an_archive_that_unpacks_to_200_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "RATIO_FROM", 1 << 20)
    raw = make_archive(make_member("a", content=bytes(2 << 20)))
    message = get_refusal(tmp_path, gzip.compress(raw))
    assert message.startswith("it unpacks to more than 200 times its size (")
    (tmp_path / "bad.tar").write_bytes(gzip.compress(raw))
    with read_tar(tmp_path / "bad.tar", Limits(max_ratio=None)) as tree:
        assert "a" in tree.nodes


def test_a_bomb_of_nonzero_bytes_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "NONZERO_FROM", 8 << 20)
    raw = make_archive(make_member("a", content=b"a" * (12 << 20)))
    assert get_refusal(tmp_path, gzip.compress(raw)).startswith("it unpacks to more than 50 times")
    zeros = make_archive(make_member("a", content=bytes(12 << 20)))
    (tmp_path / "good.tar").write_bytes(gzip.compress(zeros))
    with read_tar(tmp_path / "good.tar") as tree:
        assert "a" in tree.nodes


def test_an_error_names_the_temporary_directory_that_is_full(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = gzip.compress(make_archive(make_member("a", content=os.urandom(3 << 20))), 1)
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    (tmp_path / "only").mkdir()
    assert f"into {small_disk}: No space left" in get_refusal(tmp_path / "only", raw)
    assert list(small_disk.iterdir()) == []


FUZZED = make_archive(
    make_member("pack/", DIR),
    make_pax_header({"path": "pack/" + "n" * 120, "mtime": "1.5", "comment": "c"})
    + make_member("n"),
    make_member("././@LongLink", b"L", b"pack/" + b"m" * 150 + b"\0")
    + make_member("m", content=b"m"),
    make_member("pack/a", content=b"a" * 700),
    make_member("pack/b", LNK, target="pack/a"),
    make_member("pack/c", SYM, target="a"),
)
BLOCKS = len(FUZZED[:-END_SIZE]) // 512
changes = st.tuples(st.integers(0, BLOCKS - 1), st.integers(0, 511), st.binary(max_size=14))


@settings(max_examples=500, deadline=None)
@given(changed=st.lists(changes, min_size=1, max_size=4))
def test_a_tarball_with_any_bytes_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changed: list[tuple[int, int, bytes]]
) -> None:
    bad = FUZZED
    for number, offset, new in changed:
        start = number * 512
        block = bad[start : start + 512]
        block = (block[:offset] + new + block[offset + len(new) :])[:512]
        if block[257:262] == b"ustar":
            block = fix_checksum(block)
        bad = bad[:start] + block + bad[start + 512 :]
    assert_read_or_refused(tmp_path_factory.getbasetemp() / "bad.tar", bad)


def assert_read_or_refused(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    said = f"{path}: "
    try:
        with read_tar(path) as tree:
            assert not any(name.startswith("/") or ".." in name.split("/") for name in tree.nodes)
    except BundleFixError as error:
        said = str(error)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


def test_a_tarball_with_strange_bytes_at_every_kilobyte_is_read_or_refused(tmp_path: Path) -> None:
    raw = make_archive(
        *(make_member(f"pack/{number}", content=bytes(1000)) for number in range(20))
    )
    for length in range(0, len(raw), 1024):
        assert_read_or_refused(
            tmp_path / "bad.tar", raw[:length] + b"\xff" * 64 + raw[length + 64 :]
        )
