"""The contents of an installation root, and the files in it that a repair may replace."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from bundle_fix.model.content import has_same_bytes, make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Node, Symlink, Tree


class Contents(Struct, frozen=True):
    """The contents of an installation root before the repair.

    Attributes:
        before: all files that were read, with those that an earlier repair added.
        tree: the same without the paths of ``former``.
        own: the paths that this installation put there.
        former: the paths that an earlier repair added.
    """

    before: Tree
    tree: Tree
    own: frozenset[str]
    former: frozenset[str]

    def select_replaceable(
        self, component: str, added: Mapping[str, str], others: Iterable[str], after: Tree
    ) -> Tree:
        """Return the members that an update to ``after`` may change or remove, and ``others``.

        Args:
            component: the installed component; empty for all.
            added: the paths that earlier repairs added, with the component that they were for.
                What only another component needs stays.
            others: paths of other components; they are as in ``after``, and so not written.
            after: the tree after the update.
        """
        nodes = {
            path: node
            for path, node in self.before.nodes.items()
            if path in after.nodes or component in ("", added.get(path, component))
        }
        return Tree({**nodes, **{p: after.nodes[p] for p in others if p in after.nodes}})


def ensure_free(after: Tree, before: Tree, root: Path) -> None:
    """Raise `BundleFixError` if a file of another package would be replaced by a different one."""
    for path in after.nodes.keys() - before.nodes.keys():
        if os.path.lexists(root / path) and not _is_on_disk(after.nodes[path], root / path):
            raise BundleFixError(
                "the file exists already and belongs to another installation",
                where=str(root / path), hint="remove it, or install its new version first",
            )  # fmt: skip


def _is_on_disk(node: Node, path: Path) -> bool:
    """Return whether ``path`` has the contents of ``node``, maybe from an earlier build."""
    if isinstance(node, Symlink):
        return path.is_symlink() and os.readlink(path) == node.target  # noqa: PTH115
    if not isinstance(node, File) or path.is_symlink() or not path.is_file():
        return False
    return has_same_bytes(node.content, make_path_content(path))
