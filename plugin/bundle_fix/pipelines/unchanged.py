"""Comparison of an existing pack with the one that would be made (``pack --if-changed``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bundle_fix import __version__
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.context import Context
from bundle_fix.check.rules.manifest import RULES
from bundle_fix.collect.pack_builder import CollectedPack
from bundle_fix.loader.bundle import build_bundle
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.manifest.model import Manifest, decode_path, encode_path, read_manifest
from bundle_fix.model.content import Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Symlink, Tree
from bundle_fix.pipelines.apply import Action
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.storage.digests import compute_digests


def compute_inputs_digest(
    collected: CollectedPack, settings: tuple[object, ...], known: Mapping[Content, str]
) -> str:
    """Return the SHA-256 of everything that a pack is made from, in hexadecimal.

    Args:
        collected: the pack as collected, before anything in it is edited.
        settings: the spec's text, the options, the format, the versions of tools. Their ``repr``
            must contain all of their state.
        known: the digests of all its files.
    """
    tree = collected.bundle.tree
    digest = hashlib.sha256(repr((__version__, tree.top, *settings)).encode("utf-8", "replace"))
    for path, node in tree.nodes.items():
        fields: tuple[object, ...] = (
            encode_path(path),
            type(node).__name__,
            node.metadata.mode,
            node.metadata.mtime,
        )
        if isinstance(node, File):
            fields = (*fields, known[node.content])
        elif isinstance(node, Symlink):
            fields = (*fields, encode_path(node.target))
        digest.update(repr(fields).encode("utf-8", "surrogateescape"))
    for source, package in sorted(collected.packages.items()):
        digest.update(repr((encode_path(str(source)), package)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def find_unchanged_pack(output: Path, inputs: str, debug: Path) -> Manifest | None:
    """Return the manifest of the pack at ``output`` if it is unchanged and made from ``inputs``.

    Args:
        output: the pack.
        inputs: the result of `compute_inputs_digest`.
        debug: the path of its debug pack, which must be unchanged as well if there was one.
    """
    try:
        with open_artifact(output) as artifact:
            manifest = read_manifest(artifact.tree)
            if manifest is None or manifest.inputs != inputs:
                return None
            if any(_check_manifest(artifact.tree, manifest)):
                return None
        if manifest.debug:
            with open_artifact(debug) as artifact:
                return manifest if compute_tree_digest(artifact.tree) == manifest.debug else None
        return manifest
    except BundleFixError:
        return None


def list_differences(old: Manifest, new: Manifest) -> tuple[Action, ...]:
    """Return an action for each file and symlink that a pack has made different from ``old``."""
    before, after = _index_members(old), _index_members(new)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if path not in before:
            found.append(Action(path, "added"))
        elif path not in after:
            found.append(Action(path, "removed"))
        elif before[path] != after[path]:
            found.append(Action(path, "changed"))
    return tuple(found)


def _index_members(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """Return digest and mode, or the target of a symlink, by path."""
    links = {decode_path(link.path): (link.target, "symlink") for link in manifest.links}
    return {
        **links,
        **{decode_path(file.path): (file.sha256, file.mode) for file in manifest.files},
    }


def compute_tree_digest(tree: Tree) -> str:
    """Return the SHA-256 of a tree's files and symlinks; its contents must be open."""
    known = compute_digests(file.content for _, file in tree.iter_files())
    files = [
        (encode_path(path), f.metadata.mode, known[f.content]) for path, f in tree.iter_files()
    ]
    links = [(encode_path(path), encode_path(link.target)) for path, link in tree.iter_symlinks()]
    fields = repr((sorted(files), sorted(links)))
    return hashlib.sha256(fields.encode("utf-8", "surrogateescape")).hexdigest()


def _check_manifest(tree: Tree, manifest: Manifest) -> Iterator[object]:
    """Yield the findings of `check` that compare the pack with its manifest."""
    context = Context(build_bundle(tree, {}), CheckPolicy(), build_adversarial_host())
    for rule in RULES:
        yield from rule.find_all(context)
