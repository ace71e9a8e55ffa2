"""BF801 to BF807: what was observed while a program of the pack ran.

These rules have no ``find`` function, because they need a process: `bundle_fix.run` makes their
findings.
"""

from __future__ import annotations

from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.policy.severity import Severity

HOST_COPY = Rule(
    "BF801", "host-copy-loaded", Severity.ERROR,
    "The host's copy of a library was loaded, although the pack has the library.",
    "The process runs with the version that the host has. It may lack symbols, or bring a second"
    " allocator or C++ runtime.",
    "Make the loader find the pack's copy first: 'bundle-fix why' shows the search, and"
    " 'bundle-fix fix' repairs sonames and RUNPATHs. Where a program opens a library by a path or"
    " with a search path of its own, change that path.",
    "lib/plugin.so opens libssl.so.3 at run time. It has no RUNPATH, so the loader finds"
    " /lib64/libssl.so.3.",
    scope=RuleScope.RUN,
)  # fmt: skip
UNDECLARED = Rule(
    "BF802", "undeclared-host-library", Severity.ERROR,
    "A library was loaded from the host that is neither in the pack nor declared.",
    "A target may lack the library, or have another version of it.",
    "Add the library to the pack. If every target has it, declare it with --host-provides or"
    " [closure] host.",
    "bin/server opens libnuma.so.1 when it starts. The pack does not contain it.",
    scope=RuleScope.RUN,
)  # fmt: skip
NOT_FOUND = Rule(
    "BF803", "name-not-found", Severity.NOTE,
    "The loader searched for a library and did not find it.",
    "A feature is missing at run time, or the program fails.",
    "Add the library to the pack, unless the program works as intended without it.",
    "bin/server opens libjemalloc.so.2 if it is installed.",
    scope=RuleScope.RUN,
)  # fmt: skip
NOT_PREDICTED = Rule(
    "BF804", "not-predicted", Severity.NOTE,
    "An object was loaded that the loader model did not predict.",
    "'check' knows the libraries that are opened at run time only if they are declared. What it"
    " does not know, it cannot check.",
    "Declare the library in [closure] dlopen; --learn does so.",
    "bin/python3 opens lib/python3.11/lib-dynload/_ssl.so, which needs libssl.so.3.",
    scope=RuleScope.RUN,
)  # fmt: skip
PROGRAM_FAILED = Rule(
    "BF805", "program-failed", Severity.ERROR,
    "The program failed, or did not end within its time.",
    "What it would have loaded later was not observed.",
    "Read the program's output. For a server, stop it with --stop-after.",
    "bin/server exits with 127: a symbol is missing.",
    scope=RuleScope.RUN,
)  # fmt: skip
CANNOT_OPEN = Rule(
    "BF806", "cannot-open", Severity.ERROR,
    "A library of the pack cannot be opened by itself.",
    "A program that opens it fails, unless it has loaded what the library lacks.",
    "Add the missing library, or its directory to the RUNPATH.",
    "lib/plugins/geo.so needs libproj.so.25, which is not in the pack.",
    scope=RuleScope.RUN,
)  # fmt: skip
NOTHING_OBSERVED = Rule(
    "BF807", "nothing-observed", Severity.WARNING,
    "The loader recorded nothing, so only opened files were observed.",
    "A static program has no loader, musl's loader writes no record, and glibc's writes none for a"
    " privileged program. Objects of the host other than decoys were then not seen.",
    "Run a dynamic program of glibc, or accept the smaller record with --ignore.",
    "bin/tool is linked statically.",
    scope=RuleScope.RUN,
)  # fmt: skip

RULES = (
    HOST_COPY, UNDECLARED, NOT_FOUND, NOT_PREDICTED, PROGRAM_FAILED, CANNOT_OPEN, NOTHING_OBSERVED,
)  # fmt: skip
