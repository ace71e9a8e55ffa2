"""Construction of the manifest of a new pack, and its update after a repair."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs
from msgspec.structs import replace

from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.loader.bundle import Bundle
from bundle_fix.manifest.model import (
    SCHEMA_VERSION,
    ElfRecord,
    FileRecord,
    Manifest,
    PackageRecord,
    SymlinkRecord,
    ToolRecord,
    decode_path,
    encode_manifest,
    encode_path,
    read_manifest,
)
from bundle_fix.model.content import BytesContent, Content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import MANIFEST_NAME, File, Metadata, Node, Symlink, Tree
from bundle_fix.storage.digests import compute_digests

MANIFEST_MODE = 0o644


class FileOrigin(Struct, frozen=True):
    """The origin of a file of a pack, as the manifest stores it: see `FileRecord`."""

    path: str = ""
    package: PackageRecord | None = None


def build_manifest(
    bundle: Bundle,
    name: str,
    origins: Mapping[str, FileOrigin],
    inputs: str = "",
    known: Mapping[Content, str] | None = None,
) -> Manifest:
    """Return the manifest of a pack before it is written.

    Args:
        bundle: the pack; its contents must be open.
        name: its name.
        origins: the origins of its files, by path.
        inputs: the digest of everything that it was made from.
        known: digests of files that are already computed.
    """
    tree = bundle.tree
    files = {path: file for path, file in tree.iter_files() if path != MANIFEST_NAME}
    digests = compute_digests((file.content for file in files.values()), known)
    records = [
        _build_file_record(
            bundle, path, file, digests[file.content], origins.get(path, FileOrigin())
        )
        for path, file in sorted(files.items())
    ]
    symlinks = [
        SymlinkRecord(encode_path(path), encode_path(link.target))
        for path, link in sorted(tree.iter_symlinks())
    ]
    return Manifest(SCHEMA_VERSION, ToolRecord(), encode_path(name), records, symlinks, inputs)


def _build_file_record(
    bundle: Bundle, path: str, file: File, digest: str, origin: FileOrigin
) -> FileRecord:
    image = bundle.images.get(path)
    return FileRecord(
        encode_path(path), digest, file.content.size, f"{file.metadata.mode:04o}",
        _build_elf_record(file, image) if image else None, encode_path(origin.path), origin.package,
    )  # fmt: skip


def _build_elf_record(file: File, image: Image) -> ElfRecord:
    # msgspec omits a default only if it is the same object. In Python 3.10 tuple(map(...)) returns
    # another empty tuple than `()`.
    needed = tuple(map(encode_path, image.needed)) or ()
    with file.content.open() as reader:
        return ElfRecord(
            image.machine, image.type, _encode_optional(image.soname), needed,
            _encode_optional(image.rpath), _encode_optional(image.runpath),
            read_build_id(reader, image),
        )  # fmt: skip


def _encode_optional(text: str | None) -> str | None:
    return None if text is None else encode_path(text)


def insert_manifest(tree: Tree, manifest: Manifest, mtime: float) -> Tree:
    """Return ``tree`` with the manifest: in the place of an old one, otherwise sorted by path.

    Args:
        tree: the pack.
        manifest: the manifest to insert.
        mtime: the modification time of a manifest that is not in the tree yet, in seconds since
            1970.
    """
    old = tree.nodes.get(MANIFEST_NAME)
    content = BytesContent(encode_manifest(manifest))
    if isinstance(old, File):
        file = replace(old, content=content, header=None)
    else:
        file = File(content, Metadata(MANIFEST_MODE, mtime=mtime))
    nodes: dict[str, Node] = {**tree.nodes, MANIFEST_NAME: file}
    if old is None:
        nodes = {path: nodes[path] for path in sorted(nodes)}
    return replace(tree, nodes=nodes)


def update_manifest(before: Tree, bundle: Bundle) -> Tree:
    """Return the tree of ``bundle`` with a manifest that describes its changes since ``before``.

    A file that bundle-fix did not change keeps its record, even if the record does not match the
    file: a later check must still find that someone else changed the file.

    Args:
        before: the pack as it was read.
        bundle: the repaired pack before it is written; its contents must be open.
    """
    tree = bundle.tree
    try:
        old = read_manifest(before)
    except BundleFixError:
        return tree
    changed = {path for path, node in tree.nodes.items() if not _is_unchanged(before, path, node)}
    removed = before.nodes.keys() - tree.nodes.keys()
    if old is None or not (changed or removed):
        return tree
    origins = {decode_path(r.path): FileOrigin(decode_path(r.origin), r.package) for r in old.files}
    old_paths = {node.content: path for path, node in before.iter_files()}
    for path in changed - origins.keys():
        # A file that was only moved still has its old content.
        node = tree.nodes[path]
        old_path = old_paths.get(node.content) if isinstance(node, File) else None
        origins[path] = origins.get(old_path or path, FileOrigin())
    part = replace(tree, nodes={p: node for p, node in tree.nodes.items() if p in changed})
    new = build_manifest(replace(bundle, tree=part), decode_path(old.name), origins)
    stale = changed | removed
    files = [*(r for r in old.files if decode_path(r.path) not in stale), *new.files]
    symlinks = [*(r for r in old.links if decode_path(r.path) not in stale), *new.links]
    manifest = structs.replace(
        new,
        files=sorted(files, key=lambda r: r.path),
        links=sorted(symlinks, key=lambda r: r.path),
    )
    # The tree contains a manifest, which keeps its modification time.
    return insert_manifest(tree, manifest, 0)


def _is_unchanged(before: Tree, path: str, node: Node) -> bool:
    """Return whether a file has its old content and mode, or a symlink its old target."""
    old = before.nodes.get(path)
    if isinstance(old, File) and isinstance(node, File):
        return (old.content, old.metadata.mode) == (node.content, node.metadata.mode)
    if isinstance(old, Symlink) and isinstance(node, Symlink):
        return old.target == node.target
    return not isinstance(node, File | Symlink)
