"""Times one edit of one library, ours against patchelf on a copy of the same file.

Run as ``python -m benchmarks.elf_edit``. It also counts which editor takes how many of this
machine's own ELF files.
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

from benchmarks.measure import Run, run
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file, find_refusal
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.parser import is_elf, read_image
from bundle_fix.model.content import PathContent

OURS = str(Path(sysconfig.get_path("scripts"), "bundle-fix"))
RUNPATH = "$ORIGIN/../lib:/opt/" + "x" * 100
SIZES = {"100 KB": 100 << 10, "10 MB": 10 << 20, "400 MB": 434 << 20}
BARS = {"400 MB": (0.15, 60.0)}
"""The greatest good ratio of wall times, and the greatest good peak memory in MiB."""
FOLDERS = ("/usr/bin", "/usr/lib/x86_64-linux-gnu")
LEAST_IN_PLACE = 0.9
TIMES = 5


def library(folder: Path, size: int) -> Path:
    """A library with a sparse debug section of ``size`` bytes."""
    path, fill = folder / "libx.so", folder / "fill"
    source = folder / "x.c"
    source.write_text("int x(void) { return 7; }\n")
    flags = ["-shared", "-fPIC", "-Wl,-rpath,/opt/build/lib", "-Wl,-soname,libx.so.1"]
    subprocess.run(["cc", *flags, "-o", path, source], check=True)
    with fill.open("wb") as file:
        file.truncate(size)
    subprocess.run(["objcopy", "--add-section", f".debug_fill={fill}", path], check=True)
    fill.unlink()
    return path


def best_on_copies(path: Path, command: list[str]) -> Run:
    """The quickest of several runs, each on a fresh copy, which is on the disk before it starts."""
    runs = []
    for _ in range(TIMES):
        copy = path.with_suffix(".copy")
        shutil.copy(path, copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        runs.append(run([*command, str(copy)]))
    return Run(min(r.seconds for r in runs), max(r.mebibytes for r in runs))


def print_costs(folder: Path) -> bool:
    """Print wall time and peak memory for every size; whether all bars hold."""
    sys.stdout.write(f"{'RUNPATH of a library of':24} {'ours':>16} {'patchelf':>16} {'ratio':>7}\n")
    good = True
    for name, size in SIZES.items():
        place = folder / name.replace(" ", "")
        place.mkdir()
        path = library(place, size)
        ours = best_on_copies(path, [OURS, "elf", "-q", "--in-place", "--set-runpath", RUNPATH])
        theirs = best_on_copies(path, [find_patchelf() or "patchelf", "--set-rpath", RUNPATH])
        ratio = ours.seconds / theirs.seconds
        bar = BARS.get(name)
        verdict = ""
        if bar is not None:
            holds = ratio <= bar[0] and ours.mebibytes <= bar[1]
            verdict = f"  bar {bar[0]:.2f}, {bar[1]:.0f} MiB: {'ok' if holds else 'MISSED'}"
            good &= holds
        sys.stdout.write(
            f"{name:24} {ours.seconds:7.2f} s {ours.mebibytes:4.0f} MiB"
            f" {theirs.seconds:7.2f} s {theirs.mebibytes:4.0f} MiB {ratio:7.2f}{verdict}\n"
        )
    return good


def machine_files() -> Iterator[Path]:
    """This machine's own dynamic ELF files that an editor may touch."""
    for folder in FOLDERS:
        for path in sorted(Path(folder).glob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            with PathContent(path, path.stat().st_size).open() as reader:
                try:
                    if is_elf(reader) and not find_refusal(reader, read_image(reader)):
                        yield path
                except DamagedElfError:
                    continue


def print_editors(folder: Path) -> bool:
    """Print which editor gives how many files a longer RUNPATH; whether enough need no copy."""
    taken: Counter[str] = Counter()
    for path in machine_files():
        content = PathContent(path, path.stat().st_size)
        try:
            taken[edit_file(content, Changes(runpath=RUNPATH), folder, "inplace").editor] += 1
        except EditRefusedError:
            taken["lief, patchelf or none"] += 1
    total = sum(taken.values())
    share = (taken["slot"] + taken["table"] + taken[""]) / max(total, 1)
    listed = ", ".join(f"{name or 'nothing to do'} {n}" for name, n in taken.most_common())
    verdict = "ok" if share >= LEAST_IN_PLACE else "MISSED"
    sys.stdout.write(
        f"{total} ELF files of this machine get a longer RUNPATH: {listed}\n"
        f"by slot or table: {share:.1%}, bar {LEAST_IN_PLACE:.0%}: {verdict}\n"
    )
    return share >= LEAST_IN_PLACE


def main() -> int:
    """Print both tables; the status is 1 where a bar was missed."""
    with tempfile.TemporaryDirectory() as folder:
        costs = print_costs(Path(folder))
        editors = print_editors(Path(folder))
    return int(not (costs and editors))


if __name__ == "__main__":
    sys.exit(main())
