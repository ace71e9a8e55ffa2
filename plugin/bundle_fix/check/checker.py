"""Runs all rules over a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import abi_of
from bundle_fix.check.facts.prefetch import read_ahead
from bundle_fix.check.findings import Finding, Rule, filter_by_severity
from bundle_fix.check.installed import counts
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rules import allocator_mismatch as heaps
from bundle_fix.check.rules import (
    allocators,
    archive,
    hardening,
    hwcaps,
    hygiene,
    links,
    machine,
    manifest,
    resolution,
    runpath,
    undefined,
    versions,
    wheel,
)
from bundle_fix.check.rules import dlopen as opened
from bundle_fix.check.rules import dlopened_allocators as late
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment, Host, make_adversarial_host
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.wording import format_count
from bundle_fix.policy.policy import CheckPolicy, Ignore
from bundle_fix.policy.severity import Severity


def _found_by_the_run(rule: Rule, context: Context) -> Iterator[Finding]:
    """Nothing: only `check_bundle` knows which ignores matched."""
    return iter(())


UNUSED_IGNORE = Rule(
    "BF001", "unused-ignore", Severity.WARNING,
    "An ignore matches no finding.",
    "What it was for is mended, or was never found: left there, it will hide the next finding that"
    " happens to match.",
    "Remove it, or correct its rule or path.",
    "[check] ignore still names BF202 in bin/legacy_*, which went with 2.6.",
    _found_by_the_run,
)  # fmt: skip

OF_DIFFERENCES = "BF7"
"""How the codes begin that only a comparison of two artifacts finds."""

FAMILIES = (
    resolution, links, hwcaps, runpath, allocators, heaps, machine, hardening, archive, wheel,
    manifest, undefined, versions, opened, late, hygiene,
)  # fmt: skip
"""The modules that have rules: last those that ask for what is read ahead."""
CHECK_RULES: tuple[Rule, ...] = (
    UNUSED_IGNORE,
    *(rule for family in FAMILIES for rule in family.RULES),
)


def check_bundle(
    bundle: Bundle,
    policy: CheckPolicy,
    host: Host | None = None,
    environment: Environment = EMPTY_ENVIRONMENT,
    only: str | None = None,
    progress: Progress = no_progress,
) -> CheckResult:
    """Every finding of every rule, the worst first, then by path and code.

    Args:
        bundle: its contents must be open.
        policy: what the user says of the pack and its target.
        host: the target; the adversarial one where none is given.
        environment: what processes are started with there.
        only: the one file that is asked about; all where none is given.
        progress: is told how many rules are done.
    """
    target = host or make_adversarial_host(policy.host)
    return check_context(Context(bundle, policy, target, environment, only), progress)


def check_context(context: Context, progress: Progress = no_progress) -> CheckResult:
    """`check_bundle` of a bundle on a host whose processes others may ask about as well."""
    policy, only = context.policy, context.only
    rules = [rule for rule in CHECK_RULES if counts(rule.code, context.bundle)]
    with read_ahead(context.symbols, context.dynamic()):
        parts = track_parts(rules, partial(progress, _checking(context, len(rules))))
        findings = [finding for rule in parts for finding in rule.find(rule, context)]
        abi = abi_of(context)
    findings = [f for f in findings if only in (None, f.path)]
    kept = [f for f in findings if not any(covers(i, f) for i in policy.ignore)]
    ignored = len(findings) - len(kept)
    if only is None:
        kept += _unused(policy.ignore, findings)
    kept.sort(key=lambda f: (f.severity.rank, f.path, f.rule, f.message))
    return CheckResult(
        findings=tuple(kept),
        ignored=ignored,
        programs=len(context.programs),
        libraries=len(context.libraries),
        failed=bool(filter_by_severity(kept, policy.fail_on)),
        abi=abi,
    )


def _checking(context: Context, rules: int) -> ProgressStep:
    bundle = context.bundle
    size = sum(bundle.content(path).size for path in bundle.images)
    amount = format_count(len(context.programs), "program")
    amount += f", {format_count(len(context.libraries), 'library', 'libraries')}"
    return ProgressStep("checking", size, amount, rules)


def covers(ignore: Ignore, finding: Finding) -> bool:
    """Whether the user accepts a finding."""
    return finding.rule == ignore.rule and fnmatchcase(finding.path, ignore.path)


def _unused(ignores: Sequence[Ignore], findings: Sequence[Finding]) -> Iterator[Finding]:
    """A finding for every ignore that matches none; those of differences are not for a check."""
    for ignore in ignores:
        if not ignore.rule.startswith(OF_DIFFERENCES) and not any(
            covers(ignore, finding) for finding in findings
        ):
            yield UNUSED_IGNORE.make_finding(
                "", f"{ignore.rule} at {ignore.path} is ignored ({ignore.reason}), but not found",
                target=f"{ignore.rule}:{ignore.path}",
            )  # fmt: skip
