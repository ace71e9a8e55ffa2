"""What a report of a check says: the model behind every format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bundle_fix import __version__
from bundle_fix.check.run import Verdict

SCHEMA = 1
"""Version of the reports' layout; it grows when a reader of the old one would stumble."""


class Tool(msgspec.Struct, frozen=True):
    """The tool that made the report."""

    name: str = "bundle-fix"
    version: str = __version__


class FindingRecord(msgspec.Struct, frozen=True):
    """One finding; ``path`` is relative to the pack."""

    rule: str
    name: str
    severity: str
    path: str
    message: str
    hint: str
    evidence: Mapping[str, Any]


class CheckReport(msgspec.Struct, frozen=True):
    """The report on one artifact; ``summary`` counts the findings of each severity."""

    schema: int
    artifact: str
    tool: Tool
    summary: Mapping[str, int]
    findings: tuple[FindingRecord, ...]


def check_report(artifact: str, verdict: Verdict) -> CheckReport:
    """The report of ``verdict`` on ``artifact``, named as the user named it."""
    records = tuple(
        FindingRecord(f.rule, f.name, f.severity, f.path, f.message, f.hint, f.evidence)
        for f in verdict.findings
    )
    return CheckReport(SCHEMA, artifact, Tool(), verdict.summary, records)
