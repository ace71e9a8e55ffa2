"""The check of one artifact: runs the rules and applies the policy to their findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from bundle_fix.check.context import Context
from bundle_fix.check.facts.abi import read_abi
from bundle_fix.check.facts.file_facts import FactCache
from bundle_fix.check.facts.privileges import adapt_finding
from bundle_fix.check.findings import Finding, filter_by_severity, is_ignored
from bundle_fix.check.merging import merge_findings
from bundle_fix.check.registry import CHECK_RULES, RULES_BY_CODE
from bundle_fix.check.result import CheckResult
from bundle_fix.check.rule import Rule
from bundle_fix.check.rules.ignores import find_unused_ignores
from bundle_fix.loader.bundle import Bundle
from bundle_fix.loader.hosts.host import (
    EMPTY_ENVIRONMENT,
    Environment,
    Host,
    build_adversarial_host,
)
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.wording import format_count
from bundle_fix.policy.policy import CheckPolicy


def check_bundle(
    bundle: Bundle,
    policy: CheckPolicy,
    host: Host | None = None,
    environment: Environment = EMPTY_ENVIRONMENT,
    only: str | None = None,
    progress: Progress = no_progress,
    known_facts: FactCache | None = None,
    rules: Sequence[Rule] = CHECK_RULES,
) -> CheckResult:
    """Run the rules of ``check`` on a bundle.

    Args:
        bundle: the bundle; its contents must be open.
        policy: the user's statements about the pack and its target.
        host: the target; the adversarial host if it is None.
        environment: the environment in which processes are started on the target.
        only: the path of the file to check; all files if it is None.
        progress: receives the number of rules that are done.
        known_facts: the facts of earlier checks of the same contents; new ones are added.
        rules: the rules to run.

    Raises:
        BundleFixError: The tables of an ELF file are damaged.
    """
    target = host or build_adversarial_host(policy.host)
    facts: FactCache = {} if known_facts is None else known_facts
    context = Context(bundle, policy, target, environment, only, facts)
    return check_context(context, progress, rules)


def check_context(
    context: Context, progress: Progress = no_progress, rules: Sequence[Rule] = CHECK_RULES
) -> CheckResult:
    """Run rules of ``check`` on a context, which the caller may use again afterwards."""
    policy = context.policy
    findings = list(_run_rules(context, rules, progress))
    if context.only is not None:
        findings = [finding for finding in findings if finding.path == context.only]
    reported = [finding for finding in findings if not is_ignored(finding, policy.ignore)]
    ignored = len(findings) - len(reported)
    if context.only is None:
        others = RULES_BY_CODE.keys() - {rule.code for rule in rules}
        ignores = [ignore for ignore in policy.ignore if ignore.rule not in others]
        reported += find_unused_ignores(ignores, findings)
    reported.sort(key=lambda f: (f.severity.rank, f.path, f.rule, f.message))
    reported = merge_findings(context.bundle, reported)
    return CheckResult(
        findings=tuple(reported),
        ignored=ignored,
        programs=len(context.programs) + len(context.static_programs),
        libraries=len(context.libraries),
        failed=bool(filter_by_severity(reported, policy.fail_on)),
        abi=read_abi(context),
    )


def _run_rules(context: Context, rules: Sequence[Rule], progress: Progress) -> Iterator[Finding]:
    location = context.bundle.tree.location
    rules = [rule for rule in rules if location in rule.applies_to]
    images = context.bundle.images
    size = sum(context.bundle.get_content(path).size for path in images)
    step = ProgressStep("checking", size, format_count(len(images), "ELF file"), len(rules))
    for rule in track_parts(rules, partial(progress, step)):
        for finding in rule.find_all(context):
            yield adapt_finding(context.bundle, finding, rule.repair)
