"""The text report on two artifacts."""

from __future__ import annotations

from bundle_fix.check.registry import ALL_RULES
from bundle_fix.report.check_report import Tool, describe_rules
from bundle_fix.report.diff import (
    ChangedMemberRecord,
    ChangeRecord,
    DiffReport,
    MemberChangesRecord,
    MemberRecord,
)
from bundle_fix.report.render.diff_text import render_diff

RULES = describe_rules(ALL_RULES)


def render(members: MemberChangesRecord, *, verbose: bool = False) -> list[str]:
    report = DiffReport(
        1, "old", "new", Tool(), dict.fromkeys(("error", "warning", "note"), 0), (), (), (), (),
        members, {}, failed=False, ignored=0, seconds=1.0,
    )  # fmt: skip
    return render_diff(report, RULES, lambda text, _: text, verbose=verbose).splitlines()


def make_change(old: str, new: str, *changes: ChangeRecord) -> ChangedMemberRecord:
    moved = (ChangeRecord("path", old, new),) if old != new else ()
    return ChangedMemberRecord(new, old, "file", "", (*moved, *changes))


def test_a_renamed_directory_is_one_line() -> None:
    members = MemberChangesRecord(
        9,
        added=(
            MemberRecord("x-2.0", "directory", 0, ""), MemberRecord("x-2.0/a", "directory", 0, ""),
        ),
        removed=(
            MemberRecord("x-1.0", "directory", 0, ""), MemberRecord("x-1.0/a", "directory", 0, ""),
            MemberRecord("x-1.0/gone", "file", 7, ""),
        ),
        changed=(
            make_change("x-1.0/same", "x-2.0/same"),
            make_change("x-1.0/size", "x-2.0/size", ChangeRecord("size", 5000, 6000)),
        ),
    )  # fmt: skip
    assert render(members)[2:] == [
        "members: 2 added, 3 removed, 2 changed, 9 unchanged",
        "- x-1.0/gone (7 B)",
        "~ x-1.0 -> x-2.0 (directory)",
        "~ x-2.0/size: 5.0 kB -> 6.0 kB",
    ]


def test_the_directory_of_a_renamed_file_is_printed_once() -> None:
    members = MemberChangesRecord(0, (), (), (make_change("lib/a.so.1.0", "lib/a.so.1.1"),))
    assert render(members)[-1] == "~ lib/a.so.1.0 -> a.so.1.1: moved only"


def test_many_changes_take_forty_lines_and_verbose_lists_all() -> None:
    changes = [
        make_change(f"f{n}", f"f{n}", ChangeRecord("content", None, None)) for n in range(90)
    ]
    members = MemberChangesRecord(0, (), (), tuple(changes))
    lines = render(members)
    assert len(lines) <= 40
    assert lines[0].startswith("old -> new: not worse: no regressions")
    assert lines[-1] == f"… and {90 - len(lines) + 4} more (-v lists all)"
    assert sum(line.startswith("~ f") for line in render(members, verbose=True)) == 90


def test_directories_of_which_several_may_be_the_same_are_not_renamed() -> None:
    members = MemberChangesRecord(
        0,
        added=(MemberRecord("x-3", "directory", 0, ""),),
        removed=(MemberRecord("x-1", "directory", 0, ""), MemberRecord("x-2", "directory", 0, "")),
        changed=(),
    )
    assert render(members)[3:] == ["- x-1 (directory)", "- x-2 (directory)", "+ x-3 (directory)"]
