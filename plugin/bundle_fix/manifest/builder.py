"""Makes the manifest of a pack, and renews that of a pack which was mended."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs
from msgspec.structs import replace

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.loader.bundle import Bundle
from bundle_fix.manifest.model import (
    NAME,
    SCHEMA,
    ElfRecord,
    FileRecord,
    LinkRecord,
    Manifest,
    PackageRecord,
    ToolRecord,
    encode,
    path_of,
    read_manifest,
    written,
)
from bundle_fix.model.content import BytesContent, Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Node, Symlink, Tree
from bundle_fix.storage.digests import compute_digests

MODE = 0o644


class Source(Struct, frozen=True):
    """Where a file of a pack came from, as the manifest has it."""

    origin: str = ""
    package: PackageRecord | None = None


def make_manifest(
    bundle: Bundle,
    name: str,
    sources: Mapping[str, Source],
    inputs: str = "",
    known: Mapping[Content, str] | None = None,
) -> Manifest:
    """The manifest of a pack as it is to be written.

    Args:
        bundle: the pack; its contents must be open.
        name: what it is called.
        sources: where its files came from, by path.
        inputs: the digest of what it was made from.
        known: digests of some of its files, as far as they are known already.
    """
    tree = bundle.tree
    files = {path: file for path, file in tree.iter_files() if path != NAME}
    digest_of = compute_digests((file.content for file in files.values()), known)
    records = [
        _file_record(bundle, path, file, digest_of[file.content], sources.get(path, Source()))
        for path, file in sorted(files.items())
    ]
    links = [
        LinkRecord(written(path), written(link.target))
        for path, link in sorted(tree.iter_symlinks())
    ]
    return Manifest(SCHEMA, ToolRecord(), written(name), records, links, inputs)


def _file_record(bundle: Bundle, path: str, file: File, digest: str, source: Source) -> FileRecord:
    image = bundle.images.get(path)
    return FileRecord(
        written(path), digest, file.content.size, f"{file.metadata.mode:04o}",
        _elf_record(file, image) if image else None, written(source.origin), source.package,
    )  # fmt: skip


def _elf_record(file: File, image: Image) -> ElfRecord:
    # Only the one empty tuple is left out by msgspec; Python 3.10 makes another here.
    needed = tuple(map(written, image.needed)) or ()
    with file.content.open() as reader:
        return ElfRecord(
            image.machine, image.type, _written(image.soname), needed,
            _written(image.rpath), _written(image.runpath), read_build_id(reader, image),
        )  # fmt: skip


def _written(text: str | None) -> str | None:
    return None if text is None else written(text)


def with_manifest(tree: Tree, manifest: Manifest, mtime: float) -> Tree:
    """``tree`` with the manifest in its place among the sorted names, or where one was.

    Args:
        tree: the pack.
        manifest: what to put into it.
        mtime: the time of a manifest that is new, in seconds since 1970.
    """
    old = tree.nodes.get(NAME)
    content = BytesContent(encode(manifest))
    if isinstance(old, File):
        file = replace(old, content=content, header=None)
    else:
        file = File(content, Metadata(MODE, mtime=mtime))
    nodes: dict[str, Node] = {**tree.nodes, NAME: file}
    if old is None:
        nodes = {path: nodes[path] for path in sorted(nodes)}
    return replace(tree, nodes=nodes)


def renewed(before: Tree, bundle: Bundle) -> Tree:
    """The tree of ``bundle`` with a manifest that tells what was changed in it.

    What this tool did not touch keeps its record, even where that does not tell the truth: whoever
    changed the file is still to be found out.

    Args:
        before: the pack as it was.
        bundle: the pack as it is to be written; its contents must be open.
    """
    tree = bundle.tree
    try:
        old = read_manifest(before)
    except BundleFixError:
        return tree
    changed = {path for path, node in tree.nodes.items() if not _is_same(before, path, node)}
    gone = before.nodes.keys() - tree.nodes.keys()
    if old is None or not (changed or gone):
        return tree
    sources = {path_of(r.path): Source(path_of(r.origin), r.package) for r in old.files}
    places = {node.content: path for path, node in before.iter_files()}
    for path in changed - sources.keys():
        # What moved has another path, and the bytes that it had.
        node = tree.nodes[path]
        place = places.get(node.content) if isinstance(node, File) else None
        sources[path] = sources.get(place or path, Source())
    part = {path: node for path, node in tree.nodes.items() if path in changed}
    new = make_manifest(replace(bundle, tree=replace(tree, nodes=part)), path_of(old.name), sources)
    stale = changed | gone
    files = [*(r for r in old.files if path_of(r.path) not in stale), *new.files]
    links = [*(r for r in old.links if path_of(r.path) not in stale), *new.links]
    manifest = structs.replace(
        new,
        files=sorted(files, key=lambda r: r.path),
        links=sorted(links, key=lambda r: r.path),
    )
    return with_manifest(tree, manifest, 0)


def _is_same(before: Tree, path: str, node: Node) -> bool:
    """Whether a member has the bytes, or the target, and the mode that it had."""
    old = before.nodes.get(path)
    if isinstance(old, File) and isinstance(node, File):
        return (old.content, old.metadata.mode) == (node.content, node.metadata.mode)
    if isinstance(old, Symlink) and isinstance(node, Symlink):
        return old.target == node.target
    return not isinstance(node, File | Symlink)
