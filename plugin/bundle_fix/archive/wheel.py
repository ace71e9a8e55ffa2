"""Wheels: zip archives with a RECORD of their files (the binary distribution format, PEP 427)."""

from __future__ import annotations

import base64
import csv
import io
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.limits import format_size
from bundle_fix.model.content import BytesContent, read_exactly
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Node, Tree
from bundle_fix.storage.digests import compute_sha256

METADATA_SUFFIX = ".dist-info"
"""Suffix of the metadata directory of a wheel, which is never the top directory of a pack."""
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""Signatures of RECORD (PEP 427), which are invalid once it changes."""
MAX_WHEEL_METADATA = 1 << 20
"""Bytes of the file WHEEL that are read."""
MAX_RECORD = 64 << 20
"""Limit of the bytes of a RECORD, which is read into memory."""


class WheelName(Struct, frozen=True):
    """The parts of a file name: NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl.

    ``start`` is the part before the tags; the others are sets of tags, joined by dots.
    """

    start: str
    python: str
    abi: str
    platform: str

    @property
    def distribution(self) -> str:
        """The name of the distribution, as in the names of its directories."""
        return self.start.partition("-")[0]

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags."""
        return tuple(self.platform.split("."))

    def with_platforms(self, platforms: Sequence[str]) -> WheelName:
        """Return the name with other platform tags."""
        return replace(self, platform=".".join(sorted(platforms)))

    def list_tags(self) -> Iterator[str]:
        """Yield each tag of the name, as WHEEL lists them."""
        parts = (self.python.split("."), self.abi.split("."), self.platforms)
        return ("-".join(tag) for tag in product(*parts))

    def __str__(self) -> str:
        return f"{self.start}-{self.python}-{self.abi}-{self.platform}.whl"


def parse_wheel_name(name: str) -> WheelName:
    """Parse the file name of a wheel.

    Raises:
        BundleFixError: it is not one.
    """
    parsed = _split_wheel_name(name)
    if parsed is None:
        raise BundleFixError(
            "invalid file name of a wheel", where=name,
            hint="name it NAME-VERSION-PYTHON-ABI-PLATFORM.whl, as the build did",
        )  # fmt: skip
    return parsed


def parse_platform_tags(file_name: str) -> tuple[str, ...]:
    """Return the platforms in the name of a wheel; none if it is not a valid name of one."""
    parsed = _split_wheel_name(file_name)
    return parsed.platforms if parsed is not None else ()


def _split_wheel_name(name: str) -> WheelName | None:
    start, *tags = name.removesuffix(".whl").rsplit("-", 3)
    is_valid = name.endswith(".whl") and len(tags) == 3 and start.count("-") in (1, 2)
    return WheelName(start, *tags) if is_valid else None


def is_wheel(tree: Tree) -> bool:
    """Return whether ``tree``, read from a zip archive, is that of a wheel."""
    return any(True for _ in iter_metadata_files(tree, "WHEEL"))


def iter_metadata_files(tree: Tree, name: str) -> Iterator[tuple[str, File]]:
    """Yield the files of one name in the metadata directories of a wheel or an environment."""
    for path, file in tree.iter_files():
        if path.count("/") == 1 and path.endswith(f"{METADATA_SUFFIX}/{name}"):
            yield path, file


def read_platform_tags(tree: Tree) -> tuple[str, ...]:
    """Return the platforms in the tags of a wheel, such as ``manylinux_2_17_x86_64``.

    pip reads them from the name of the file. Without one they are those of the lines
    ``Tag: PYTHON-ABI-PLATFORM`` in its file WHEEL.
    """
    if tree.platforms:
        return tree.platforms
    platforms: list[str] = []
    for _, file in iter_metadata_files(tree, "WHEEL"):
        with file.content.open() as reader:
            text = reader.pread(0, MAX_WHEEL_METADATA).decode("utf-8", "replace")
        tags = (line[4:].strip() for line in text.splitlines() if line.startswith("Tag:"))
        platforms += [p for tag in tags for p in tag.rpartition("-")[2].split(".")]
    return tuple(platforms)


