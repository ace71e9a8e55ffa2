"""The exit status of a gate."""

from __future__ import annotations

from collections.abc import Iterable

from bundle_fix.report.check_report import CheckReport

UNCHECKED = 2
"""The exit status where an artifact could not be checked: that is no finding, and never well."""


def exit_status(reports: Iterable[CheckReport], *, exit_zero: bool) -> int:
    """2 where an artifact could not be checked, 1 where a check failed, 0 where all is well.

    Args:
        reports: what the checks found.
        exit_zero: let findings pass.
    """
    reports = list(reports)
    if any(report.error for report in reports):
        return UNCHECKED
    return int(any(report.failed for report in reports) and not exit_zero)
