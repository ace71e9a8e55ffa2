"""Texts for the origin of an object and for the search steps that led to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bundle_fix.loader.objects import LoadedObject, ObjectOrigin
from bundle_fix.loader.search.steps import SEARCH_RULE_TEXTS, SearchRule, SearchStep

ORIGIN_COLOURS: Mapping[ObjectOrigin, str] = {
    ObjectOrigin.HOST: "yellow",
    ObjectOrigin.MISSING: "red",
}
PATH_RULES = (SearchRule.RUNPATH, SearchRule.RPATH, SearchRule.LD_LIBRARY_PATH)


def format_rule(step: SearchStep) -> str:
    """Return the rule of a step with its path entry, and the object that has the entry."""
    rule = SEARCH_RULE_TEXTS[step.via]
    if step.via is SearchRule.DEFAULT and step.entry:
        # On a host whose files are unknown, either may provide the library.
        rule = f"{step.entry}, {rule}"
    if step.via is SearchRule.CACHE and step.entry == "ld.so.conf":
        # The root file system has no cache yet: ldconfig would write it from ld.so.conf.
        rule = step.entry
    if step.via in PATH_RULES and step.place != rule:
        rule += f" {step.entry or '(empty)'}"
    return f"{rule} of {step.owner}" if step.owner else rule


def decode_step(record: Mapping[str, str]) -> SearchStep:
    """Return the step that a search trace in a finding's evidence describes."""
    return msgspec.convert(record, SearchStep)


def format_rule_and_verdict(step: SearchStep) -> str:
    """Return one step without its place, which mostly follows from the rule."""
    return f"{format_rule(step)}: {step.verdict}"


def format_step(step: SearchStep) -> str:
    """Return one step as a line of a search."""
    rule = SEARCH_RULE_TEXTS[step.via]
    is_place_in_rule = step.place in ("(empty)", rule, SEARCH_RULE_TEXTS[SearchRule.DEFAULT])
    if is_place_in_rule or (step.entry and step.place == step.entry):
        return format_rule_and_verdict(step)
    place = "" if step.place == SEARCH_RULE_TEXTS[SearchRule.CACHE] else f" {step.place}:"
    return f"{format_rule(step)}:{place} {step.verdict}"


def format_found_by(mapped: LoadedObject) -> str:
    """Return the rule that found an object."""
    if mapped.via is SearchRule.PRELOAD or not mapped.trace:
        return SEARCH_RULE_TEXTS[mapped.via]
    return format_rule(mapped.trace[-1])
