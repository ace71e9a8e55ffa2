"""Runs all rules over a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bundle_fix.bundle import Bundle
from bundle_fix.check.context import Context, Expectations
from bundle_fix.check.findings import SEVERITIES, Finding, Rule, at_least
from bundle_fix.check.rules import abi, allocators, hygiene, opened, resolution, runpath
from bundle_fix.loader.host import CLEAN, Environment, Host, adversarial_host

RULES: tuple[Rule, ...] = (
    *resolution.RULES, *opened.RULES, *runpath.RULES, *allocators.RULES, *abi.RULES, *hygiene.RULES,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. ``ignored`` counts the findings that the user accepts."""

    findings: tuple[Finding, ...]
    ignored: int
    programs: int
    libraries: int
    failed: bool

    @property
    def summary(self) -> Mapping[str, int]:
        """How many findings there are of each severity."""
        return {s: sum(f.severity == s for f in self.findings) for s in SEVERITIES}

    def findings_by_rule(self) -> list[Finding]:
        """The findings, the worst first, those of one rule together."""
        return sorted(self.findings, key=lambda f: (SEVERITIES.index(f.severity), f.rule))


def check_bundle(
    bundle: Bundle,
    expectations: Expectations,
    host: Host | None = None,
    environment: Environment = CLEAN,
    only: str | None = None,
) -> Verdict:
    """Every finding of every rule, the worst first, then by path and code.

    Args:
        bundle: its contents must be open.
        expectations: what the user says of the pack and its target.
        host: the target; the adversarial one where none is given.
        environment: what processes are started with there.
        only: the one file that is asked about; all where none is given.
    """
    target = host or adversarial_host(expectations.host)
    context = Context(bundle, expectations, target, environment, only)
    findings = [finding for rule in RULES for finding in rule.find(rule, context)]
    findings = [f for f in findings if only in (None, f.path)]
    kept = [finding for finding in findings if not _ignored(finding, expectations)]
    kept.sort(key=lambda f: (SEVERITIES.index(f.severity), f.path, f.rule, f.message))
    return Verdict(
        findings=tuple(kept),
        ignored=len(findings) - len(kept),
        programs=len(context.programs),
        libraries=len(context.libraries),
        failed=bool(at_least(kept, expectations.fail_on)),
    )


def _ignored(finding: Finding, expectations: Expectations) -> bool:
    return any(
        finding.rule == ignore.rule and fnmatchcase(finding.path, ignore.path)
        for ignore in expectations.ignore
    )
