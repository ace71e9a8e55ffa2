"""The modification time of every member of a pack, which makes packs reproducible."""

from __future__ import annotations

import re

from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten
from bundle_fix.spec.model import Spec
from bundle_fix.spec.sources import EPOCH_VARIABLE, read_builtin
from bundle_fix.spec.variables import Values, substitute_variables

DEFAULT_EPOCH = 315_532_800
"""1980-01-01: the earliest time that every format can store (zip starts there)."""
MAX_EPOCH = 253_402_300_799
"""The end of the year 9999."""


def resolve_epoch(spec: Spec, values: Values) -> int:
    """Return `find_explicit_epoch`, or 1980-01-01 if neither source sets a time."""
    explicit = find_explicit_epoch(spec, values)
    return DEFAULT_EPOCH if explicit is None else explicit


def find_explicit_epoch(spec: Spec, values: Values) -> int | None:
    """Return seconds since 1970 from SOURCE_DATE_EPOCH, else from the spec's ``epoch``, else None.

    The times of the files are not used: a tree that was copied or checked out again must make the
    same pack (https://reproducible-builds.org/specs/source-date-epoch/).

    Raises:
        BundleFixError: the value is not a number of seconds.
    """
    text, where = read_builtin("epoch", values.environ).value, EPOCH_VARIABLE
    if not text and spec.bundle.epoch is not None:
        where = spec.locate_key("bundle", "epoch")
        text = substitute_variables(spec.bundle.epoch, values)
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) > MAX_EPOCH:
        raise BundleFixError(
            f'invalid time "{escape_and_shorten(text)}"', where=where,
            hint=f"use a number of seconds since 1970, at most {MAX_EPOCH}",
        )  # fmt: skip
    return int(text)
