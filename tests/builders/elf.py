"""Real ELF files from real compilers and linkers, built once and then cached.

A file is described by the fields that the loader reads: soname, needed names, search path. Every
object prints its tag when it is loaded (``tag`` of a library, ``main`` of a program), so the output
of a program shows which copy was loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

# Building all ELF files of the tests takes minutes; CI restores the cache.
CACHE = Path(os.environ.get("BUNDLE_FIX_TEST_CACHE", Path(__file__).parents[2] / ".cache" / "elf"))

LIBRARY = """
#include <string.h>
#include <unistd.h>
int %(symbol)s(void) { return 1; }
__attribute__((constructor)) static void loaded(void) {
    static const char text[] = "%(tag)s\\n";
    if (write(1, text, strlen(text)) < 0) _exit(9);
}
"""
PROGRAM = """
#include <unistd.h>
int main(void) { return write(1, "main\\n", 5) == 5 ? 0 : 9; }
"""
STUB = "int bundle_fix_stub;"


@dataclass(frozen=True)
class Toolchain:
    """A compiler, and the flags with which it builds for one machine with one linker."""

    compiler: str = "cc"
    flags: tuple[str, ...] = ()

    @property
    def is_available(self) -> bool:
        """Whether the compiler links a shared library with these flags."""
        return _can_link(self)


@cache
def _can_link(toolchain: Toolchain) -> bool:
    if shutil.which(toolchain.compiler) is None:
        return False
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "x.c")
        source.write_text(STUB)
        output = str(source.with_suffix(".so"))
        command = [toolchain.compiler, *toolchain.flags, "-shared", "-fPIC", "-o", output]
        done = subprocess.run([*command, str(source)], capture_output=True, check=False)
        return done.returncode == 0


HOST = Toolchain()
LINKERS = {name: Toolchain("cc", (f"-fuse-ld={name}",)) for name in ("bfd", "gold", "mold")}
LINKERS["lld"] = Toolchain("clang", ("-fuse-ld=lld",))
CROSS = {
    "aarch64": Toolchain("aarch64-linux-gnu-gcc"),
    "armhf": Toolchain("arm-linux-gnueabihf-gcc"),
    "i386": Toolchain("i686-linux-gnu-gcc"),
    "ppc64le": Toolchain("powerpc64le-linux-gnu-gcc"),
    "riscv64": Toolchain("riscv64-linux-gnu-gcc"),
    "s390x": Toolchain("s390x-linux-gnu-gcc"),
}


def require_toolchain(toolchain: Toolchain) -> None:
    """Skip the test if the toolchain does not work; fail if all toolchains must work, as in CI."""
    if toolchain.is_available:
        return
    command = " ".join((toolchain.compiler, *toolchain.flags))
    if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
        pytest.fail(f"{command} cannot link a shared library; BUNDLE_FIX_TOOLCHAINS=all needs it")
    pytest.skip(f"{command} or the C library that it links against is not installed")


def build_elf(
    path: Path,
    *,
    soname: str | None = None,
    needed: Sequence[str] = (),
    runpath: str | None = None,
    rpath: str | None = None,
    program: bool = False,
    tag: str = "",
    source: str | None = None,
    flags: Sequence[str] = (),
    toolchain: Toolchain = HOST,
) -> Path:
    """Build an ELF file and return its path.

    Args:
        path: the output; missing directories are created.
        soname: its DT_SONAME.
        needed: its DT_NEEDED names before libc's, in order.
        runpath: its DT_RUNPATH.
        rpath: its DT_RPATH.
        program: whether it is a program (a PIE) rather than a shared library.
        tag: the text that a library prints when it is loaded; by default its file name.
        source: its C source, instead of the one that prints the tag.
        flags: more flags for the compiler, after all others.
        toolchain: the compiler and linker that build it.
    """
    require_toolchain(toolchain)
    stem = path.name.partition(".so")[0]
    symbol = "from_" + "".join(c if c.isalnum() else "_" for c in stem)
    text = source or (PROGRAM if program else LIBRARY % {"tag": tag or path.name, "symbol": symbol})
    command = [*toolchain.flags, "-g", "-O1"]
    command += ["-fPIE", "-pie"] if program else ["-shared", "-fPIC"]
    command += [f"-Wl,-soname,{soname}"] if soname else []
    command += _list_path_flags(runpath, rpath)
    libraries = [flag for name in needed for flag in _list_link_flags(name, toolchain)]
    built = compile_cached(text, [*command, "-Wl,--no-as-needed", *libraries, *flags], toolchain)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(built, path)
    path.chmod(0o755)
    return path


def build_versioned_library(path: Path, soname: str, symbol: str, versions: Sequence[str]) -> Path:
    """Build a library that defines ``symbol`` in each of ``versions``, the last one by default.

    Without ``versions`` it has no version table at all.
    """
    if not versions:
        source = f"int {symbol}(void) {{ return 7; }}"
        return build_elf(path, soname=soname, source=source, flags=["-nostdlib"])
    lines = []
    for number, version in enumerate(versions, 1):
        mark = "@@" if number == len(versions) else "@"
        lines.append(
            f"int f{number}(void) {{ return 7; }}\n"
            f'__asm__(".symver f{number}, {symbol}{mark}{version}");'
        )
    script = path.with_suffix(".map")
    path.parent.mkdir(parents=True, exist_ok=True)
    before = ""
    with script.open("w") as file:
        for version in versions:
            file.write(f"{version} {{ global: {symbol}; }} {before};\n")
            before = version
    flags = [f"-Wl,--version-script={script}"]
    build_elf(path, soname=soname, source="\n".join(lines), flags=flags)
    script.unlink()
    return path


def _list_path_flags(runpath: str | None, rpath: str | None) -> list[str]:
    if runpath is not None:
        return ["-Wl,--enable-new-dtags", f"-Wl,-rpath,{runpath}"]
    return ["-Wl,--disable-new-dtags", f"-Wl,-rpath,{rpath}"] if rpath is not None else []


def _list_link_flags(needed: str, toolchain: Toolchain) -> list[str]:
    """Return the flags by which a file needs the library ``needed``.

    Linkers write the file name of a library that they search for and that has no soname, so one
    library serves for all names; compiling one for each took a twentieth of the suite's time. A
    file ``libc.so`` in that directory would hide that of the compiler.
    """
    if "/" in needed or needed.endswith(".so"):
        return [build_stub(needed, toolchain)]
    stub = compile_cached(STUB, [*toolchain.flags, "-shared", "-fPIC"], toolchain)
    directory = CACHE / f"{stub.name}.names"
    directory.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (directory / needed).hardlink_to(stub)
    return [f"-L{directory}", f"-l:{needed}"]


def build_stub(soname: str, toolchain: Toolchain = HOST) -> str:
    """Build an empty shared library with ``soname``, to link against; return its path."""
    flags = [*toolchain.flags, "-shared", "-fPIC", f"-Wl,-soname,{soname}"]
    return str(compile_cached(STUB, flags, toolchain))


def compile_cached(source: str, flags: Sequence[str], toolchain: Toolchain) -> Path:
    """Compile and link a C source and return the output, from the cache if it is there."""
    key = hashlib.sha256(
        "\0".join([source, read_compiler_version(toolchain.compiler), *flags]).encode()
    ).hexdigest()[:32]
    target = CACHE / key
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            # A fixed relative name, so that debug information does not depend on the directory.
            Path(directory, "source.c").write_text(source)
            command = [toolchain.compiler, "source.c", *flags, "-o", "built"]
            done = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
            # Parallel workers may build the same file: the rename is atomic.
            Path(directory, "built").replace(target)
    return target


@cache
def read_compiler_version(compiler: str) -> str:
    """Return the first line of the compiler's ``--version``."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]
