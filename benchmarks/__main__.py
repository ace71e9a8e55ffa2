"""Prints every bar of the design: the job, our time, theirs, the ratio, and the bar."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import best
from benchmarks.symbols import make_pack
from bundle_fix.processors import cores

MIB = 1 << 20
TREE_SIZE = 320 * MIB
PACKED_SIZE = 500 * MIB
MANY = 450
PACKS = 200
OURS = str(Path(sysconfig.get_path("scripts"), "bundle-fix"))


@dataclass(frozen=True)
class Row:
    """One line of the table; ``bar`` is the greatest ratio that is good enough."""

    job: str
    ours: float
    theirs: float
    bar: float
    memory: float

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        verdict = "ok" if ratio <= self.bar else "MISSED"
        return (
            f"{self.job:34} {self.ours:8.2f} s {self.theirs:8.2f} s"
            f" {ratio:6.2f}   {self.bar:5.2f} {verdict:6} {self.memory:6.0f} MiB"
        )


def make_tree(root: Path, wanted_size: int = TREE_SIZE) -> None:
    """A pack of about ``wanted_size`` bytes of this machine's files: many small, few large."""
    folders = {"lib": [*Path("/usr/lib").glob("*-linux-gnu*")], "bin": [Path("/usr/bin")]}
    found = [
        (path.stat().st_size, name, path)
        for name, sources in folders.items()
        for source in sources
        for path in source.glob("*")
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK)
    ]
    total = 0
    for number, (size, name, path) in enumerate(sorted(found)[::-1]):
        # Every fifth file of the larger half, and all of the smaller.
        wanted = number % 5 == 0 or number > len(found) // 2
        if wanted and total < wanted_size:
            (root / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / name / path.name)
            total += size


def make_many(root: Path) -> None:
    """A pack of `MANY` ELF files of this machine, of all sizes up to 8 MiB, the common case."""
    found = [Path(path) for folder in ("/usr/bin", "/usr/lib") for path in elf_files(Path(folder))]
    small = [path for path in found if path.stat().st_size <= 8 * MIB]
    step = max(1, len(small) // MANY)
    for number, path in enumerate(small[::step][:MANY]):
        folder = root / ("bin" if path.parent.name == "bin" else f"lib/{number % 5}")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)


def make_packs(root: Path, many: Path) -> list[str]:
    """`PACKS` small packs, each of a few of the files in ``many``."""
    found = [Path(path) for path in elf_files(many)]
    small = sorted(found, key=lambda path: path.stat().st_size)[: len(found) // 2]
    root.mkdir()
    packs = []
    for number in range(PACKS):
        packs.append(str(root / f"{number}.tar.gz"))
        members = [path.relative_to(many) for path in small[number % 50 :: 50]]
        subprocess.run(["tar", "czf", packs[-1], "-C", many, *members], check=True)
    return packs


def packs_row(work: Path, many: Path) -> Row:
    """`check` of many packs on all cores against one after the other."""
    packs = make_packs(work / "packs", many)
    alone = best([OURS, "check", "-j", "1", *packs])
    together = best([OURS, "check", *packs])
    # What is left of the ideal is the start, and the processes that share the cores' memory.
    bar = min(1.1, 1.4 / cores())
    return Row(f"check, {PACKS} packs : with -j 1", together.seconds, alone.seconds, bar,
        together.mebibytes)  # fmt: skip


def elf_files(root: Path) -> list[str]:
    """The dynamic ELF files below ``root``."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
            continue
        if path.open("rb").read(4) == b"\x7fELF":
            found.append(str(path))
    return found


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


def pack_row(work: Path) -> Row:
    """`pack` against what a script does with the same tree: copy, patchelf on each file, tar."""
    tree = work / "build"
    make_tree(tree, PACKED_SIZE)
    (tree / "bundle.toml").write_text(SPEC)
    theirs = best(
        f"cp -Lr {tree} {work}/c && find {work}/c -type f |"
        " while read f; do patchelf --set-rpath '$ORIGIN/../lib' $f; done;"
        f" tar czf {work}/c.tar.gz -C {work} c; rm -rf {work}/c",
        1,
    )
    ours = best([OURS, "pack", "--force", str(tree / "bundle.toml"), "-o", f"{work}/p.tar.gz"], 1)
    shutil.rmtree(tree)
    return Row("pack 500 MB : cp+patchelf+tar", ours.seconds, theirs.seconds, 0.35, ours.mebibytes)


def size_row(original: Path, mended: Path) -> str:
    """How the size of what `fix` wrote compares with that of what ``gzip -6`` wrote."""
    ours, theirs = mended.stat().st_size, original.stat().st_size
    verdict = "ok" if ours <= 1.02 * theirs else "MISSED"
    return f"size of fixed.tar.gz : gzip -6 {ours / theirs:31.3f}    1.02 {verdict}"


def rows(work: Path) -> list[Row]:
    """Measure everything."""
    tree = work / "pack"
    make_tree(tree)
    files = work / "files"
    files.write_text("\n".join(elf_files(tree)))
    many, many_files = work / "many", work / "many-files"
    make_many(many)
    many_files.write_text("\n".join(elf_files(many)))
    tarball = work / "pack.tar.gz"
    subprocess.run(["tar", "czf", tarball, "-C", work, "pack"], check=True)
    readelf = best(f"while read f; do readelf -d $f; done < {many_files}")
    check_many = best([OURS, "check", str(many)])
    gzip = best(["gzip", "-dc", str(tarball)])
    check = best([OURS, "check", str(tarball)])
    by_hand = best(
        f"mkdir {work}/u && tar xzf {tarball} -C {work}/u && sed s,{work},{work}/u, {files} |"
        " while read f; do patchelf --set-rpath '$ORIGIN/../lib' $f; done;"
        f" tar czf {work}/by-hand.tar.gz -C {work}/u pack; rm -rf {work}/u",
        1,
    )
    mend = best([OURS, "fix", "--force", str(tarball), "-o", str(work / "fixed.tar.gz")], 1)
    many_symbols = work / "symbols"
    libraries = make_pack(many_symbols)
    symbols = best([OURS, "check", "--glibc", "2.17", str(many_symbols)])
    listing = best(["readelf", "-Ws", "--dyn-syms", *map(str, libraries)])
    sys.stdout.write(f"{size_row(tarball, work / 'fixed.tar.gz')}\n")
    python, version = best([sys.executable, "-c", "pass"], 9), best([OURS, "--version"], 9)
    return [
        Row("check X.tar.gz : gzip -dc", check.seconds, gzip.seconds, 0.6, check.mebibytes),
        Row("check DIR : readelf -d each", check_many.seconds, readelf.seconds, 0.5,
            check_many.mebibytes),
        Row("fix X.tar.gz : tar+patchelf+tar", mend.seconds, by_hand.seconds, 0.35,
            mend.mebibytes),
        pack_row(work),
        packs_row(work, many),
        Row("check, 100,000 symbols : readelf", symbols.seconds, listing.seconds, 4.0,
            symbols.mebibytes),
        Row("--version : python -c pass, + 60 ms", version.seconds, python.seconds + 0.06, 1.0,
            version.mebibytes),
    ]  # fmt: skip


def main() -> int:
    """Print the table; the status is 1 where a bar was missed."""
    with tempfile.TemporaryDirectory() as folder:
        measured = rows(Path(folder))
    sys.stdout.write(f"{'job':34} {'ours':>10} {'theirs':>10}  ratio    bar        memory\n")
    for row in measured:
        sys.stdout.write(f"{row}\n")
    return int(any(row.ours / row.theirs > row.bar for row in measured))


sys.exit(main())
