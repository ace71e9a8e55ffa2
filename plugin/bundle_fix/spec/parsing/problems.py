"""Problems of a spec, and the exception that reports several of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.parsing.positions import KeyPath

MAX_PROBLEMS = 100
"""Problems that are reported at once; more are usually repetitions of the first."""


class Problem(NamedTuple):
    """One problem at ``path``: of its key if ``at_key``, otherwise of its value."""

    path: KeyPath
    message: str
    hint: str = ""
    at_key: bool = False


class SpecErrors(BundleFixError):  # noqa: N818 - several errors
    """Several errors; the text has one line for each, in their order."""

    def __init__(self, errors: Sequence[BundleFixError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


def raise_all(errors: Sequence[BundleFixError]) -> None:
    """Raise a single error unchanged, several as `SpecErrors`; do nothing if there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecErrors(errors)
