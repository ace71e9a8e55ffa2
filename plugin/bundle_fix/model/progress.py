"""Protocol for progress reports: steps, and how much of each is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class ProgressStep(Struct, frozen=True):
    """One step of the work.

    Attributes:
        title: the step and its object, such as ``reading pack.tar.gz``.
        size: the number of bytes that it processes.
        amount: its extent in other units, such as ``12 programs``; may be empty.
        parts: the number of counted parts; None if bytes are counted.
    """

    title: str
    size: int
    amount: str = ""
    parts: int | None = None

    @property
    def total(self) -> int:
        """The number that the count reaches at the end."""
        return self.size if self.parts is None else self.parts


Progress = Callable[[ProgressStep, int], None]
"""Receives a step and how much of it is done; called often, so it must be quick."""


def no_progress(_step: ProgressStep, _done: int) -> None:
    """Ignore progress."""


StepProgress = Callable[[int], None]
"""Receives how much of one step is done."""


def no_step_progress(_done: int) -> None:
    """Ignore the progress of one step."""


def track_parts(parts: Iterable[T], report: StepProgress) -> Iterator[T]:
    """Yield ``parts``; report how many are done before each of them and at the end."""
    done = 0
    for part in parts:
        report(done)
        yield part
        done += 1
    report(done)
