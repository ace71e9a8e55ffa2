"""BF701 to BF707: regressions between two artifacts.

These rules have no ``find`` function, because they need both artifacts: `bundle_fix.diff` makes
their findings.
"""

from __future__ import annotations

from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.policy.severity import Severity

NOW_FROM_HOST = Rule(
    "BF701", "now-from-host", Severity.ERROR,
    "A needed name resolved to a file of the old pack, and now resolves to a file of the host.",
    "The program runs with the version that the target has, not with the version for which it was"
    " built and tested.",
    "Add the library to the pack under the needed name, or add its directory to the RUNPATH. If"
    " every target has the library, declare it with --host-provides or [closure] host.",
    "Release 2.5 contained lib/libtcmalloc.so.4. Release 2.6 contains the same file as"
    " libtcmalloc.so, without a symlink.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NOW_NOT_FOUND = Rule(
    "BF702", "now-not-found", Severity.ERROR,
    "A needed name was found in the old pack or on the host, and is now not found.",
    "The program started with the old pack. With the new one it fails before main.",
    "Add the library to the pack again.",
    "Release 2.6 no longer contains lib/libboost_regex.so.1.74.0, but bin/server still needs it.",
    scope=RuleScope.DIFF,
)  # fmt: skip
OTHER_FILE = Rule(
    "BF703", "other-file", Severity.ERROR,
    "A needed name resolves to a file that is not the new version of the previous file.",
    "If the pack contains several copies of a library, the program now loads a different copy,"
    " which may be an older one.",
    "Run 'bundle-fix why' for both packs. Remove the wrong copy, or order the RUNPATH so that the"
    " right copy is found first.",
    "bin/server loaded lib/libssl.so.3. Now its RUNPATH begins with bin/, so it loads"
    " bin/libssl.so.3.",
    scope=RuleScope.DIFF,
)  # fmt: skip
REMOVED_SYMBOLS = Rule(
    "BF704", "removed-symbols", Severity.ERROR,
    "A library has the same soname as before, but no longer exports some of its symbols.",
    "The same soname means that the library is compatible. Programs that were linked with the old"
    " library load the new one and fail when they use a removed symbol.",
    "Export the symbols again, or give the library a new soname. If only the pack itself uses the"
    " library, ignore this rule for its path.",
    "libclient.so.1 of release 2.6 does not export client_open_v1, which a customer's tool calls.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NEWER_RUNTIME = Rule(
    "BF705", "newer-runtime", Severity.ERROR,
    "The pack requires newer versions of the target's C or C++ runtime than before.",
    "A target that runs the old pack may not start the new one: 'version GLIBC_2.34 not found'.",
    "Build on the oldest system that must run the pack, or pass the newest version that all targets"
    " have with --glibc.",
    "Release 2.5 required GLIBC_2.17. Release 2.6 was built on another machine and requires"
    " GLIBC_2.34.",
    scope=RuleScope.DIFF,
)  # fmt: skip
REMOVED_FILE = Rule(
    "BF706", "removed-file", Severity.WARNING,
    "The pack no longer contains a program, or a library that other packs can find by its soname.",
    "Scripts that start the program and programs that load the library fail.",
    "Add the file again, or announce its removal to its users.",
    "Release 2.5 contained bin/shell. Release 2.6 contains no file of that name.",
    scope=RuleScope.DIFF,
)  # fmt: skip
NEW_FROM_HOST = Rule(
    "BF707", "new-from-host", Severity.WARNING,
    "The pack needs a library from the host that the old pack did not need.",
    "A target that runs the old pack may not have the library.",
    "Add the library to the pack, or declare that the host provides it.",
    "bin/server of release 2.6 needs libnuma.so.1. In release 2.5 it did not.",
    scope=RuleScope.DIFF,
)  # fmt: skip

RULES = (
    NOW_FROM_HOST, NOW_NOT_FOUND, OTHER_FILE, REMOVED_SYMBOLS, NEWER_RUNTIME, REMOVED_FILE,
    NEW_FROM_HOST,
)  # fmt: skip
