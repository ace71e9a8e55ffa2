"""BF5xx: modes and habits."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import ERROR, Finding, Rule
from bundle_fix.modes import wrong_modes


def find_modes(rule: Rule, context: Context) -> Iterator[Finding]:
    """Members whose mode keeps the pack from working, or lets anybody change it."""
    for path, (node, better, reason) in wrong_modes(context.bundle).items():
        yield rule.finding(
            path,
            f"has the mode {node.stamp.mode:04o}: {reason}",
            mode=f"{node.stamp.mode:04o}",
            better=f"{better:04o}",
        )


RULES = (
    Rule(
        "BF501", "mode", ERROR,
        "A program cannot be executed, a folder cannot be entered, or anybody may change a file.",
        "The pack does not start, or anybody on the target can replace what it runs.",
        "'bundle-fix fix' repairs the mode.",
        "bin/server has mode 0644 since an upload dropped the bits.",
        find_modes,
    ),
)  # fmt: skip
