"""Print each job with our time, that of other tools, the ratio and its limit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.elf_edit import OURS, RUNPATH, SIZES, build_library, measure_best_on_copies
from benchmarks.measure import Run, measure_best
from benchmarks.symbols import build_symbol_pack
from benchmarks.trees import MIB, PACKS, list_elf_files, make_common_pack, make_packs, make_tree
from bundle_fix.subprocesses.processors import count_cores

TREE_SIZE = 320 * MIB
PACKED_SIZE = 500 * MIB
MEMORY = 1.25
"""Limit of the memory ratio for a member of a thousand times the size."""
VERDICTS = {False: "ok", True: "MISSED"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``bar`` is the largest accepted ratio of wall times, ``cpu_bar`` that of CPU times, if there is
    one. ``allowance`` are seconds that the other tool's time is increased by.
    """

    job: str
    ours: Run
    theirs: Run
    bar: float | None = None
    cpu_bar: float | None = None
    allowance: float = 0.0

    @property
    def ratio(self) -> float:
        """The ratio of wall times."""
        return self.ours.seconds / (self.theirs.seconds + self.allowance)

    @property
    def cpu_ratio(self) -> float:
        """The ratio of CPU times."""
        return self.ours.cpu_seconds / (self.theirs.cpu_seconds + self.allowance)

    @property
    def is_missed(self) -> bool:
        """Return whether a ratio exceeds its bar."""
        pairs = ((self.ratio, self.bar), (self.cpu_ratio, self.cpu_bar))
        return any(bar is not None and ratio > bar for ratio, bar in pairs)

    def __str__(self) -> str:
        bars = [(self.bar, ""), (self.cpu_bar, " cpu")]
        limits = ", ".join(f"{bar:.2f}{unit}" for bar, unit in bars if bar is not None)
        verdict = VERDICTS[self.is_missed] if limits else ""
        return (
            f"{self.job:38} {self.ours.seconds:7.2f} s {self.theirs.seconds:7.2f} s"
            f" {self.ratio:6.2f} {self.cpu_ratio:6.2f}   {limits or '-':9} {verdict:6}"
            f" {self.ours.mebibytes:6.0f} MiB"
        )


def measure_packs(work: Path, many: Path) -> Row:
    """Compare `check` of many packs on all cores with one after the other."""
    packs = make_packs(work / "packs", many)
    alone = measure_best([OURS, "check", "-j", "1", *packs])
    together = measure_best([OURS, "check", *packs])
    # The start of the processes and the shared memory bandwidth keep it from the ideal 1/cores.
    bar = min(1.1, 1.4 / count_cores())
    return Row(f"check, {PACKS} packs : with -j 1", together, alone, bar)


SPEC = """
[bundle]
name = "pack"
[[files]]
from = "bin/*"
to = "bin/"
optional = true
[[files]]
from = "lib/*"
to = "lib/"
[closure]
host = ["*"]
"""


def measure_pack(work: Path) -> Row:
    """Compare `pack` with a script for the same tree: copy, patchelf on each file, tar."""
    tree = work / "build"
    make_tree(tree, PACKED_SIZE)
    (tree / "bundle.toml").write_text(SPEC)
    theirs = measure_best(
        f"cp -Lr {tree} {work}/c && find {work}/c -type f |"
        " while read f; do patchelf --set-rpath '$ORIGIN/../lib' $f; done;"
        f" tar czf {work}/c.tar.gz -C {work} c; rm -rf {work}/c",
        2,
    )
    ours = measure_best(
        [OURS, "pack", "--force", str(tree / "bundle.toml"), "-o", f"{work}/p.tar.gz"], 2
    )
    shutil.rmtree(tree)
    return Row("pack 500 MB : cp+patchelf+tar", ours, theirs, 0.35)


def compare_size(original: Path, fixed: Path) -> str:
    """Compare the size of the output of `fix` with that of ``gzip -6``."""
    ours, theirs = fixed.stat().st_size, original.stat().st_size
    verdict = "ok" if ours <= 1.03 * theirs else "MISSED"
    return f"size of fixed.tar.gz : gzip -6 {ours / theirs:31.3f}    1.03 {verdict}"


def measure_other_compressions(work: Path) -> list[Row]:
    """Compare `check` of the same tree, compressed with zstd and xz, with decompression alone."""
    found = []
    for tool, suffix in (("zstd", "zst"), ("xz", "xz")):
        tarball = work / f"pack.tar.{suffix}"
        with tarball.open("wb") as file:
            tar = subprocess.Popen(["tar", "cf", "-", "-C", work, "pack"], stdout=subprocess.PIPE)
            subprocess.run([tool, "-T0", "-3", "-c"], stdin=tar.stdout, stdout=file, check=True)
        ours, theirs = (
            measure_best([OURS, "check", str(tarball)]),
            measure_best([tool, "-dc", str(tarball)]),
        )
        job = f"check X.tar.{suffix} : {tool} -dc"
        found.append(Row(job, ours, theirs))
    return found


def measure_memory(work: Path, command: str, *more: str) -> str:
    """Compare the peak memory with a sparse member of 2 GB with that of 2 MB."""
    peaks: list[Run] = []
    for size in ("2M", "2G"):
        subprocess.run(["truncate", "-s", size, work / "member"], check=True)
        tarball = work / f"sparse{size}.tar.gz"
        subprocess.run(["tar", "cSzf", tarball, "-C", work, "member", "many/lib/0"], check=True)
        peaks.append(measure_best([OURS, command, *more, str(tarball)], 1))
    (work / "member").unlink()
    small, large = (peak.mebibytes for peak in peaks)
    verdict = VERDICTS[large > MEMORY * small]
    job = f"memory of {command}, 2 GB member : 2 MB"
    return (
        f"{job:34} {large:6.0f} MiB {small:6.0f} MiB {large / small:6.2f}   {MEMORY:5.2f} {verdict}"
    )


