"""Which rules count for what is installed at the root: packages and root file systems.

There an absolute path means what it says, libraries lie in the default directories, and what is
not in a package is in another one.
"""

from __future__ import annotations

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import InstallLocation

FOR_PACKS = frozenset(
    {
        "BF103", "BF104", "BF105", "BF106", "BF108", "BF110", "BF111", "BF112",
        "BF201", "BF202", "BF204", "BF206", "BF506", "BF508", "BF603", "BF605",
    }
)  # fmt: skip
"""Rules about what is unpacked anywhere, on any host."""
OF_LIBC = "BF402"
LIBC = "libc.so.6"


def counts(rule: str, bundle: Bundle) -> bool:
    """Whether the rule of that code has anything to say about where ``bundle`` goes."""
    if bundle.tree.place is InstallLocation.ANYWHERE:
        return True
    # What is private to glibc is at home beside the libc of the same build.
    return rule not in FOR_PACKS and not (rule == OF_LIBC and LIBC in bundle.named)
