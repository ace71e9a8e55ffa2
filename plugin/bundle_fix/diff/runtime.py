"""Find newer versions of the C and C++ runtime that a pack requires of its target."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.findings import Finding
from bundle_fix.check.rules.differences import NEWER_RUNTIME
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.loader.hosts.libc import parse_version
from bundle_fix.policy.severity import Severity

FAMILY_LIBRARIES = {
    "GLIBC": "libc.so.6", "GLIBCXX": "libstdc++.so.6", "CXXABI": "libstdc++.so.6",
    "GCC": "libgcc_s.so.1",
}  # fmt: skip
"""The library that defines each family of versions; the C library is always the host's."""


def find_newer_runtime(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    """Yield a finding for each family of which the new pack requires a newer version of the host.

    With a glibc baseline in the policy, a glibc version up to the baseline is a note.
    """
    old_versions, baseline = old.check_result.abi.versions, new.context.policy.glibc
    for family, newest in new.check_result.abi.versions.items():
        library = FAMILY_LIBRARIES[family]
        if family not in old_versions or (family != "GLIBC" and library not in new.host_libraries):
            continue
        version = parse_version(newest.version)
        if version <= parse_version(old_versions[family].version):
            continue
        allowed = family == "GLIBC" and baseline and version <= parse_version(baseline)
        yield NEWER_RUNTIME.make_finding(
            newest.path,
            f"requires {family}_{newest.version} from the host; the old pack required"
            f" {family}_{old_versions[family].version}",
            severity=Severity.NOTE if allowed else Severity.ERROR,
            versions=[f"{family}_{old_versions[family].version}", f"{family}_{newest.version}"],
        )
