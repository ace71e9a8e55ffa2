"""GitLab code quality report: a JSON list in the format of Code Climate.

Source: docs.gitlab.com, "Code Quality", "Code Quality report format".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.model.printable import escape_unprintable
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.locations import deduplicate_fingerprints, locate_member
from bundle_fix.report.render.json import format_json

SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.NOTE: "info"}
UNREADABLE = "unreadable"


def render_gitlab(reports: Sequence[CheckReport]) -> str:
    """Render the findings on all artifacts; one that could not be checked is a blocker."""
    records = [record for report in reports for record in _make_records(report)]
    # GitLab shows only the first of several records with the same fingerprint.
    fingerprints = deduplicate_fingerprints(str(record["fingerprint"]) for record in records)
    return format_json(
        [record | {"fingerprint": f} for record, f in zip(records, fingerprints, strict=True)]
    )


def _make_records(report: CheckReport) -> Iterator[dict[str, object]]:
    if report.error:
        yield _make_record(report, UNREADABLE, report.error, "blocker", "", report.fingerprint)
    for f in report.findings:
        text = f"{f.path} {f.message}".strip()
        check = f"{f.rule} {f.name}"
        record = _make_record(report, check, text, SEVERITIES[f.severity], f.path, f.fingerprint)
        yield record | {"content": {"body": escape_unprintable(f.advice)}}


def _make_record(
    report: CheckReport, check: str, text: str, severity: str, path: str, fingerprint: str
) -> dict[str, object]:
    return {
        "type": "issue",
        "check_name": check,
        "description": escape_unprintable(text),
        "categories": ["Bug Risk"],
        "severity": severity,
        "fingerprint": fingerprint,
        "location": {
            # GitLab requires a path relative to the repository.
            "path": escape_unprintable(locate_member(report.artifact, path).lstrip("/")),
            "lines": {"begin": 1},
        },
    }
