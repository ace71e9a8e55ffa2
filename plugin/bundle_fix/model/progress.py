"""How far long work is: told where bytes are moved, shown by whoever likes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class ProgressStep(Struct, frozen=True):
    """A part of the work.

    Attributes:
        title: what is done, and to what, such as ``reading pack.tar.gz``.
        size: the bytes that it is done to.
        amount: how much that is where bytes do not say it, such as ``12 programs``.
        parts: how many parts are counted; None where bytes are.
    """

    title: str
    size: int
    amount: str = ""
    parts: int | None = None

    @property
    def total(self) -> int:
        """What is counted up to."""
        return self.size if self.parts is None else self.parts


Progress = Callable[[ProgressStep, int], None]
"""Is told a step, and how much of it is done; called often, so it must be quick."""


def no_progress(_step: ProgressStep, _done: int) -> None:
    """Progress that nobody asks for."""


StepProgress = Callable[[int], None]
"""Is told how much of the one step is done that it knows of."""


def no_step_progress(_done: int) -> None:
    """Nobody asks."""


def track_parts(parts: Iterable[T], tell: StepProgress) -> Iterator[T]:
    """``parts`` one by one; before each, and at the end, ``tell`` is told how many are done."""
    done = 0
    for part in parts:
        tell(done)
        yield part
        done += 1
    tell(done)
