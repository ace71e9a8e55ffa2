"""The kinds of files that the matrix edits: what builds each of them, and how it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from elf.support import without_section_headers

OLD_RUNPATH = "/opt/build/of/pegasus/thirdparty/output/lib"
MUSL = Toolchain("musl-gcc")

LIBRARY = """
#include <string.h>
#include <unistd.h>
#ifdef TLS
static __thread int held = 35;
#else
static int held = 35;
#endif
#ifdef IFUNC
static int plain(int n) { return n + held; }
static int (*choose(void))(int) { return plain; }
int give(int n) __attribute__((ifunc("choose")));
#else
__attribute__((noinline)) int give(int n) {
    held += 0;
    return n + held;
}
#endif
int own_library_lib(void) { return 3; }
"""
PROGRAM = """
#include <stdio.h>
extern int give(int);
#ifdef TLS
__thread int mine = 1;
#else
int mine = 1;
#endif
#ifdef BIG_BSS
static char space[200 << 20];
#endif
int (*through)(int) = give;
__attribute__((noinline)) int inner(int n) {
    int got = through(n);
    return got + mine;
}
int main(void) {
#ifdef BIG_BSS
    if (space[100 << 20]) return 9;
    space[100 << 20] = 1;
#endif
    printf("main %d\\n", inner(6));
    return 0;
}
"""
EXPECTED = "main 42"


@dataclass(frozen=True)
class Cell:
    """One kind of file: what builds it, and with which flags.

    Attributes:
        toolchain: the compiler and the linker.
        flags: for both files.
        defines: features of the source.
        program: more flags for the program alone.
        library: more flags for the library alone.
        machine: the key of `CROSS` where it is another machine's.
        headerless: whether the section headers are taken away.
        runpath: what both have before the edit; None for no entry at all.
        starts: whether this machine's loader takes what the linker makes, before any edit.
    """

    toolchain: Toolchain = LINKERS["bfd"]
    flags: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    program: tuple[str, ...] = ()
    library: tuple[str, ...] = ()
    machine: str = ""
    headerless: bool = False
    runpath: str | None = OLD_RUNPATH
    starts: bool = True


def _linked(linker: str, *flags: str, **more: object) -> Cell:
    return Cell(LINKERS[linker], flags, **more)  # type: ignore[arg-type]


CELLS: dict[str, Cell] = {
    "bfd": _linked("bfd"),
    "bfd, code apart": _linked("bfd", "-Wl,-z,separate-code"),
    "bfd, code and data together": _linked("bfd", "-Wl,-z,noseparate-code"),
    "gold": _linked("gold"),
    "lld": _linked("lld"),
    "mold": _linked("mold"),
    "fixed address": _linked("bfd", program=("-no-pie", "-fno-pie")),
    "gold, fixed address": _linked("gold", program=("-no-pie", "-fno-pie")),
    "lld, fixed address": _linked("lld", program=("-no-pie", "-fno-pie")),
    "mold, fixed address": _linked("mold", program=("-no-pie", "-fno-pie")),
    "bound at start": _linked("bfd", "-Wl,-z,now,-z,relro"),
    "bound lazily": _linked("bfd", "-Wl,-z,lazy"),
    "no relro": _linked("bfd", "-Wl,-z,norelro"),
    "relr": _linked("bfd", "-Wl,-z,pack-relative-relocs"),
    # Without the version GLIBC_ABI_DT_RELR, which these linkers learnt later, glibc refuses them.
    "lld, relr": _linked("lld", "-Wl,--pack-dyn-relocs=relr", starts=False),
    "mold, relr": _linked("mold", "-Wl,--pack-dyn-relocs=relr", starts=False),
    "sysv hash": _linked("bfd", "-Wl,--hash-style=sysv"),
    "gnu hash": _linked("bfd", "-Wl,--hash-style=gnu"),
    "both hashes": _linked("bfd", "-Wl,--hash-style=both"),
    "lld, sysv hash": _linked("lld", "-Wl,--hash-style=sysv"),
    "no section headers": _linked("bfd", headerless=True),
    "high base": _linked(
        "bfd", program=("-no-pie", "-fno-pie", "-Wl,--no-relax,-Ttext-segment=0x35000000"),
        library=("-Wl,-Ttext-segment=0x36000000",),
    ),
    "tls": _linked("bfd", defines=("-DTLS",)),
    "gold, tls": _linked("gold", defines=("-DTLS",)),
    "ifunc": _linked("bfd", defines=("-DIFUNC",)),
    "old dtags": _linked("bfd", "-Wl,--disable-new-dtags"),
    "no spare entry": _linked("bfd", "-Wl,--spare-dynamic-tags=0"),
    "one spare entry": _linked("bfd", "-Wl,--spare-dynamic-tags=1"),
    "no entry yet": _linked("bfd", runpath=None),
    "no entry yet, one spare": _linked("bfd", "-Wl,--spare-dynamic-tags=1", runpath=None),
    "no entry yet, none spare": _linked("bfd", "-Wl,--spare-dynamic-tags=0", runpath=None),
    "lld, no entry yet": _linked("lld", runpath=None),
    "pages of 64 KiB": _linked("bfd", "-Wl,-z,max-page-size=65536"),
    "pages of 2 MiB": _linked("bfd", "-Wl,-z,max-page-size=2097152"),
    "lld, pages of 2 MiB": _linked("lld", "-Wl,-z,max-page-size=2097152"),
    "read-only dynamic section": _linked("lld", "-Wl,-z,rodynamic"),
    "relocations kept": _linked("bfd", "-Wl,--emit-relocs"),
    "two note alignments": _linked("bfd", "-fcf-protection=full", "-Wl,--build-id=sha1"),
    "200 MB of bss": _linked("bfd", defines=("-DBIG_BSS",)),
    "gold, 200 MB of bss": _linked("gold", defines=("-DBIG_BSS",)),
    "runpath ends as a symbol": _linked("bfd", runpath="/opt/own_library_lib"),
    "stripped": _linked("bfd", "-s"),
    "no build-id": _linked("bfd", "-Wl,--build-id=none"),
    "compressed debug sections": _linked("bfd", "-gz"),
    **{f"{m}, cross": Cell(CROSS[m], machine=m) for m in CROSS},
    **{f"{m}, tls": Cell(CROSS[m], defines=("-DTLS",), machine=m) for m in ("s390x", "riscv64")},
    "musl": Cell(MUSL),
}  # fmt: skip


@dataclass(frozen=True)
class Built:
    """The files of a cell: ``bin/x`` needs ``lib/libgive.so.1``, which needs ``libdep.so.1``."""

    folder: Path
    cell: Cell

    @property
    def program(self) -> Path:
        """The program."""
        return self.folder / "bin/x"

    @property
    def library(self) -> Path:
        """The library that it needs."""
        return self.folder / "lib/libgive.so.1"

    @property
    def files(self) -> tuple[Path, Path]:
        """What is edited."""
        return self.program, self.library

    def output(self) -> str:
        """What the program prints; under qemu-user where it is another machine's."""
        return self.command_output([str(self.program)])

    def command_output(self, command: Sequence[str]) -> str:
        """What a run of the program prints: it must end well."""
        machine = self.cell.machine
        if machine:
            emulator = {"armhf": "qemu-arm"}.get(machine, f"qemu-{machine}")
            if shutil.which(emulator) is None:
                pytest.skip(f"{emulator} is not installed")
            root = "/usr/" + self.cell.toolchain.compiler.removesuffix("-gcc")
            command = [emulator, "-L", root, *command]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.returncode} {done.stderr[-300:]}"
        return done.stdout.strip()


