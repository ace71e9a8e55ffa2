"""BF620 to BF625: differences between a pack and its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.scan.debug_info import BUILD_ID_DIRECTORY, DEBUG_DIRECTORY, is_debug_only
from bundle_fix.manifest.model import (
    FileRecord,
    ForeignManifestError,
    Manifest,
    NewerManifestError,
    decode_path,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import MANIFEST_NAME, Directory, File, Symlink, Tree, resolve_path
from bundle_fix.policy.severity import Severity
from bundle_fix.storage.digests import compute_digests

MAX_MISSING = 200
"""Missing members that get a finding each; a manifest may list a million."""
MAX_REPEATED = 20
"""Repeated paths in the evidence of a finding."""


def find_unreadable_manifest(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield a finding if the manifest is invalid or lists a path more than once."""
    manifest = context.manifest
    if isinstance(manifest, NewerManifestError) or manifest is None:
        return
    if isinstance(manifest, BundleFixError):
        severity = (
            Severity.WARNING if isinstance(manifest, ForeignManifestError) else Severity.ERROR
        )
        yield rule.make_finding(
            MANIFEST_NAME, f"cannot be read: {manifest.message}", severity=severity
        )
        return
    counts = Counter([*(r.path for r in manifest.files), *(link.path for link in manifest.links)])
    repeated = [path for path, count in counts.items() if count > 1]
    if repeated:
        yield rule.make_finding(
            MANIFEST_NAME, f"lists {repeated[0]} more than once", files=repeated[:MAX_REPEATED]
        )


