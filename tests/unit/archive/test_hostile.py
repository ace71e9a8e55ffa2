"""Archives made to do harm, given to the command line in little memory and little time."""

from __future__ import annotations

import gzip
import io
import os
import resource
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive.views import describe_directory
from builders.elf import build_elf
from builders.packages import build_deb, make_layer, write_docker_archive
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
    set_size,
)
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError
from fuzz.commands import CONTROL_CHARACTERS, run_command

ADDRESS_SPACE = 2 << 30
MEMORY = 400 << 20
"""Bytes that a command may have resident, whatever it is given."""
SECONDS = 60


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str
    memory: int
    seconds: float


def bounded(*arguments: str | Path) -> Ran:
    """Run ``bundle-fix`` with little address space; no byte of what it prints is one to obey."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

    command = [sys.executable, "-m", "fuzz.measured", *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=3 * SECONDS, env=environ,
        stdin=subprocess.DEVNULL, preexec_fn=limit,
    )  # fmt: skip
    out, _, memory = done.stdout.decode().rpartition("\n\0")
    for text in (out, done.stderr.decode()):
        assert CONTROL_CHARACTERS.search(text) is None
    seconds = time.monotonic() - start
    return Ran(done.returncode, out, done.stderr.decode(), int(memory) << 10, seconds)


COMMANDS = (
    ("check", "{}"), ("tree", "{}"), ("why", "{}", "libx.so"), ("fix", "{}"),
    ("fix", "--in-place", "{}"), ("fix", "{}", "-o", "{out}"), ("fix", "--dry-run", "{}"),
)  # fmt: skip


def refused(path: Path, *options: str) -> str:
    """The one line that every command has for an artifact; nothing is left beside it."""
    was = describe_directory(path.parent)
    ran = bounded("check", *options, path)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert ran.err.startswith("bundle-fix: error: ")
    assert (ran.memory < MEMORY, ran.seconds < SECONDS) == (True, True), ran
    for command in COMMANDS:
        outcome = run_command([command[0], *options, *command[1:]], path, path.parent)
        assert outcome == (2, "", ran.err), command
    assert describe_directory(path.parent) == was
    return ran.err


def put(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


HOSTILE = {
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
    "a file where a folder is": [make_member("a/b"), make_member("a", content=b"x")],
    "a device where a folder is": [make_member("a/b"), make_member("a", CHR)],
    "a name of a megabyte": [make_pax_header({"path": "x" * (1 << 20)}) + make_member("x")],
    "ten thousand folders deep": [
        make_pax_header({"path": "a/" * 10_000 + "x"}) + make_member("x")
    ],
    "a name with a NUL": [make_pax_header({"path": "a\0b"}) + make_member("x")],
    "a size that lies": [
        make_pax_header({"size": "999999999999"}) + make_member("x", content=b"x")
    ],
    "a link to nothing but itself": [make_member("a", LNK, target="a")],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_honest_tarball_has_is_refused_by_every_command(tmp_path: Path, what: str) -> None:
    refused(put(tmp_path / "bad.tar", make_archive(*HOSTILE[what], make_member("z"))))
    assert not Path("/bundle-fix-was-here").exists()
    assert not (tmp_path.parent / "bundle-fix-was-here").exists()


BAD = {
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


@pytest.mark.parametrize("what", BAD)
def test_what_is_merely_bad_is_a_finding(tmp_path: Path, what: str) -> None:
    members, rule = BAD[what]
    path = put(tmp_path / "bad.tar", make_archive(*map(fix_checksum, members)))
    for form in ("text", "json", "github", "junit", "sarif", "gitlab"):
        ran = run_command(("check", "-v", "--format", form, "{}"), path, tmp_path)
        assert ran.status in (0, 1)
        assert rule in ran.out
    assert run_command(("tree", "{}"), path, tmp_path).status == 0
    assert run_command(("fix", "-v", "{}", "-o", "{out}"), path, tmp_path).status in (0, 1)


def bomb(path: Path, unpacked: int) -> Path:
    """A gzip file of a tarball with one file of zeros: a thousand times smaller than that."""
    step = 64 << 20
    head = make_member("zeros")
    size = unpacked.to_bytes(12, "big")
    start = gzip.compress(set_size(head, b"\x80" + size[1:]), 1)
    zeros = gzip.compress(bytes(step), 9)
    with path.open("wb") as file:
        file.write(start)
        for _ in range(unpacked // step):
            file.write(zeros)
        file.write(gzip.compress(bytes(10240)))
    return path


def test_a_bomb_is_refused_where_the_limit_is(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.tar.gz", 10 << 30)
    assert path.stat().st_size < 12 << 20
    ran = bounded("check", "--max-size", "300M", path)
    assert (ran.status, ran.err) == (
        2, f"bundle-fix: error: {path}: it unpacks to more than 300M (if you trust it, raise the"
        " limit with --max-size)\n",
    )  # fmt: skip
    assert ran.memory < MEMORY


def test_a_bomb_is_refused_by_its_ratio_and_takes_no_room(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.tar.gz", 10 << 30)
    ran = bounded("check", path)
    assert ran.status == 2
    assert "it unpacks to more than 200 times its size (at least 3G from" in ran.err
    assert "if you trust it, allow it with --max-size 32G" in ran.err
    assert (ran.memory < MEMORY, ran.seconds < SECONDS) == (True, True)


def test_a_large_file_of_zeros_in_a_small_tarball_is_no_bomb(tmp_path: Path) -> None:
    path = bomb(tmp_path / "zeros.tar.gz", 512 << 20)
    ran = bounded("check", path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.memory < MEMORY


def many(count: int) -> Iterator[bytes]:
    head = bytearray(make_member("d000/f0000000"))
    for number in range(count):
        name = b"d%03d/f%07d" % (number % 1000, number)
        head[: len(name)] = name
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
        yield bytes(head)


def packed(path: Path, pieces: Iterable[bytes]) -> Path:
    with gzip.open(path, "wb", 1) as file:
        for piece in pieces:
            file.write(piece)
        file.write(bytes(10240))
    return path


def test_many_members_are_read_or_refused_by_the_limit(tmp_path: Path) -> None:
    path = packed(tmp_path / "many.tar.gz", many(20_000))
    ran = bounded("check", path)
    assert (ran.status, ran.err) == (0, "")
    assert (ran.memory < MEMORY, ran.seconds < SECONDS) == (True, True)
    ran = bounded("check", "--max-members", "19999", path)
    assert ran.status == 2
    assert "it has more than 19999 members (if you trust it, raise the limit with" in ran.err
    assert "--max-members" in ran.err


def test_names_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    long = "n" * 4000
    one = b"".join(make_pax_header({"path": f"{n}{long}"}) + make_member("x") for n in range(500))
    ran = bounded("check", packed(tmp_path / "long.tar.gz", (one for _ in range(80))))
    assert (ran.status, ran.out) == (2, "")
    assert "extension headers exceed the safety limit" in ran.err
    assert ran.memory < MEMORY


def test_folders_that_multiply_are_refused(tmp_path: Path) -> None:
    """Two thousand folders for every name of four kilobytes."""
    members = [
        make_pax_header({"path": f"{n}/" + "a/" * 2000 + "x"}) + make_member("x")
        for n in range(300)
    ]
    path = packed(tmp_path / "deep.tar.gz", members)
    ran = bounded("check", path)
    assert (ran.status, ran.memory < MEMORY) == (2, True)
    assert f"{path}: its directory names exceed the safety limit (128 MiB)" in ran.err


def test_elf_files_that_multiply_are_refused(tmp_path: Path) -> None:
    """Needed names may overlap: a small file has a megabyte of them."""
    names = [f"lib{'x' * 230}{n}.so" for n in range(400)]
    whole = build_elf(tmp_path / "x", program=True, needed=names).read_bytes()
    path = tmp_path / "many.tar.gz"
    packed(path, (m for n in range(800) for m in [make_member(f"p/{n}", content=whole)]))
    (tmp_path / "x").unlink()
    ran = bounded("check", path)
    assert (ran.status, ran.memory < MEMORY) == (2, True)
    assert "its ELF files exceed the limit of 4,000,000 headers" in ran.err


def test_an_archive_within_an_archive_is_not_opened(tmp_path: Path) -> None:
    inner = bomb(tmp_path / "bomb.tar.gz", 1 << 30).read_bytes()
    path = put(
        tmp_path / "outer.tar",
        make_archive(make_member("inner.tar.gz", content=inner), make_member("y")),
    )
    ran = bounded("check", "--max-size", "100M", path)
    assert (ran.status, ran.err) == (0, "")


def test_an_endless_name_in_a_gzip_header_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tar.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (30 << 20))
    refused(path)


def test_a_bomb_in_a_package_or_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with (tmp_path / "root/zeros").open("wb") as file:
        file.truncate(400 << 20)
    path = build_deb(tmp_path / "root", tmp_path / "a.deb", "zstd")
    assert "unpacks to more than 100M" in bounded("check", "--max-size", "100M", path).err
    whole = make_layer([("x", bytes(30 << 20))])
    path = write_docker_archive(tmp_path / "x.tar", [gzip.compress(whole)] * 2)
    assert "unpacks to more than 50M" in bounded("check", "--max-size", "50M", path).err


def test_a_zip_bomb_is_refused_by_what_it_says_and_by_what_it_does(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(200 << 20))
    assert "unpacks to more than 100M" in refused(path, "--max-size", "100M")
    held = bytearray(path.read_bytes())
    for mark, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        place = held.rindex(mark) + at
        held[place : place + 4] = struct.pack("<I", 1000)
    assert "size mismatch" in refused(put(path, bytes(held)), "--max-size", "100M")


def test_pax_records_of_megabytes_are_refused(tmp_path: Path) -> None:
    huge = make_pax_header({"SCHILY.xattr.user.x": "x" * (5 << 20)}) + make_member("a")
    assert "extension headers exceed the safety limit" in refused(
        put(tmp_path / "a.tar", make_archive(huge))
    )
    honest = make_pax_header({"SCHILY.xattr.user.x": "x" * (64 << 10)}) + make_member("a")
    assert bounded("check", put(tmp_path / "a.tar", make_archive(honest))).status == 0


def test_pax_records_without_end_are_refused(tmp_path: Path) -> None:
    """Each is a few bytes, and takes a hundred once it is read."""
    records = make_pax_header({f"k{number}": "v" for number in range(4_000)})
    path = packed(tmp_path / "a.tar.gz", (records + make_member(f"{n}") for n in range(500)))
    ran = bounded("check", path)
    assert (ran.status, ran.memory < MEMORY) == (2, True)
    assert "extension headers exceed the safety limit" in ran.err


def test_a_folder_of_ten_thousand_levels_is_read_or_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    top = tmp_path / "deep"
    try:
        os.mkdir("deep", dir_fd=here)
        for _ in range(10_000):
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
            os.mkdir("deep", dir_fd=here)
        ran = bounded("check", top)
        assert ran.status == 2
        assert "File name too long" in ran.err
        assert ran.memory < MEMORY
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", top], check=True)


@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2"])
def test_an_archive_cut_at_every_kilobyte_is_refused(tmp_path: Path, suffix: str) -> None:
    """In one process: what a command does with it is the same for all."""
    with tarfile.open(tmp_path / "a.tar", f"w:{suffix}") as file:
        info = tarfile.TarInfo("x")
        info.size = 40 << 10
        file.addfile(info, io.BytesIO(os.urandom(info.size)))
    whole = (tmp_path / "a.tar").read_bytes()
    for length in range(1024, len(whole), 1024):
        path = put(tmp_path / "cut.tar", whole[:length])
        with pytest.raises(BundleFixError, match=r"truncated|damaged"), open_artifact(path):
            pass
