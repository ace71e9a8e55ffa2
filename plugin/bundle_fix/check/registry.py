"""The registry of all rules, and the lookup of a rule by its code or name."""

from __future__ import annotations

from collections.abc import Mapping

from bundle_fix.check.rule import Rule, RuleScope
from bundle_fix.check.rules import (
    allocator_mismatch,
    allocators,
    archive,
    build_runpath,
    bundled_libc,
    coverage,
    differences,
    dlopen,
    dlopened_allocators,
    drivers,
    duplicate_sonames,
    hardening,
    hwcaps,
    hygiene,
    ignores,
    library_path,
    lost_symlinks,
    machine,
    manifest,
    missing_runpath,
    observed,
    opener_symbols,
    plugin_directories,
    privileges,
    resolution,
    runpath,
    runtime_copies,
    static_tls,
    symlinks,
    two_libcs,
    two_versions,
    undefined,
    unused,
    unversioned,
    versions,
    wheel,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.printable import escape_and_shorten, escape_unprintable
from bundle_fix.model.suggestions import suggest_word

FAMILIES = (
    ignores, coverage, resolution, duplicate_sonames, bundled_libc, symlinks, library_path, dlopen,
    plugin_directories, hwcaps, missing_runpath, runpath, build_runpath, privileges, unused,
    allocators, allocator_mismatch, dlopened_allocators, two_versions, runtime_copies, machine,
    two_libcs, undefined, opener_symbols, versions, unversioned, static_tls, hardening, drivers,
    hygiene, archive, lost_symlinks, wheel, manifest, differences, observed,
)  # fmt: skip
"""The modules that define rules."""

ALL_RULES: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in family.RULES)
CHECK_RULES = tuple(rule for rule in ALL_RULES if rule.scope is RuleScope.CHECK)
RULES_BY_CODE: Mapping[str, Rule] = {rule.code: rule for rule in ALL_RULES}


def find_rule(text: str, where: str) -> Rule:
    """Return the rule with a code or name, in upper or lower case.

    Args:
        text: the code or name, as written by the user.
        where: the option, or the position in a file, for the error message.

    Raises:
        BundleFixError: No rule has this code or name.
    """
    folded = text.casefold()
    for rule in ALL_RULES:
        if folded in (rule.code.casefold(), rule.name):
            return rule
    words = [word for rule in ALL_RULES for word in (rule.code, rule.name)]
    hint = suggest_word(text, words) or "'bundle-fix rules' lists all rules"
    raise BundleFixError(
        f"unknown rule {escape_and_shorten(text)}", where=escape_unprintable(where), hint=hint
    )
