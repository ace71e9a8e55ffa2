"""BF413: libraries without symbol versions, of which an object requires a version.

Sources: glibc's elf/dl-version.c, match_symbol: without DT_VERDEF the loader prints a warning when
a program starts, and nothing for dlopen. elf/dl-lookup.c, check_match: if the library also lacks
DT_VERSYM, an assertion fails when a symbol of the required version is found in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import decode_name, join_names
from bundle_fix.elf.read import constants as c
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process, Resolution
from bundle_fix.policy.severity import Severity


class _Use(Struct, frozen=True):
    """An object that requires versions of a library without any.

    ``fatal`` are the symbols whose lookup ends the process.
    """

    process: Process
    need: Resolution
    versions: tuple[str, ...]
    fatal: tuple[str, ...]


def find_unversioned_libraries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the libraries without versions of which an object requires a version."""
    uses: dict[str, list[_Use]] = {}
    for use in _find_uses(context):
        requester, result = use.need.requester, use.need.result
        owner = result if result.origin is ObjectOrigin.BUNDLE else requester
        uses.setdefault(owner.label, []).append(use)
    for path, found in uses.items():
        fatal = [use for use in found if use.fatal]
        starts = any(use.process.entry in context.programs for use in found)
        first = (fatal or found)[0]
        user, library = first.need.requester.label, first.need.result.label
        versions = join_names(list(first.versions))
        if path == library:
            message = f"has no symbol versions, but {user} requires {versions}"
        else:
            message = f"requires {versions} of the host's {library}, which has no symbol versions"
        if fatal:
            message += f"; the loader aborts at {join_names(list(first.fatal))}"
        yield rule.make_finding(
            path,
            message,
            severity=Severity.ERROR if fatal else Severity.WARNING if starts else Severity.NOTE,
            versions=list(first.versions),
            library=first.need.name,
            needed_by=sorted({use.need.requester.label for use in found}),
            program=first.process.entry,
            symbols=sorted({symbol for use in fatal for symbol in use.fatal}),
        )


def _find_uses(context: Context) -> Iterator[_Use]:
    """Yield the needed names with required versions that resolve to a library without versions."""
    seen: set[tuple[str | None, str, str | None]] = set()
    for _, process, need in context.resolutions:
        requester, result = need.requester, need.result
        key = (requester.real_path, need.name, result.real_path)
        if requester.image is None or result.image is None or key in seen:
            continue
        seen.add(key)
        if ObjectOrigin.BUNDLE not in (requester.origin, result.origin):
            continue
        versions = context.facts.read_needed_versions(requester).get(need.name, ())
        is_unversioned = versions and context.facts.read_defined_versions(result) is None
        # musl ignores symbol versions.
        if is_unversioned and context.get_libc(process.entry) is Libc.GLIBC:
            yield _Use(process, need, versions, _find_fatal_symbols(context, need))


def _find_fatal_symbols(context: Context, need: Resolution) -> tuple[str, ...]:
    """Return the symbols whose lookup fails the loader's assertion."""
    image = need.result.image
    if image is None or image.find_value(c.DT_VERSYM) is not None:
        return ()
    defined = context.facts.read_exports(need.result).names
    return tuple(
        sorted(
            f"{decode_name(symbol.name)}@{symbol.version}"
            for symbol in context.facts.read_undefined_symbols(need.requester)
            if symbol.library == need.name and symbol.name in defined
        )
    )


RULES = (
    Rule(
        "BF413", "unversioned-library", Severity.ERROR,
        "A library has no symbol versions, and an object requires one of them.",
        "The object was linked with another build of the library. The loader prints 'no version"
        " information available' at each start. If the library has no version table at all, glibc"
        " aborts at the first use of a symbol: 'Inconsistency detected by ld.so'.",
        "Add the copy of the library with which the object was linked.",
        "bin/server requires OPENSSL_3.0.0 of libssl.so.3, but lib/libssl.so.3 was built without a"
        " version script.",
        find_unversioned_libraries,
    ),
)  # fmt: skip
