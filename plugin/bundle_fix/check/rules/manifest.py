"""BF62x: what is in a pack against its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bundle_fix.check.context import Context
from bundle_fix.check.findings import Finding
from bundle_fix.check.rule import Rule
from bundle_fix.elf.scan.debug_info import BUILD_ID_DIRECTORY, DEBUG_DIRECTORY, is_debug_only
from bundle_fix.manifest.model import (
    NAME,
    FileRecord,
    Manifest,
    NewerManifestError,
    NoManifestError,
    path_of,
)
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Symlink, Tree, resolve_path
from bundle_fix.policy.severity import Severity
from bundle_fix.storage.digests import compute_digests

MAX_MISSING = 200
"""Members that are told to be missing: a manifest may list a million."""


def find_unreadable(rule: Rule, context: Context) -> Iterator[Finding]:
    """A manifest that cannot be read, or contradicts itself."""
    manifest = context.manifest
    if isinstance(manifest, NewerManifestError) or manifest is None:
        return
    if isinstance(manifest, BundleFixError):
        severity = Severity.WARNING if isinstance(manifest, NoManifestError) else Severity.ERROR
        yield rule.make_finding(NAME, manifest.message.removeprefix("it "), severity=severity)
        return
    names = [*(r.path for r in manifest.files), *(link.path for link in manifest.links)]
    paths = Counter(names)
    twice = [path for path, count in paths.items() if count > 1]
    if twice:
        yield rule.make_finding(NAME, f"lists {twice[0]} more than once", files=twice[:20])


def find_newer(rule: Rule, context: Context) -> Iterator[Finding]:
    """A manifest that this version cannot read."""
    if isinstance(context.manifest, NewerManifestError):
        yield rule.make_finding(NAME, context.manifest.message.removeprefix("it "))


def _listed(context: Context) -> tuple[dict[str, FileRecord], dict[str, str]]:
    """The files that a good manifest lists, and its links with their targets, by path."""
    manifest = context.manifest
    if not isinstance(manifest, Manifest):
        return {}, {}
    files = {path_of(record.path): record for record in manifest.files}
    return files, {path_of(link.path): path_of(link.target) for link in manifest.links}


def find_changed(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files and links that are not what the manifest says."""
    tree = context.bundle.tree
    files, links = _listed(context)
    there = {path: node for path, node in tree.iter_files() if path in files}
    known = compute_digests(
        n.content for path, n in there.items() if n.content.size == files[path].size
    )
    for path, record in files.items():
        node = tree.nodes.get(path)
        if isinstance(node, File):
            digest = known.get(node.content)
            if digest != record.sha256.lower():
                yield _changed(rule, path, record, node.content.size, digest)
        elif node is not None:
            yield rule.make_finding(path, f"is {_kind(tree, path)}, not the file of the manifest")
    for path, target in links.items():
        found = tree.nodes.get(path)
        if isinstance(found, Symlink) and found.target != target:
            yield rule.make_finding(
                path, f"leads to {found.target}, and in the manifest to {target}",
                target=found.target, listed=target,
            )  # fmt: skip
        elif found is not None and not isinstance(found, Symlink):
            yield rule.make_finding(path, f"is {_kind(tree, path)}, not the link of the manifest")


def _changed(rule: Rule, path: str, record: FileRecord, size: int, digest: str | None) -> Finding:
    if digest is None:
        what = f"has {size} bytes, and in the manifest {record.size}"
    else:
        what = "has other bytes than in the manifest"
    return rule.make_finding(
        path, what, size=size, listed_size=record.size, sha256=digest or "",
        listed_sha256=record.sha256,
    )  # fmt: skip


def _kind(tree: Tree, path: str) -> str:
    kinds = {File: "a file", Symlink: "a link", Directory: "a folder"}
    return kinds.get(type(tree.nodes[path]), "a device, fifo or socket")


