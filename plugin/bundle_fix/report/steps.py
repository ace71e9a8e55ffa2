"""The words for where an object comes from and for the steps that led to it."""

from __future__ import annotations

from collections.abc import Mapping

from bundle_fix.loader.objects import HOST, MISSING, LoadedObject, Outcome, SearchStep

SEARCH_RULE_TEXTS = {
    "runpath": "RUNPATH",
    "rpath": "RPATH",
    "ld_library_path": "LD_LIBRARY_PATH",
    "cache": "ld.so.cache",
    "default": "default directories",
    "direct": "needed by path",
    "loaded": "interpreter",
    "preload": "preloaded",
}
"""Search rules as the loader's manual names them."""
ORIGIN_COLOURS: Mapping[str, str] = {HOST: "yellow", MISSING: "red"}


UNKNOWN_HOST_TEXTS = {"default": "ld.so.cache, default directories"}
"""What stands for all that comes behind RUNPATH, on a host of which nothing is known."""


def format_rule(step: SearchStep) -> str:
    """The rule of a step with the entry that it took, and whose that is where it is inherited."""
    rule = SEARCH_RULE_TEXTS.get(step.via, step.via)
    if step.outcome in (Outcome.HOST_COPY, Outcome.NOT_EXPECTED):
        rule = UNKNOWN_HOST_TEXTS.get(step.via, rule)
    if step.via == "cache" and step.entry == "ld.so.conf":
        # The root file system has no cache yet: what ldconfig would write counts.
        rule = step.entry
    if step.via in ("runpath", "rpath", "ld_library_path") and step.place != step.via.upper():
        rule += f" {step.entry or '(empty)'}"
    return f"{rule} of {step.owner}" if step.owner else rule


def decode_step(record: Mapping[str, str]) -> SearchStep:
    """Return the step that a search trace in a finding's evidence describes."""
    rest = {key: text for key, text in record.items() if key not in ("outcome", "verdict")}
    return SearchStep(**rest, outcome=Outcome(record["outcome"]))


def format_step(step: SearchStep) -> str:
    """One step as a sentence of a search."""
    is_told = step.place in ("(empty)", step.via.upper(), SEARCH_RULE_TEXTS["default"])
    if is_told or (step.entry and step.place == step.entry):
        return f"{format_rule(step)}: {step.verdict}"
    via = "" if step.place == "ld.so.cache" else f" {step.place}:"
    return f"{format_rule(step)}:{via} {step.verdict}"


def format_found_by(mapped: LoadedObject) -> str:
    """The rule that chose an object."""
    if mapped.via == "preload" or not mapped.trace:
        return SEARCH_RULE_TEXTS.get(mapped.via, mapped.via)
    return format_rule(mapped.trace[-1])
