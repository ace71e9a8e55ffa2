"""BF64x: wheels: their list of files, and where pip puts what is in them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from bundle_fix.archive.wheel import compute_record_line, find_record_path, is_wheel, read_record
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File
from bundle_fix.policy.severity import Severity


def find_record(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files of a wheel that RECORD does not tell truly."""
    tree = context.bundle.tree
    path = find_record_path(tree) if is_wheel(tree) else None
    if path is None:
        return
    try:
        lines = read_record(tree, path)
    except BundleFixError as error:
        yield rule.make_finding(path, f"cannot be read: {error.message}")
        return
    for name, (digest, size) in lines.items():
        node = tree.nodes.get(name)
        if not isinstance(node, File):
            yield rule.make_finding(path, f"lists {name}, which is not in the wheel", file=name)
        elif digest.startswith("sha256=") and (digest, size or str(node.content.size)) != (
            found := compute_record_line(node)
        ):
            yield rule.make_finding(
                path,
                f"has another hash or size for {name} than the file in the wheel",
                file=name, listed=[digest, size], found=list(found),
            )  # fmt: skip
    for name, _ in tree.iter_files():
        if name not in lines and posixpath.basename(name) not in ("RECORD.jws", "RECORD.p7s"):
            yield rule.make_finding(path, f"does not list {name}, which is in the wheel", file=name)


def find_scheme(rule: Rule, context: Context) -> Iterator[Finding]:
    """Needs that are met in the wheel as it is, but in another place of an installation."""
    if not is_wheel(context.bundle.tree):
        return
    told = set()
    for path, needs in context.resolutions_by_object.items():
        for need in needs:
            found = need.result.path if need.result.origin is ObjectOrigin.BUNDLE else None
            if not found or _scheme(found) == _scheme(path) or (path, found) in told:
                continue
            told.add((path, found))
            yield rule.make_finding(
                path,
                f"needs {need.name} and finds {found} beside itself in the wheel, but pip puts"
                f" {_place(path)} and {_place(found)}",
                needed=need.name, found=found,
            )  # fmt: skip


def _scheme(path: str) -> str:
    """The part of an installation that pip puts a member in: empty for Python's own folder."""
    first, _, rest = path.partition("/")
    scheme = rest.partition("/")[0] if first.endswith(".data") else ""
    return "" if scheme in ("platlib", "purelib") else scheme


def _place(path: str) -> str:
    where = {"scripts": "into bin/", "data": "at the root of the environment"}
    return f"{posixpath.basename(path)} {where.get(_scheme(path), 'into site-packages/')}"


SCHEME = Rule(
    "BF641", "wheel-scheme", Severity.ERROR,
    "An object of a wheel finds a library only as long as the wheel is not installed.",
    "pip puts what is in NAME.data/scripts and NAME.data/data elsewhere than the rest, so that"
    " $ORIGIN no longer leads from the one to the other.",
    "Put the program into the package, beside its libraries, and start it by a console entry"
    " point.",
    "x.data/scripts/tool has the RUNPATH $ORIGIN/../../x/lib, and is installed as bin/tool.",
    find_scheme,
)  # fmt: skip
RULES = (
    Rule(
        "BF640", "wheel-record", Severity.WARNING,
        "A wheel's RECORD does not tell what is in it.",
        "Tools that verify installations report the files as changed, and uninstalling leaves"
        " those behind that are not listed.",
        "'bundle-fix fix' writes RECORD anew when it changes a wheel; else build the wheel again.",
        "pkg/lib/libx.so.4 was edited by patchelf inside the wheel, and RECORD has its old hash.",
        find_record,
    ),
    SCHEME,
)  # fmt: skip
