"""The record of one finding in a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bundle_fix.check.findings import Finding, Root, RootKind, get_subject
from bundle_fix.policy.severity import Severity


class FindingRecord(msgspec.Struct, frozen=True):
    """One finding; ``path`` is relative to the pack.

    ``subject`` is the detail of the file that the finding is about, such as a needed name.
    Rule, path and subject identify a finding, also in the next version of a pack. ``fixable`` is
    true if `bundle-fix fix` repairs it. ``root`` is what it comes from.
    """

    rule: str
    name: str
    severity: Severity
    path: str
    message: str
    hint: str
    evidence: Mapping[str, Any]
    subject: str = ""
    fixable: bool = False
    root: Root = Root(RootKind.RULE, "")

    @property
    def advice(self) -> str:
        """The hint, with the command that follows it if there is one."""
        return f"{self.hint} 'bundle-fix fix' does so." if self.fixable else self.hint

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits, the same for the same finding in two versions of a pack."""
        return compute_fingerprint(self.rule, self.path, self.subject)


def make_finding_record(f: Finding) -> FindingRecord:
    """Return the record of a finding."""
    return FindingRecord(
        f.rule, f.name, f.severity, f.path, f.message, f.hint, f.evidence, get_subject(f),
        f.fixable, f.root,
    )  # fmt: skip


def compute_fingerprint(*parts: str) -> str:
    """Return 32 hexadecimal digits for texts that identify something."""
    # Imported here because hashlib loads OpenSSL, which a report without findings does not need.
    import hashlib

    text = "\0".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
