"""Model of the report on a run, from which every format of ``run`` is rendered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bundle_fix.check.findings import filter_by_severity, is_ignored
from bundle_fix.pipelines.run.execute import RunResult
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import Cause, group_findings
from bundle_fix.report.check_report import CheckReport, Tool
from bundle_fix.report.finding_record import FindingRecord, make_finding_record
from bundle_fix.run.observation import Load, LoadOrigin
from bundle_fix.run.sandbox.command import Isolation

SCHEMA = 1
"""Version of the layout; it is raised when an existing reader would misread the new one."""


class RunReport(msgspec.Struct, frozen=True):
    """The report on one run.

    Attributes:
        schema: the version of this layout.
        artifact: the path of the pack, as given by the user.
        program: the path of the program on the host of the run; empty for --open-all alone.
        tool: the tool that made the report.
        summary: number of findings of each severity.
        findings: the findings, most severe first.
        causes: the findings grouped by what is wrong at the root, most severe first.
        failed: whether a finding is at or above ``--fail-on``.
        ignored: number of findings accepted by the user.
        status: the exit code of the program, or minus the number of the signal that ended it.
        stopped: whether the program was stopped because its time was over.
        isolation: how the program was separated from this machine.
        decoys: number of decoys on the host.
        complete: whether the records of the loader and the kernel are complete.
        loads: the objects that were loaded, in order, and the names that were not found.
        opened_files: the files of the pack that were opened, by path.
        host_files: other files that were opened, if strace was used.
        seconds: duration of the run.
    """

    schema: int
    artifact: str
    program: str
    tool: Tool
    summary: Mapping[str, int]
    findings: tuple[FindingRecord, ...]
    causes: tuple[Cause, ...]
    failed: bool
    ignored: int
    status: int
    stopped: bool
    isolation: Isolation
    decoys: int
    complete: bool
    loads: tuple[Load, ...]
    opened_files: tuple[str, ...]
    host_files: tuple[str, ...]
    seconds: float

    def count_loads(self, origin: LoadOrigin) -> int:
        """Return the number of files of one origin that were loaded, or of names not found."""
        return len({load.path or load.name for load in self.loads if load.origin is origin})


def make_run_report(
    artifact: str, result: RunResult, policy: CheckPolicy, seconds: float
) -> RunReport:
    """Return the report on a run, with the findings that the policy does not accept."""
    found = [f for f in result.findings if not is_ignored(f, policy.ignore)]
    found.sort(key=lambda f: (f.severity.rank, f.rule, f.path, f.message))
    records = tuple(map(make_finding_record, found))
    return RunReport(
        SCHEMA, artifact, result.program, Tool(),
        {s.value: sum(f.severity is s for f in found) for s in Severity},
        records, group_findings(records), bool(filter_by_severity(found, policy.fail_on)),
        len(result.findings) - len(found), result.end.status, result.end.stopped,
        result.isolation, result.decoys, result.is_complete, result.loads, result.opened_files,
        result.host_files, round(seconds, 3),
    )  # fmt: skip


def convert_to_check_report(report: RunReport) -> CheckReport:
    """Return the findings as a check report, for formats without runs."""
    return CheckReport(
        report.schema, report.artifact, report.tool, report.summary, report.findings,
        report.causes, failed=report.failed, ignored=report.ignored, seconds=report.seconds,
    )  # fmt: skip


def format_end(report: RunReport) -> str:
    """Return how the program ended: its exit code, a signal, or that it was stopped."""
    if report.stopped:
        return "stopped"
    return f"exit code {report.status}" if report.status >= 0 else f"signal {-report.status}"
