"""The matrix of ELF files to edit: compilers, linkers, flags and machines."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from builders.elf import CROSS, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.model.content import PathContent, read_chunks
from elf.support import drop_section_headers

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
    """One kind of file: the toolchain and the flags that build it.

    Attributes:
        toolchain: the compiler and the linker.
        flags: the flags for the program and the library.
        defines: preprocessor definitions that enable features of the source.
        program: more flags for the program only.
        library: more flags for the library only.
        machine: the key of `CROSS` if it is for another machine.
        headerless: whether the section headers are removed.
        runpath: the search path of both before the edit; None for no entry.
        starts: whether this machine's loader accepts the linker's output, before any edit.
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


def _make_cell(
    linker: str,
    *flags: str,
    defines: tuple[str, ...] = (),
    program: tuple[str, ...] = (),
    library: tuple[str, ...] = (),
    headerless: bool = False,
    runpath: str | None = OLD_RUNPATH,
    starts: bool = True,
) -> Cell:
    return Cell(
        LINKERS[linker],
        flags,
        defines,
        program,
        library,
        headerless=headerless,
        runpath=runpath,
        starts=starts,
    )


CELLS: dict[str, Cell] = {
    "bfd": _make_cell("bfd"),
    "bfd, code apart": _make_cell("bfd", "-Wl,-z,separate-code"),
    "bfd, code and data together": _make_cell("bfd", "-Wl,-z,noseparate-code"),
    "gold": _make_cell("gold"),
    "lld": _make_cell("lld"),
    "mold": _make_cell("mold"),
    "fixed address": _make_cell("bfd", program=("-no-pie", "-fno-pie")),
    "gold, fixed address": _make_cell("gold", program=("-no-pie", "-fno-pie")),
    "lld, fixed address": _make_cell("lld", program=("-no-pie", "-fno-pie")),
    "mold, fixed address": _make_cell("mold", program=("-no-pie", "-fno-pie")),
    "bound at start": _make_cell("bfd", "-Wl,-z,now,-z,relro"),
    "bound lazily": _make_cell("bfd", "-Wl,-z,lazy"),
    "no relro": _make_cell("bfd", "-Wl,-z,norelro"),
    "relr": _make_cell("bfd", "-Wl,-z,pack-relative-relocs"),
    # glibc rejects relr files without the version GLIBC_ABI_DT_RELR, which these linkers lack.
    "lld, relr": _make_cell("lld", "-Wl,--pack-dyn-relocs=relr", starts=False),
    "mold, relr": _make_cell("mold", "-Wl,--pack-dyn-relocs=relr", starts=False),
    "sysv hash": _make_cell("bfd", "-Wl,--hash-style=sysv"),
    "gnu hash": _make_cell("bfd", "-Wl,--hash-style=gnu"),
    "both hashes": _make_cell("bfd", "-Wl,--hash-style=both"),
    "lld, sysv hash": _make_cell("lld", "-Wl,--hash-style=sysv"),
    "no section headers": _make_cell("bfd", headerless=True),
    "high base": _make_cell(
        "bfd", program=("-no-pie", "-fno-pie", "-Wl,--no-relax,-Ttext-segment=0x35000000"),
        library=("-Wl,-Ttext-segment=0x36000000",),
    ),
    "tls": _make_cell("bfd", defines=("-DTLS",)),
    "gold, tls": _make_cell("gold", defines=("-DTLS",)),
    "ifunc": _make_cell("bfd", defines=("-DIFUNC",)),
    "old dtags": _make_cell("bfd", "-Wl,--disable-new-dtags"),
    "no spare entry": _make_cell("bfd", "-Wl,--spare-dynamic-tags=0"),
    "one spare entry": _make_cell("bfd", "-Wl,--spare-dynamic-tags=1"),
    "no entry yet": _make_cell("bfd", runpath=None),
    "no entry yet, one spare": _make_cell("bfd", "-Wl,--spare-dynamic-tags=1", runpath=None),
    "no entry yet, none spare": _make_cell("bfd", "-Wl,--spare-dynamic-tags=0", runpath=None),
    "lld, no entry yet": _make_cell("lld", runpath=None),
    "pages of 64 KiB": _make_cell("bfd", "-Wl,-z,max-page-size=65536"),
    "pages of 2 MiB": _make_cell("bfd", "-Wl,-z,max-page-size=2097152"),
    "lld, pages of 2 MiB": _make_cell("lld", "-Wl,-z,max-page-size=2097152"),
    "read-only dynamic section": _make_cell("lld", "-Wl,-z,rodynamic"),
    "relocations kept": _make_cell("bfd", "-Wl,--emit-relocs"),
    "two note alignments": _make_cell("bfd", "-fcf-protection=full", "-Wl,--build-id=sha1"),
    "200 MB of bss": _make_cell("bfd", defines=("-DBIG_BSS",)),
    "gold, 200 MB of bss": _make_cell("gold", defines=("-DBIG_BSS",)),
    "runpath ends as a symbol": _make_cell("bfd", runpath="/opt/own_library_lib"),
    "stripped": _make_cell("bfd", "-s"),
    "no build-id": _make_cell("bfd", "-Wl,--build-id=none"),
    "compressed debug sections": _make_cell("bfd", "-gz"),
    **{f"{m}, cross": Cell(CROSS[m], machine=m) for m in CROSS},
    **{f"{m}, tls": Cell(CROSS[m], defines=("-DTLS",), machine=m) for m in ("s390x", "riscv64")},
    "musl": Cell(MUSL),
}  # fmt: skip


