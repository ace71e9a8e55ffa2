"""The text report: the verdict first, the worst causes in detail, at most 40 lines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bundle_fix.check.findings import Root, RootKind
from bundle_fix.check.registry import ALL_RULES
from bundle_fix.policy.severity import Severity
from bundle_fix.report.check_report import (
    CheckReport,
    Remedy,
    Tool,
    describe_rules,
    make_error_report,
    replace_findings,
)
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.render.causes_text import render_causes
from bundle_fix.report.render.text import MAX_LINES, render_left, render_text

RULES = describe_rules(ALL_RULES)


def make_record(
    rule: str, severity: Severity, path: str, root: Root | None = None, *, steps: int = 0,
    fixable: bool = False,
) -> FindingRecord:  # fmt: skip
    trace = [
        {"place": f"{n}/{'x' * 60}/liba.so.1", "via": "runpath", "entry": f"/{n}{'x' * 60}",
         "outcome": "not_there"}
        for n in range(steps)
    ]  # fmt: skip
    return FindingRecord(
        rule, RULES[rule].name, severity, path, "is wrong", RULES[rule].fix,
        {"trace": trace} if trace else {}, fixable=fixable,
        root=root or Root(RootKind.RULE, rule),
    )  # fmt: skip


def make_report(*findings: FindingRecord, remedy: Remedy | None = None) -> CheckReport:
    failed = any(f.severity is Severity.ERROR for f in findings)
    empty = CheckReport(1, "pack.tar.gz", Tool(), {}, (), remedy=remedy, failed=failed)
    return replace_findings(empty, findings)


def render(report: CheckReport, *, verbose: bool = False) -> list[str]:
    return render_text(report, RULES, lambda text, _: text, verbose=verbose).splitlines()


def make_many_findings() -> Sequence[FindingRecord]:
    """Return findings of many rules, with traces that are longer than a report."""
    return [
        make_record(code, severity, f"bin/{code}", steps=30)
        for severity in Severity
        for code in list(RULES)[:30]
    ]


def test_many_causes_take_forty_lines_and_the_number_of_hidden_ones_is_printed() -> None:
    report = make_report(*make_many_findings())
    lines = render(report)
    assert len(lines) <= MAX_LINES
    assert lines[0].startswith("pack.tar.gz: FAILED: 30 errors, 30 warnings, 30 notes")
    shown = sum(line.startswith(("error BF", "warning BF", "note BF")) for line in lines)
    assert lines[-1] == f"… and {90 - shown} more causes (-v shows all)"


def test_verbose_prints_every_cause_with_every_step() -> None:
    lines = render(make_report(*make_many_findings()), verbose=True)
    assert sum(line.startswith(("error BF", "warning BF", "note BF")) for line in lines) == 90
    assert sum(line.lstrip().startswith("30. RUNPATH") for line in lines) == 90


def test_a_long_trace_takes_four_lines_and_keeps_its_last_step() -> None:
    lines = render(make_report(make_record("BF102", Severity.ERROR, "bin/x", steps=12)))
    start = next(n for n, line in enumerate(lines) if "is wrong" in line) + 1
    trace = [line for line in lines[start:] if line.startswith("      ")][:5]
    assert any("steps (-v shows all)" in line for line in trace)
    assert any(line.startswith("      12. RUNPATH") for line in trace)
    assert lines[start + 4].startswith("  why:")


def test_errors_are_explained_before_notes_get_more_than_a_line() -> None:
    errors = [
        make_record(code, Severity.ERROR, "bin/x", Root(RootKind.COPIES, code))
        for code in ("BF301", "BF302", "BF303", "BF310", "BF405")
    ]
    notes = [make_record(code, Severity.NOTE, "bin/x") for code in ("BF504", "BF505", "BF507")]
    lines = render(make_report(*errors, *notes))
    assert sum("is wrong" in line for line in lines) >= len(errors)
    assert sum(line.startswith("note BF") for line in lines) == len(notes)
    assert lines[-1] == "(-v shows all details)"


def test_the_last_line_is_the_command_that_repairs_findings() -> None:
    remedy = Remedy("bundle-fix fix --force pack.tar.gz", 1, 2, needs_force=True)
    findings = (
        make_record("BF102", Severity.ERROR, "bin/x", fixable=True),
        make_record("BF101", Severity.ERROR, "bin/y"),
    )
    lines = render(make_report(*findings, remedy=remedy))
    assert lines[-2:] == [
        "1 of 2 errors and warnings is repaired by: bundle-fix fix --force pack.tar.gz",
        "  (--force writes the result although its check still fails)",
    ]
    assert sum("[fixable]" in line for line in lines) == 1


def test_a_cause_of_which_a_part_is_repaired_says_how_much() -> None:
    findings = [
        make_record("BF102", Severity.ERROR, f"bin/{fixable}", fixable=fixable)
        for fixable in (True, False)
    ]
    assert any("[1 of 2 fixable]" in line for line in render(make_report(*findings)))


def test_colours_change_no_line_break() -> None:
    report = make_report(make_record("BF102", Severity.ERROR, "bin/x" * 12, fixable=True))
    plain = render(report)
    coloured = render_text(report, RULES, lambda text, name: f"<{name}>{text}</>", verbose=False)
    assert "<red>error</> BF102" in coloured
    assert "<green>[fixable]</>" in coloured
    assert len(coloured.splitlines()) == len(plain)


@pytest.mark.parametrize("count", [0, 3, 20])
def test_what_a_repair_leaves_is_a_line_for_each_cause(count: int) -> None:
    codes = list(RULES)[:count]
    report = make_report(*(make_record(code, Severity.WARNING, "bin/x") for code in codes))
    lines = render_left(report, lambda text, _: text)
    assert sum(line.startswith("  warning BF") for line in lines) == min(count, 8)
    assert bool(lines) == bool(count)


def test_an_unreadable_artifact_is_one_line() -> None:
    report = make_error_report("cut.tar.gz", "cut.tar.gz: it is cut short")
    assert render(report) == ["cut.tar.gz: could not be checked: it is cut short"]


@pytest.mark.parametrize("name", ["lib x " * 10_000, "x" * 60_000])
def test_a_name_as_long_as_a_string_table_leaves_a_short_title(name: str) -> None:
    lines = render(
        make_report(
            make_record("BF101", Severity.ERROR, "bin/x", Root(RootKind.LIBRARY, name)),
        )
    )
    assert sum(line.startswith("error BF101 not-found:") for line in lines) == 1
    assert len(lines) < MAX_LINES
    assert max(map(len, lines)) <= 80


def test_causes_without_space_are_counted() -> None:
    causes = make_report(*make_many_findings()).causes[:1]
    findings = make_many_findings()[:1]
    lines = render_causes(causes, findings, RULES, lambda text, _: text, 0)
    assert lines == ["… and 1 more cause (-v shows all)"]
