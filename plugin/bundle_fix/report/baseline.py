"""Baselines: earlier reports, whose findings do not fail a check again."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.formats import split_name
from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import SCHEMA, CheckReport, replace_findings
from bundle_fix.report.finding_record import FindingRecord

MAX_SIZE = 256 << 20
"""Size limit of a baseline, in bytes."""
VERSION_NUMBERS = re.compile(r"\d+(\.\d+)*")
HINT = "make one with 'bundle-fix check --format json -o FILE'"

FindingKey = tuple[str, str, str]
"""The identity of a finding: its rule, its path, its subject."""


class Baseline(Struct, frozen=True):
    """The earlier reports in one file, on one artifact or several."""

    reports: tuple[CheckReport, ...]

    def find_known_findings(self, artifact: str) -> frozenset[FindingKey]:
        """Return the keys of the earlier findings on an artifact.

        They come from the reports on an artifact of the same name; else from those whose names
        differ only in version numbers and suffix; else from all reports.
        """
        for normalize in (posixpath.basename, _normalize_name):
            name = normalize(artifact)
            reports = [r for r in self.reports if normalize(r.artifact) == name]
            if reports:
                return _collect_keys(reports)
        return _collect_keys(self.reports)


def _collect_keys(reports: list[CheckReport] | tuple[CheckReport, ...]) -> frozenset[FindingKey]:
    return frozenset(key for report in reports for f in report.findings for key in _make_keys(f))


def _normalize_name(artifact: str) -> str:
    return VERSION_NUMBERS.sub("#", split_name(posixpath.basename(artifact.rstrip("/")))[0])


def _make_keys(finding: FindingRecord) -> Iterator[FindingKey]:
    """Yield the keys of a finding: one for each object or name if several are merged in it."""
    for path in (finding.path, *finding.evidence.get("objects", ())):
        for subject in (finding.subject, *finding.evidence.get("also_needed", ())):
            yield _make_key(replace(finding, path=path, subject=subject))


def _make_key(finding: FindingRecord) -> FindingKey:
    # The version in a directory's name changes with every release. The one in a library's file
    # name is kept: libx.so.1 and libx.so.2 are different libraries.
    directory, name = posixpath.split(finding.path)
    path = posixpath.join(VERSION_NUMBERS.sub("#", directory), name)
    return finding.rule, path, finding.subject


def read_baseline(path: Path) -> Baseline:
    """Read the reports in a file written by ``--format json`` or ``jsonl``.

    Raises:
        BundleFixError: the file cannot be read, is too large, or is not such a report.
    """
    try:
        size = path.stat().st_size
        if size > MAX_SIZE:
            raise BundleFixError(
                f"the baseline has {size} bytes, the limit is {MAX_SIZE}",
                where=str(path),
                hint=HINT,
            )
        return Baseline(
            tuple(_convert_report(value, path) for value in _decode_values(path.read_bytes()))
        )
    except OSError as error:
        raise BundleFixError(
            f"cannot read the baseline: {error.strerror}", where=str(path)
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleFixError(
            f"not a report of bundle-fix check: {error}", where=str(path), hint=HINT
        ) from error


def _decode_values(data: bytes) -> Iterator[Any]:
    """Yield the reports in a document: a single one, a list, or one per line."""
    try:
        decoded: list[Any] = [msgspec.json.decode(data)]
    except msgspec.DecodeError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        decoded = [msgspec.json.decode(line) for line in lines]
    for value in decoded:
        yield from value if isinstance(value, list) else [value]


def _convert_report(value: Any, path: Path) -> CheckReport:
    schema = value.get("schema") if isinstance(value, dict) else None
    if isinstance(schema, int) and schema != SCHEMA:
        raise BundleFixError(
            f"unknown report schema {schema}; this version reads schema {SCHEMA}",
            where=str(path),
            hint=HINT,
        )
    return msgspec.convert(value, CheckReport)


def drop_known_findings(
    report: CheckReport, known: frozenset[FindingKey], fail_on: Severity
) -> CheckReport:
    """Return ``report`` without the findings in ``known``, which are counted as ignored."""
    findings = tuple(f for f in report.findings if _make_key(f) not in known)
    return msgspec.structs.replace(
        replace_findings(report, findings),
        ignored=report.ignored + len(report.findings) - len(findings),
        failed=bool(report.error) or any(f.severity.is_at_least(fail_on) for f in findings),
    )
