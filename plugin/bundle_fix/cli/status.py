"""Exit codes of ``check`` and ``diff``."""

from __future__ import annotations

from collections.abc import Iterable

from bundle_fix.report.check_report import CheckReport

UNCHECKED_CODE = 2
"""Exit code if an artifact could not be checked; --exit-zero does not change it."""


def compute_exit_code(reports: Iterable[CheckReport], *, exit_zero: bool) -> int:
    """Return 2 if an artifact could not be checked, 1 if a check failed, else 0.

    Args:
        reports: The reports of all artifacts.
        exit_zero: Return 0 for failed checks too.
    """
    reports = list(reports)
    if any(report.error for report in reports):
        return UNCHECKED_CODE
    return int(any(report.failed for report in reports) and not exit_zero)
