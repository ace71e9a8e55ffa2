"""The JSON reports: one object for one artifact, a list for several; or a line for each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bundle_fix.report.check_report import CheckReport


def render_json(reports: Sequence[CheckReport]) -> str:
    """The reports as indented JSON; names that are not UTF-8 have their odd bytes escaped."""
    return to_json(reports[0] if len(reports) == 1 else reports)


def render_jsonl(report: CheckReport) -> str:
    """One report as one line."""
    return to_json_line(report)


def to_json_line(value: object) -> str:
    """``value``, of records, strings, numbers, lists and mappings, as one line of JSON."""
    return _encoded(value).decode() + "\n"


def to_json(value: object) -> str:
    """``value``, of records, strings, numbers, lists and mappings, as indented JSON."""
    return msgspec.json.format(_encoded(value), indent=2).decode() + "\n"


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(_clean(msgspec.to_builtins(value)))


def _clean(value: object) -> object:
    r"""``value`` with surrogate escapes, which UTF-8 cannot hold, written as ``\\xNN``."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(_clean(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