def measure_directory(work: Path) -> list[Row]:
    """Compare `check` of a directory with ldd and lddtree, once for each program."""
    many = work / "many"
    programs = " ".join(list_elf_files(many / "bin"))
    check = measure_best([OURS, "check", str(many)])
    ldd = measure_best(f"for f in {programs}; do ldd $f; done; true")
    rows = [Row("check DIR : ldd of each program", check, ldd, 0.7)]
    if shutil.which("lddtree") is None:
        sys.stdout.write("skipped: lddtree is not installed (package pax-utils)\n")
        return rows
    lddtree = measure_best(f"for f in {programs}; do lddtree $f; done; true", 1)
    return [*rows, Row("check DIR : lddtree of each program", check, lddtree, cpu_bar=0.1)]


def measure_fix(work: Path, tarball: Path, files: Path) -> Row:
    """Compare `fix` of a tarball with tar and patchelf on each file."""
    by_hand = measure_best(
        f"mkdir {work}/u && tar xzf {tarball} -C {work}/u && sed s,{work},{work}/u, {files} |"
        " while read f; do patchelf --set-rpath '$ORIGIN/../lib' $f; done;"
        f" tar czf {work}/by-hand.tar.gz -C {work}/u pack; rm -rf {work}/u",
        2,
    )
    fix = measure_best([OURS, "fix", "--force", str(tarball), "-o", str(work / "fixed.tar.gz")], 2)
    return Row("fix X.tar.gz : tar+patchelf+tar", fix, by_hand, 0.35)


def measure_symbols(work: Path) -> Row:
    """Compare `check` of libraries with 100,000 symbols with readelf."""
    directory = work / "symbols"
    libraries = build_symbol_pack(directory)
    check = measure_best([OURS, "check", "--glibc", "2.17", str(directory)])
    listing = measure_best(["readelf", "-Ws", "--dyn-syms", *map(str, libraries)])
    return Row("check, 100,000 symbols : readelf", check, listing, 4.0)


def measure_start() -> Row:
    """Compare the start of the program with that of Python."""
    python = measure_best([sys.executable, "-c", "pass"], 9)
    version = measure_best([OURS, "--version"], 9)
    return Row("--version : python -c pass, + 60 ms", version, python, 1.0, allowance=0.06)


def measure_small_edit(work: Path) -> Row:
    """Compare the edit of a library of 100 KB with the start of Python."""
    library = build_library(work, SIZES["100 KB"])
    edit = [OURS, "elf", "-q", "--set-runpath", RUNPATH, "-o", f"{work}/edited.so", str(library)]
    python = measure_best([sys.executable, "-c", "pass"], 9)
    ours = measure_best(edit, 9)
    return Row("elf, 100 KB : python -c pass, + 60 ms", ours, python, cpu_bar=1.0, allowance=0.06)


def measure_large_edit(work: Path) -> Row:
    """Compare the edit of a library of 400 MB with patchelf."""
    library = build_library(work, SIZES["400 MB"])
    ours = measure_best_on_copies(
        library, [OURS, "elf", "-q", "--in-place", "--set-runpath", RUNPATH]
    )
    theirs = measure_best_on_copies(library, ["patchelf", "--set-rpath", RUNPATH])
    library.unlink()
    return Row("elf, 400 MB : patchelf", ours, theirs, 0.15)


def measure_all(work: Path) -> list[Row]:
    """Measure all jobs, and return the lines of the table."""
    tree = work / "pack"
    make_tree(tree, TREE_SIZE)
    files = work / "files"
    files.write_text("\n".join(list_elf_files(tree)))
    make_common_pack(work / "many")
    # Memory first: ru_maxrss of a command is at least that of the process that forked it, which
    # grows (getrusage(2)).
    force = ("--force", "-o", f"{work}/sparse.fixed.tar.gz")
    for line in (measure_memory(work, "check"), measure_memory(work, "fix", *force)):
        sys.stdout.write(f"{line}\n")
    tarball = work / "pack.tar.gz"
    subprocess.run(["tar", "czf", tarball, "-C", work, "pack"], check=True)
    gzip = measure_best(["gzip", "-dc", str(tarball)])
    check = measure_best([OURS, "check", str(tarball)])
    rows = [
        Row("check X.tar.gz : gzip -dc", check, gzip, 0.6),
        *measure_directory(work),
        measure_fix(work, tarball, files),
        *measure_other_compressions(work),
        measure_pack(work),
        measure_packs(work, work / "many"),
        measure_symbols(work),
        measure_start(),
        measure_small_edit(work),
        measure_large_edit(work),
    ]
    sys.stdout.write(f"{compare_size(tarball, work / 'fixed.tar.gz')}\n")
    return rows


def main() -> int:
    """Print the table, and return 1 if a bar was missed."""
    with tempfile.TemporaryDirectory() as directory:
        measured = measure_all(Path(directory))
    header = f"{'job':38} {'ours':>9} {'theirs':>9}  ratio    cpu   bar               memory"
    sys.stdout.write(f"{header}\n")
    for row in measured:
        sys.stdout.write(f"{row}\n")
    return int(any(row.is_missed for row in measured))


if __name__ == "__main__":
    sys.exit(main())
