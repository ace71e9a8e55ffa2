"""The HTML report of ``check``: valid, limited, reproducible, and safe against names."""

from __future__ import annotations

from pathlib import Path

import html5lib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders.html import read_document
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.policy.severity import Severity
from bundle_fix.report.causes import group_findings
from bundle_fix.report.check_report import CheckReport, Remedy, Tool, describe_rules
from bundle_fix.report.finding_record import FindingRecord
from bundle_fix.report.graphs.drawn_report import Overview, add_overview
from bundle_fix.report.graphs.load_graph import (
    GraphEdge,
    GraphKind,
    GraphObject,
    LoadGraph,
    Side,
)
from bundle_fix.report.graphs.sizes import Copies, FileSize, Sizes
from bundle_fix.report.html.elements import build_element
from bundle_fix.report.html.page import MAX_SIZE, POLICY, SizeBudget
from bundle_fix.report.html.pages.check_page import MAX_ROWS, render_check_page
from bundle_fix.report.html.style import STYLE

RULES = describe_rules(CHECK_RULES)
STEPS = ("RUNPATH $ORIGIN: not there", "default directories: the host's copy is found")
HOSTILE = '"><script>alert(1)</script><a href="https://x">&amp;\u202e\x1b[31m\udcff\r\n</style>'


@pytest.fixture
def _without_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def make_graph(name: str, objects: int = 4, kind: GraphKind = GraphKind.PROGRAM) -> LoadGraph:
    """Return a graph in which each object needs the next two."""
    sides = (Side.PACK, Side.HOST, Side.MISSING, Side.PACK)
    made = [GraphObject(name, Side.PACK)]
    made += [
        GraphObject(f"lib/{n}{name}", sides[n % 4], n % 4 == 3, n % 4 == 2, name)
        for n in range(1, objects)
    ]
    edges = [
        GraphEdge(n, m, name, "RUNPATH" if m == n + 1 else "", STEPS if m == n + 1 else ())
        for n in range(objects)
        for m in (n + 1, n + 2)
        if m < objects
    ]
    return LoadGraph(name, kind, tuple(made), tuple(edges), (name,))


def make_report(name: str, graphs: tuple[LoadGraph, ...] = ()) -> CheckReport:
    trace = [{"place": "lib/libz.so", "via": "runpath", "entry": name, "outcome": "not_there"}]
    finding = FindingRecord(
        "BF102", "host-wins", Severity.ERROR, name, f"needs {name}", "",
        {"needed": name, "trace": trace}, name,
    )  # fmt: skip
    report = CheckReport(
        1, name, Tool(), {"error": 1, "warning": 0, "note": 0}, (finding,),
        group_findings([finding]), Remedy(f"bundle-fix fix {name}", 1, 1, needs_force=False),
        failed=True,
    )  # fmt: skip
    sizes = Sizes(
        300,
        (FileSize(name, 200), FileSize("b", 50), FileSize("c", 50)),
        (Copies(("b", "c"), 50), Copies((name, "b"), 200, name)),
    )
    return add_overview(report, Overview(graphs or (make_graph(name),), 0, sizes))


@pytest.mark.usefixtures("_without_dot")
def test_browsers_need_not_repair_the_document() -> None:
    for name in ("bin/server", HOSTILE):
        html5lib.HTMLParser(strict=True).parse(render_check_page([make_report(name)], RULES))


@pytest.mark.usefixtures("_without_dot")
def test_the_document_has_the_policy_and_stable_anchors() -> None:
    document = read_document(render_check_page([make_report("bin/server")], RULES))
    assert POLICY in document.list_values("content")
    anchors = {"BF102-bin-server", "program-bin-server", "graphs", "sizes"}
    assert anchors <= set(document.list_values("id"))


@pytest.mark.usefixtures("_without_dot")
def test_every_line_of_the_drawing_leads_to_a_search_and_sides_differ_in_text() -> None:
    document = read_document(render_check_page([make_report("bin/server")], RULES))
    searches = {a["id"] for tag, a in document.elements if tag == "ol" and "id" in a}
    lines = {a["href"][1:] for _, a in document.elements if a.get("class", "").startswith("edge")}
    assert lines
    assert lines <= searches
    text = document.collect_text("text")
    assert all(word in text for word in ("host:", "MISSING", "pack:", "opened at run time"))


@pytest.mark.usefixtures("_without_dot")
def test_names_with_markup_and_control_characters_stay_text() -> None:
    text = render_check_page([make_report(HOSTILE)], RULES)
    plain = render_check_page([make_report("lib/libx.so")], RULES)
    assert read_document(text).list_structure() == read_document(plain).list_structure()
    assert "<script" not in text
    assert not {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.usefixtures("_without_dot")
@given(name=st.text(min_size=1).filter(lambda name: name.strip("/")))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_name_changes_the_structure_of_the_document(name: str) -> None:
    pages = (render_check_page([make_report(n)], RULES) for n in ("lib/libx.so", name))
    plain, changed = (read_document(page).list_structure() for page in pages)
    assert changed == plain


@pytest.mark.usefixtures("_without_dot")
def test_the_document_is_limited_and_says_what_is_left_out() -> None:
    graphs = tuple(make_graph(f"bin/program{n}", 500) for n in range(5))
    text = render_check_page([make_report("bin/server", graphs)], RULES)
    assert 200_000 < len(text.encode()) <= MAX_SIZE
    read_document(text)
    assert "more graphs left out, as the report is limited in size" in text
    assert "of 500 objects" in text


def test_what_does_not_fit_is_named() -> None:
    assert SizeBudget(100).fit_element(build_element("p", "x"), "Sizes").text == "x"
    line = SizeBudget(3).fit_element(build_element("p", "x"), "Sizes")
    assert line.text == "Sizes: left out, as the report is limited in size."
    reports = [make_error(f"pack{n}") for n in range(MAX_ROWS + 2)]
    text = read_document(render_check_page(reports, RULES)).collect_text("p")
    assert "2 more rows of the table: left out" in text


def make_error(name: str) -> CheckReport:
    return CheckReport(1, name, Tool(), {}, (), (), failed=True, error="x")


@pytest.mark.usefixtures("_without_dot")
def test_the_rows_of_a_table_have_ids_that_no_program_gets() -> None:
    graphs = tuple(make_graph(name) for name in ("bin/app", "bin/app-2", "bin/app-s2"))
    read_document(render_check_page([make_report("bin/app", graphs)], RULES))


@pytest.mark.usefixtures("_without_dot")
def test_several_artifacts_share_one_document_with_ids_of_their_own() -> None:
    reports = [make_report("bin/server"), make_report("bin/server")]
    ids = set(read_document(render_check_page(reports, RULES)).list_values("id"))
    assert {"a1-BF102-bin-server", "a2-BF102-bin-server"} <= ids


@pytest.mark.usefixtures("_without_dot")
def test_the_same_report_makes_the_same_bytes() -> None:
    first, second = (render_check_page([make_report("bin/server")], RULES) for _ in range(2))
    assert first == second


def test_the_style_sheet_is_the_same_in_xml_and_in_html() -> None:
    assert not set(STYLE) & set("<>&")
