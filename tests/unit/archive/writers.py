"""Processes that write one artifact again and again until they are killed.

Run as a program it starts one such process for each line of its input and prints its id, then
``gone`` when it has been killed. Starting them here, by a fork, makes hundreds of kills cheap.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle_fix import archive
from bundle_fix.archive.reading import open_artifact
from bundle_fix.archive.writing import stage_artifact
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import Directory, File, Metadata, Node, Tree

SIZE = 60_000
NAMES = [f"lib/{number}" for number in range(5)]
ONCE = "once\n"
AGAIN = "again and again\n"


def marked(mark: bytes) -> Tree:
    """A tree whose files consist of one byte."""
    nodes: dict[str, Node] = {"lib": Directory(Metadata(0o755))}
    nodes |= {name: File(BytesContent(mark * SIZE), Metadata(0o644)) for name in NAMES}
    return Tree(nodes)


class Stopping:
    """A content in whose middle somebody presses Ctrl-C."""

    size = 3 << 20

    @contextmanager
    def open(self) -> Iterator[Stopping]:
        yield self

    def pread(self, offset: int, length: int) -> bytes:
        if offset:
            raise KeyboardInterrupt
        return os.urandom(length)


def write_tree(tree: Tree, kind: str, target: Path, *, commit: bool = True) -> bool:
    """Write an artifact and commit it, if asked; return ``commit``."""
    with stage_artifact(tree, kind, target) as staged:
        if commit:
            staged.commit()
    return commit


def mark_of(target: Path) -> bytes:
    """The byte that all files in an artifact consist of; it must be whole."""
    held = []
    with open_artifact(target) as artifact:
        assert [path for path, _ in artifact.tree.iter_files()] == NAMES
        for _, file in artifact.tree.iter_files():
            with file.content.open() as reader:
                held.append(reader.pread(0, reader.size))
    assert held == [held[0][:1] * SIZE] * len(NAMES)
    return held[0][:1]


@contextmanager
def writers(kind: str, target: Path) -> Iterator[Callable[[str, float], None]]:
    """What starts a writer of ``target``, `ONCE` or `AGAIN`, and kills it after some seconds."""
    path = [str(Path(archive.__file__).parents[2]), str(Path(__file__).parents[1])]
    with subprocess.Popen(
        [sys.executable, "-m", "archive.writers", kind, str(target)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, *sys.path])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        orders, answers = starter.stdin, starter.stdout
        assert orders is not None
        assert answers is not None

        def kill_after(how: str, seconds: float) -> None:
            orders.write(how)
            orders.flush()
            writer = int(answers.readline())
            time.sleep(seconds)
            os.kill(writer, signal.SIGKILL)
            assert answers.readline() == "gone\n"

        yield kill_after
        orders.close()


def start_writers(kind: str, target: Path) -> None:
    # Libraries are loaded once, here, and not by each writer.
    write_tree(marked(b"x"), kind, target.with_name("first"), commit=False)
    for order in sys.stdin:
        writer = os.fork()
        if writer == 0:
            write_for_ever(kind, target, once=order == ONCE)
        sys.stdout.write(f"{writer}\n")
        sys.stdout.flush()
        os.waitpid(writer, 0)
        sys.stdout.write("gone\n")
        sys.stdout.flush()


def write_for_ever(kind: str, target: Path, *, once: bool) -> None:
    number = 0
    while True:
        number = number % 250 + 1
        write_tree(marked(bytes([number])), kind, target)
        if once:
            signal.pause()


if __name__ == "__main__":
    start_writers(sys.argv[1], Path(sys.argv[2]))
