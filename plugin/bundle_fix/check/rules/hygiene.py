"""BF501, BF509 and BF510: wrong modes, paths of the build machine, and truncated files."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.scan.build_paths import list_build_paths
from bundle_fix.elf.scan.debug_info import is_debug_only
from bundle_fix.plan.modes import WORLD_WRITE, find_wrong_modes
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

TEST_DIRECTORIES = frozenset({"test", "tests", "testdata", "testsuite", "fixtures"})
"""Names of directories whose programs are test data, which need not be executable."""


def find_members_with_wrong_mode(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the members whose mode breaks the pack or allows every user to change them."""
    for path, wrong in find_wrong_modes(context.bundle).items():
        mode = wrong.node.metadata.mode
        severity = Severity.WARNING if wrong.is_readable_by_owner_only else rule.severity
        yield rule.make_finding(
            path,
            f"has mode {mode:04o}: {wrong.reason}",
            severity=Severity.NOTE if _is_test_data(path) and not mode & WORLD_WRITE else severity,
            hint=f"Change the mode to {wrong.better:04o}.",
            mode=f"{mode:04o}",
            better=f"{wrong.better:04o}",
        )


def _is_test_data(path: str) -> bool:
    """Return whether a file lies in a directory of test data."""
    return not TEST_DIRECTORIES.isdisjoint(path.split("/")[:-1])


def find_truncated_files(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the programs and libraries that end before the end of a loadable segment."""
    for path, image in context.bundle.images.items():
        end = max((segment.file_end for segment in image.find_loads()), default=0)
        if end <= image.size or context.only not in (None, path):
            continue
        # A file of split debug information has the program headers of its program, without data.
        if not image.is_dynamic and context.facts.read_fact(path, is_debug_only):
            continue
        yield rule.make_finding(
            path,
            f"is truncated: it has {image.size} bytes, but its segments end at byte {end}",
            severity=context.get_load_severity(path) if image.is_library else rule.severity,
            size=image.size,
            loaded=end,
        )


def find_build_paths(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files that contain paths of the build machine."""
    for path in context.iter_dynamic_files():
        found = context.facts.read_fact(path, list_build_paths)
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            yield rule.make_finding(path, f"contains the path {found[0]}{more}", paths=list(found))


RULES = (
    Rule(
        "BF501", "wrong-mode", Severity.ERROR,
        "The mode of a file or directory prevents its use, or allows every user to change it.",
        "A program cannot be executed, a library cannot be read, or a directory cannot be entered."
        " If a file is world-writable, any user of the target can replace the code.",
        "Change the mode.",
        "bin/server has mode 0644, because an upload removed the execute bits.",
        find_members_with_wrong_mode,
        repair=RepairKind.REPAIR_MODE,
    ),
    Rule(
        "BF509", "build-path", Severity.NOTE,
        "A file contains paths of the machine that built it.",
        "They reveal names of users and directories. If the program opens such a path, it fails on"
        " the target, or opens a file of another user.",
        "Compile with -ffile-prefix-map=$PWD=. (Go: -trimpath, Rust: --remap-path-prefix), and"
        " configure the build with the prefix that the pack has on the target.",
        "bin/server contains /home/ci/build/etc/server.conf, the default path of its"
        " configuration.",
        find_build_paths,
        concerns_whole_file=True,
    ),
    Rule(
        "BF510", "truncated-file", Severity.ERROR,
        "A program or library ends before the end of a loadable segment.",
        "A process that accesses the missing part is killed by SIGBUS.",
        "Copy or build the file again. The disk may have been full, or the copy was interrupted.",
        "lib/librocksdb.so.8 contains only the first 4 MiB of the 9 MiB that were built.",
        find_truncated_files,
    ),
)  # fmt: skip
