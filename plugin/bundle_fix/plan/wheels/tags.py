"""The platform tags of a wheel, in its file name and in its file WHEEL (PEP 425 and 427)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.archive.wheel import MAX_WHEEL_METADATA, METADATA_SUFFIX
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Tree


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
    start, *tags = name.removesuffix(".whl").rsplit("-", 3)
    if not name.endswith(".whl") or len(tags) != 3 or not start.partition("-")[2]:
        raise BundleFixError(
            "invalid file name of a wheel", where=name,
            hint="name it NAME-VERSION-PYTHON-ABI-PLATFORM.whl, as the build did",
        )  # fmt: skip
    return WheelName(start, *tags)


def find_metadata_directory(tree: Tree) -> str:
    """Return the directory NAME-VERSION.dist-info of a wheel.

    Raises:
        BundleFixError: the wheel has none, or several.
    """
    found = [
        posixpath.dirname(path)
        for path, _ in tree.iter_files()
        if path.count("/") == 1 and path.endswith(f"{METADATA_SUFFIX}/WHEEL")
    ]
    if len(found) != 1:
        raise BundleFixError(
            f"the wheel has {len(found)} directories with a file WHEEL, and not one",
            hint="build the wheel again",
        )
    return found[0]


def set_tags(tree: Tree, name: WheelName) -> Tree:
    """Return ``tree`` with the tags of its file name in WHEEL, as a wheel of one platform."""
    path = f"{find_metadata_directory(tree)}/WHEEL"
    node = tree.nodes[path]
    assert isinstance(node, File)  # noqa: S101 (find_metadata_directory returns that of a file)
    with node.content.open() as reader:
        text = reader.pread(0, MAX_WHEEL_METADATA).decode("utf-8", "replace")
    kept = [
        "Root-Is-Purelib: false" if line.lower().startswith("root-is-purelib:") else line
        for line in text.splitlines()
        if line.strip() and not line.lower().startswith("tag:")
    ]
    lines = [*kept, *(f"Tag: {tag}" for tag in name.list_tags())]
    content = BytesContent("".join(f"{line}\n" for line in lines).encode())
    return replace(tree, nodes={**tree.nodes, path: replace(node, content=content, header=None)})