def build(cell: Cell, folder: Path) -> Built:
    """Build the files of a cell below ``folder``."""
    made = Built(folder, cell)
    for name in ("libdep", "libother"):
        build_elf(
            folder / f"lib/{name}.so.1", soname=f"{name}.so.1", toolchain=cell.toolchain,
            source="int nothing;",
        )  # fmt: skip
    path = {"rpath" if "-Wl,--disable-new-dtags" in cell.flags else "runpath": cell.runpath}
    build_elf(
        made.library, soname="libgive.so.1", source=LIBRARY, needed=["libdep.so.1"],
        flags=[*cell.defines, *cell.flags, *cell.library], toolchain=cell.toolchain, **path,
    )  # fmt: skip
    # The linker wants to see what the program takes from the library; it finds it by its path.
    build_elf(
        made.program, program=True, source=PROGRAM,
        flags=[*cell.defines, *cell.flags, *cell.program, *_against(made.library)],
        toolchain=cell.toolchain, **path,
    )  # fmt: skip
    for file in made.files:
        if cell.headerless:
            file.write_bytes(without_section_headers(file.read_bytes()))
    return made


def _against(library: Path) -> list[str]:
    return [str(library), "-Wl,--allow-shlib-undefined"]


def needs(*names: str) -> None:
    """Skip the test, saying why, where a tool is not installed; in CI it must be."""
    for name in names:
        if shutil.which(name) is None:
            missing = pytest.fail if os.environ.get("BUNDLE_FIX_TOOLCHAINS") else pytest.skip
            missing(f"{name} is not installed")


__all__ = ["CELLS", "EXPECTED", "HOST", "Built", "Cell", "build", "needs"]