def find_newer_manifest(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield a finding if the manifest has a schema that this version does not know."""
    if isinstance(context.manifest, NewerManifestError):
        yield rule.make_finding(MANIFEST_NAME, f"cannot be read: {context.manifest.message}")


def _list_members(context: Context) -> tuple[dict[str, FileRecord], dict[str, str]]:
    """Return the files and the targets of the symlinks in the manifest, by path.

    Both are empty if there is no manifest or it is invalid.
    """
    manifest = context.manifest
    if not isinstance(manifest, Manifest):
        return {}, {}
    files = {decode_path(record.path): record for record in manifest.files}
    return files, {decode_path(link.path): decode_path(link.target) for link in manifest.links}


def find_changed_members(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files and symlinks that differ from the manifest."""
    tree = context.bundle.tree
    files, symlinks = _list_members(context)
    # A file of another size differs anyway, so its digest is not computed.
    digests = compute_digests(
        node.content
        for path, node in tree.iter_files()
        if path in files and node.content.size == files[path].size
    )
    for path, record in files.items():
        node = tree.nodes.get(path)
        if isinstance(node, File):
            digest = digests.get(node.content)
            if digest != record.sha256.lower():
                yield _make_change_finding(rule, path, record, node.content.size, digest)
        elif node is not None:
            yield rule.make_finding(
                path, f"is {_describe_type(tree, path)}, but a file in the manifest"
            )
    for path, target in symlinks.items():
        found = tree.nodes.get(path)
        if isinstance(found, Symlink) and found.target != target:
            yield rule.make_finding(
                path, f"is a symlink to {found.target}, but to {target} in the manifest",
                target=found.target, listed=target,
            )  # fmt: skip
        elif found is not None and not isinstance(found, Symlink):
            yield rule.make_finding(
                path, f"is {_describe_type(tree, path)}, but a symlink in the manifest"
            )


def _make_change_finding(
    rule: Rule, path: str, record: FileRecord, size: int, digest: str | None
) -> Finding:
    """Return the finding for a file whose size differs, or else whose ``digest`` differs."""
    if digest is None:
        message = f"has {size} bytes, but {record.size} bytes in the manifest"
    else:
        message = "does not match its SHA-256 digest in the manifest"
    return rule.make_finding(
        path, message, size=size, listed_size=record.size, sha256=digest or "",
        listed_sha256=record.sha256,
    )  # fmt: skip


def _describe_type(tree: Tree, path: str) -> str:
    names = {File: "a file", Symlink: "a symlink", Directory: "a directory"}
    return names.get(type(tree.nodes[path]), "a device, FIFO or socket")


def find_missing_members(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files and symlinks that the manifest lists and the pack does not contain."""
    files, symlinks = _list_members(context)
    missing = [path for path in (*files, *symlinks) if path not in context.bundle.tree.nodes]
    for path in missing[:MAX_MISSING]:
        yield rule.make_finding(path, "is missing from the pack, but listed in the manifest")
    if len(missing) > MAX_MISSING:
        yield rule.make_finding(
            MANIFEST_NAME,
            f"lists {len(missing) - MAX_MISSING} more members that are missing from the pack",
        )


def find_extra_members(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the members that the manifest does not list."""
    if not isinstance(context.manifest, Manifest):
        return
    files, symlinks = _list_members(context)
    for path, node in context.bundle.tree.nodes.items():
        is_listed = path in files or path in symlinks or path == MANIFEST_NAME
        # Manifests do not list directories.
        if is_listed or isinstance(node, Directory) or _is_from_debug_pack(context, path):
            continue
        yield rule.make_finding(path, "is not listed in the manifest")


def _is_from_debug_pack(context: Context, path: str) -> bool:
    """Return whether a member is from the debug pack, which is unpacked over the pack.

    Only a file of debug information, or a symlink to one, is accepted: the loader ignores it.
    """
    if DEBUG_DIRECTORY not in path.split("/") and not path.startswith(f"{BUILD_ID_DIRECTORY}/"):
        return False
    target = resolve_path(context.bundle.tree, path)
    image = context.bundle.images.get(target) if isinstance(target, str) else None
    if image is None or image.is_dynamic:
        return False
    with context.bundle.get_content(str(target)).open() as reader:
        return is_debug_only(reader, image)


def find_changed_modes(rule: Rule, context: Context) -> Iterator[Finding]:
    """Yield the files whose mode differs from the manifest."""
    files, _ = _list_members(context)
    for path, record in files.items():
        node = context.bundle.tree.nodes.get(path)
        mode = f"{node.metadata.mode:04o}" if isinstance(node, File) else record.mode
        if mode != record.mode:
            yield rule.make_finding(
                path, f"has mode {mode}, but mode {record.mode} in the manifest",
                mode=mode, listed=record.mode,
            )  # fmt: skip


FIX_MISMATCH = (
    "Create or download the pack again. If the change was intended, build a new pack from the spec."
)

RULES = (
    Rule(
        "BF620", "manifest-unreadable", Severity.ERROR,
        "The manifest of the pack is invalid.",
        "Without a valid manifest, changes of the pack cannot be detected.",
        FIX_MISMATCH,
        "The disk was full, so bundle-manifest.json is truncated.",
        find_unreadable_manifest,
    ),
    Rule(
        "BF621", "manifest-newer", Severity.WARNING,
        "The manifest of the pack was written by a newer version of bundle-fix.",
        "This version cannot compare the pack with its manifest.",
        "Check the pack with the version that created it, or a newer one.",
        'bundle-manifest.json begins with "schema": 2, but this version only supports 1.',
        find_newer_manifest,
    ),
    Rule(
        "BF622", "manifest-changed", Severity.ERROR,
        "A file or symlink of the pack differs from the manifest.",
        "The pack was changed after it was created and checked.",
        FIX_MISMATCH,
        "lib/libssl.so.3 was replaced in the unpacked directory.",
        find_changed_members,
    ),
    Rule(
        "BF623", "manifest-missing", Severity.ERROR,
        "The manifest lists a file or symlink that is missing from the pack.",
        "It was removed after the pack was created, or lost in an incomplete copy.",
        FIX_MISMATCH,
        "A mirror did not copy symlinks, so lib/libz.so.1 is missing.",
        find_missing_members,
    ),
    Rule(
        "BF624", "manifest-extra", Severity.ERROR,
        "The pack contains a file or symlink that its manifest does not list.",
        "It was added after the pack was created and checked. The loader may load it instead of"
        " another library.",
        FIX_MISMATCH,
        "lib/libcrypto.so.3 was copied into the unpacked directory by hand.",
        find_extra_members,
    ),
    Rule(
        "BF625", "manifest-mode", Severity.WARNING,
        "The mode of a file differs from the manifest.",
        "It was changed after the pack was created, or the pack was unpacked with a strict umask.",
        FIX_MISMATCH,
        "An editor changed the mode of config.ini to 0600.",
        find_changed_modes,
    ),
)  # fmt: skip