def find_missing(rule: Rule, context: Context) -> Iterator[Finding]:
    """What the manifest lists and the pack does not have."""
    files, links = _listed(context)
    missing = [path for path in (*files, *links) if path not in context.bundle.tree.nodes]
    for path in missing[:MAX_MISSING]:
        yield rule.make_finding(path, "is listed in the manifest, but not in the pack")
    if len(missing) > MAX_MISSING:
        yield rule.make_finding(
            NAME,
            f"lists {len(missing) - MAX_MISSING} more members that are not in the pack",
        )


def find_extra(rule: Rule, context: Context) -> Iterator[Finding]:
    """What the pack has and the manifest does not list."""
    if not isinstance(context.manifest, Manifest):
        return
    files, links = _listed(context)
    for path, node in context.bundle.tree.nodes.items():
        listed = path in files or path in links or path == NAME or _is_debug(context, path)
        if not (listed or isinstance(node, Directory)):
            yield rule.make_finding(path, "is in the pack, but not listed in the manifest")


def _is_debug(context: Context, path: str) -> bool:
    """Whether a member came with the debug pack, which is unpacked over the pack.

    Nothing in it can be loaded: a link in ``.debug/`` leads to a file of debug information.
    """
    if DEBUG_DIRECTORY not in path.split("/") and not path.startswith(f"{BUILD_ID_DIRECTORY}/"):
        return False
    tree = context.bundle.tree
    end = resolve_path(tree, path)
    image = context.bundle.images.get(end) if isinstance(end, str) else None
    if image is None or image.is_dynamic:
        return False
    with context.bundle.get_content(str(end)).open() as reader:
        return is_debug_only(reader, image)


def find_mode(rule: Rule, context: Context) -> Iterator[Finding]:
    """Files with another mode than the manifest says."""
    for path, record in _listed(context)[0].items():
        node = context.bundle.tree.nodes.get(path)
        mode = f"{node.metadata.mode:04o}" if isinstance(node, File) else record.mode
        if mode != record.mode:
            yield rule.make_finding(
                path, f"has the mode {mode}, and in the manifest {record.mode}",
                mode=mode, listed=record.mode,
            )  # fmt: skip


_MEND = "Make or download the pack again; if the change was meant, make the pack from its spec."
RULES = (
    Rule(
        "BF620", "manifest-unreadable", Severity.ERROR,
        "The pack's manifest cannot be read, or contradicts itself.",
        "Nothing says what should be in the pack, so that no change to it is noticed.",
        _MEND,
        "bundle-manifest.json was cut off by a full disk.",
        find_unreadable,
    ),
    Rule(
        "BF621", "manifest-newer", Severity.WARNING,
        "The pack's manifest was made by a later version of bundle-fix.",
        "This version cannot tell whether the pack is what its manifest says.",
        "Check the pack with the version that made it, or a later one.",
        'bundle-manifest.json begins with "schema": 2, and this version knows 1.',
        find_newer,
    ),
    Rule(
        "BF622", "manifest-changed", Severity.ERROR,
        "A file or a link is not what the pack's manifest says.",
        "Somebody or something changed the pack after it was made and checked.",
        _MEND,
        "lib/libssl.so.3 was replaced by another copy in the unpacked folder.",
        find_changed,
    ),
    Rule(
        "BF623", "manifest-missing", Severity.ERROR,
        "A file or a link that the pack's manifest lists is not in the pack.",
        "It was lost after the pack was made: by a failed copy, or by somebody's hand.",
        _MEND,
        "A mirror left out the links, so that lib/libz.so.1 is gone.",
        find_missing,
    ),
    Rule(
        "BF624", "manifest-extra", Severity.ERROR,
        "A file or a link of the pack is not listed in its manifest.",
        "It came into the pack after that was made and checked, and may be loaded in the place of"
        " another.",
        _MEND,
        "lib/libcrypto.so.3 was copied into the unpacked folder by hand.",
        find_extra,
    ),
    Rule(
        "BF625", "manifest-mode", Severity.WARNING,
        "A file has another mode than the pack's manifest says.",
        "It was changed after the pack was made, or unpacked under a strict umask.",
        _MEND,
        "config.ini has the mode 0600 since somebody edited it.",
        find_mode,
    ),
)  # fmt: skip
