"""Compare the time of one edit with that of patchelf on a copy of the same library.

Run as ``python -m benchmarks.elf_edit``. It also counts the ELF files of this
machine that each editor can edit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Run, measure_command
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.edit.refusals import find_refusal
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.model.content import PathContent
from bundle_fix.model.errors import DamagedElfError

INSTALLED = str(Path(sysconfig.get_path("scripts"), "bundle-fix"))
OURS = os.environ.get("BUNDLE_FIX") or INSTALLED
"""The measured program: that of `make bench BUNDLE_FIX=…`, or the installed one."""
RUNPATH = "$ORIGIN/../lib:/opt/" + "x" * 100
SIZES = {"100 KB": 100 << 10, "10 MB": 10 << 20, "400 MB": 434 << 20}
BARS = {"400 MB": (0.15, 60.0)}
"""Limits of the ratio of wall times, and of the peak memory in MiB."""
DIRECTORIES = ("/usr/bin", "/usr/lib/x86_64-linux-gnu")
LEAST_IN_PLACE = 0.9
TIMES = 5


def build_library(directory: Path, size: int) -> Path:
    """Build a library with a sparse debug section of ``size`` bytes."""
    path, fill = directory / "libx.so", directory / "fill"
    source = directory / "x.c"
    source.write_text("int x(void) { return 7; }\n")
    flags = ["-shared", "-fPIC", "-Wl,-rpath,/opt/build/lib", "-Wl,-soname,libx.so.1"]
    subprocess.run(["cc", *flags, "-o", path, source], check=True)
    with fill.open("wb") as file:
        file.truncate(size)
    subprocess.run(["objcopy", "--add-section", f".debug_fill={fill}", path], check=True)
    fill.unlink()
    return path


def measure_best_on_copies(path: Path, command: list[str]) -> Run:
    """Return the best of several runs, each on a new copy that is written to disk before."""
    runs = []
    for _ in range(TIMES):
        copy = path.with_suffix(".copy")
        shutil.copy(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        runs.append(measure_command([*command, str(copy)]))
    return Run(
        min(r.seconds for r in runs),
        min(r.cpu_seconds for r in runs),
        max(r.mebibytes for r in runs),
    )


def print_costs(directory: Path) -> bool:
    """Print wall time and peak memory for every size, and return whether all limits hold."""
    sys.stdout.write(f"{'RUNPATH of a library of':24} {'ours':>16} {'patchelf':>16} {'ratio':>7}\n")
    good = True
    for name, size in SIZES.items():
        work = directory / name.replace(" ", "")
        work.mkdir()
        path = build_library(work, size)
        ours = measure_best_on_copies(
            path, [OURS, "elf", "-q", "--in-place", "--set-runpath", RUNPATH]
        )
        theirs = measure_best_on_copies(
            path, [find_patchelf() or "patchelf", "--set-rpath", RUNPATH]
        )
        ratio = ours.seconds / theirs.seconds
        bar = BARS.get(name)
        verdict = ""
        if bar is not None:
            is_within = ratio <= bar[0] and ours.mebibytes <= bar[1]
            verdict = f"  bar {bar[0]:.2f}, {bar[1]:.0f} MiB: {'ok' if is_within else 'MISSED'}"
            good &= is_within
        sys.stdout.write(
            f"{name:24} {ours.seconds:7.2f} s {ours.mebibytes:4.0f} MiB"
            f" {theirs.seconds:7.2f} s {theirs.mebibytes:4.0f} MiB {ratio:7.2f}{verdict}\n"
        )
    return good


def find_machine_files() -> Iterator[Path]:
    """Yield the dynamic ELF files of this machine that can be edited."""
    for directory in DIRECTORIES:
        for path in sorted(Path(directory).glob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            with PathContent(path, path.stat().st_size).open() as reader:
                try:
                    if is_elf(reader) and not find_refusal(reader, read_image(reader)):
                        yield path
                except DamagedElfError:
                    continue


def print_editors(directory: Path) -> bool:
    """Print the number of files per editor, and return whether enough are edited in place."""
    counts: Counter[str] = Counter()
    for path in find_machine_files():
        content = PathContent(path, path.stat().st_size)
        try:
            counts[edit_file(content, Changes(runpath=RUNPATH), directory, "inplace").editor] += 1
        except EditRefusedError:
            counts["lief, patchelf or none"] += 1
    total = sum(counts.values())
    share = (counts["slot"] + counts["table"] + counts[""]) / max(total, 1)
    summary = ", ".join(f"{name or 'nothing to do'} {n}" for name, n in counts.most_common())
    verdict = "ok" if share >= LEAST_IN_PLACE else "MISSED"
    sys.stdout.write(
        f"{total} ELF files of this machine get a longer RUNPATH: {summary}\n"
        f"by slot or table: {share:.1%}, bar {LEAST_IN_PLACE:.0%}: {verdict}\n"
    )
    return share >= LEAST_IN_PLACE


def main() -> int:
    """Print both tables, and return 1 if a limit was exceeded."""
    with tempfile.TemporaryDirectory() as directory:
        costs = print_costs(Path(directory))
        editors = print_editors(Path(directory))
    return int(not (costs and editors))


if __name__ == "__main__":
    sys.exit(main())
