"""BF4xx: what the binaries want of the libraries they meet on the target."""

from __future__ import annotations

from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import ERROR, Finding, Rule
from bundle_fix.elf.versions import needed_versions


def glibc_number(version: str) -> tuple[int, ...] | None:
    """``GLIBC_2.17`` as (2, 17); None for other versions, GLIBC_PRIVATE among them."""
    prefix, _, number = version.partition("_")
    parts = number.split(".")
    if prefix != "GLIBC" or not all(part.isdecimal() for part in parts):
        return None
    return tuple(int(part) for part in parts)


def find_newer_glibc(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files that want symbols of a glibc newer than the baseline."""
    baseline = context.expectations.glibc
    limit = glibc_number(f"GLIBC_{baseline}") if baseline else None
    for path, image in context.bundle.images.items() if limit else ():
        if not image.is_dynamic:
            continue
        with context.bundle.content(path).open() as reader:
            wanted = needed_versions(reader, image)
        newer = {
            name: [v for v in versions if (glibc_number(v) or ()) > (limit or ())]
            for name, versions in wanted.items()
        }
        newer = {name: versions for name, versions in newer.items() if versions}
        if newer:
            newest = max(
                (v for vs in newer.values() for v in vs), key=lambda v: glibc_number(v) or ()
            )
            yield rule.finding(
                path,
                f"wants {newest}; the baseline is glibc {baseline}",
                baseline=baseline,
                versions=newer,
            )


RULES = (
    Rule(
        "BF401", "glibc-too-new", ERROR,
        "A file wants symbol versions of a glibc newer than the baseline.",
        "On a target with the baseline's glibc the program ends before main: 'version GLIBC_…"
        " not found'.",
        "Build on a system with the baseline's glibc, or raise [check] glibc.",
        "[check] glibc is 2.17, and bin/server wants memcpy@GLIBC_2.34.",
        find_newer_glibc,
    ),
)  # fmt: skip
