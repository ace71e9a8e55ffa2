"""A baseline: the findings of an earlier report, which do not fail a check again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bundle_fix.check.findings import SEVERITIES
from bundle_fix.errors import BundleFixError
from bundle_fix.report.model import CheckReport

LARGEST = 256 << 20
"""Bytes of a baseline that are read."""


def read_baseline(path: Path) -> frozenset[str]:
    """The fingerprints of the findings in a report of ``--format json`` or ``jsonl``.

    Raises:
        BundleFixError: the file cannot be read, or is no such report.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise BundleFixError("it is too large for a report", where=str(path))
        reports = list(_reports(path.read_bytes()))
    except OSError as error:
        raise BundleFixError(f"cannot read it: {error.strerror}", where=str(path)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleFixError(
            f"it is no report of bundle-fix: {error}",
            where=str(path),
            hint="make one with 'bundle-fix check --format json -o FILE'",
        ) from error
    return frozenset(f.fingerprint for report in reports for f in report.findings)


def _reports(data: bytes) -> Iterator[CheckReport]:
    try:
        decoded: list[Any] = [msgspec.json.decode(data)]
    except msgspec.DecodeError:
        if not data.strip():
            raise
        decoded = [msgspec.json.decode(line) for line in data.splitlines() if line.strip()]
    for value in decoded:
        yield from msgspec.convert(value if isinstance(value, list) else [value], list[CheckReport])


def without_known(report: CheckReport, known: frozenset[str], fail_on: str) -> CheckReport:
    """``report`` without the findings that a baseline has; they count as ignored."""
    findings = tuple(f for f in report.findings if f.fingerprint not in known)
    failing = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    return msgspec.structs.replace(
        report,
        findings=findings,
        summary={s: sum(f.severity == s for f in findings) for s in SEVERITIES},
        ignored=report.ignored + len(report.findings) - len(findings),
        failed=bool(report.error) or any(f.severity in failing for f in findings),
    )
