"""The one moment that all members of a pack are dated at."""

from __future__ import annotations

import re

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.spec.model import Spec
from bundle_fix.spec.sources import EPOCH_VARIABLE, read_builtin
from bundle_fix.spec.variables import Values, substitute

DEFAULT_EPOCH = 315_532_800
"""1980-01-01: the oldest moment that every format can hold."""
MAX_EPOCH = 253_402_300_799
"""The end of the year 9999."""


def resolve_epoch(spec: Spec, values: Values) -> int:
    """What `find_explicit_epoch` says, or 1980-01-01 where nothing is told."""
    told = find_explicit_epoch(spec, values)
    return DEFAULT_EPOCH if told is None else told


def find_explicit_epoch(spec: Spec, values: Values) -> int | None:
    """Seconds since 1970: SOURCE_DATE_EPOCH, else the spec's ``epoch``, else None.

    The time of no file counts, so that a tree which was copied or checked out anew makes the same
    pack.

    Raises:
        BundleFixError: it is no number of seconds.
    """
    told, where = read_builtin("epoch", values.environ).value, EPOCH_VARIABLE
    if not told and spec.bundle.epoch is not None:
        where = spec.locate_key("bundle", "epoch")
        told = substitute(spec.bundle.epoch, values)
    if not told:
        return None
    if not re.fullmatch("[0-9]{1,12}", told) or int(told) > MAX_EPOCH:
        raise BundleFixError(
            f'"{escape_and_shorten(told)}" is no time', where=where,
            hint="it must be a number of seconds since 1970",
        )  # fmt: skip
    return int(told)
