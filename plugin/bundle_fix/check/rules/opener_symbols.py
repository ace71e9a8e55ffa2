"""BF412: symbols that a plugin uses of the program that opens it, and that this does not export."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bundle_fix.check.context import Context
from bundle_fix.check.facts.openers import Opener
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import RELOCATABLE, Rule
from bundle_fix.check.rules.undefined import has_only_versions, make_unknown_lookup
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.policy.severity import Severity

MODULE_TAG = re.compile(r"\.cpython-(\d)(\d+)[^/]*\.so$")
"""The tag of an extension module for one version of CPython (PEP 3149)."""
PYTHON = re.compile(r"python(\d)\.(\d+)")


def find_missing_opener_symbols(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the plugins with symbols that neither their openers nor any file of the pack defines.

    A symbol that another file of the pack defines may come from a plugin that is opened before.
    """
    for plugin in context.plugins:
        by_name = context.openers.find_by_name(plugin)
        openers = by_name or context.openers.find_by_symbols(plugin)
        openers = tuple(opener for opener in openers if _may_import(opener, plugin))
        # A process without its program lacks the symbols of that program.
        is_whole = all(opener.process.entry in context.programs for opener in openers)
        missing = _find_missing(context, plugin, openers) if openers and is_whole else []
        if not missing:
            continue
        names = sorted(map(decode_name, missing))
        labels = sorted({opener.caller.label for opener in openers})
        yield rule.make_finding(
            plugin,
            f"uses {join_names(names)}, which no object of the process defines; it is opened by"
            f" {join_names(labels)}",
            severity=Severity.ERROR if by_name else Severity.WARNING,
            symbols=names,
            opened_by=labels,
        )


def _may_import(opener: Opener, plugin: str) -> bool:
    """Return whether an opener is not a Python of another version than an extension module."""
    version = MODULE_TAG.search(plugin)
    names = " ".join(loaded.name for loaded in opener.process.objects)
    pythons = PYTHON.findall(names) if version else []
    return version is None or not pythons or version.groups() in pythons


def _find_missing(context: Context, plugin: str, openers: Sequence[Opener]) -> list[bytes]:
    """Return the symbols of ``plugin`` that certainly no opener defines, nor any file."""
    symbols = list(context.openers.list_open_symbols(plugin))
    own = context.plugins[plugin].objects
    for opener in openers if symbols else ():
        objects = (*own, *opener.process.objects)
        unknown = [loaded for loaded in objects if loaded.image is None]
        if any(o.origin is ObjectOrigin.MISSING or not has_only_versions(o.name) for o in unknown):
            return []
        may_define = make_unknown_lookup(context.facts, own[0], unknown)
        symbols = [symbol for symbol in symbols if not may_define(symbol)]
        for loaded in opener.process.objects:
            if symbols and loaded.image is not None and loaded.image.is_dynamic:
                defined = context.facts.read_exports(loaded).names
                symbols = [symbol for symbol in symbols if symbol.name not in defined]
    missing = {symbol.name for symbol in symbols}
    for path in context.bundle.list_libraries() if missing else ():
        missing -= context.facts.read_exports(path).names
    return sorted(missing)


RULES = (
    Rule(
        "BF412", "symbol-of-opener-missing", Severity.ERROR,
        "A plugin uses a symbol that the program which opens it does not export.",
        "dlopen() fails, or the program ends at the first call: 'undefined symbol'. Plugins take"
        " such symbols from the program; an older plugin may use some that were removed.",
        "Build the plugin for this version of the program, or remove it from the pack.",
        "modules/ngx_auth.so uses ngx_md5_init, and sbin/nginx exports only other ngx_ symbols.",
        find_missing_opener_symbols,
        applies_to=RELOCATABLE,
    ),
)  # fmt: skip
