"""Makes the table of docs/elf-editing.md: what each editor does to the same files.

Run from the project's folder as ``python -m benchmarks.compare_editors``. The files are the native
cells of the test matrix and every n-th program of this machine; nothing but the editors' results is
judged, the check that would throw a bad one away is not in between.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lief

from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.lief import rewrite_with_lief
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.model.content import PathContent, read_chunks
from bundle_fix.model.errors import BundleFixError

RUNPATH = "$ORIGIN/../lib:/opt/" + "x" * 100
CHANGES = Changes(runpath=RUNPATH)
LOADER = "/lib64/ld-linux-x86-64.so.2"
PROGRAMS = 120
SYMBOLS = ("main", "inner", "own_library_lib")
FACTS = ("written", "keeps invariants", "loads", "source lines", "loads after strip", "no new lint")


@dataclass
class Score:
    """How many files of a set an editor kept sound, by fact; seconds and bytes in all."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    growth: int = 0


def in_place(source: Path, target: Path) -> None:
    """Slot and table."""
    content = PathContent(source, source.stat().st_size)
    edited = edit_file(content, CHANGES, target.parent, "inplace")
    with edited.content.open() as reader, target.open("wb") as file:
        file.writelines(read_chunks(reader))


def lief_alone(source: Path, target: Path) -> None:
    """LIEF as its tutorial uses it."""
    binary = lief.ELF.parse(str(source))
    if binary is None:
        raise BundleFixError("LIEF cannot read it", where=str(source))
    entry = binary.get(lief.ELF.DynamicEntry.TAG.RUNPATH)
    if isinstance(entry, lief.ELF.DynamicEntryRunPath):
        entry.runpath = RUNPATH
    else:
        binary.add(lief.ELF.DynamicEntryRunPath(RUNPATH))
    binary.write(str(target))


def lief_in_a_gap(source: Path, target: Path) -> None:
    """LIEF with its program headers in a gap between segments."""
    rewrite_with_lief(source, target, CHANGES)


def patchelf(source: Path, target: Path) -> None:
    """The program."""
    shutil.copyfile(source, target)
    command = [find_patchelf() or "patchelf", "--set-rpath", RUNPATH, str(target)]
    subprocess.run(command, check=True, capture_output=True)


EDITORS: dict[str, Callable[[Path, Path], None]] = {
    "slot and table": in_place,
    "LIEF": lief_alone,
    "LIEF, SEGMENT_GAP": lief_in_a_gap,
    "patchelf": patchelf,
}


def said(*command: str | Path) -> str:
    """What a tool prints on both streams."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False
    )
    return done.stdout + done.stderr


def loads(path: Path, search: Path) -> bool:
    """Whether the loader maps the file, and what it needs from ``search``, and binds all of it."""
    command = ["env", "LD_BIND_NOW=1", f"LD_LIBRARY_PATH={search}", LOADER, "--list", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def line_of(path: Path, symbol: str) -> str:
    """The source line of a symbol."""
    return said("eu-addr2line", "-e", path, symbol)


def lint(path: Path) -> set[str]:
    """What eu-elflint finds wrong, without numbers."""
    text = said("eu-elflint", "--gnu-ld", path).replace(str(path), "")
    return {"".join(c for c in line if not c.isdigit()) for line in text.splitlines()}


def search_for(path: Path) -> Path:
    """The folder of the libraries that came with a program."""
    return path.parents[1] / "lib"


def facts(source: Path, target: Path, search: Path) -> Iterator[str]:
    """What holds of an edited file that held of the file before."""
    yield "written"
    one, two = (PathContent(path, path.stat().st_size) for path in (source, target))
    with one.open() as before, two.open() as after:
        try:
            read_image(after)
            if next(iter(find_broken_invariants(before, after, CHANGES)), None) is None:
                yield "keeps invariants"
        except BundleFixError:
            pass
    if loads(target, search):
        yield "loads"
    if all(line_of(target, symbol) == line_of(source, symbol) for symbol in SYMBOLS):
        yield "source lines"
    if not lint(target) - lint(source):
        yield "no new lint"
    subprocess.run(["strip", str(target)], capture_output=True, check=False)
    if loads(target, search):
        yield "loads after strip"


def judge(files: list[Path], work: Path) -> dict[str, Score]:
    """The score of every editor on some files."""
    scores = {name: Score() for name in EDITORS}
    for path in files:
        for name, editor in EDITORS.items():
            target = work / "edited"
            target.unlink(missing_ok=True)
            start = time.perf_counter()
            try:
                editor(path, target)
            except Exception:  # noqa: S112 (LIEF raises what it likes; it counts as no)
                continue
            finally:
                scores[name].seconds += time.perf_counter() - start
            if not target.exists() or not target.stat().st_size:
                continue
            scores[name].growth += target.stat().st_size - path.stat().st_size
            target.chmod(0o755)
            scores[name].counts.update(facts(path, target, search_for(path)))
    return scores


def cells(work: Path) -> list[Path]:
    """The native members of the test matrix that load before an edit."""
    sys.path[:0] = ["tests", "tests/unit"]
    from elf.matrix import CELLS, build

    found = []
    for number, cell in enumerate(CELLS.values()):
        if not cell.machine and cell.starts and not cell.headerless:
            found += build(cell, work / str(number)).files
    return [path for path in found if loads(path, search_for(path))]


def programs() -> list[Path]:
    """Every n-th dynamic program of this machine."""
    found = [p for p in sorted(Path("/usr/bin").iterdir()) if p.is_file() and not p.is_symlink()]
    dynamic = [p for p in found if loads(p, search_for(p))]
    return dynamic[:: max(1, len(dynamic) // PROGRAMS)][:PROGRAMS]


def table(title: str, count: int, scores: dict[str, Score]) -> str:
    """One table in Markdown."""
    lines = [f"| {title} ({count} files) | {' | '.join(FACTS)} | ms a file | KiB grown |"]
    lines.append("|---|" + "--:|" * (len(FACTS) + 2))
    for name, score in scores.items():
        written = max(score.counts["written"], 1)
        cells = [str(score.counts[fact]) for fact in FACTS]
        cells += [f"{1000 * score.seconds / count:.0f}", f"{score.growth / written / 1024:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print both tables."""
    lief.logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        built, own = cells(work), programs()
        sys.stdout.write(table("The test matrix", len(built), judge(built, work)) + "\n")
        sys.stdout.write(table("This machine's programs", len(own), judge(own, work)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
