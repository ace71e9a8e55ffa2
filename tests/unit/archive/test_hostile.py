"""Malicious and suspicious tarballs on the command line, and truncated archives."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archive.limited import assert_every_command_refuses, write_file
from builders.tar import (
    CHR,
    DIR,
    FIFO,
    LNK,
    SYM,
    fix_checksum,
    make_archive,
    make_member,
    make_pax_header,
)
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError
from fuzz.commands import run_command

MALICIOUS = {
    "absolute name": [make_member("/bundle-fix-was-here", content=b"x")],
    "up and out": [
        make_member("a/", DIR),
        make_member("a/../../bundle-fix-was-here", content=b"x"),
    ],
    "through a link": [make_member("l", SYM, target="/srv"), make_member("l/bundle-fix-was-here")],
    "through a link to a link": [
        make_member("a", SYM, target="/"),
        make_member("b", SYM, target="a/srv"),
        make_member("b/x"),
    ],
    "a hard link to outside": [make_member("h", LNK, target="/etc/passwd")],
    "a hard link up": [make_member("d/h", LNK, target="../../etc/passwd")],
    "a hard link through a link": [
        make_member("l", SYM, target="/etc"),
        make_member("h", LNK, target="l/passwd"),
    ],
    "a file, then a link": [
        make_member("a", content=b"x"),
        make_member("a", SYM, target="/etc/passwd"),
    ],
    "a link, then a file": [
        make_member("a", SYM, target="/etc/passwd"),
        make_member("a", content=b"x"),
    ],
    "a file in place of a directory": [make_member("a/b"), make_member("a", content=b"x")],
    "a device in place of a directory": [make_member("a/b"), make_member("a", CHR)],
    "a name of a megabyte": [make_pax_header({"path": "x" * (1 << 20)}) + make_member("x")],
    "ten thousand directories deep": [
        make_pax_header({"path": "a/" * 10_000 + "x"}) + make_member("x")
    ],
    "a name with a NUL": [make_pax_header({"path": "a\0b"}) + make_member("x")],
    "a wrong size": [make_pax_header({"size": "999999999999"}) + make_member("x", content=b"x")],
    "a hard link to itself": [make_member("a", LNK, target="a")],
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_a_malicious_tarball_is_refused_by_every_command(tmp_path: Path, kind: str) -> None:
    assert_every_command_refuses(
        write_file(tmp_path / "bad.tar", make_archive(*MALICIOUS[kind], make_member("z")))
    )
    assert not Path("/bundle-fix-was-here").exists()
    assert not (tmp_path.parent / "bundle-fix-was-here").exists()


SUSPICIOUS = {
    "a device": ([make_member("d/null", CHR), make_member("x")], "BF603"),
    "a fifo": ([make_member("d/pipe", FIFO), make_member("x")], "BF603"),
    "a name twice": (
        [make_member("x", content=b"1"), make_member("x", content=b"2"), make_member("y")],
        "BF601",
    ),
    "case": ([make_member("a/X"), make_member("a/x")], "BF602"),
    "a link out": ([make_member("l", SYM, target="/etc/passwd"), make_member("x")], "BF105"),
    "a link up and out": ([make_member("d/l", SYM, target="../../etc"), make_member("x")], "BF105"),
    "a loop of links": (
        [make_member("a", SYM, target="b"), make_member("b", SYM, target="a")],
        "BF104",
    ),
    "a link to itself": ([make_member("a", SYM, target="a"), make_member("x")], "BF104"),
    "an escape code": ([make_member("bin/\x1b]0;owned\x07\x1b[2J\r\n"), make_member("x")], "BF604"),
    "no UTF-8": ([make_member("bin/x").replace(b"bin/x", b"bin/\xff")], "BF604"),
}


@pytest.mark.parametrize("kind", SUSPICIOUS)
def test_a_suspicious_tarball_is_read_and_reported(tmp_path: Path, kind: str) -> None:
    members, rule = SUSPICIOUS[kind]
    path = write_file(tmp_path / "bad.tar", make_archive(*map(fix_checksum, members)))
    for form in ("text", "json", "github", "junit", "sarif", "gitlab"):
        ran = run_command(("check", "-v", "--format", form, "{}"), path, tmp_path)
        assert ran.status in (0, 1)
        assert rule in ran.out
    assert run_command(("tree", "{}"), path, tmp_path).status == 0
    assert run_command(("fix", "-v", "{}", "-o", "{out}"), path, tmp_path).status in (0, 1)


@pytest.mark.parametrize(
    "compress", [gzip.compress, lzma.compress, bz2.compress], ids=["gz", "xz", "bz2"]
)
def test_an_archive_truncated_at_every_kilobyte_is_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """The archives are only opened: the commands do nothing else with them."""
    whole = compress(make_archive(make_member("x", content=os.urandom(40 << 10))))
    for length in range(1024, len(whole), 1024):
        path = write_file(tmp_path / "cut.tar", whole[:length])
        with pytest.raises(BundleFixError, match=r"truncated|damaged"), open_artifact(path):
            pass