@dataclass(frozen=True)
class BuiltCell:
    """The files of a cell: ``bin/x`` needs ``lib/libgive.so.1``, which needs ``libdep.so.1``."""

    directory: Path
    cell: Cell

    @property
    def program(self) -> Path:
        """The program."""
        return self.directory / "bin/x"

    @property
    def library(self) -> Path:
        """The library that it needs."""
        return self.directory / "lib/libgive.so.1"

    @property
    def files(self) -> tuple[Path, Path]:
        """The files to edit."""
        return self.program, self.library

    def run_program(self) -> str:
        """Return the output of the program, under qemu-user if it is for another machine."""
        return self.run_command([str(self.program)])

    def run_command(self, command: Sequence[str]) -> str:
        """Run a command that runs the program, and return its output; it must succeed."""
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


def build_cell(cell: Cell, directory: Path) -> BuiltCell:
    """Build the files of a cell below ``directory``."""
    built = BuiltCell(directory, cell)
    for name in ("libdep", "libother"):
        build_elf(
            directory / f"lib/{name}.so.1", soname=f"{name}.so.1", toolchain=cell.toolchain,
            source="int nothing;",
        )  # fmt: skip
    has_rpath = "-Wl,--disable-new-dtags" in cell.flags
    rpath, runpath = (cell.runpath, None) if has_rpath else (None, cell.runpath)
    build_elf(
        built.library, soname="libgive.so.1", source=LIBRARY, needed=["libdep.so.1"],
        flags=[*cell.defines, *cell.flags, *cell.library], toolchain=cell.toolchain,
        rpath=rpath, runpath=runpath,
    )  # fmt: skip
    # The linker needs the library for the symbols that the program uses.
    build_elf(
        built.program, program=True, source=PROGRAM,
        flags=[*cell.defines, *cell.flags, *cell.program, *_list_link_flags(built.library)],
        toolchain=cell.toolchain, rpath=rpath, runpath=runpath,
    )  # fmt: skip
    for file in built.files:
        if cell.headerless:
            file.write_bytes(drop_section_headers(file.read_bytes()))
    return built


def _list_link_flags(library: Path) -> list[str]:
    return [str(library), "-Wl,--allow-shlib-undefined"]


def require_tools(*names: str) -> None:
    """Skip the test if a tool is not installed; fail if all tools must be, as in CI."""
    for name in names:
        if shutil.which(name) is None:
            stop = pytest.fail if os.environ.get("BUNDLE_FIX_TOOLCHAINS") else pytest.skip
            stop(f"{name} is not installed")


def edit_at(path: Path, changes: Changes, editor: str, scratch: Path) -> str:
    """Edit the file at ``path`` and return the name of the editor that did it."""
    content = PathContent(path, path.stat().st_size)
    result = edit_file(content, changes, scratch, editor)
    with result.content.open() as reader, (scratch / "new").open("wb") as file:
        file.writelines(read_chunks(reader))
    shutil.copymode(path, scratch / "new")
    (scratch / "new").replace(path)
    return result.editor
