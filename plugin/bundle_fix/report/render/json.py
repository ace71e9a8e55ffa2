"""JSON reports: an object for one artifact, a list for several; or one line per artifact."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.graphs.drawn_report import drop_overview


def render_json(reports: Sequence[CheckReport]) -> str:
    """Render the reports as indented JSON; bytes of a name that are not UTF-8 are escaped."""
    records = [*map(drop_overview, reports)]
    return format_json(records[0] if len(records) == 1 else records)


def render_jsonl(report: CheckReport) -> str:
    """Render one report as one line."""
    return format_json_line(drop_overview(report))


def format_json_line(value: object) -> str:
    """Return records, strings, numbers, lists and mappings as one line of JSON."""
    return _encode_json(value).decode() + "\n"


def format_json(value: object) -> str:
    """Return records, strings, numbers, lists and mappings as indented JSON."""
    return msgspec.json.format(_encode_json(value), indent=2).decode() + "\n"


def _encode_json(value: object) -> bytes:
    return msgspec.json.encode(_escape_surrogates(msgspec.to_builtins(value)))


def _escape_surrogates(value: object) -> object:
    r"""Return ``value`` with surrogates, which UTF-8 cannot encode (PEP 383), as ``\\xNN``."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {
            str(_escape_surrogates(key)): _escape_surrogates(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_escape_surrogates(item) for item in value]
    return value
