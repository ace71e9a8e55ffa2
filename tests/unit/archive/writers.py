"""Processes that write one artifact repeatedly until they are killed.

As a program, this module forks one such process for each line of its input, prints its id, and
``gone`` when it has been killed. A fork needs no new interpreter, so hundreds of kills are fast.
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
REPEATEDLY = "repeatedly\n"


def make_marked_tree(mark: bytes) -> Tree:
    """Return a tree whose files consist of one repeated byte."""
    nodes: dict[str, Node] = {"lib": Directory(Metadata(0o755))}
    nodes |= {name: File(BytesContent(mark * SIZE), Metadata(0o644)) for name in NAMES}
    return Tree(nodes)


class InterruptedContent:
    """A content that raises KeyboardInterrupt after its first chunk, like Ctrl-C."""

    size = 3 << 20

    @contextmanager
    def open(self) -> Iterator[InterruptedContent]:
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


def read_mark(target: Path) -> bytes:
    """Return the byte that all files of an artifact consist of; the artifact must be complete."""
    contents = []
    with open_artifact(target) as artifact:
        assert [path for path, _ in artifact.tree.iter_files()] == NAMES
        for _, file in artifact.tree.iter_files():
            with file.content.open() as reader:
                contents.append(reader.pread(0, reader.size))
    assert contents == [contents[0][:1] * SIZE] * len(NAMES)
    return contents[0][:1]


@contextmanager
def start_writer_process(kind: str, target: Path) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that starts a writer, `ONCE` or `REPEATEDLY`, and kills it after a time."""
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

        def kill_after(order: str, seconds: float) -> None:
            orders.write(order)
            orders.flush()
            writer = int(answers.readline())
            time.sleep(seconds)
            os.kill(writer, signal.SIGKILL)
            assert answers.readline() == "gone\n"

        yield kill_after
        orders.close()


def fork_writers(kind: str, target: Path) -> None:
    """Fork a writer for each line of the input and report its end."""
    # The first run loads the libraries, so that the forked writers need not.
    write_tree(make_marked_tree(b"x"), kind, target.with_name("first"), commit=False)
    for order in sys.stdin:
        writer = os.fork()
        if writer == 0:
            write_forever(kind, target, once=order == ONCE)
        sys.stdout.write(f"{writer}\n")
        sys.stdout.flush()
        os.waitpid(writer, 0)
        sys.stdout.write("gone\n")
        sys.stdout.flush()


def write_forever(kind: str, target: Path, *, once: bool) -> None:
    """Write the artifact again and again with different bytes; if ``once``, wait after it."""
    number = 0
    while True:
        number = number % 250 + 1
        write_tree(make_marked_tree(bytes([number])), kind, target)
        if once:
            signal.pause()


if __name__ == "__main__":
    fork_writers(sys.argv[1], Path(sys.argv[2]))
