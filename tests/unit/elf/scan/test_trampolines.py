"""Code that builds trampolines on the stack."""

from __future__ import annotations

import ctypes.util
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, Toolchain, build_elf
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.scan.trampolines import StackUse, find_stack_use
from elf.support import SYSTEM_DIRECTORIES, get_content

NESTED = """
int call(int (*function)(int)) { return function(3); }
int outer(int k) { int inner(int x) { return x + k; } return call(inner); }
"""


def find_use(path: Path) -> StackUse:
    with get_content(path).open() as reader:
        return find_stack_use(reader, read_image(reader))


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-Os", "-O2 -fcf-protection=full"])
def test_trampolines_of_gcc_are_found(tmp_path: Path, flags: str) -> None:
    path = build_elf(tmp_path / "x.so", source=NESTED, flags=[*flags.split(), "-fno-inline"])
    assert find_use(path) is StackUse.TRAMPOLINES


@pytest.mark.parametrize("flags", ["-O0", "-O2", "-O2 -mbranch-protection=standard"])
def test_trampolines_on_aarch64_are_found(tmp_path: Path, flags: str) -> None:
    path = build_elf(
        tmp_path / "x.so", source=NESTED, flags=[*flags.split(), "-fno-inline"],
        toolchain=CROSS["aarch64"],
    )  # fmt: skip
    assert find_use(path) is StackUse.TRAMPOLINES


@pytest.mark.parametrize("toolchain", [HOST, CROSS["aarch64"]])
def test_ordinary_code_has_none(tmp_path: Path, toolchain: Toolchain) -> None:
    assert find_use(build_elf(tmp_path / "x.so", toolchain=toolchain)) is StackUse.NO_TRAMPOLINES
    libc = Path(SYSTEM_DIRECTORIES[1], ctypes.util.find_library("c") or "")
    assert find_use(libc) is StackUse.NO_TRAMPOLINES


def test_code_of_other_machines_is_not_judged(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "x.so", toolchain=CROSS["s390x"])
    assert find_use(path) is StackUse.UNKNOWN
