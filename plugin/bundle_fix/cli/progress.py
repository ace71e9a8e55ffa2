"""Progress display on stderr: a bar on a terminal, a line per large step in a log."""

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
"""Bytes from which on a step is written to a log; that takes about a second."""
PATIENCE = 1.0
"""Seconds of work before a bar appears."""
PERIOD = 0.1
"""Seconds between two updates of the bar."""
DUMB_TERMINALS = {"dumb", "unknown"}
"""Values of TERM for terminals that cannot erase text."""
NOT_CI = {"", "0", "false"}
"""Values of CI outside a CI system; a CI system would keep every update of a bar in its log."""
WIDTH_FOR_ALL = 80
"""Columns of a terminal from which on a bar has all figures."""
WIDTH_FOR_BAR = 56
"""Columns of a terminal from which on there is a bar, and not only figures."""
BAR_WIDTH = 16
"""Columns of the bar itself."""
DEFAULT_WIDTH = 80
"""Columns of a terminal that reports a width of 0."""


class Display(Protocol):
    """Progress display."""

    def __call__(self, step: ProgressStep, done: int) -> None:
        """Show that ``done`` units of ``step`` are finished; see `Progress`."""

    def hide(self) -> None:
        """Clear the terminal line for other output."""


@contextmanager
def show_progress(*, quiet: bool, color: str) -> Iterator[Display]:
    """Show progress on stderr until the context ends.

    Args:
        quiet: Show nothing.
        color: ``auto``, ``always`` or ``never``, the value of ``--color``.
    """
    display = _choose_display(sys.stderr, quiet=quiet, color=color)
    try:
        yield display
    finally:
        display.hide()


def _choose_display(stream: IO[str], *, quiet: bool, color: str) -> Display:
    if quiet:
        return NoDisplay()
    in_ci = os.environ.get("CI", "").lower() not in NOT_CI
    if stream.isatty() and os.environ.get("TERM") not in DUMB_TERMINALS and not in_ci:
        return BarDisplay(stream, color)
    return LogDisplay(stream)


class NoDisplay:
    """Display that shows nothing."""

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""

    def hide(self) -> None:
        """See `Display`."""


class LogDisplay(Struct):
    """Display for a log: one line at the start of each large step."""

    stream: IO[str]
    step: ProgressStep | None = None

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""
        if step == self.step:
            return
        self.step = step
        if step.size >= LARGE:
            size = "" if step.amount else f": {step.size / 1e6:,.0f} MB"
            # The reader of a pipe may have ended; the command continues without it.
            with suppress(OSError):
                self.stream.write(f"{_format_step(step)}{size}\n")
                self.stream.flush()

    def hide(self) -> None:
        """See `Display`."""


def _format_step(step: ProgressStep) -> str:
    return escape_unprintable(f"{step.title}: {step.amount}" if step.amount else step.title)


class BarDisplay:
    """Display for a terminal: a bar, drawn by the calls that report progress.

    No thread draws it, because fork() is safe only in a process with a single thread.
    """

    def __init__(
        self, stream: IO[str], color: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._color, self._clock = stream, color, clock
        self._next_update = clock() + PATIENCE
        self._step: ProgressStep | None = None
        self._width = 0
        self._bar: tuple[RichProgress, TaskID] | None = None

    def __call__(self, step: ProgressStep, done: int) -> None:
        """See `Display`."""
        now = self._clock()
        if now < self._next_update:
            return
        self._next_update = now + PERIOD
        # The terminal may be closed; the command continues without it.
        with suppress(OSError):
            width = os.get_terminal_size(self._stream.fileno()).columns or DEFAULT_WIDTH
            if (step, width) != (self._step, self._width):
                self._clear_bar()
                self._step, self._width, self._bar = step, width, None
            if self._bar is None:
                self._bar = self._start_bar(step, done)
            progress, task = self._bar
            progress.update(task, completed=done)
            # After `hide`, the same object continues, because it knows the rate.
            progress.start()
            progress.refresh()

    def hide(self) -> None:
        """See `Display`; the bar stays away for `PATIENCE`, so that it does not flicker."""
        self._clear_bar()
        self._next_update = self._clock() + PATIENCE

    def _clear_bar(self) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar[0].stop()

    def _start_bar(self, step: ProgressStep, done: int) -> tuple[RichProgress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        no_color = self._color == "never" or bool(os.environ.get("NO_COLOR"))
        console = Console(
            file=self._stream, force_terminal=True, no_color=no_color, width=self._width
        )
        progress = Progress(
            *_choose_columns(step, self._width),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_time=self._clock,
        )
        task = progress.add_task(_format_step(step), total=step.total, completed=done)
        return progress, task


def _choose_columns(step: ProgressStep, width: int) -> list[ProgressColumn]:
    """Return the columns of a bar that fits into ``width``; a long title is shortened."""
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
    if width < WIDTH_FOR_ALL:
        figures.insert(0, (TaskProgressColumn(), 4))
    elif in_bytes:
        figures[:0] = [(DownloadColumn(), 15), (TransferSpeedColumn(), 11)]
    else:
        figures.insert(0, (MofNCompleteColumn(), 11))
    if width >= WIDTH_FOR_BAR:
        figures.insert(0, (BarColumn(bar_width=BAR_WIDTH), BAR_WIDTH))
    left = width - sum(size + 1 for _, size in figures)
    title = Column(no_wrap=True, overflow="ellipsis", max_width=max(left - 1, 1))
    text = TextColumn("{task.description}", markup=False, table_column=title)
    return [text, *(column for column, _ in figures)]
