"""Tarballs that tools read differently are refused; near misses are read."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path

import pytest

from builders.tar import (
    DIR,
    LNK,
    SYM,
    fix_checksum,
    make_archive,
    make_member,
    make_pax_header,
    set_size,
)
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.model.errors import BundleFixError

GOOD = make_member("p/a", content=b"good")
HIDDEN = make_member("p/hidden", content=b"hidden")
LONG = make_member("././@LongLink", b"L", b"p/long\0")


def replace_bytes(raw: bytes, offset: int, new: bytes) -> bytes:
    """Return the header with other bytes and the right checksum."""
    return fix_checksum(raw[:offset] + new + raw[offset + len(new) :])


def make_global_header(records: dict[str, str]) -> bytes:
    """Return a global pax header."""
    return replace_bytes(make_pax_header(records), 156, b"g")


AMBIGUOUS = {
    "a pax size of a hard link": (
        make_pax_header({"size": "512"}) + make_member("p/l", LNK, target="p/a") + HIDDEN,
        "'p/l' has a size although its type has no data: bsdtar or 7z skips as many bytes, GNU tar",
    ),
    "a pax size of a directory": (
        make_pax_header({"size": "512"}) + make_member("p/d/", DIR) + HIDDEN,
        "'p/d/' has a size although",
    ),
    "a size of a symlink": (
        set_size(make_member("p/l", SYM, target="a"), b"%011o\0" % 512) + HIDDEN,
        "'p/l' has a size although",
    ),
    "two different sizes": (
        make_pax_header({"size": "0"}) + set_size(make_member("p/n"), b"%011o\0" % 512) + HIDDEN,
        "'p/n' has one size in its header and another one in its pax header",
    ),
    "two pax headers": (
        make_pax_header({"path": "p/one"}) + make_pax_header({"mtime": "1.5"}) + make_member("n"),
        "has two extension headers of the same type",
    ),
    "two long names": (LONG + LONG + make_member("n"), "two extension headers of the same type"),
    "a long name and a pax name": (
        LONG + make_pax_header({"path": "p/pax"}) + make_member("n"),
        "has one name in a GNU header and another one in a pax header",
    ),
    "a global header between headers": (
        make_pax_header({"path": "p/x"}) + make_global_header({"comment": "c"}) + make_member("n"),
        "has a global pax header between its own headers",
    ),
    "sparse records for all members": (
        make_global_header({"GNU.sparse.realsize": "1"}) + make_member("n", content=b"xyz"),
        "a global pax header sets GNU.sparse.realsize for all members",
    ),
    "an empty name": (make_pax_header({"path": ""}) + make_member("n"), "record without a value"),
    "a symlink without a target": (make_member("p/l", SYM), "'p/l' is a symlink without a target"),
    "a NUL in a target": (
        make_pax_header({"linkpath": "a\0b"}) + make_member("p/l", SYM, target="c"),
        "'p/l' has a NUL character in its pax header",
    ),
    "a sparse size without a map": (
        make_pax_header({"GNU.sparse.realsize": "1"}) + make_member("n", content=b"xyz"),
        "has sparse records without a map",
    ),
    "a sparse header without a map": (
        make_member("p/n", b"S", b"data"),
        "'p/n' has sparse records without a map",
    ),
    "a file with a slash": (
        replace_bytes(make_member("p/n"), 0, b"p/n/"),
        "'p/n/' is a regular file whose name ends with a slash",
    ),
    "a prefix without POSIX magic": (
        replace_bytes(replace_bytes(make_member("n"), 257, bytes(8)), 345, b"p"),
        "'n' has a name prefix in a header without the format for it",
    ),
    "no type": (make_member("n", b"\xff"), "'n' has an unknown type: npm unpacks nothing"),
    "an unknown type": (make_member("n", b"Z"), "'n' has an unknown type"),
    "a target of a file": (
        make_member("p/n", content=HIDDEN, target="a"),
        "'p/n' has the target of a link although it is not a link: npm skips its header and reads",
    ),
    "a target of a long name": (
        make_member("././@LongLink", b"L", b"p/long\0", target="a") + make_member("n"),
        "'././@LongLink' has the target of a link",
    ),
    "a target in a pax header only": (
        make_pax_header({"linkpath": "a"}) + make_member("p/l", SYM),
        "'p/l' has its target only in an extension header: npm skips the link",
    ),
    "a pax name of two lines": (
        make_pax_header({"path": "p/x\ny"}) + make_member("p/n"),
        "has a pax name or target with a line break or without UTF-8",
    ),
    "a pax name without UTF-8": (
        make_pax_header({"path": "p/\udcff"}) + make_member("p/n"),
        "has a pax name or target with a line break or without UTF-8",
    ),
    "a record inside another one": (
        make_pax_header({"comment": "c\n13 path=p/yy"}) + make_member("p/n"),
        "has a record inside the value of 'comment': npm follows it, GNU tar does not",
    ),
    "a list of permissions": (make_member("n", b"A"), "has the type 'A'"),
    "a pax header of Solaris": (
        replace_bytes(make_pax_header({"path": "p/x"}), 156, b"X") + make_member("n"),
        "has a pax header of Solaris",
    ),
    "a member after the end": (bytes(1024) + HIDDEN, "'p/hidden' follows the end of the archive"),
    "a member after one block of zeros": (bytes(512) + HIDDEN, "'p/hidden' follows the end"),
}


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_an_ambiguous_tarball_is_refused_with_both_readings(tmp_path: Path, kind: str) -> None:
    raw, problem = AMBIGUOUS[kind]
    assert problem in read_refused(tmp_path / "a.tar", make_archive(GOOD + raw))


def read_refused(path: Path, raw: bytes) -> str:
    """Return the message of the error that reading a tarball raises."""
    path.write_bytes(raw)
    with pytest.raises(BundleFixError) as error, read_tar(path):
        pass
    return error.value.message


@pytest.mark.parametrize(
    "number",
    [
        b"000000_0004\0", b"0o000000004\0", b"+0000000004\0", b"-0000000004\0", b"4 4        \0",
        b"\t0000000004\0", b"00000000009\0", b"00000000004x",
        b"4\0junk".ljust(12), b"\x81" + bytes(10) + b"\4",
        b"\x80" + bytes(10) + b"\4",
    ],
)  # fmt: skip
def test_a_size_in_an_unusual_notation_is_refused(tmp_path: Path, number: bytes) -> None:
    raw = set_size(make_member("p/n", content=b"data"), number)
    assert "has a number in an unusual notation" in read_refused(
        tmp_path / "a.tar", make_archive(GOOD + raw)
    )


@pytest.mark.parametrize(("offset", "number"), [(100, b"0009755\0"), (108, b"invalid\0")])
def test_other_numbers_in_an_unusual_notation_are_refused(
    tmp_path: Path, offset: int, number: bytes
) -> None:
    """Python's tarfile takes such a header for the end of the archive."""
    raw = replace_bytes(make_member("p/n"), offset, number)
    assert "unusual notation" in read_refused(tmp_path / "a.tar", make_archive(GOOD + raw))


