"""A check report with the overview of its artifact, which only drawings show."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict, replace

from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.graphs.load_graph import LoadGraph
from bundle_fix.report.graphs.sizes import Sizes


class Overview(Struct, frozen=True):
    """The graphs of an artifact, those with something notable first, and its sizes.

    ``omitted`` is the number of graphs that are left out.
    """

    graphs: tuple[LoadGraph, ...]
    omitted: int
    sizes: Sizes


class DrawnReport(CheckReport, frozen=True, omit_defaults=True):
    """A report with the overview of its artifact, which only drawings show."""

    overview: Overview | None = None


def add_overview(report: CheckReport, overview: Overview) -> DrawnReport:
    """Return a report with the overview of its artifact."""
    return DrawnReport(**asdict(report), overview=overview)


def drop_overview(report: CheckReport) -> CheckReport:
    """Return a report without its overview, which is no part of any other format."""
    return replace(report, overview=None) if isinstance(report, DrawnReport) else report
