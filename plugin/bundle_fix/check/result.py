"""The result of a check."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bundle_fix.check.facts.abi import Abi
from bundle_fix.check.findings import Finding
from bundle_fix.policy.severity import Severity


class CheckResult(Struct, frozen=True):
    """The result of a check of one artifact.

    Attributes:
        findings: the findings that the user does not accept, the worst first.
        ignored: the number of findings that the user accepts.
        programs: the number of programs that were looked at.
        libraries: the number of shared libraries that were looked at.
        failed: whether a finding is at least as bad as the policy's ``fail_on``.
        abi: the symbol versions and processor levels that the files require of the target.
        fails_after_fix: whether the check would still fail after a repair by ``fix``.
    """

    findings: tuple[Finding, ...]
    ignored: int
    programs: int
    libraries: int
    failed: bool
    abi: Abi
    fails_after_fix: bool = False

    @property
    def summary(self) -> Mapping[str, int]:
        """The number of findings of each severity."""
        return {s.value: sum(f.severity == s for f in self.findings) for s in Severity}
