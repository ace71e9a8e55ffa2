"""BF002: an artifact without any file that a check looks at."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.archive.formats import START_SIZE, is_archive_start
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import join_names
from bundle_fix.model.wording import format_count
from bundle_fix.policy.severity import Severity

OTHER_SYSTEM_MAGICS = (
    b"MZ", b"\xfe\xed\xfa\xce", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe",
)  # fmt: skip
"""First bytes of programs for Windows (PE) and macOS (mach-o/loader.h, both byte orders)."""


def find_unchecked_artifact(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield a finding if there is no program and no library for Linux."""
    if context.programs or context.libraries or context.static_programs:
        return
    if context.only is not None:
        message = "is neither a program nor a shared library, so nothing was checked"
        yield _make_finding(rule, context, message, [])
        return
    archives, foreign = _list_unread_files(context)
    count = sum(1 for _ in context.bundle.tree.iter_files())
    message = "nothing was checked: the artifact "
    if count:
        message += f"has {format_count(count, 'file')}, but no program or library for Linux"
    else:
        message += "has no files"
    unread = (
        (archives, "archive", "archives"),
        (foreign, "file for another system", "files for other systems"),
    )
    counts = [
        f"{format_count(len(paths), *words)} ({join_names(paths)})"
        for paths, *words in unread
        if paths
    ]
    if counts:
        message += f"; not looked into: {', '.join(counts)}"
    yield _make_finding(rule, context, message, [*archives, *foreign])


def _make_finding(rule: Rule, context: Context, message: str, unread: list[str]) -> Finding:
    severity = Severity.NOTE if context.policy.allow_empty else rule.severity
    return rule.make_finding(context.only or "", message, severity=severity, files=unread)


def _list_unread_files(context: Context) -> tuple[list[str], list[str]]:
    """Return the paths of archives and compressed files, and of programs for other systems."""
    archives: list[str] = []
    foreign = list(context.bundle.foreign_systems)
    for path, file in context.bundle.tree.iter_files():
        with file.content.open() as reader:
            start = reader.pread(0, START_SIZE)
        if is_archive_start(start):
            archives.append(path)
        elif start.startswith(OTHER_SYSTEM_MAGICS):
            foreign.append(path)
    return archives, foreign


NOTHING_CHECKED = Rule(
    "BF002", "nothing-checked", Severity.ERROR,
    "The artifact contains no program and no library that could be checked.",
    "A check that looked at nothing would pass whatever is wrong: the files may be missing, be"
    " for another system, or be in an archive inside the artifact.",
    "Check the archives inside it, or the right artifact. If it needs no programs, pass"
    " --allow-empty.",
    "A zip archive contains a tarball for each platform, and the programs are in them.",
    find_unchecked_artifact,
)  # fmt: skip
RULES = (NOTHING_CHECKED,)
