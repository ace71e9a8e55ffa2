"""The repair that the findings of a check ask for, and the findings that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.wheel import find_record_path, is_wheel
from bundle_fix.check.findings import Finding, get_subject
from bundle_fix.check.registry import CHECK_RULES
from bundle_fix.check.requests import collect_requests
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules.manifest import RULES as MANIFEST_RULES
from bundle_fix.elf.read.image import Image
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.tree import MANIFEST_NAME, Tree
from bundle_fix.plan.planner import Plan, make_repair_plan
from bundle_fix.plan.relocate import RelocatedBundle
from bundle_fix.plan.requests import RepairRequests
from bundle_fix.plan.verify import predict_edits

UNPREDICTED = frozenset(rule.code for rule in MANIFEST_RULES)
"""Rules about the manifest, which a planned pack does not have: `fix` renews it afterwards."""

MAX_ROUNDS = 8
"""Limit on the plans of one repair: each is checked by rules that read the whole pack.

A round is needed only where a repair makes another object loadable that lacks something itself.
"""

ProblemKey = tuple[str, str, str]
"""The rule, path and subject of a problem."""


class PlannedRepair(Struct, frozen=True):
    """A plan, and the check of the pack with the planned changes."""

    plan: Plan
    predicted: CheckResult


class PredictedRepair(Struct, frozen=True):
    """The problems that `fix` would remove, and whether the check would still fail afterwards."""

    removed: frozenset[ProblemKey]
    fails: bool


NO_REPAIR = PredictedRepair(frozenset(), fails=True)
"""The repair of an artifact that `fix` does not change."""


def plan_for_findings(
    relocated: RelocatedBundle,
    before: CheckResult,
    check: Callable[[Bundle], CheckResult],
    pinned: Sequence[str] = (),
) -> PlannedRepair:
    """Plan the repair that the findings of a check ask for.

    A repair may show another finding that can be repaired, for example of a library that no
    program found before; such findings are added until there are no new ones, or `MAX_ROUNDS`
    plans are made. The check of the last plan then has the findings that are left.

    Args:
        relocated: the pack after the moves that the user asked for; its contents must be open.
        before: the check of that pack.
        check: checks the planned pack in the same way.
        pinned: patterns of the sonames to be needed by path.
    """
    requests = collect_requests(before.findings)
    for _ in range(MAX_ROUNDS):
        plan = make_repair_plan(relocated, RepairRequests(requests), pinned)
        if plan.is_empty:
            return PlannedRepair(plan, before)
        predicted = check(predict_edits(_drop_lists(plan.tree, plan.images), plan.edits))
        new = collect_requests(predicted.findings) - requests
        if not new:
            break
        requests |= new
    return PlannedRepair(plan, predicted)


def _drop_lists(tree: Tree, images: Mapping[str, Image]) -> Bundle:
    """Return a planned pack without the lists of its files, which are renewed after the edits."""
    lists = (MANIFEST_NAME, find_record_path(tree) if is_wheel(tree) else None)
    nodes = {path: node for path, node in tree.nodes.items() if path not in lists}
    return build_bundle(replace(tree, nodes=nodes), images)


def predict_repair(
    result: CheckResult, bundle: Bundle, check: Callable[..., CheckResult]
) -> PredictedRepair:
    """Return what `fix` would remove of the findings of a check.

    The planned pack is checked by the rules that found something, and by those that ask for
    repairs, as a repair may show another problem.

    Args:
        result: the check of the bundle.
        bundle: the bundle; its contents must be open.
        check: checks a pack in the same way, with ``rules``.
    """
    if not collect_requests(result.findings):
        return NO_REPAIR
    found = {finding.rule for finding in result.findings}
    rules = [rule for rule in CHECK_RULES if rule.repair is not None or rule.code in found]
    relocated = RelocatedBundle(bundle, {}, {})
    planned = plan_for_findings(relocated, result, partial(check, rules=rules))
    old_paths = {new: old for old, new in planned.plan.renamed.items()}
    before = (f for f in result.findings if f.rule not in UNPREDICTED)
    problems = {key for finding in before for key in _make_keys(finding, {})}
    left = {key for f in planned.predicted.findings for key in _make_keys(f, old_paths)}
    return PredictedRepair(frozenset(problems - left), planned.predicted.failed)


def mark_repaired(findings: Iterable[Finding], repair: PredictedRepair) -> tuple[Finding, ...]:
    """Return findings with ``fixable`` set for exactly those that a repair removes."""
    return tuple(
        replace(finding, fixable=repair.removed.issuperset(_make_keys(finding, {})))
        for finding in findings
    )


def _make_keys(finding: Finding, old_paths: Mapping[str, str]) -> Iterator[ProblemKey]:
    """Yield what identifies the problems of a finding, which may stand for several.

    A needed name counts without its rule, because a half repair changes the rule.
    """
    evidence = finding.evidence
    rule = "" if "needed" in evidence and "trace" in evidence else finding.rule
    for path in (finding.path, *evidence.get("objects", ()), *evidence.get("copies", ())):
        for subject in (get_subject(finding), *evidence.get("also_needed", ())):
            yield rule, old_paths.get(path, path), subject
