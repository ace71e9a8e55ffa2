"""BF001: entries of the list of accepted findings (``ignore``) that match no finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bundle_fix.check.findings import Finding, is_ignored
from bundle_fix.check.rule import Rule
from bundle_fix.policy.policy import AcceptedFinding
from bundle_fix.policy.severity import Severity

UNUSED_IGNORE = Rule(
    "BF001", "unused-ignore", Severity.WARNING,
    "An entry of ignore matches no finding.",
    "The problem was fixed, or the rule or path of the entry is wrong. An unused entry hides the"
    " next finding that happens to match it.",
    "Remove the entry, or correct its rule or path.",
    "[check] ignore lists BF202 for bin/legacy_*, but release 2.6 no longer contains these files.",
)  # fmt: skip

RULES = (UNUSED_IGNORE,)


def find_unused_ignores(
    ignores: Iterable[AcceptedFinding], findings: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield a finding for every entry that matches none of ``findings``."""
    for ignore in ignores:
        if not any(is_ignored(finding, [ignore]) for finding in findings):
            yield UNUSED_IGNORE.make_finding(
                "",
                f"the ignore entry for {ignore.rule} at {ignore.path} ({ignore.reason}) matches no"
                " finding",
                target=f"{ignore.rule}:{ignore.path}",
            )
