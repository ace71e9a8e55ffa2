"""GitLab's code quality report: a JSON list in the layout of Code Climate."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from bundle_fix.check.findings import ERROR, NOTE, WARNING
from bundle_fix.report.json import to_json
from bundle_fix.report.model import CheckReport

SEVERITY = {ERROR: "critical", WARNING: "minor", NOTE: "info"}


def render_gitlab(reports: Sequence[CheckReport]) -> str:
    """All findings of all artifacts; one that could not be checked is a blocker."""
    records: list[dict[str, object]] = []
    for report in reports:
        if report.error:
            records.append(_record(report, "unreadable", report.error, "blocker", "", "unreadable"))
        for f in report.findings:
            text = f"{f.path} {f.message}".strip()
            records.append(
                _record(report, f"{f.rule} {f.name}", text, SEVERITY[f.severity], f.path,
                        f.fingerprint)
            )  # fmt: skip
    return to_json(records)


def _record(
    report: CheckReport, check: str, text: str, severity: str, path: str, fingerprint: str
) -> dict[str, object]:
    return {
        "check_name": check,
        "description": text,
        "severity": severity,
        # GitLab wants each fingerprint once; one finding may be in several artifacts.
        "fingerprint": f"{posixpath.basename(report.artifact)}:{fingerprint}",
        "location": {
            "path": posixpath.join(report.artifact, path) if path else report.artifact,
            "lines": {"begin": 1},
        },
    }
