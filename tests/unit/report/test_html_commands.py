"""The HTML reports of ``diff``, ``inspect``, ``run`` and ``tree``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import html5lib
import pytest

from builders.html import read_document
from bundle_fix.check.registry import ALL_RULES
from bundle_fix.check.rules import observed
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.search.steps import SearchRule
from bundle_fix.observe.comparison.verdict import (
    DisplacementReason,
    ObservedOrigin,
    Replacement,
    Verdict,
)
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import group_findings
from bundle_fix.report.check_report import Tool, describe_rules
from bundle_fix.report.diff import (
    ChangedMemberRecord,
    ChangeRecord,
    DiffReport,
    MemberChangesRecord,
    MemberRecord,
    RequiredVersionRecord,
    ResolutionRecord,
    ResolvedFileRecord,
)
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.graphs.choice import MAX_EDGES
from bundle_fix.report.graphs.diff_graphs import make_diff_graphs
from bundle_fix.report.graphs.load_graph import (
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.report.html.pages.diff_page import render_diff_page
from bundle_fix.report.html.pages.inspection_page import render_inspection_page
from bundle_fix.report.html.pages.run_page import render_run_page
from bundle_fix.report.html.pages.tree_page import render_tree_page
from bundle_fix.report.inspection import InspectedObjectRecord, InspectReport, RuleRecord
from bundle_fix.report.run import RunReport
from bundle_fix.run.observation import Load, LoadOrigin, Prediction
from bundle_fix.run.record.loader_record import LoadCall
from bundle_fix.run.sandbox.command import Isolation

HOSTILE = 'a"><script>alert(1)</script>&amp;\u202e\x1b[31m\udcff\n</style>'
SUMMARY = {"error": 1, "warning": 0, "note": 0}


def make_finding(rule: str, name: str) -> FindingRecord:
    evidence = {"needed": name}
    return FindingRecord(rule, rule, Severity.ERROR, name, name, name, evidence, name)


def render_diff(name: str) -> str:
    findings = (make_finding("BF701", name),)
    host = ResolvedFileRecord(ObjectOrigin.HOST, f"/lib64/{name}", SearchRule.DEFAULT)
    missing = ResolvedFileRecord(ObjectOrigin.MISSING, None, SearchRule.DEFAULT)
    old = ResolvedFileRecord(ObjectOrigin.BUNDLE, f"lib/{name}", SearchRule.RUNPATH)
    resolutions = tuple(
        ResolutionRecord(f"{name}{n}", name, f"lib/x{name}", (f"bin/{name}",), old, new, worse=True)
        for n, new in enumerate((host, missing))
    )
    changes = (ChangeRecord("size", 1, 2), ChangeRecord("needed", (name,), ()))
    members = MemberChangesRecord(
        3,
        (MemberRecord(f"new{name}", "file", 5000, ""),),
        (MemberRecord(f"old{name}", "symlink", 0, name),),
        (ChangedMemberRecord(f"b{name}", f"a{name}", "file", name, changes),),
    )
    report = DiffReport(
        1, name, name, Tool(), SUMMARY, findings, group_findings(findings), findings, resolutions,
        members, {"GLIBC": RequiredVersionRecord("2.17", "2.34", name)}, failed=True, ignored=0,
        seconds=1.5,
    )  # fmt: skip
    return render_diff_page(report, describe_rules(ALL_RULES))


def render_run(name: str) -> str:
    findings = (make_finding("BF801", name),)
    loads = tuple(
        Load(
            f"{number}{name}", "" if origin is LoadOrigin.MISSING else f"{number}{name}", origin,
            f"bin/{name}", LoadCall.DLOPEN if number % 2 else LoadCall.NEEDED, f"bin/{name}",
            number % 2 == 0, Prediction.UNKNOWN, (f"/opt/{name}",),
        )
        for number, origin in enumerate(LoadOrigin)
    )  # fmt: skip
    report = RunReport(
        1, name, name, Tool(), SUMMARY, findings, group_findings(findings), failed=True, ignored=0,
        status=1, stopped=False, isolation=Isolation.NAMESPACES, decoys=3, complete=False,
        loads=loads, opened_files=(name,), host_files=(), seconds=1.5,
    )  # fmt: skip
    return render_run_page(report, describe_rules(observed.RULES))


def make_object(
    label: str, origin: ObservedOrigin, rule: RuleRecord | None = None, displaces: str | None = None
) -> InspectedObjectRecord:
    return InspectedObjectRecord(
        label, label, None, None, "0x0", 0, origin,
        label if origin is ObservedOrigin.PACK else None, displaces,
        DisplacementReason.OTHER_NAME if displaces else None,
        Replacement.DELETED if displaces else None, "", rule, predicted=True, needed_by="bin/x",
    )  # fmt: skip


def make_inspection(
    objects: tuple[InspectedObjectRecord, ...], name: str = "", verdict: Verdict = Verdict.DISPLACED
) -> InspectReport:
    return InspectReport(1, Tool(), verdict, 7, program=name, objects=objects, remarks=(name,))


def render_inspection(name: str) -> str:
    rule = RuleRecord(SearchRule.RUNPATH, name, name, name, (name, name))
    objects = (
        make_object(f"bin/{name}", ObservedOrigin.PACK),
        make_object("linux-vdso.so.1", ObservedOrigin.KERNEL),
        make_object(f"lib/{name}", ObservedOrigin.PACK, rule),
        make_object(f"/lib64/{name}", ObservedOrigin.HOST, rule, name),
    )
    return render_inspection_page([make_inspection(objects, name)])


def render_tree(name: str) -> str:
    objects = (GraphObject(name, Side.PACK), GraphObject(f"x{name}", Side.MISSING, is_notable=True))
    graph = LoadGraph(name, GraphKind.PLUGIN, objects, (GraphEdge(0, 1, name, "RPATH", (name,)),))
    return render_tree_page(name, [graph], omitted=0, missing=1)


@pytest.mark.parametrize("render", [render_diff, render_inspection, render_run, render_tree])
def test_each_document_is_valid_and_no_name_changes_its_structure(
    render: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = render(HOSTILE)
    html5lib.HTMLParser(strict=True).parse(text)
    document = read_document(text)
    assert document.list_structure() == read_document(render("libx.so.1")).list_structure()
    assert render(HOSTILE) == text


def test_a_process_is_drawn_from_the_object_that_needs_a_library() -> None:
    text = read_document(render_inspection("x")).collect_text("summary")
    assert "of bin/x" in text


def test_a_comparison_shows_the_file_before_and_the_file_now() -> None:
    steps = read_document(render_diff("x")).collect_text("li")
    assert "before: the pack's lib/x" in steps
    assert "now: the host's /lib64/x" in steps
    assert "now: not found" in steps


def test_a_process_with_kernel_objects_only_has_a_verdict_but_no_graph() -> None:
    vdso = make_object("[vdso]", ObservedOrigin.KERNEL)
    document = read_document(render_inspection_page([make_inspection((vdso,))]))
    assert "DISPLACED" in document.collect_text("strong")
    assert "Loaded libraries" not in document.collect_text("h2")


def test_a_colon_in_a_name_is_no_part_of_the_verdict() -> None:
    clean = make_inspection((), "a: b\nc", Verdict.CLEAN)
    assert read_document(render_inspection_page([clean])).collect_text("strong") == "CLEAN"


def test_a_comparison_leaves_out_the_graphs_above_the_limit_of_edges() -> None:
    file = ResolvedFileRecord(ObjectOrigin.HOST, "/lib64/x", SearchRule.DEFAULT)
    large, small = (
        ResolutionRecord("x", "", program, (program,), file, file, worse=program == "bin/x")
        for program in ("bin/x", "bin/y")
    )
    resolutions = (*[large] * (MAX_EDGES + 1), small)
    report = DiffReport(
        1, "", "", Tool(), SUMMARY, (), (), (), resolutions, MemberChangesRecord(0, (), (), ()), {},
        failed=True, ignored=0, seconds=1.5,
    )  # fmt: skip
    graphs, omitted = make_diff_graphs(report)
    assert ([graph.entry for graph in graphs], omitted) == (["bin/y"], 1)


def test_an_artifact_without_programs_and_libraries_has_no_part_on_loaded_libraries() -> None:
    document = read_document(render_tree_page("x", [], omitted=0, missing=0))
    assert "Loaded libraries" not in document.collect_text("h2")
    assert document.collect_text("li") == ""
