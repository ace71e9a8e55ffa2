"""BF5xx: modes and habits."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.scan.build_paths import list_build_paths
from bundle_fix.elf.scan.debug_info import is_debug_only
from bundle_fix.plan.modes import WORLD_WRITE, find_wrong_modes
from bundle_fix.policy.severity import Severity


def find_modes(rule: Rule, context: Context) -> Iterator[Finding]:
    """Members whose mode keeps the pack from working, or lets anybody change it."""
    for path, wrong in find_wrong_modes(context.bundle).items():
        mode = wrong.node.metadata.mode
        severity = Severity.WARNING if wrong.is_readable_by_owner_only else rule.severity
        yield rule.make_finding(
            path,
            f"has the mode {mode:04o}: {wrong.reason}",
            severity=Severity.NOTE if _is_test_data(path) and not mode & WORLD_WRITE else severity,
            hint=f"Make it {wrong.better:04o} (chmod); 'bundle-fix fix' does so.",
            mode=f"{mode:04o}",
            better=f"{wrong.better:04o}",
        )


def _is_test_data(path: str) -> bool:
    return not TESTS.isdisjoint(path.split("/")[:-1])


def find_cut_short(rule: Rule, context: Context) -> Iterator[Finding]:
    """Programs and libraries that end before what is to be loaded of them does."""
    for path, image in context.bundle.images.items():
        end = max((segment.file_end for segment in image.find_loads()), default=0)
        if end <= image.size or context.only not in (None, path):
            continue
        # What holds nothing but debug information keeps the program headers of its program.
        if not image.is_dynamic and context.facts.read_fact(path, is_debug_only):
            continue
        is_needed = not image.is_library or path in context.loaded_at_start
        yield rule.make_finding(
            path,
            f"has {image.size} bytes, but {end} bytes of it are to be loaded",
            severity=rule.severity if is_needed else context.plugin_severity,
            size=image.size,
            loaded=end,
        )


def find_build_paths(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that carry paths of the machine that built them."""
    for path in context.iter_dynamic_files():
        found = context.facts.read_fact(path, list_build_paths)
        if found:
            more = f" and {len(found) - 1} more like it" if len(found) > 1 else ""
            yield rule.make_finding(path, f"carries the path {found[0]}{more}", paths=list(found))


TESTS = frozenset({"test", "tests", "testdata", "testsuite", "fixtures"})
"""Folders whose programs are what a test reads, and need not run."""

RULES = (
    Rule(
        "BF501", "mode", Severity.ERROR,
        "A program cannot be executed, a library not read, a folder not entered, or anybody may"
        " change a file.",
        "The pack does not start, or anybody on the target can replace what it runs.",
        "'bundle-fix fix' repairs the mode.",
        "bin/server has mode 0644 since an upload dropped the bits.",
        find_modes,
    ),
    Rule(
        "BF509", "build-path", Severity.NOTE,
        "A file carries paths of the machine that built it.",
        "They tell others who built it and where; and if it opens them, it fails on the target or"
        " opens what somebody else put there.",
        "Compile with -ffile-prefix-map=$PWD=. (Go: -trimpath, Rust: --remap-path-prefix), and"
        " configure with the prefix that the pack has on the target.",
        "bin/server carries /home/ci/build/etc/server.conf, the configuration's default place.",
        find_build_paths,
    ),
    Rule(
        "BF510", "cut-short", Severity.ERROR,
        "A program or library ends before what is to be loaded of it.",
        "The loader maps what is not there, and whoever touches it ends with SIGBUS.",
        "Copy or build the file again: the disk was full, or the copy was interrupted.",
        "lib/librocksdb.so.8 has the first 4 MiB of the 9 that it had when it was built.",
        find_cut_short,
    ),
)  # fmt: skip
