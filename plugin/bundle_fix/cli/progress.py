"""How far a command is, on stderr: a bar on a terminal, a line per step in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol

from msgspec import Struct

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.progress import ProgressStep

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn, TaskID

LARGE = 64 << 20
"""Bytes from which on a step is told in a log: it takes about a second."""
PATIENCE = 1.0
"""Seconds that nothing is to be seen of a command before there is a bar."""
PERIOD = 0.1
"""Seconds from one drawing of the bar to the next."""
DUMB = {"dumb", "unknown"}
"""Terminals that cannot erase what was written."""
NOT_CI = {"", "0", "false"}
"""What CI holds where there is none; CI systems set it, and keep what a terminal was sent."""
WIDE, NARROW = 80, 56
"""Columns from which on a bar has all figures, or at least has a bar."""
BAR, UNTOLD = 16, 80
"""Columns of the bar itself, and of a terminal that does not tell how many it has."""


class Display(Protocol):
    """Shows progress."""

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Progress`."""

    def hide(self) -> None:
        """Leave the terminal to what is printed now."""


@contextmanager
def progress_shown(*, quiet: bool, color: str) -> Iterator[Display]:
    """Show progress on stderr until the context ends.

    Args:
        quiet: show nothing.
        color: ``auto``, ``always`` or ``never``, as of the option.
    """
    display = _display(sys.stderr, quiet=quiet, color=color)
    try:
        yield display
    finally:
        display.hide()


def _display(stream: IO[str], *, quiet: bool, color: str) -> Display:
    if quiet:
        return Silence()
    in_ci = os.environ.get("CI", "").lower() not in NOT_CI
    if stream.isatty() and os.environ.get("TERM") not in DUMB and not in_ci:
        return Bar(stream, color)
    return Lines(stream)


class Silence:
    """Shows nothing."""

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""

    def hide(self) -> None:
        """See `Display`."""


class Lines(Struct):
    """A line when a large step begins: what a log needs, and no more."""

    stream: IO[str]
    step: ProgressStep | None = None

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""
        if step == self.step:
            return
        self.step = step
        if step.size >= LARGE:
            size = "" if step.amount else f": {step.size / 1e6:,.0f} MB"
            # Nobody may be reading, which is no reason to stop.
            with suppress(OSError):
                self.stream.write(f"{_described(step)}{size}\n")
                self.stream.flush()

    def hide(self) -> None:
        """See `Display`."""


def _described(step: ProgressStep) -> str:
    return escape_unprintable(f"{step.title}: {step.amount}" if step.amount else step.title)


class Bar:
    """A bar, as soon as the command has taken a while; it is drawn by whoever reports progress.

    No thread draws it, so that the process can be forked while it is there.
    """

    def __init__(
        self, stream: IO[str], color: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._color, self._clock = stream, color, clock
        self._due = clock() + PATIENCE
        self._step: ProgressStep | None = None
        self._width = 0
        self._shown: tuple[RichProgress, TaskID] | None = None

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + PERIOD
        # A terminal that went away is no reason to stop.
        with suppress(OSError):
            width = os.get_terminal_size(self._stream.fileno()).columns or UNTOLD
            if (step, width) != (self._step, self._width):
                self._erase()
                self._step, self._width, self._shown = step, width, None
            if self._shown is None:
                self._shown = self._begun(step, done)
            progress, task = self._shown
            progress.update(task, completed=done)
            # Where it was hidden it goes on, with the rate that it knows.
            progress.start()
            progress.refresh()

    def hide(self) -> None:
        """See `Display`; between lines that come fast a bar would only flicker."""
        self._erase()
        self._due = self._clock() + PATIENCE

    def _erase(self) -> None:
        if self._shown is not None:
            with suppress(OSError):
                self._shown[0].stop()

    def _begun(self, step: ProgressStep, done: int) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        no_color = self._color == "never" or bool(os.environ.get("NO_COLOR"))
        console = Console(
            file=self._stream, force_terminal=True, no_color=no_color, width=self._width
        )
        progress = Progress(
            *_columns(step, self._width), console=console, auto_refresh=False, transient=True,
            redirect_stdout=False, redirect_stderr=False, get_time=self._clock,
        )  # fmt: skip
        task = progress.add_task(_described(step), total=step.total, completed=done)
        return progress, task


def _columns(step: ProgressStep, width: int) -> list[ProgressColumn]:
    """The columns of a bar that fits into ``width``: its title is cut rather than wrapped."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    in_bytes = step.parts is None
    figures: list[tuple[ProgressColumn, int]] = [(TimeRemainingColumn(compact=True), 7)]
    if width < WIDE:
        figures.insert(0, (TaskProgressColumn(), 4))
    elif in_bytes:
        figures[:0] = [(DownloadColumn(), 15), (TransferSpeedColumn(), 11)]
    else:
        figures.insert(0, (MofNCompleteColumn(), 11))
    if width >= NARROW:
        figures.insert(0, (BarColumn(bar_width=BAR), BAR))
    left = width - sum(size + 1 for _, size in figures)
    title = Column(no_wrap=True, overflow="ellipsis", max_width=max(left - 1, 1))
    text = TextColumn("{task.description}", markup=False, table_column=title)
    return [text, *(column for column, _ in figures)]
