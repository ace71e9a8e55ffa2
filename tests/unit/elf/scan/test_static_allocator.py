"""Allocators that are linked into a file and not exported."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.scan.static_allocator import find_allocator_message, find_static_allocator
from bundle_fix.model.content import BytesReader

TOOLCHAINS = {"host": HOST, **LINKERS, **CROSS}


def build_library(path: Path, *names: str, toolchain: Toolchain = HOST, hide: bool = True) -> bytes:
    mark = '__attribute__((visibility("hidden")))' if hide else ""
    functions = "".join(f"{mark} void *{n}(long x) {{ return (void *)(x & 0); }}\n" for n in names)
    uses = "".join(f"{name}(1);" for name in names)
    source = f"{functions} void work(void) {{ {uses} }}"
    flags = ["-fno-builtin", "-O0"]
    return build_elf(path, source=source, flags=flags, toolchain=toolchain).read_bytes()


def find_symbols(data: bytes) -> set[bytes]:
    reader = BytesReader(data)
    return set(find_static_allocator(reader, read_image(reader)))


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_hidden_functions_are_found_with_every_linker(tmp_path: Path, name: str) -> None:
    names = ("malloc", "free", "tc_malloc", "xmalloc")
    data = build_library(tmp_path / "liba.so", *names, toolchain=TOOLCHAINS[name])
    assert find_symbols(data) == {b"malloc", b"free", b"tc_malloc"}


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_undefined_functions_are_not_found(tmp_path: Path, name: str) -> None:
    source = "#include <stdlib.h>\nvoid *work(void) { free(0); return malloc(1); }"
    path = build_elf(
        tmp_path / "liba.so", source=source, flags=["-fno-builtin"], toolchain=TOOLCHAINS[name]
    )
    assert find_symbols(path.read_bytes()) == set()


def test_exported_functions_are_found_only_by_names_of_allocators(tmp_path: Path) -> None:
    names = ("malloc", "free", "je_malloc")
    data = build_library(tmp_path / "liba.so", *names, hide=False)
    assert find_symbols(data) == {b"je_malloc"}


def test_a_stripped_file_is_recognized_by_its_messages(tmp_path: Path) -> None:
    source = 'const char *message(void) { return "<jemalloc>: out of memory\\n"; }'
    path = build_elf(tmp_path / "liba.so", source=source)
    subprocess.run(["strip", path], check=True)
    reader = BytesReader(path.read_bytes())
    assert find_allocator_message(reader, read_image(reader)) == b"<jemalloc>: "


@pytest.mark.parametrize("size", [24, 31, 64, 100])
def test_names_are_found_across_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    data = build_library(tmp_path / "liba.so", "malloc", "free", "tc_malloc")
    monkeypatch.setattr("bundle_fix.elf.scan.static_allocator.CHUNK", size)
    assert find_symbols(data) == {b"malloc", b"free", b"tc_malloc"}
