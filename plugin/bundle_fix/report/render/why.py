"""Text and JSON of searches, step by step, and of the providers of a symbol."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bundle_fix.loader.explain import ConclusionKind, Explanation
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.loader.scope import SymbolProvider
from bundle_fix.loader.search.steps import Outcome, SearchRule
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.model.wording import join_names
from bundle_fix.report.render.causes_text import Paint, wrap_text
from bundle_fix.report.steps import ORIGIN_COLOURS, format_step

MAX_SHOWN = 6
"""Entries that are named; the others are counted."""
CONCLUSION_TEXTS: Mapping[ConclusionKind, str] = {
    ConclusionKind.BUNDLED: "The pack's {path} is loaded.",
    ConclusionKind.LOADED_BEFORE: "{path} is loaded already, so nothing is searched.",
    ConclusionKind.FOUND_LOADED: "The file found is {path}, which is loaded already.",
    ConclusionKind.PART_OF_LIBC: (
        "It belongs to the C library, which every target has: {path} of the host is used."
    ),
    ConclusionKind.LOADER_FAILS: "Nothing is loaded: {place} comes first ({verdict}).",
    ConclusionKind.LIBRARY_PATH_FIRST: (
        "The pack has it as {provider}, but LD_LIBRARY_PATH is searched before RUNPATH; only a"
        " library that is needed by its path, or found by RPATH, is safe from it."
    ),
    ConclusionKind.OTHER_FILE_NAME: (
        "The pack has the library under another file name, {provider}, and has no file named"
        " {name}; so {result}."
    ),
    ConclusionKind.NAME_NOT_SEARCHED: (
        "The pack has the library as {provider}, but no searched directory has that name;"
        " so {result}."
    ),
    ConclusionKind.DIRECTORY_NOT_SEARCHED: (
        "The pack has it as {provider}, but the search does not reach its directory; so {result}."
    ),
    ConclusionKind.ON_HOST: "The pack does not have it{similar}; {path} of the host is used.",
    ConclusionKind.NOT_FOUND: (
        "It is not found: the pack does not have it{similar}, and neither has the host."
    ),
}
"""The sentence of each conclusion; `format_conclusion` fills it in."""


def render_explanations(explanations: Sequence[Explanation], paint: Paint, *, verbose: bool) -> str:
    """Return the searches with their steps and conclusions.

    Unless ``verbose`` is set, the first search stands for all with the same conclusion.
    """
    groups: dict[object, list[Explanation]] = {}
    for number, e in enumerate(explanations):
        key = number if verbose else (e.name, e.needed, e.conclusion)
        groups.setdefault(key, []).append(e)
    rendered = ("\n".join(_render_group(*group, paint=paint)) for group in groups.values())
    return "\n".join(f"{text}\n" for text in rendered)


def format_conclusion(explanation: Explanation) -> str:
    """Return the conclusion of a search as a sentence."""
    conclusion = explanation.conclusion
    step = conclusion.step
    similar = [
        f"{s.path}, {s.bits}-bit {s.machine}" if s.has_same_name else s.path
        for s in conclusion.similar
    ]
    return CONCLUSION_TEXTS[conclusion.kind].format(
        name=posixpath.basename(explanation.name),
        path=conclusion.path,
        provider=conclusion.provider,
        place=step.place if step else "",
        verdict=step.verdict if step else "",
        similar=f" (it has {', '.join(similar)})" if similar else "",
        result=(
            f"the host's copy would be used ({conclusion.path})"
            if conclusion.path
            else "it is not found"
        ),
    )


def _render_group(first: Explanation, *others: Explanation, paint: Paint) -> Iterator[str]:
    """Yield one search, and the objects whose searches have the same conclusion."""
    title = f"{first.requester} needs {first.name}"
    if not first.needed:
        title = f"{first.requester} does not need {first.name}; dlopen() in it would search:"
    yield escape_unprintable(title)
    entries = [entry for entry in first.entries if entry != first.requester]
    if entries:
        yield escape_unprintable(f"  in the process of {join_names(entries, MAX_SHOWN)}")
    for number, step in enumerate(first.trace, 1):
        yield f"  {number}. {escape_unprintable(format_step(step))}"
    is_intended = first.conclusion.is_intended
    colour = "green" if is_intended else ORIGIN_COLOURS.get(first.result.origin, "red")
    yield paint(escape_unprintable(format_conclusion(first)), colour)
    requesters = list(dict.fromkeys(e.requester for e in others if e.requester != first.requester))
    if requesters:
        yield from wrap_text(f"the same for {join_names(requesters, MAX_SHOWN)}", "", "  ")


class StepRecord(msgspec.Struct, frozen=True):
    """One step of a search: the place, the rule and path entry that name it, and the result."""

    place: str
    via: SearchRule
    entry: str
    owner: str
    verdict: str
    outcome: Outcome


class ExplanationRecord(msgspec.Struct, frozen=True):
    """One search of ``--format json`` and its conclusion."""

    name: str
    needed_by: str
    entries: tuple[str, ...]
    needed: bool
    path: str | None
    origin: ObjectOrigin
    via: SearchRule
    already_loaded: bool
    steps: tuple[StepRecord, ...]
    conclusion: str
    good: bool


def make_explanation_records(explanations: Sequence[Explanation]) -> list[ExplanationRecord]:
    """Return the records that ``--format json`` prints."""
    return [
        ExplanationRecord(
            name=e.name,
            needed_by=e.requester,
            entries=tuple(e.entries),
            needed=e.needed,
            path=e.result.path,
            origin=e.result.origin,
            via=e.result.via,
            already_loaded=e.already_loaded,
            steps=tuple(
                StepRecord(s.place, s.via, s.entry, s.owner or e.requester, s.verdict, s.outcome)
                for s in e.trace
            ),
            conclusion=format_conclusion(e),
            good=e.conclusion.is_intended,
        )
        for e in explanations
    ]


def render_providers(
    symbol: str, found: Sequence[tuple[Process, Sequence[SymbolProvider]]], paint: Paint
) -> str:
    """Return the objects that define ``symbol`` in each process, in lookup order."""
    return "\n".join(
        "\n".join(_render_symbol_providers(symbol, p, list(o), paint)) + "\n" for p, o in found
    )


def _render_symbol_providers(
    symbol: str, process: Process, found: list[SymbolProvider], paint: Paint
) -> Iterator[str]:
    yield escape_unprintable(f"{symbol} in the process of {process.entry}")
    for number, provider in enumerate(found, 1):
        mapped = provider.loaded_object
        path = escape_unprintable(mapped.label)
        where = paint(f"host {path}", "yellow") if mapped.origin is ObjectOrigin.HOST else path
        versions = f" ({', '.join(provider.versions)})" if provider.versions else ""
        name = f" {provider.symbol}" if provider.symbol != symbol else ""
        doubt = "" if provider.is_certain else ", which cannot be looked into but must have it"
        yield f"  {number}. {where}{name}{escape_unprintable(versions)}{doubt}"
    if not found:
        unread = sum(o.image is None for o in process.objects)
        more = f" (of the host's, {unread} cannot be looked into)" if unread else ""
        yield paint(f"No object of the process is known to define it{more}.", "red")
    elif len(found) == 1:
        text = f"Only {found[0].loaded_object.label} defines it."
        yield paint(escape_unprintable(text), "green")
    else:
        yield escape_unprintable(
            f"{found[0].loaded_object.label} answers: it comes first in load order."
        )


def make_provider_records(
    symbol: str, found: Sequence[tuple[Process, Sequence[SymbolProvider]]]
) -> list[dict[str, Any]]:
    """Return the JSON records of the providers of a symbol, in lookup order."""
    return [
        {
            "entry": process.entry,
            "symbol": symbol,
            "providers": [
                {
                    "name": p.loaded_object.name,
                    "path": p.loaded_object.path,
                    "origin": p.loaded_object.origin,
                    "symbol": p.symbol,
                    "versions": list(p.versions),
                    "certain": p.is_certain,
                }
                for p in providers
            ],
        }
        for process, providers in found
    ]
