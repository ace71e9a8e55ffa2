"""Signatures of single files: what no longer matches when a file is edited.

No command can sign, so plans leave such a file as it is. Checksums without a key, such as
SHA256SUMS, are renewed instead (`bundle_fix.manifest.checksums`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bundle_fix.model.content import Content, read_exactly
from bundle_fix.model.library_names import get_library_stem
from bundle_fix.model.tree import ATTRIBUTE_PREFIX, File, Tree

T = TypeVar("T")

SIGNATURE_SUFFIXES = (".asc", ".sig", ".sign", ".gpg", ".minisig", ".p7s")
"""Suffixes of detached signatures: gpg(1), kmodsign(1), minisign(1) and openssl-cms(1)."""
SIGNATURE_NAMES = (
    "{stem}.chk",
    ".{name}.hmac",
    "{name}.hmac",
    "fipscheck/{name}.hmac",
    "hmaccalc/{name}.hmac",
    *(f"{{name}}{suffix}" for suffix in SIGNATURE_SUFFIXES),
)
"""Files beside a file that contain its signature or its keyed digest, with the names that their
tools give them: NSS's shlibsign(1); the FIPS self-tests of OpenSSL, GnuTLS and libgcrypt in
distributions, fipscheck(8) and hmaccalc."""
FIPS_MODULE, FIPS_SETTINGS, FIPS_KEY = "fips.so", "fipsmodule.cnf", b"module-mac"
"""OpenSSL's FIPS provider, and the file with its keyed digest (openssl-fipsinstall(1))."""
MAX_HMAC_FILE = 1 << 16
"""Bytes of a file of keyed digests that are read."""
ATTRIBUTES = ("security.ima", "security.evm")
"""Extended attributes with the signatures of the kernel's integrity subsystem (evmctl(1))."""
APPENDED_MARK = b"~Module signature appended~\n"
"""The last bytes of a file with an appended signature (the kernel's module_signature.h)."""


def leave_signed_files(tree: Tree, edits: Mapping[str, T]) -> tuple[dict[str, T], dict[str, str]]:
    """Return the edits of files that are not signed, and a remark for each signed file, by path."""
    signed = list_signed_files(tree, edits)
    remarks = {
        path: f"not changed: {signature} signs its content; edit it, then sign it again"
        for path, signature in signed.items()
    }
    return {path: edit for path, edit in edits.items() if path not in signed}, remarks


def list_signed_files(tree: Tree, paths: Iterable[str]) -> dict[str, str]:
    """Return those of ``paths`` whose content is signed, each with its signature for a message.

    Args:
        tree: the pack; its contents must be open.
        paths: files of it.
    """
    paths = [path for path in paths if isinstance(tree.nodes.get(path), File)]
    digests = _list_keyed_digests(tree) if paths else {}
    found = {path: _find_signature(tree, path, digests) for path in paths}
    return {path: signature for path, signature in found.items() if signature}


def list_companion_names(name: str) -> list[str]:
    """Return the paths of the possible signatures of a file, relative to its directory."""
    return [text.format(name=name, stem=get_library_stem(name)) for text in SIGNATURE_NAMES]


def _list_keyed_digests(tree: Tree) -> dict[str, list[str]]:
    """Return the files of keyed digests by their directory, and those of OpenSSL's module."""
    found: dict[str, list[str]] = {}
    for path, _ in tree.iter_files():
        directory, name = posixpath.split(path)
        if name.endswith(".hmac"):
            found.setdefault(directory, []).append(path)
        elif name == FIPS_SETTINGS:
            found.setdefault(FIPS_MODULE, []).append(path)
    return found


def _find_signature(tree: Tree, path: str, digests: Mapping[str, list[str]]) -> str:
    node = tree.nodes[path]
    for attribute in ATTRIBUTES:
        if ATTRIBUTE_PREFIX + attribute in node.metadata.extra:
            return f"its extended attribute {attribute}"
    if isinstance(node, File) and _read_end(node.content, len(APPENDED_MARK)) == APPENDED_MARK:
        return "the signature at its end"
    directory, name = posixpath.split(path)
    for companion in list_companion_names(name):
        sibling = posixpath.join(directory, companion)
        if sibling != path and isinstance(tree.nodes.get(sibling), File):
            return sibling
    # GnuTLS lists the keyed digests of several libraries in one file.
    word = FIPS_KEY if name == FIPS_MODULE else name.encode("utf-8", "surrogateescape")
    files = digests.get(FIPS_MODULE if name == FIPS_MODULE else directory, [])
    return next((other for other in files if word in _read_start(tree, other)), "")


def _read_end(content: Content, length: int) -> bytes:
    """Return the last bytes of a file; fewer if it is shorter."""
    with content.open() as reader:
        return reader.pread(max(0, content.size - length), min(length, content.size))


def _read_start(tree: Tree, path: str) -> bytes:
    node = tree.nodes[path]
    if not isinstance(node, File):
        return b""
    with node.content.open() as reader:
        return read_exactly(reader, 0, min(node.content.size, MAX_HMAC_FILE)) or b""
