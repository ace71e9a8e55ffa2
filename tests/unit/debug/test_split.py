"""Stripped and split debug information, with real compilers, objcopy, readelf and gdb."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from builders.run import run_bundle_fix

SPEC = """
[bundle]
name = "pack"
[[files]]
from = "in/*"
to = "bin/"
[debug]
strip = "{strip}"
"""
MAIN = "int main(void) { return 7; }\n"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def pack_and_unpack(root: Path, strip: str, **environ: str) -> Path:
    """Pack ``root/in`` and return the unpacked pack, with the debug pack unpacked over it."""
    (root / "bundle.toml").write_text(SPEC.format(strip=strip))
    done = run_bundle_fix("pack", "bundle.toml", "--force", cwd=root, **environ)
    assert done.returncode in (0, 1), done.stderr
    for name in ("pack.tar.gz", "pack.debug.tar.gz"):
        if (root / name).exists():
            with tarfile.open(root / name) as archive:
                archive.extractall(root / "out", filter="tar")
    return root / "out/pack"


def list_sections(path: Path) -> str:
    return run("readelf", "-SW", path)


def read_build_id(path: Path) -> str:
    found = re.search("Build ID: ([0-9a-f]+)", run("readelf", "-n", path))
    assert found
    return found[1]


def run_gdb(*commands: str) -> str:
    """Run gdb in batch mode and return its output; skip the test if gdb is not installed."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed, so nothing can check that it finds split files")
    options = [text for command in commands for text in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-nx", "-batch", *options],
        env={**os.environ, "DEBUGINFOD_URLS": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


FLAGS = [
    (HOST, ()),
    (HOST, ("-gz=zlib",)),
    (HOST, ("-gz=zlib-gnu",)),
    (LINKERS["gold"], ()),
    (LINKERS["lld"], ()),
    (LINKERS["mold"], ()),
]


@pytest.mark.parametrize(("toolchain", "flags"), FLAGS)
def test_gdb_finds_split_debug_information_by_build_id_and_by_debuglink(
    tmp_path: Path, toolchain: Toolchain, flags: Sequence[str]
) -> None:
    """The RUNPATH is edited after the file is stripped, so `.gnu_debuglink` survives the edit."""
    build_elf(tmp_path / "in/libx.so.1", soname="libx.so.1", toolchain=toolchain)
    build_elf(
        tmp_path / "in/server",
        program=True, source=MAIN, needed=["libx.so.1"], toolchain=toolchain,
        flags=["-Wl,--build-id=sha1", *flags],
    )  # fmt: skip
    pack = pack_and_unpack(tmp_path, "split")
    server = pack / "bin/server"
    assert ".debug_info" not in list_sections(server)
    assert "$ORIGIN" in run("readelf", "-d", server)
    name = read_build_id(server)
    (by_id := tmp_path / "ids").mkdir()
    (pack / ".build-id").rename(by_id / ".build-id")
    assert (by_id / f".build-id/{name[:2]}/{name[2:]}.debug").is_file()
    expected = 'Line 1 of "source.c"'
    assert expected not in run_gdb(f"file {server}", "info line main")
    assert expected in run_gdb(
        f"set debug-file-directory {by_id}", f"file {server}", "info line main"
    )
    (by_id / ".build-id").rename(pack / ".build-id")
    beside = pack / "bin/.debug/server.debug"
    data = beside.read_bytes()
    # Without a build-id gdb can only use .gnu_debuglink.
    run("objcopy", "--remove-section=.note.gnu.build-id", server)
    assert expected in run_gdb(f"file {server}", "info line main")
    raw = tmp_path / "link"
    run("objcopy", "-O", "binary", "--only-section=.gnu_debuglink", server, raw)
    link = raw.read_bytes() if raw.exists() else b""
    dumped = run("readelf", "--string-dump=.gnu_debuglink", server)
    assert "server.debug" in dumped
    if link:
        assert int.from_bytes(link[-4:], "little") == zlib.crc32(data)


def test_a_pack_passes_its_check_with_the_debug_pack_unpacked_over_it(tmp_path: Path) -> None:
    build_elf(tmp_path / "in/server", program=True, flags=["-Wl,--build-id"])
    pack = pack_and_unpack(tmp_path, "split")
    assert (pack / ".build-id").is_dir()
    assert run_bundle_fix("check", pack).returncode == 0
    static = build_elf(tmp_path / "static", program=True, flags=["-static", "-no-pie"])
    for source in (tmp_path / "in/server", static):
        shutil.copy(source, pack / "bin/.debug/other")
        assert "BF624" in run_bundle_fix("check", pack).stdout


def test_debug_information_can_be_removed(tmp_path: Path) -> None:
    build_elf(tmp_path / "in/server", program=True)
    pack = pack_and_unpack(tmp_path, "debug")
    found = list_sections(pack / "bin/server")
    assert (".debug_" in found, ".symtab" in found, ".gnu_debuglink" in found) == (
        False, True, False,
    )  # fmt: skip
    assert not (tmp_path / "pack.debug.tar.gz").exists()
    subprocess.run([pack / "bin/server"], check=True)


@pytest.mark.parametrize("strip", ["debug", "split"])
def test_a_file_without_debug_information_keeps_its_bytes(tmp_path: Path, strip: str) -> None:
    stripped = build_elf(tmp_path / "in/stripped", program=True)
    run("strip", stripped)
    symbols = build_elf(tmp_path / "in/symbols", program=True)
    run("strip", "--strip-debug", symbols)
    split = build_elf(tmp_path / "in/split", program=True, flags=["-Wl,--build-id"])
    only_debug = tmp_path / "in/split.debug"
    run("objcopy", "--only-keep-debug", split, only_debug)
    run("objcopy", "--strip-debug", f"--add-gnu-debuglink={only_debug}", split)
    build_elf(tmp_path / "x.so")
    (tmp_path / "x.c").write_text(MAIN)
    run("cc", "-g", "-c", tmp_path / "x.c", "-o", tmp_path / "in/x.o")
    run("ar", "rcs", tmp_path / "in/libx.a", tmp_path / "in/x.o")
    (tmp_path / "in/run.sh").write_text("#!/bin/sh\n")
    pack = pack_and_unpack(tmp_path, strip)
    for source in (tmp_path / "in").iterdir():
        assert (pack / "bin" / source.name).read_bytes() == source.read_bytes(), source.name
    assert not (tmp_path / "pack.debug.tar.gz").exists()


def test_symlinks_to_one_file_stay_symlinks(tmp_path: Path) -> None:
    build_elf(tmp_path / "in/libx.so.1.2", soname="libx.so.1")
    (tmp_path / "bundle.toml").write_text(
        SPEC.format(strip="split") + '[[libraries]]\nfrom = "more/libx.so"\n'
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more/libx.so.1").symlink_to("../in/libx.so.1.2")
    (tmp_path / "more/libx.so").symlink_to("libx.so.1")
    done = run_bundle_fix("pack", "bundle.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "pack.tar.gz") as archive:
        links = {m.name: m.linkname for m in archive if m.issym()}
        files = {m.name for m in archive if m.isfile() and ".so" in m.name}
    assert links["pack/lib/libx.so"] == "libx.so.1.2"
    assert files | set(links) >= {"pack/bin/libx.so.1.2", "pack/lib/libx.so.1.2"}


def test_debug_packs_are_reproducible(tmp_path: Path) -> None:
    for directory in ("one", "two"):
        build_elf(tmp_path / directory / "in/server", program=True, flags=["-Wl,--build-id"])
        pack_and_unpack(tmp_path / directory, "split")
    for name in ("pack.tar.gz", "pack.debug.tar.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("machine", ["aarch64", "armhf", "i386", "ppc64le", "s390x", "riscv64"])
def test_a_cross_objcopy_strips_files_for_other_machines(tmp_path: Path, machine: str) -> None:
    server = build_elf(
        tmp_path / "in/server", program=True, toolchain=CROSS[machine], flags=["-Wl,--build-id"]
    )
    pack = pack_and_unpack(tmp_path, "split")
    assert ".debug_info" not in list_sections(pack / "bin/server")
    assert ".debug_info" in list_sections(pack / "bin/.debug/server.debug")
    assert read_build_id(pack / "bin/server") == read_build_id(server)


def test_llvm_objcopy_is_used_if_no_other_is_installed(tmp_path: Path) -> None:
    found = shutil.which("llvm-objcopy")
    if found is None:
        pytest.skip("llvm-objcopy is not installed")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/llvm-objcopy").symlink_to(found)
    build_elf(tmp_path / "in/server", program=True, flags=["-Wl,--build-id"])
    pack = pack_and_unpack(tmp_path, "split", PATH=str(tmp_path / "tools"))
    assert ".debug_info" not in list_sections(pack / "bin/server")
    assert 'Line 3 of "source.c"' in run_gdb(f"file {pack}/bin/server", "info line main")


def test_a_missing_objcopy_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    build_elf(tmp_path / "in/server", program=True)
    (tmp_path / "bundle.toml").write_text(SPEC.format(strip="debug"))
    done = run_bundle_fix("pack", "bundle.toml", cwd=tmp_path, PATH="/missing")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "bundle-fix: error: bin/server: missing objcopy for x86_64, required by `strip` of [debug]"
        ' (install binutils or llvm, or set strip = "none")'
    ]
    assert not (tmp_path / "pack.tar.gz").exists()


def test_a_go_program_runs_without_its_debug_information(tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    (tmp_path / "in").mkdir()
    (tmp_path / "x.go").write_text('package main\nfunc main() { println("hello") }\n')
    subprocess.run(
        [go, "build", "-o", "in/server", "x.go"],
        cwd=tmp_path, check=True, capture_output=True,
        env={**os.environ, "GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"},
    )  # fmt: skip
    pack = pack_and_unpack(tmp_path, "split")
    assert "debug_info" not in list_sections(pack / "bin/server")
    done = subprocess.run([pack / "bin/server"], capture_output=True, text=True, check=True)
    assert done.stderr == "hello\n"
