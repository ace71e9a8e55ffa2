"""The verdict at the top of a report."""

from __future__ import annotations

from bundle_fix.model.wording import format_count
from bundle_fix.report.check_report import CheckReport
from bundle_fix.report.html.elements import Element, append_children, build_element
from bundle_fix.report.html.sections.cause_section import build_remedy
from bundle_fix.report.render.text import format_counts, format_requirements

PASSED = "passed"
FAILED = "failed"
NEUTRAL = "neutral"
"""The styles of a verdict."""


def build_banner(word: str, text: str, style: str) -> Element:
    """Return a verdict: a word, and a text after it."""
    line = build_element("p", build_element("strong", word), f": {text}")
    return build_element("div", line, class_=f"verdict {style}")


def build_check_banner(report: CheckReport) -> Element:
    """Return the verdict of a check with the counts, and what the target must have."""
    if report.error:
        text = report.error.removeprefix(f"{report.artifact}: ")
        return build_banner("could not be checked", text, FAILED)
    size = f"{format_count(report.programs, 'program')}, "
    size += format_count(report.libraries, "library", "libraries")
    text = f"{describe_counts(report)} ({size})"
    word, style = ("FAILED", FAILED) if report.failed else ("passed", PASSED)
    banner = build_banner(word, text, style)
    if report.abi is not None:
        append_children(banner, build_element("p", format_requirements(report.abi)))
    if report.remedy is not None:
        append_children(banner, build_remedy(report.remedy))
    return banner


def describe_counts(report: CheckReport) -> str:
    """Return the number of findings of each severity as text, and of the ignored ones."""
    ignored = f", {report.ignored} ignored" if report.ignored else ""
    return f"{format_counts(report.summary) or 'no findings'}{ignored}"
