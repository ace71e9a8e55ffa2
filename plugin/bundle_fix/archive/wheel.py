"""Wheels: zip archives whose RECORD says what is in them (the binary distribution format)."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator

from msgspec.structs import replace

from bundle_fix.model.content import BytesContent, read_exactly
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Node, Tree
from bundle_fix.storage.digests import compute_sha256

INFO = ".dist-info"
"""What the folder of a wheel's metadata ends in; never the one folder around a pack."""
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""Signatures over RECORD: they hold for no other."""
MAX_RECORD = 64 << 20
"""Bytes of the longest RECORD that is read."""


def is_wheel(tree: Tree) -> bool:
    """Whether ``tree``, of a zip archive, is a wheel's."""
    return any(
        path.count("/") == 1 and path.endswith(f"{INFO}/WHEEL") and isinstance(node, File)
        for path, node in tree.nodes.items()
    )


def find_record_path(tree: Tree) -> str | None:
    """The path of the list of a wheel's files, or None where it has none."""
    return next(
        (p for p, _ in tree.iter_files() if p.count("/") == 1 and p.endswith(f"{INFO}/RECORD")),
        None,
    )


def read_record(tree: Tree, path: str) -> dict[str, tuple[str, str]]:
    """What RECORD at ``path`` says: path to hash (``sha256=...``) and size in bytes, as text.

    Raises:
        BundleFixError: it is no list of names, hashes and sizes.
    """
    node = tree.nodes[path]
    size = node.content.size if isinstance(node, File) else 0
    if not isinstance(node, File) or size > MAX_RECORD:
        raise BundleFixError("it is too long to be read", where=path)
    with node.content.open() as reader:
        data = read_exactly(reader, 0, size) or b""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
        return {name: (digest, length) for name, digest, length in rows}
    except (ValueError, csv.Error) as error:
        raise BundleFixError(
            f"the wheel's list of files cannot be read: {error}", where=path,
            hint="build the wheel again",
        ) from error  # fmt: skip


def make_record_line(file: File) -> tuple[str, str]:
    """The hash and the size that RECORD has for a file."""
    digest = bytes.fromhex(compute_sha256(file.content))
    text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"sha256={text}", str(file.content.size)


def find_signatures(tree: Tree) -> Iterator[str]:
    """The paths of signatures that a wheel carries."""
    record = find_record_path(tree)
    for name in SIGNATURES:
        path = (record or "").replace("RECORD", name)
        if path in tree.nodes:
            yield path


def update_record(tree: Tree) -> Tree:
    """``tree`` with a RECORD that tells what is in it, and without signatures over an older one.

    Lines keep their order; those of members that are new stand before RECORD's own.

    Raises:
        BundleFixError: its RECORD cannot be read.
    """
    path = find_record_path(tree)
    if path is None:
        return tree
    dropped = set(find_signatures(tree))
    nodes: dict[str, Node] = {p: n for p, n in tree.nodes.items() if p not in dropped}
    old = read_record(tree, path)
    own = old.pop(path, ("", ""))
    lines = {}
    for name in [
        *(n for n in old if n in nodes),
        *(p for p, _ in tree.iter_files() if p not in old),
    ]:
        node = nodes.get(name)
        if isinstance(node, File) and name != path:
            lines[name] = make_record_line(node)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([(name, *line) for name, line in lines.items()] + [(path, *own)])
    record = nodes[path]
    assert isinstance(record, File)  # noqa: S101 (record_path finds files alone)
    nodes[path] = replace(record, content=BytesContent(text.getvalue().encode()))
    return replace(tree, nodes=nodes)
