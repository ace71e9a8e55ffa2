"""BF7xx: what got worse between two artifacts. `bundle_fix.diff` finds it; a check never does."""

from __future__ import annotations

from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.policy.severity import Severity

NOW_FROM_HOST = Rule(
    "BF701", "now-from-host", Severity.ERROR,
    "A needed name that the old pack answered itself is now answered by the host.",
    "The program runs with whatever version the target has, where it used to run with the one it"
    " was built and tested with.",
    "Put the library back under the name that is needed, or its folder back into the RUNPATH;"
    " if the target has it for certain, say so with --host-provides or [closure] host.",
    "2.5 shipped lib/libtcmalloc.so.4; 2.6 ships the same file as libtcmalloc.so and no link.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NOW_NOT_FOUND = Rule(
    "BF702", "now-not-found", Severity.ERROR,
    "A needed name that was found is now found nowhere.",
    "The program that started with the old pack ends before main with the new one.",
    "Put the library back into the pack.",
    "2.6 left out lib/libboost_regex.so.1.74.0, and bin/server still needs it.",
    scope=RuleScope.DIFF,
)  # fmt: skip
OTHER_FILE = Rule(
    "BF703", "other-file", Severity.ERROR,
    "A needed name now leads to another file than the one that took the old one's place.",
    "Of several copies of a library another one is loaded than before, perhaps an older one.",
    "Look at 'bundle-fix why' for both packs; take the copy away that is not meant, or order the"
    " RUNPATH so that the right one is found first.",
    "lib/libssl.so.3 was loaded; now bin/ stands first in the RUNPATH, and bin/libssl.so.3 is.",
    scope=RuleScope.DIFF,
)  # fmt: skip
LOST_SYMBOLS = Rule(
    "BF704", "lost-symbols", Severity.ERROR,
    "A library keeps its soname, but lacks symbols that it had.",
    "A soname is a promise: programs that were linked against the old library load the new one, and"
    " fail at the first use of what is gone.",
    "Put the symbols back, or give the library a new soname; for a library that nobody outside the"
    " pack links against, ignore this rule at its path.",
    "libclient.so.1 of 2.6 has no client_open_v1 any more; a tool at the customer's calls it.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NEWER_RUNTIME = Rule(
    "BF705", "newer-runtime", Severity.ERROR,
    "The pack wants newer versions of the target's C or C++ runtime than before.",
    "Targets that ran the old pack may not start the new one: 'version GLIBC_2.34 not found'.",
    "Build on the oldest system that is to run it, or say with --glibc how new it may be.",
    "2.6 was built on another machine: it wants GLIBC_2.34, where 2.5 wanted GLIBC_2.17.",
    scope=RuleScope.DIFF,
)  # fmt: skip
GONE = Rule(
    "BF706", "gone", Severity.WARNING,
    "A program, or a library that can be found by its soname, is not in the pack any more.",
    "Who starts it by its path, links against it or opens it at run time is let down.",
    "Put it back, or tell those who use it.",
    "bin/shell was in 2.5; 2.6 does not have it, nor another file of that name.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NEW_FROM_HOST = Rule(
    "BF707", "new-from-host", Severity.WARNING,
    "The pack needs a library of the host that it did not need before.",
    "A target that ran the old pack need not have it.",
    "Bundle it, or declare that the host provides it.",
    "bin/server of 2.6 needs libnuma.so.1, which 2.5 did not.",
    scope=RuleScope.DIFF,
)  # fmt: skip

RULES = (
    NOW_FROM_HOST, NOW_NOT_FOUND, OTHER_FILE, LOST_SYMBOLS, NEWER_RUNTIME, GONE, NEW_FROM_HOST,
)  # fmt: skip