def test_a_device_number_in_an_unusual_notation_is_refused_without_a_magic(tmp_path: Path) -> None:
    """Bsdtar takes such a header at the beginning for another format."""
    raw = replace_bytes(replace_bytes(make_member("p/n"), 257, bytes(8)), 329, b"-000000\0")
    assert "unusual notation" in read_refused(tmp_path / "a.tar", make_archive(raw))


@pytest.mark.parametrize(
    "number",
    [
        b"00000000004 ",
        b"          4\0",
        b" 4         \0",
        b"           4",
        b"4 \0".ljust(12, b"\0"),
    ],
)
def test_a_size_padded_with_blanks_is_read(tmp_path: Path, number: bytes) -> None:
    raw = set_size(make_member("p/n", content=b"data"), number)
    (tmp_path / "a.tar").write_bytes(make_archive(GOOD + raw))
    with read_tar(tmp_path / "a.tar") as tree:
        assert list(tree.nodes) == ["a", "n"]


def test_other_bytes_after_the_end_are_read_over(tmp_path: Path) -> None:
    raw = make_archive(GOOD) + b"signature" * 999
    (tmp_path / "a.tar").write_bytes(raw)
    with read_tar(tmp_path / "a.tar") as tree:
        assert tree.trailer is not None
        assert tree.trailer.size == len(raw) - len(GOOD)


def test_a_long_name_may_be_cut_after_a_slash(tmp_path: Path) -> None:
    name = "d" * 99 + "/file"
    info = tarfile.TarInfo(name)
    raw = make_archive(info.tobuf(tarfile.GNU_FORMAT), info.tobuf(tarfile.PAX_FORMAT))
    (tmp_path / "a.tar").write_bytes(raw)
    with read_tar(tmp_path / "a.tar") as tree:
        assert list(tree.nodes) == ["file"]


def test_ordinary_extensions_are_read(tmp_path: Path) -> None:
    big = struct.pack(">Iq", 1 << 31, 1 << 33)
    (tmp_path / "a.tar").write_bytes(
        make_archive(
            make_global_header({"comment": "commit"}),
            make_pax_header({"comment": "a\n9 b=c"}) + make_member("p/a"),
            make_pax_header({"size": "0", "path": "p/d/"}) + make_member("p/d/", DIR),
            make_pax_header({"size": "4", "mtime": "1.5"}) + make_member("p/n", content=b"data"),
            LONG + make_member("././@LongLink", b"K", b"a\0") + make_member("n", SYM, target="b"),
        )
    )
    with read_tar(tmp_path / "a.tar") as tree:
        assert list(tree.nodes) == ["a", "d", "n", "long"]
    assert "truncated" in read_refused(
        tmp_path / "b.tar", make_archive(GOOD, set_size(make_member("p/n"), big))
    )
