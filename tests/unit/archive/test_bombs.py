"""Archives that are small but need much space, memory or time: refused within the limits."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import zipfile
from pathlib import Path

from archive.limited import (
    MAX_MEMORY,
    MAX_SECONDS,
    assert_every_command_refuses,
    make_many_members,
    run_limited,
    write_bomb,
    write_file,
    write_gzip,
)
from builders.elf import build_elf
from builders.packages import build_deb, make_layer, write_docker_archive
from builders.tar import make_archive, make_member, make_pax_header


def test_a_bomb_is_refused_at_the_limit(tmp_path: Path) -> None:
    path = write_bomb(tmp_path / "bomb.tar.gz", 10 << 30)
    assert path.stat().st_size < 12 << 20
    ran = run_limited("check", "--max-size", "300M", path)
    assert (ran.status, ran.err) == (
        2, f"bundle-fix: error: {path}: it unpacks to more than 300M (if you trust it, raise the"
        " limit with --max-size)\n",
    )  # fmt: skip
    assert ran.memory < MAX_MEMORY


def test_a_bomb_is_refused_for_its_ratio(tmp_path: Path) -> None:
    path = write_bomb(tmp_path / "bomb.tar.gz", 10 << 30)
    ran = run_limited("check", path)
    assert ran.status == 2
    assert "it unpacks to more than 200 times its size (at least 3G from" in ran.err
    assert "if you trust it, allow it with --max-size 32G" in ran.err
    assert (ran.memory < MAX_MEMORY, ran.seconds < MAX_SECONDS) == (True, True)


def test_a_large_file_of_zeros_is_not_a_bomb(tmp_path: Path) -> None:
    path = write_bomb(tmp_path / "zeros.tar.gz", 512 << 20)
    ran = run_limited("check", "--allow-empty", path)
    assert (ran.status, ran.err) == (0, "")
    assert ran.memory < MAX_MEMORY


def test_many_members_are_read_or_refused_by_the_limit(tmp_path: Path) -> None:
    path = write_gzip(tmp_path / "many.tar.gz", make_many_members(20_000))
    ran = run_limited("check", "--allow-empty", path)
    assert (ran.status, ran.err) == (0, "")
    assert (ran.memory < MAX_MEMORY, ran.seconds < MAX_SECONDS) == (True, True)
    ran = run_limited("check", "--max-members", "19999", path)
    assert ran.status == 2
    assert "it has more than 19999 members (if you trust it, raise the limit with" in ran.err
    assert "--max-members" in ran.err


def test_names_that_exceed_the_memory_are_refused(tmp_path: Path) -> None:
    long = "n" * 4000
    one = b"".join(make_pax_header({"path": f"{n}{long}"}) + make_member("x") for n in range(500))
    ran = run_limited("check", write_gzip(tmp_path / "long.tar.gz", (one for _ in range(80))))
    assert (ran.status, ran.out) == (2, "")
    assert "extension headers exceed the safety limit" in ran.err
    assert ran.memory < MAX_MEMORY


def test_too_many_implied_directories_are_refused(tmp_path: Path) -> None:
    """Each name of four kilobytes implies two thousand directories."""
    members = [
        make_pax_header({"path": f"{n}/" + "a/" * 2000 + "x"}) + make_member("x")
        for n in range(300)
    ]
    path = write_gzip(tmp_path / "deep.tar.gz", members)
    ran = run_limited("check", path)
    assert (ran.status, ran.memory < MAX_MEMORY) == (2, True)
    assert f"{path}: its directory names exceed the safety limit (128 MiB)" in ran.err


def test_too_many_needed_names_are_refused(tmp_path: Path) -> None:
    """Each file is small when packed, but has 400 long needed names."""
    names = [f"lib{'x' * 230}{n}.so.1" for n in range(400)]
    whole = build_elf(tmp_path / "x", program=True, needed=names).read_bytes()
    path = tmp_path / "many.tar.gz"
    write_gzip(path, (m for n in range(800) for m in [make_member(f"p/{n}", content=whole)]))
    (tmp_path / "x").unlink()
    ran = run_limited("check", path)
    assert (ran.status, ran.memory < MAX_MEMORY) == (2, True)
    assert "its ELF files exceed the limit of 4,000,000 headers" in ran.err


def test_an_archive_within_an_archive_is_not_opened(tmp_path: Path) -> None:
    inner = write_bomb(tmp_path / "bomb.tar.gz", 1 << 30).read_bytes()
    path = write_file(
        tmp_path / "outer.tar",
        make_archive(make_member("inner.tar.gz", content=inner), make_member("y")),
    )
    ran = run_limited("check", "--allow-empty", "--max-size", "100M", path)
    assert (ran.status, ran.err) == (0, "")


def test_an_endless_name_in_a_gzip_header_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.tar.gz", b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (30 << 20))
    assert_every_command_refuses(path)


def test_a_bomb_in_a_package_or_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with (tmp_path / "root/zeros").open("wb") as file:
        file.truncate(400 << 20)
    path = build_deb(tmp_path / "root", tmp_path / "a.deb", "zstd")
    assert "unpacks to more than 100M" in run_limited("check", "--max-size", "100M", path).err
    whole = make_layer([("x", bytes(30 << 20))])
    path = write_docker_archive(tmp_path / "x.tar", [gzip.compress(whole)] * 2)
    assert "unpacks to more than 50M" in run_limited("check", "--max-size", "50M", path).err


def test_a_zip_bomb_is_refused_whether_or_not_its_size_is_true(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(200 << 20))
    assert "unpacks to more than 100M" in assert_every_command_refuses(path, "--max-size", "100M")
    changed = bytearray(path.read_bytes())
    for mark, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        place = changed.rindex(mark) + at
        changed[place : place + 4] = struct.pack("<I", 1000)
    assert "size mismatch" in assert_every_command_refuses(
        write_file(path, bytes(changed)), "--max-size", "100M"
    )


def test_pax_records_of_megabytes_are_refused(tmp_path: Path) -> None:
    huge = make_pax_header({"SCHILY.xattr.user.x": "x" * (5 << 20)}) + make_member("a")
    assert "extension headers exceed the safety limit" in assert_every_command_refuses(
        write_file(tmp_path / "a.tar", make_archive(huge))
    )
    common = make_pax_header({"SCHILY.xattr.user.x": "x" * (64 << 10)}) + make_member("a")
    path = write_file(tmp_path / "a.tar", make_archive(common))
    assert run_limited("check", "--allow-empty", path).status == 0


def test_too_many_pax_records_are_refused(tmp_path: Path) -> None:
    """Each is a few bytes in the archive and about a hundred bytes in memory."""
    records = make_pax_header({f"k{number}": "v" for number in range(4_000)})
    path = write_gzip(tmp_path / "a.tar.gz", (records + make_member(f"{n}") for n in range(500)))
    ran = run_limited("check", path)
    assert (ran.status, ran.memory < MAX_MEMORY) == (2, True)
    assert "extension headers exceed the safety limit" in ran.err


def test_a_directory_of_ten_thousand_levels_is_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    top = tmp_path / "deep"
    try:
        os.mkdir("deep", dir_fd=here)
        for _ in range(10_000):
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
            os.mkdir("deep", dir_fd=here)
        ran = run_limited("check", top)
        assert ran.status == 2
        assert "File name too long" in ran.err
        assert ran.memory < MAX_MEMORY
    finally:
        os.close(here)
        subprocess.run(["rm", "-rf", top], check=True)
