"""The requests for repairs that the findings of a check make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bundle_fix.check.findings import Finding
from bundle_fix.check.registry import RULES_BY_CODE
from bundle_fix.plan.requests import RepairKind, RepairRequest
from bundle_fix.policy.severity import Severity

SUBJECT_KEYS = {
    RepairKind.FIND_NAME: ("needed", "also_needed", "dlopen"),
    RepairKind.REMOVE_ENTRY: ("entry",),
    RepairKind.ADD_SONAME: ("symlink",),
}
"""Keys of the evidence with the subjects of requests; other kinds concern the whole member."""


def collect_requests(findings: Iterable[Finding]) -> frozenset[RepairRequest]:
    """Return the requests of all findings that are worse than a note."""
    return frozenset(
        request
        for finding in findings
        if finding.fixable and finding.severity is not Severity.NOTE
        for request in _make_requests(finding)
    )


def _make_requests(finding: Finding) -> Iterator[RepairRequest]:
    kind = RULES_BY_CODE[finding.rule].repair
    if kind is None:
        return
    keys = SUBJECT_KEYS.get(kind)
    for path in (finding.path, *finding.evidence.get("copies", ())):
        if keys is None:
            yield RepairRequest(kind, path, "", finding.rule)
            continue
        for value in (finding.evidence[key] for key in keys if key in finding.evidence):
            subjects = value if isinstance(value, (list, tuple)) else (value,)
            for subject in subjects:
                yield RepairRequest(kind, path, subject, finding.rule)
