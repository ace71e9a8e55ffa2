"""GitLab code quality report: a JSON list in the format of Code Climate.

Source: docs.gitlab.com, "Code Quality", "Code Quality report format".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bundle_fix.check.findings import RootKind
from bundle_fix.model.printable import escape_and_shorten, escape_unprintable
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause
from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.finding_record import compute_fingerprint
from bundle_fix.report.locations import deduplicate_fingerprints, locate_member
from bundle_fix.report.render.causes_text import describe_other_findings
from bundle_fix.report.render.json import format_json

SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.NOTE: "info"}
UNREADABLE = "unreadable"
MAX_TEXT = 5000
"""Limit on one text in characters; GitLab shows texts in the list of a merge request."""


def render_gitlab(reports: Sequence[CheckReport]) -> str:
    """Render the causes in all artifacts; one that could not be checked is a blocker."""
    records = [record for report in reports for record in _make_records(report)]
    # GitLab shows only the first of several records with the same fingerprint.
    fingerprints = deduplicate_fingerprints(str(record["fingerprint"]) for record in records)
    return format_json(
        [record | {"fingerprint": f} for record, f in zip(records, fingerprints, strict=True)]
    )


def _make_records(report: CheckReport) -> Iterator[dict[str, object]]:
    if report.error:
        yield _make_record(report, UNREADABLE, report.error, "blocker", "", report.fingerprint)
    for cause in report.causes:
        path = report.findings[cause.findings[0]].path
        text = f"{cause.title}: {cause.explanation}"
        check, severity = f"{cause.rule} {cause.name}", SEVERITIES[cause.severity]
        record = _make_record(report, check, text, severity, path, _identify(report, cause))
        others = describe_other_findings(cause, report.findings)
        body = f"{cause.fix} It also concerns {others}." if others else cause.fix
        yield record | {"content": {"body": escape_and_shorten(body, MAX_TEXT)}}


def _identify(report: CheckReport, cause: Cause) -> str:
    """Return the fingerprint of a cause, which changes if it gets another root.

    Without a common root it changes with the findings.
    """
    roots = [cause.root, *cause.more_roots]
    if cause.kind is RootKind.RULE:
        roots = [report.findings[index].fingerprint for index in cause.findings]
    return compute_fingerprint(cause.rule, cause.kind.value, *sorted(roots))


def _make_record(
    report: CheckReport, check: str, text: str, severity: str, path: str, fingerprint: str
) -> dict[str, object]:
    return {
        "type": "issue",
        "check_name": check,
        "description": escape_and_shorten(text, MAX_TEXT),
        "categories": ["Bug Risk"],
        "severity": severity,
        "fingerprint": fingerprint,
        "location": {
            # GitLab requires a path relative to the repository.
            "path": escape_unprintable(locate_member(report.artifact, path).lstrip("/")),
            "lines": {"begin": 1},
        },
    }
