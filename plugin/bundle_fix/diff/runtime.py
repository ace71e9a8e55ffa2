"""Newer versions of the target's C and C++ runtime that a pack wants."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.facts.abi import version_number
from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.differences import NEWER_RUNTIME
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.policy.severity import Severity

LIBRARIES = {
    "GLIBC": "libc.so.6", "GLIBCXX": "libstdc++.so.6", "CXXABI": "libstdc++.so.6",
    "GCC": "libgcc_s.so.1",
}  # fmt: skip
"""The library that each family of versions is of; the C library is always the host's."""


def find_newer_runtime(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    """A finding for every family of which the new pack wants a newer version of the host.

    Where a baseline was given, a glibc up to that is a note.
    """
    before, baseline = old.verdict.abi.versions, new.context.policy.glibc
    for family, newest in new.verdict.abi.versions.items():
        library = LIBRARIES[family]
        if family not in before or (family != "GLIBC" and library not in new.host_libraries):
            continue
        number = version_number(newest.version)
        if number <= version_number(before[family].version):
            continue
        allowed = family == "GLIBC" and baseline and number <= version_number(baseline)
        yield NEWER_RUNTIME.make_finding(
            newest.path,
            f"wants {family}_{newest.version} of the host; the newest that the old pack wanted was"
            f" {family}_{before[family].version}",
            severity=Severity.NOTE if allowed else Severity.ERROR,
            versions=[f"{family}_{before[family].version}", f"{family}_{newest.version}"],
        )
