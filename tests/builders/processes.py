"""Running programs of small packs, and core files of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builders.elf import build_elf

WAITING = """
#include <sys/prctl.h>
#include <unistd.h>
int main(void) {
    char c;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    write(1, "ready", 5);
    read(0, &c, 1);
    return 0;
}
"""
"""A program that writes a word when its libraries are loaded, and ends when its input does.

Where Yama forbids to read the memory of processes that are no children, it allows that for itself.
"""


def make_server_pack(root: Path) -> Path:
    """Make a pack with a server and a library, in which the server finds it; return its root."""
    build_elf(
        root / "bin/server", program=True, source=WAITING, needed=["libheap.so.4"],
        runpath="$ORIGIN/../lib",
    )  # fmt: skip
    build_elf(root / "lib/libheap.so.4", soname="libheap.so.4", tag="")
    return root


@contextmanager
def run_waiting(program: Path, **environ: str) -> Iterator[int]:
    """Run a program of `WAITING` and return its number, once its libraries are loaded."""
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        text = b""
        while not text.endswith(b"ready"):
            piece = os.read(process.stdout.fileno(), 64)
            assert piece, "the program has ended"
            text += piece
        yield process.pid
        process.kill()


def dump_core(pid: int, path: Path) -> Path:
    """Dump a core file of a running process with gdb's gcore; return its path."""
    if shutil.which("gcore") is None:
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail("gcore is not installed; BUNDLE_FIX_TOOLCHAINS=all needs gdb")
        pytest.skip("gcore (gdb) is not installed")
    command = ["gcore", "-o", str(path), str(pid)]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    return path.with_name(f"{path.name}.{pid}")


def list_with_elfutils(*arguments: str | Path) -> dict[int, str]:
    """Return address and build-id of each object that eu-unstrip finds in a process or core."""
    if shutil.which("eu-unstrip") is None:
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail("eu-unstrip is not installed; BUNDLE_FIX_TOOLCHAINS=all needs elfutils")
        pytest.skip("eu-unstrip (elfutils) is not installed")
    command = ["eu-unstrip", "-n", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    fields = [line.split() for line in done.stdout.splitlines()]
    return {
        int(place.partition("+")[0], 16): build_id.partition("@")[0]
        for place, build_id, *_ in fields
        if build_id != "-"
    }
