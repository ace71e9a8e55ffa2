"""The closure of an installation: libraries that the spec's ``[closure] bundle`` adds to it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.libraries.built_files import follow_built_files
from bundle_fix.collect.libraries.closure import complete_closure
from bundle_fix.collect.pack_builder import Origin, PackBuilder, date_member
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.tree import Directory, Node, Tree
from bundle_fix.spec.epoch import find_explicit_epoch
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values


class Closure(Struct, frozen=True):
    """The closure that a spec asks for; the libraries go into the directory ``libdir``."""

    spec: Spec
    values: Values
    libdir: str
    sources: LibrarySources = LibrarySources()


class CompletedClosure(Struct, frozen=True):
    """An installation with its closure.

    Attributes:
        bundle: the installation with the added libraries and their symlinks.
        added: the added paths, with their origins.
        remarks: lines about the spec.
    """

    bundle: Bundle
    added: Mapping[str, Origin]
    remarks: tuple[str, ...] = ()


def complete_installed_closure(
    bundle: Bundle,
    root: Path,
    closure: Closure,
    planned: Mapping[str, Path],
    host: Sequence[str],
    former: Iterable[str],
    own: Container[str] | None,
) -> CompletedClosure:
    """Add the libraries that the spec bundles to an installation.

    Args:
        bundle: the installation.
        root: its directory.
        closure: the spec, and the directory of the added libraries.
        planned: files that are not in ``root`` yet, with their current path.
        host: patterns of libraries that the target provides.
        former: paths below ``root`` that an earlier run added; they are ignored.
        own: the paths of the installed component; None if all components are installed.

    Raises:
        BundleFixError: a library is not found, or neither bundled nor provided by the host.
    """
    spec = replace(closure.spec, layout=replace(closure.spec.layout, lib=f"{closure.libdir}/"))
    files = ((p, node) for p, node in bundle.tree.nodes.items() if not isinstance(node, Directory))
    nodes: dict[str, Node] = dict(files)
    origins = {path: Origin(planned.get(path, root / path), path) for path in nodes}
    images, origins = follow_built_files(bundle.images, origins, closure.sources.built)
    collection = PackBuilder(closure.values.root, nodes, images, origins)
    top = os.path.realpath(root)
    removed = frozenset(posixpath.join(top, path) for path in former)
    remarks = complete_closure(
        collection, spec, closure.values, host, removed, own, closure.sources
    )
    added = {path: o for path, o in collection.origins.items() if path not in bundle.tree.nodes}
    epoch = find_explicit_epoch(spec, closure.values)
    dated = {path: date_member(nodes[path], origin, epoch) for path, origin in added.items()}
    tree = Tree({**bundle.tree.nodes, **nodes, **dated})
    images = {**collection.images, **bundle.images}
    return CompletedClosure(build_bundle(tree, images), added, tuple(remarks))
