"""Findings, the rules that make them, and how bad they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from bundle_fix.policy.severity import Severity

if TYPE_CHECKING:
    from bundle_fix.check.context import Context


class Finding(Struct, frozen=True):
    """One way in which a pack may betray its user, and what shows it.

    ``path`` is relative to the pack; ``evidence`` holds only what JSON can: strings, numbers,
    lists and mappings.
    """

    rule: str
    name: str
    severity: Severity
    path: str
    message: str
    hint: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Rule(Struct, frozen=True):
    """One rule: what it is about, why that bites, how to mend it, and how to find it.

    ``example`` is a pack that trips it, in a sentence or two.
    """

    code: str
    name: str
    severity: Severity
    summary: str
    why: str
    fix: str
    example: str
    find: Callable[[Rule, Context], Iterator[Finding]]

    def make_finding(
        self,
        path: str,
        message: str,
        *,
        severity: Severity | None = None,
        hint: str | None = None,
        **evidence: Any,
    ) -> Finding:
        """A finding of this rule, of its own severity and with its own mend unless told."""
        return Finding(
            self.code, self.name, severity or self.severity, path, message,
            self.fix if hint is None else hint, evidence,
        )  # fmt: skip


SUBJECTS = ("needed", "opened", "soname", "entry", "target", "symbol", "versions", "files", "mode")
"""What a finding is about besides its file, in the words of its evidence: the first there is."""


def get_subject(finding: Finding) -> str:
    """What of its file a finding is about, in words that stay from one version to the next."""
    value = next((finding.evidence[key] for key in SUBJECTS if key in finding.evidence), None)
    if value is None:
        return finding.message
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple, dict)) else str(value)


def filter_by_severity(findings: Sequence[Finding], severity: Severity) -> list[Finding]:
    """The findings that are as bad as ``severity`` or worse."""
    return [finding for finding in findings if finding.severity.is_at_least(severity)]
