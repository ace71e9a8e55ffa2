"""Print the tables of docs/elf-editing.md: the results of each editor on the same files.

Run from the project's directory as ``python -m benchmarks.compare_editors``. The files are the
native cells of the test matrix and every n-th program of this machine. The raw results of the
editors are examined, without the verification that would reject a bad one.
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
    """Number of files of a set for which each fact holds; seconds and added bytes in total."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    growth: int = 0


def edit_in_place(source: Path, target: Path) -> None:
    """Edit with the editors slot and table."""
    content = PathContent(source, source.stat().st_size)
    edited = edit_file(content, CHANGES, target.parent, "inplace")
    with edited.content.open() as reader, target.open("wb") as file:
        file.writelines(read_chunks(reader))


def edit_with_segment(source: Path, target: Path) -> None:
    """Edit with the editor segment, also where the others would do."""
    content = PathContent(source, source.stat().st_size)
    edited = edit_file(content, CHANGES, target.parent, "segment")
    with edited.content.open() as reader, target.open("wb") as file:
        file.writelines(read_chunks(reader))


def edit_with_lief(source: Path, target: Path) -> None:
    """Edit with LIEF as in its tutorial."""
    binary = lief.ELF.parse(str(source))
    if binary is None:
        raise BundleFixError("LIEF cannot read it", where=str(source))
    entry = binary.get(lief.ELF.DynamicEntry.TAG.RUNPATH)
    if isinstance(entry, lief.ELF.DynamicEntryRunPath):
        entry.runpath = RUNPATH
    else:
        binary.add(lief.ELF.DynamicEntryRunPath(RUNPATH))
    binary.write(str(target))


def edit_with_lief_in_gap(source: Path, target: Path) -> None:
    """Edit with LIEF; its program headers are moved to a gap between segments."""
    rewrite_with_lief(source, target, CHANGES)


def edit_with_patchelf(source: Path, target: Path) -> None:
    """Edit with the program patchelf."""
    shutil.copyfile(source, target)
    command = [find_patchelf() or "patchelf", "--set-rpath", RUNPATH, str(target)]
    subprocess.run(command, check=True, capture_output=True)


EDITORS: dict[str, Callable[[Path, Path], None]] = {
    "slot and table": edit_in_place,
    "segment": edit_with_segment,
    "LIEF": edit_with_lief,
    "LIEF, SEGMENT_GAP": edit_with_lief_in_gap,
    "patchelf": edit_with_patchelf,
}


def run_tool(*command: str | Path) -> str:
    """Run a tool, and return its output on both streams."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False
    )
    return done.stdout + done.stderr


def is_loadable(path: Path, search: Path) -> bool:
    """Return whether the loader loads the file and libraries in ``search``, all symbols bound."""
    command = ["env", "LD_BIND_NOW=1", f"LD_LIBRARY_PATH={search}", LOADER, "--list", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def find_source_line(path: Path, symbol: str) -> str:
    """Return the source line of a symbol."""
    return run_tool("eu-addr2line", "-e", path, symbol)


def list_lint(path: Path) -> set[str]:
    """Return the messages of eu-elflint, without digits."""
    text = run_tool("eu-elflint", "--gnu-ld", path).replace(str(path), "")
    return {"".join(c for c in line if not c.isdigit()) for line in text.splitlines()}


def find_library_directory(path: Path) -> Path:
    """Return the directory of the libraries of a program."""
    return path.parents[1] / "lib"


def find_facts(source: Path, target: Path, search: Path) -> Iterator[str]:
    """Yield each of `FACTS` that holds for the edited file."""
    yield "written"
    one, two = (PathContent(path, path.stat().st_size) for path in (source, target))
    with one.open() as before, two.open() as after:
        try:
            read_image(after)
            if next(iter(find_broken_invariants(before, after, CHANGES)), None) is None:
                yield "keeps invariants"
        except BundleFixError:
            pass
    if is_loadable(target, search):
        yield "loads"
    if all(
        find_source_line(target, symbol) == find_source_line(source, symbol) for symbol in SYMBOLS
    ):
        yield "source lines"
    if not list_lint(target) - list_lint(source):
        yield "no new lint"
    subprocess.run(["strip", str(target)], capture_output=True, check=False)
    if is_loadable(target, search):
        yield "loads after strip"


def score_editors(files: list[Path], work: Path) -> dict[str, Score]:
    """Return the score of every editor on some files."""
    scores = {name: Score() for name in EDITORS}
    for path in files:
        for name, editor in EDITORS.items():
            target = work / "edited"
            target.unlink(missing_ok=True)
            start = time.perf_counter()
            try:
                editor(path, target)
            except Exception:  # noqa: S112 (any exception counts as a failure)
                continue
            finally:
                scores[name].seconds += time.perf_counter() - start
            if not target.exists() or not target.stat().st_size:
                continue
            scores[name].growth += target.stat().st_size - path.stat().st_size
            target.chmod(0o755)
            scores[name].counts.update(find_facts(path, target, find_library_directory(path)))
    return scores


def build_cells(work: Path) -> list[Path]:
    """Build the native files of the test matrix, and return those that can be loaded."""
    sys.path[:0] = ["tests", "tests/unit"]
    from elf.matrix import CELLS, build_cell

    found: list[Path] = []
    for number, cell in enumerate(CELLS.values()):
        if not cell.machine and cell.starts and not cell.headerless:
            found += build_cell(cell, work / str(number)).files
    return [path for path in found if is_loadable(path, find_library_directory(path))]


def list_programs() -> list[Path]:
    """Return every n-th dynamic program of this machine."""
    found = [p for p in sorted(Path("/usr/bin").iterdir()) if p.is_file() and not p.is_symlink()]
    dynamic = [p for p in found if is_loadable(p, find_library_directory(p))]
    return dynamic[:: max(1, len(dynamic) // PROGRAMS)][:PROGRAMS]


def format_table(title: str, count: int, scores: dict[str, Score]) -> str:
    """Return one table in Markdown."""
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
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        built, own = build_cells(work), list_programs()
        sys.stdout.write(
            format_table("The test matrix", len(built), score_editors(built, work)) + "\n"
        )
        sys.stdout.write(
            format_table("This machine's programs", len(own), score_editors(own, work))
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
