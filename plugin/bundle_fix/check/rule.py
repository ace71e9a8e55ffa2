"""Rules: their texts, the artifacts and the command they belong to, and how they find problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding, Root, RootKind
from bundle_fix.model.tree import InstallLocation
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

ALL_LOCATIONS = frozenset(InstallLocation)
RELOCATABLE = frozenset({InstallLocation.ANYWHERE})
"""The location of packs, which are unpacked to any directory on any host.

In a distribution package or a root file system an absolute path is reliable, libraries lie in the
default directories, and a missing file may be in another package.
"""


class RuleFamily(Enum):
    """The subject of a rule; the values are the first digits of the codes (``BF1xx``)."""

    CHECK = "0"
    RESOLUTION = "1"
    RUNPATH = "2"
    ALLOCATORS = "3"
    ABI = "4"
    HARDENING = "5"
    ARCHIVES = "6"
    REGRESSIONS = "7"
    OBSERVED = "8"

    @classmethod
    def of_code(cls, code: str) -> RuleFamily:
        """Return the family of the rule with ``code``."""
        return cls(code[2])


class RuleScope(Enum):
    """The command that reports the findings of a rule."""

    CHECK = "check"
    DIFF = "diff"
    RUN = "run"


class Rule(Struct, frozen=True):
    """One rule.

    Attributes:
        code: such as ``BF102``; a code never changes its meaning and is never reused.
        name: a readable name, such as ``host-wins``.
        severity: the severity of its findings, unless the rule sets another one for a finding.
        title: the problem, in one sentence.
        why: the consequences of the problem.
        fix: how to repair it.
        example: a pack that has the problem.
        find: yields the findings in one artifact; None if a rule needs more than one artifact to
            look at (`bundle_fix.diff`), or the findings of the other rules.
        scope: the command that reports the findings.
        applies_to: the install locations of artifacts that the rule is about.
        has_diff_rule: whether a rule of ``diff`` reports the same change of a needed name.
        repair: the change by which ``fix`` repairs a finding, where the pack allows it; None if
            it repairs none.
        concerns_whole_pack: whether its findings are about the pack, not about the file at their
            path, which is one of several.
        concerns_whole_file: whether it has one finding per file, whose message may contain names
            that differ from build to build.
    """

    code: str
    name: str
    severity: Severity
    title: str
    why: str
    fix: str
    example: str
    find: Callable[[Rule, Context], Iterator[Finding]] | None = None
    scope: RuleScope = RuleScope.CHECK
    applies_to: frozenset[InstallLocation] = ALL_LOCATIONS
    has_diff_rule: bool = False
    concerns_whole_pack: bool = False
    concerns_whole_file: bool = False
    repair: RepairKind | None = None

    @property
    def family(self) -> RuleFamily:
        """The subject of the rule."""
        return RuleFamily.of_code(self.code)

    def find_all(self, context: Context) -> Iterator[Finding]:
        """Yield the findings of this rule in one artifact."""
        if self.find is not None:
            yield from self.find(self, context)

    def make_finding(
        self,
        path: str,
        message: str,
        *,
        severity: Severity | None = None,
        hint: str | None = None,
        root: Root | None = None,
        fixable: bool = True,
        **evidence: Any,
    ) -> Finding:
        """Return a finding of this rule; ``severity`` and ``hint`` default to those of the rule.

        Without a ``root``, the findings of the rule are one cause.
        ``fixable`` is false if the rule has a repair that is not possible for this finding.
        """
        return Finding(
            self.code, self.name, severity or self.severity, path, message,
            self.fix if hint is None else hint, root or Root(RootKind.RULE, self.code), evidence,
            fixable and self.repair is not None, self.concerns_whole_file,
        )  # fmt: skip
