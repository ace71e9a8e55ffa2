"""BF640 and BF641: the RECORD of a wheel, and members that pip installs in other directories.

Source: the binary distribution format of the Python packaging specifications.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from bundle_fix.archive.wheel import (
    SIGNATURES,
    compute_record_line,
    encode_digest,
    find_record_path,
    read_record,
)
from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.check.wording import join_names
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File
from bundle_fix.plan.requests import RepairKind
from bundle_fix.policy.severity import Severity

HEXADECIMAL = re.compile(r"sha256=([0-9a-fA-F]{64})")
"""A hash that is not encoded in base64, as the format of wheels requires."""


def find_record_mismatches(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the differences between a wheel and its RECORD."""
    tree = context.bundle.tree
    path = find_record_path(tree) if context.is_wheel else None
    if path is None:
        return
    try:
        lines = read_record(tree, path)
    except BundleFixError as error:
        yield rule.make_finding(path, f"cannot be read: {error.message}", fixable=False)
        return
    in_hexadecimal = [name for name, (digest, _) in lines.items() if HEXADECIMAL.fullmatch(digest)]
    if in_hexadecimal:
        yield rule.make_finding(
            path,
            f"contains hashes as hexadecimal numbers: those of {join_names(in_hexadecimal, 3)}",
            severity=Severity.NOTE, files=in_hexadecimal,
        )  # fmt: skip
    for name, (listed, size) in lines.items():
        node, digest = tree.nodes.get(name), _normalize_digest(listed)
        if not isinstance(node, File):
            yield rule.make_finding(path, f"lists {name}, which is not in the wheel", file=name)
        elif digest.startswith("sha256=") and (digest, size or str(node.content.size)) != (
            found := compute_record_line(node)
        ):
            yield rule.make_finding(
                path,
                f"lists another hash or size of {name} than the file in the wheel has",
                file=name, listed=[listed, size], found=list(found),
            )  # fmt: skip
    for name, _ in tree.iter_files():
        # RECORD cannot list its own signatures.
        if name not in lines and posixpath.basename(name) not in SIGNATURES:
            yield rule.make_finding(path, f"does not list {name}, which is in the wheel", file=name)


def _normalize_digest(digest: str) -> str:
    """Return a hash of RECORD in base64, without the padding; some tools write hexadecimal."""
    match = HEXADECIMAL.fullmatch(digest)
    return f"sha256={encode_digest(match[1])}" if match else digest.rstrip("=")


def find_separated_libraries(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the needed names that resolve in the wheel to a file that pip installs elsewhere."""
    if not context.is_wheel:
        return
    reported = set()
    for path, needs in context.resolutions_by_object.items():
        for need in needs:
            found = need.result.path if need.result.origin is ObjectOrigin.BUNDLE else None
            if not found or _get_scheme(found) == _get_scheme(path) or (path, found) in reported:
                continue
            reported.add((path, found))
            yield rule.make_finding(
                path,
                f"needs {need.name} and finds {found} in the wheel, but pip installs"
                f" {_describe_location(path)} and {_describe_location(found)}",
                needed=need.name, found=found,
            )  # fmt: skip


def _get_scheme(path: str) -> str:
    """Return the key of the install scheme (``scripts``, ``data``); empty for site-packages."""
    first, _, rest = path.partition("/")
    scheme = rest.partition("/")[0] if first.endswith(".data") else ""
    return "" if scheme in ("platlib", "purelib") else scheme


def _describe_location(path: str) -> str:
    directories = {"scripts": "in bin/", "data": "in the root directory of the environment"}
    directory = directories.get(_get_scheme(path), "in site-packages/")
    return f"{posixpath.basename(path)} {directory}"


WHEEL_SCHEME = Rule(
    "BF641", "wheel-scheme", Severity.ERROR,
    "An object of a wheel does not find a library when the wheel is installed.",
    "pip installs the files in NAME.data/scripts and NAME.data/data in other directories than the"
    " rest, so $ORIGIN does not lead to the library.",
    "Move the program into the package, next to its libraries, and start it from a console"
    " script.",
    "x.data/scripts/tool has the RUNPATH $ORIGIN/../../x/lib, but is installed as bin/tool.",
    find_separated_libraries,
)  # fmt: skip
RULES = (
    Rule(
        "BF640", "wheel-record", Severity.WARNING,
        "The RECORD of a wheel does not match its files.",
        "Tools that verify an installation report the files as changed, and an uninstallation does"
        " not remove files that are not listed.",
        "Build the wheel again, or let 'bundle-fix fix' renew RECORD if the files are right.",
        "patchelf edited pkg/lib/libx.so.4 in the wheel, and RECORD still lists the old hash.",
        find_record_mismatches,
        repair=RepairKind.RENEW_RECORD,
    ),
    WHEEL_SCHEME,
)  # fmt: skip
