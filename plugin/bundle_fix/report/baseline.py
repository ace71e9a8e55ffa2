"""A baseline: the findings of an earlier report, which do not fail a check again."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bundle_fix.archive.formats import split_name
from bundle_fix.check.findings import SEVERITIES
from bundle_fix.model.errors import BundleFixError
from bundle_fix.report.check_report import SCHEMA, CheckReport, FindingRecord

LARGEST = 256 << 20
"""Bytes of a baseline that are read."""
NUMBERS = re.compile(r"\d+(\.\d+)*")
HOW = "make one with 'bundle-fix check --format json -o FILE'"

FindingKey = tuple[str, str, str]
"""What tells one finding from another: its rule, its path, what of that it is about."""


class Baseline(Struct, frozen=True):
    """Earlier reports, on one artifact or several."""

    reports: tuple[CheckReport, ...]

    def known_findings(self, artifact: str) -> frozenset[FindingKey]:
        """The findings that an artifact had.

        They are those of the artifact of the same name, else of those whose names differ in their
        numbers and suffixes alone, else all.
        """
        for name in (posixpath.basename, _unversioned):
            reports = [r for r in self.reports if name(r.artifact) == name(artifact)]
            if reports:
                return _keys(reports)
        return _keys(self.reports)


def _keys(reports: list[CheckReport] | tuple[CheckReport, ...]) -> frozenset[FindingKey]:
    return frozenset(_key(f) for report in reports for f in report.findings)


def _unversioned(artifact: str) -> str:
    return NUMBERS.sub("#", split_name(posixpath.basename(artifact.rstrip("/")))[0])


def _key(finding: FindingRecord) -> FindingKey:
    """A folder is often named after a version, which changes; a library seldom is another one."""
    folder, name = posixpath.split(finding.path)
    return finding.rule, posixpath.join(NUMBERS.sub("#", folder), name), finding.subject


def read_baseline(path: Path) -> Baseline:
    """The reports in a file of ``--format json`` or ``jsonl``.

    Raises:
        BundleFixError: the file cannot be read, or holds no such report.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BundleFixError("it is too large for a report", where=str(path))
        return Baseline(tuple(_report(value, path) for value in _values(path.read_bytes())))
    except OSError as error:
        raise BundleFixError(f"cannot read it: {error.strerror}", where=str(path)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleFixError(
            f"it is no report of bundle-fix: {error}", where=str(path), hint=HOW
        ) from error


def _values(data: bytes) -> Iterator[Any]:
    """The reports of a document: one, a list of them, or one a line."""
    try:
        decoded: list[Any] = [msgspec.json.decode(data)]
    except msgspec.DecodeError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        decoded = [msgspec.json.decode(line) for line in lines]
    for value in decoded:
        yield from value if isinstance(value, list) else [value]


def _report(value: Any, path: Path) -> CheckReport:
    schema = value.get("schema") if isinstance(value, dict) else None
    if isinstance(schema, int) and schema != SCHEMA:
        raise BundleFixError(
            f"it is a report of schema {schema}, and this version reads schema {SCHEMA}",
            where=str(path),
            hint=HOW,
        )
    return msgspec.convert(value, CheckReport)


def drop_known_findings(
    report: CheckReport, known: frozenset[FindingKey], fail_on: str
) -> CheckReport:
    """``report`` without the findings that a baseline has; they count as ignored."""
    findings = tuple(f for f in report.findings if _key(f) not in known)
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    return msgspec.structs.replace(
        report,
        findings=findings,
        summary={s: sum(f.severity == s for f in findings) for s in SEVERITIES},
        ignored=report.ignored + len(report.findings) - len(findings),
        failed=bool(report.error) or any(f.severity in failing for f in findings),
    )
