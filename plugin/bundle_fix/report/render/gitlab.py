"""GitLab's code quality report: a JSON list in the layout of Code Climate.

Source: docs.gitlab.com, "Code Quality", "Code Quality report format".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.check.findings import ERROR, NOTE, WARNING
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.locations import deduplicate_fingerprints, locate_member
from bundle_fix.report.render.json import to_json

SEVERITY = {ERROR: "critical", WARNING: "minor", NOTE: "info"}
UNREADABLE = "unreadable"


def render_gitlab(reports: Sequence[CheckReport]) -> str:
    """All findings of all artifacts; one that could not be checked is a blocker."""
    records = [record for report in reports for record in _records(report)]
    # GitLab shows of several with one fingerprint only the first.
    fingerprints = deduplicate_fingerprints(str(record["fingerprint"]) for record in records)
    return to_json(
        [record | {"fingerprint": f} for record, f in zip(records, fingerprints, strict=True)]
    )


def _records(report: CheckReport) -> Iterator[dict[str, object]]:
    if report.error:
        yield _record(report, UNREADABLE, report.error, "blocker", "", report.fingerprint)
    for f in report.findings:
        text = f"{f.path} {f.message}".strip()
        check = f"{f.rule} {f.name}"
        record = _record(report, check, text, SEVERITY[f.severity], f.path, f.fingerprint)
        yield record | {"content": {"body": escape_unprintable(f.hint)}}


def _record(
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
            # It must be relative to the repository.
            "path": escape_unprintable(locate_member(report.artifact, path).lstrip("/")),
            "lines": {"begin": 1},
        },
    }