def find_record_path(tree: Tree) -> str | None:
    """Return the path of the wheel's RECORD, or None if it has none.

    A directory with several is not a wheel, but the site-packages of an environment.
    """
    found = [path for path, _ in iter_metadata_files(tree, "RECORD")]
    return found[0] if len(found) == 1 else None


def read_record(tree: Tree, path: str) -> dict[str, tuple[str, str]]:
    """Return the lines of RECORD at ``path``: path to hash (``sha256=...``) and size, as text.

    Raises:
        BundleFixError: it is not a CSV file with three columns, or is too long.
    """
    node = tree.nodes[path]
    size = node.content.size if isinstance(node, File) else 0
    if not isinstance(node, File) or size > MAX_RECORD:
        raise BundleFixError(
            f"the wheel's list of files is longer than {format_size(MAX_RECORD)} or not a file",
            where=path, hint="build the wheel again",
        )  # fmt: skip
    with node.content.open() as reader:
        data = read_exactly(reader, 0, size) or b""
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
        return {name: (digest, length) for name, digest, length in rows}
    except (ValueError, csv.Error) as error:
        raise BundleFixError(
            f"invalid list of files in the wheel: {error}", where=path,
            hint="build the wheel again",
        ) from error  # fmt: skip


def compute_record_line(file: File) -> tuple[str, str]:
    """Return the hash and the size of a file, as RECORD contains them."""
    return f"sha256={encode_digest(compute_sha256(file.content))}", str(file.content.size)


def encode_digest(hexadecimal: str) -> str:
    """Return a hash in base64 as RECORD contains it, without padding."""
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).decode().rstrip("=")


def find_signatures(tree: Tree) -> Iterator[str]:
    """Yield the paths of the signatures in a wheel."""
    record = find_record_path(tree)
    for name in SIGNATURES:
        path = (record or "").replace("RECORD", name)
        if path in tree.nodes:
            yield path


def update_record(tree: Tree) -> Tree:
    """Return ``tree`` with a RECORD that matches it, and without signatures of the old RECORD.

    Lines keep their order; those of new members are added before the line of RECORD itself.

    Raises:
        BundleFixError: its RECORD cannot be read.
    """
    path = find_record_path(tree)
    if path is None:
        return tree
    signatures = set(find_signatures(tree))
    nodes: dict[str, Node] = {p: n for p, n in tree.nodes.items() if p not in signatures}
    old = read_record(tree, path)
    # The line of RECORD itself has neither hash nor size (PEP 427).
    own = old.pop(path, ("", ""))
    lines = {}
    for name in [
        *(n for n in old if n in nodes),
        *(p for p, _ in tree.iter_files() if p not in old),
    ]:
        node = nodes.get(name)
        if isinstance(node, File) and name != path:
            lines[name] = compute_record_line(node)
    rows = [(name, *line) for name, line in lines.items()] + [(path, *own)]
    return replace(tree, nodes=nodes | {path: _write_record(nodes[path], rows)})


def renew_record_lines(tree: Tree, path: str, changed: Collection[str]) -> Tree:
    """Return ``tree`` with the lines of changed files renewed in one RECORD of an environment.

    Args:
        tree: the tree after the change.
        path: the RECORD, which lists paths relative to the directory of its metadata directory.
        changed: paths of members that were changed or removed.

    Raises:
        BundleFixError: the RECORD cannot be read.
    """
    root = posixpath.dirname(posixpath.dirname(path))
    old = read_record(tree, path)
    lines = dict(old)
    for name in old:
        member = posixpath.normpath(posixpath.join(root, name))
        if member not in changed:
            continue
        node = tree.nodes.get(member)
        if isinstance(node, File):
            lines[name] = compute_record_line(node)
        elif node is None:
            del lines[name]
    if lines == old:
        return tree
    record = _write_record(tree.nodes[path], [(name, *line) for name, line in lines.items()])
    return replace(tree, nodes={**tree.nodes, path: record})


def _write_record(node: Node, rows: Iterable[Sequence[str]]) -> File:
    """Return a RECORD with other lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    assert isinstance(node, File)  # noqa: S101 (callers pass the paths of files)
    return replace(node, content=BytesContent(text.getvalue().encode()), header=None)
