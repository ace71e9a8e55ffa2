"""Print each job with our time, that of other tools, the ratio and its limit."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Run, measure_best
from benchmarks.symbols import build_symbol_pack
from benchmarks.trees import MIB, PACKS, list_elf_files, make_common_pack, make_packs, make_tree
from bundle_fix.subprocesses.processors import count_cores

TREE_SIZE = 320 * MIB
PACKED_SIZE = 500 * MIB
MEMORY = 1.25
"""Limit of the memory ratio for a member of a thousand times the size."""
VERDICTS = {False: "ok", True: "MISSED"}
OURS = str(Path(sysconfig.get_path("scripts"), "bundle-fix"))


@dataclass(frozen=True)
class Row:
    """One line of the table; ``bar`` is the largest accepted ratio, if there is one."""

    job: str
    ours: float
    theirs: float
    bar: float | None
    memory: float

    @property
    def is_missed(self) -> bool:
        """Return whether the ratio exceeds the bar."""
        return self.bar is not None and self.ours / self.theirs > self.bar

    def __str__(self) -> str:
        bar = (
            "  -         " if self.bar is None else f"{self.bar:5.2f} {VERDICTS[self.is_missed]:6}"
        )
        return (
            f"{self.job:34} {self.ours:8.2f} s {self.theirs:8.2f} s"
            f" {self.ours / self.theirs:6.2f}   {bar} {self.memory:6.0f} MiB"
        )


def measure_packs(work: Path, many: Path) -> Row:
    """Compare `check` of many packs on all cores with one after the other."""
    packs = make_packs(work / "packs", many)
    alone = measure_best([OURS, "check", "-j", "1", *packs])
    together = measure_best([OURS, "check", *packs])
    # The start of the processes and the shared memory bandwidth keep it from the ideal 1/cores.
    bar = min(1.1, 1.4 / count_cores())
    return Row(f"check, {PACKS} packs : with -j 1", together.seconds, alone.seconds, bar,
        together.mebibytes)  # fmt: skip


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
    return Row("pack 500 MB : cp+patchelf+tar", ours.seconds, theirs.seconds, 0.35, ours.mebibytes)


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
        found.append(Row(job, ours.seconds, theirs.seconds, None, ours.mebibytes))
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


def measure_all(work: Path) -> list[Row]:
    """Measure all jobs, and return the lines of the table."""
    tree = work / "pack"
    make_tree(tree, TREE_SIZE)
    files = work / "files"
    files.write_text("\n".join(list_elf_files(tree)))
    many, many_files = work / "many", work / "many-files"
    make_common_pack(many)
    many_files.write_text("\n".join(list_elf_files(many)))
    # Memory first: ru_maxrss of a command is at least that of the process that forked it, which
    # grows (getrusage(2)).
    force = ("--force", "-o", f"{work}/sparse.fixed.tar.gz")
    for line in (measure_memory(work, "check"), measure_memory(work, "fix", *force)):
        sys.stdout.write(f"{line}\n")
    tarball = work / "pack.tar.gz"
    subprocess.run(["tar", "czf", tarball, "-C", work, "pack"], check=True)
    readelf = measure_best(f"while read f; do readelf -d $f; done < {many_files}")
    check_many = measure_best([OURS, "check", str(many)])
    gzip = measure_best(["gzip", "-dc", str(tarball)])
    check = measure_best([OURS, "check", str(tarball)])
    by_hand = measure_best(
        f"mkdir {work}/u && tar xzf {tarball} -C {work}/u && sed s,{work},{work}/u, {files} |"
        " while read f; do patchelf --set-rpath '$ORIGIN/../lib' $f; done;"
        f" tar czf {work}/by-hand.tar.gz -C {work}/u pack; rm -rf {work}/u",
        2,
    )
    fix = measure_best([OURS, "fix", "--force", str(tarball), "-o", str(work / "fixed.tar.gz")], 2)
    many_symbols = work / "symbols"
    libraries = build_symbol_pack(many_symbols)
    symbols = measure_best([OURS, "check", "--glibc", "2.17", str(many_symbols)])
    listing = measure_best(["readelf", "-Ws", "--dyn-syms", *map(str, libraries)])
    sys.stdout.write(f"{compare_size(tarball, work / 'fixed.tar.gz')}\n")
    python, version = (
        measure_best([sys.executable, "-c", "pass"], 9),
        measure_best([OURS, "--version"], 9),
    )
    return [
        Row("check X.tar.gz : gzip -dc", check.seconds, gzip.seconds, 0.6, check.mebibytes),
        Row("check DIR : readelf -d each", check_many.seconds, readelf.seconds, 0.5,
            check_many.mebibytes),
        Row("fix X.tar.gz : tar+patchelf+tar", fix.seconds, by_hand.seconds, 0.35,
            fix.mebibytes),
        *measure_other_compressions(work),
        measure_pack(work),
        measure_packs(work, many),
        Row("check, 100,000 symbols : readelf", symbols.seconds, listing.seconds, 4.0,
            symbols.mebibytes),
        Row("--version : python -c pass, + 60 ms", version.seconds, python.seconds + 0.06, 1.0,
            version.mebibytes),
    ]  # fmt: skip


def main() -> int:
    """Print the table, and return 1 if a bar was missed."""
    with tempfile.TemporaryDirectory() as directory:
        measured = measure_all(Path(directory))
    sys.stdout.write(f"{'job':34} {'ours':>10} {'theirs':>10}  ratio    bar        memory\n")
    for row in measured:
        sys.stdout.write(f"{row}\n")
    return int(any(row.is_missed for row in measured))


if __name__ == "__main__":
    sys.exit(main())
