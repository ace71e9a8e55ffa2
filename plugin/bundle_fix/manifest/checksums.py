"""Renewal of checksums inside a pack after its files were edited.

A text file that contains the digest of a file as it was gets the digest of the file as it is:
SHA256SUMS, ``libx.so.4.sha256``, md5sums of Debian, paths.json of conda, integrity texts (SRI), and
lists of any other form. The digest itself shows which file a line is about.
"""

from __future__ import annotations

import base64
import hashlib
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.wheel import METADATA_SUFFIX, renew_record_lines
from bundle_fix.model.content import BytesContent, Content, read_chunks, read_exactly
from bundle_fix.model.tree import MANIFEST_NAME, File, Node, Tree
from bundle_fix.plan.companions import SIGNATURE_SUFFIXES

HEX_LENGTHS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
"""The digests of the usual tools (md5sum(1), shasum(1)) by the number of hexadecimal digits."""
BASE64_LENGTHS = {24: "md5", 28: "sha1", 40: "sha224", 44: "sha256", 64: "sha384", 88: "sha512"}
"""The same in base64: SRI texts of npm, and the manifests of JAR files."""
TOKEN = re.compile(
    rb"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,128}(?![0-9A-Za-z])"
    rb"|(?:(?<=sha\d{3}-)|(?<=Digest: ))[0-9A-Za-z+/]{22,86}={0,2}"
)
WORD = re.compile(rb"[\w.+~-]+")
"""A word of a list; file names with other characters are searched for as text."""
MAX_LIST = 4 << 20
"""Bytes of the longest text file that is searched for digests."""
MAX_HEAD = 1 << 10
"""Bytes at the start of a file that show most binary files: they contain a NUL."""
MAX_ROUNDS = 3
"""Lists of lists: SHA256SUMS, and SHA256SUMS.md5 of it."""
SIGNED_MARKS = (b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PKCS7-----")
"""Texts in a list that is signed itself."""
JAR_MANIFEST = "META-INF/MANIFEST.MF"
"""The list in a JAR file; the ``.SF`` files beside it sign it (the JAR file specification)."""


class Renewal(Struct, frozen=True):
    """A tree with renewed lists, their paths, and remarks on signatures that no longer match."""

    tree: Tree
    paths: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def renew_checksums(before: Tree, tree: Tree) -> Renewal:
    """Return ``tree`` with lists of checksums that match its changed files.

    Args:
        before: the tree before the change, whose digests the lists contain.
        tree: the tree after it; the contents of both must be open.
    """
    result = Renewal(tree)
    changed = list(_list_changed_files(before, tree))
    for _ in range(MAX_ROUNDS):
        if not changed:
            break
        new = _renew_lists(before, result.tree, changed)
        changed = [path for path in new.paths if path not in result.paths]
        result = Renewal(new.tree, (*result.paths, *changed), (*result.remarks, *new.remarks))
    return replace(result, tree=_renew_records(before, result.tree))


def _list_changed_files(before: Tree, after: Tree) -> Iterator[str]:
    """Yield the files of both trees whose contents differ."""
    for path, node in after.nodes.items():
        old = before.nodes.get(path)
        if isinstance(old, File) and isinstance(node, File) and old.content != node.content:
            yield path


def _renew_lists(before: Tree, tree: Tree, changed: Sequence[str]) -> Renewal:
    """Return the tree in which all lists have the new digests of the changed files."""
    names = {posixpath.basename(path).encode("utf-8", "surrogateescape") for path in changed}
    texts = {
        path: text
        for path, text in _list_texts(tree)
        if _mentions_one(os.fsencode(path) + b"\n" + text, names)
    }
    tokens = {m[0] for text in texts.values() for m in TOKEN.finditer(text)}
    pairs: dict[bytes, bytes] = {}
    for path in changed if tokens else ():
        pairs |= _pair_digests(before.nodes[path], tree.nodes[path], tokens)
    nodes: dict[str, Node] = dict(tree.nodes)
    renewed: list[str] = []
    remarks: list[str] = []
    for path, text in texts.items():
        new = TOKEN.sub(lambda m: pairs.get(m[0], m[0]), text)
        if new != text:
            nodes[path] = replace(nodes[path], content=BytesContent(new), header=None)
            renewed.append(path)
            remarks += _find_stale_signatures(tree, path, text)
    return Renewal(replace(tree, nodes=nodes), tuple(renewed), tuple(remarks))


def _list_texts(tree: Tree) -> Iterator[tuple[str, bytes]]:
    """Yield the text files with digests, without the lists that have a renewal of their own."""
    for path, file in tree.iter_files():
        if file.content.size > MAX_LIST or path == MANIFEST_NAME or _is_record(path):
            continue
        with file.content.open() as reader:
            if b"\0" in reader.pread(0, MAX_HEAD):
                continue
            data = read_exactly(reader, 0, file.content.size) or b""
        if b"\0" not in data and TOKEN.search(data):
            yield path, data


def _mentions_one(text: bytes, names: AbstractSet[bytes]) -> bool:
    """Return whether a text contains a file name, a plain one only as a whole word.

    Names of programs such as ``id`` are parts of many words.
    """
    words = {word for found in WORD.findall(text) for word in (found, found.rpartition(b".")[0])}
    return any(name in words or (not WORD.fullmatch(name) and name in text) for name in names)


def _pair_digests(old: Node, new: Node, tokens: AbstractSet[bytes]) -> dict[bytes, bytes]:
    """Return each spelling of a file's old digests in ``tokens``, with that of the new digest."""
    assert isinstance(old, File)  # noqa: S101 (only files have changed contents)
    assert isinstance(new, File)  # noqa: S101
    lengths = {len(token) for token in tokens}
    tables = (HEX_LENGTHS, BASE64_LENGTHS)
    algorithms = sorted({t[n] for t in tables for n in lengths if n in t})
    before = _spell_digests(old.content, algorithms)
    if tokens.isdisjoint(before):
        return {}
    return dict(zip(before, _spell_digests(new.content, algorithms), strict=True))


def _spell_digests(content: Content, algorithms: Sequence[str]) -> list[bytes]:
    """Return the digests of a file, each in lower and upper case hexadecimal and in base64."""
    return [
        spelling
        for digest in _compute_digests(content, algorithms)
        for text in (digest.hex().encode(),)
        for spelling in (text, text.upper(), base64.b64encode(digest))
    ]


def _compute_digests(content: Content, algorithms: Sequence[str]) -> list[bytes]:
    digests = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    with content.open() as reader:
        for chunk in read_chunks(reader):
            for digest in digests:
                digest.update(chunk)
    return [digest.digest() for digest in digests]


def _find_stale_signatures(tree: Tree, path: str, text: bytes) -> Iterator[str]:
    """Yield a remark on each signature of a renewed list."""
    if any(mark in text for mark in SIGNED_MARKS):
        yield f"{path}: its signature is no longer valid; sign it again"
    signatures = [path + suffix for suffix in SIGNATURE_SUFFIXES]
    if path == JAR_MANIFEST:
        signatures += [p for p in tree.nodes if p.startswith("META-INF/") and p.endswith(".SF")]
    for signature in signatures:
        if signature in tree.nodes:
            yield f"{signature}: it signs the old {posixpath.basename(path)}; sign it again"


def _is_record(path: str) -> bool:
    directory, name = posixpath.split(path)
    return name == "RECORD" and directory.endswith(METADATA_SUFFIX)


def _renew_records(before: Tree, tree: Tree) -> Tree:
    """Return the tree with the RECORD of each installed package renewed for its changed files."""
    changed: Mapping[str, None] = dict.fromkeys(
        path for path in {**before.nodes, **tree.nodes}
        if before.nodes.get(path) != tree.nodes.get(path) and not _is_record(path)
    )  # fmt: skip
    for path in [p for p, _ in tree.iter_files() if _is_record(p)] if changed else ():
        tree = renew_record_lines(tree, path, changed)
    return tree
