"""Compare the members of two packs: which are paired, and which only one of them has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from bundle_fix.diff.attributes import (
    MEMBER_KINDS,
    ChangedMember,
    MemberKind,
    compare_files,
    compare_nodes,
)
from bundle_fix.diff.matching import FileMatches
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.model.library_names import NAME_HASH, strip_version_numbers
from bundle_fix.model.tree import File, Symlink, resolve_path


class UnmatchedMember(Struct, frozen=True):
    """A member that only one of two packs has; ``size`` is 0 if it is not a file."""

    path: str
    kind: MemberKind
    size: int = 0
    target: str = ""


class MemberComparison(Struct, frozen=True):
    """The members of two packs: the number of unchanged ones and the others, ELF files first."""

    same: int
    added: tuple[UnmatchedMember, ...]
    removed: tuple[UnmatchedMember, ...]
    changed: tuple[ChangedMember, ...]


def compare_members(old: Snapshot, new: Snapshot, matches: FileMatches) -> MemberComparison:
    """Compare the members of two packs.

    Raises:
        BundleFixError: the tables of an ELF file cannot be read.
    """
    renames = _find_hash_renames(old, new, matches)
    removed, added = _find_unmatched_paths(old, new, matches)
    compared = [
        compare_files(old, old_path, new, new_path, matches, renames)
        for old_path, new_path in matches.new_of.items()
        if old_path in old.nodes and new_path in new.nodes
    ]
    compared += [
        compare_nodes(old, removed[path], new, path, matches) for path in added if path in removed
    ]
    changed = [member for member in compared if member.changes]
    only_old, only_new = _drop_implied_members(old, removed, new, added, matches)
    return MemberComparison(
        len(compared) - len(changed),
        tuple(_make_unmatched_member(new, path) for path in _sort_paths(new, only_new)),
        tuple(_make_unmatched_member(old, path) for path in _sort_paths(old, only_old)),
        tuple(sorted(changed, key=lambda m: (m.path not in new.bundle.images, m.path))),
    )


def _find_unmatched_paths(
    old: Snapshot, new: Snapshot, matches: FileMatches
) -> tuple[dict[str, str], list[str]]:
    """Return the old and the new paths whose files are not matched.

    The old ones are indexed by the path that they would have in the new pack.
    """
    old_root, new_root = matches.root_directories
    removed = {
        matches.translate_path(path): path
        for path in old.nodes
        if path not in matches.new_of and path not in ("", old_root)
    }
    added = [
        path for path in new.nodes if path not in matches.old_of and path not in ("", new_root)
    ]
    return removed, added


def _drop_implied_members(
    old: Snapshot,
    removed: Mapping[str, str],
    new: Snapshot,
    added: Sequence[str],
    matches: FileMatches,
) -> tuple[list[str], list[str]]:
    """Return the old and the new paths that are differences of their own.

    Left out are directories that the other pack has without a member, symlinks in the place of the
    files to which they resolve, and symlinks whose names differ in version numbers only.
    """
    expected_new = _find_new_symlinks_for_files(old, new, matches)
    expected_new |= translate_old_directories(old, matches)
    expected_old = _find_old_symlinks_for_files(old, new, matches)
    expected_old |= new.bundle.tree.directories
    new_paths = set(added)
    only_old = {q: p for q, p in removed.items() if q not in new_paths and q not in expected_old}
    only_new = dict.fromkeys(q for q in added if q not in removed and q not in expected_new)
    pairs = list(_pair_renumbered_symlinks(old, only_old, new, only_new, matches))
    for old_location, new_path in pairs:
        del only_old[old_location], only_new[new_path]
    return list(only_old.values()), list(only_new)


def _find_hash_renames(old: Snapshot, new: Snapshot, matches: FileMatches) -> Mapping[str, str]:
    """Return the new soname of each library whose old soname has a hash, by the old soname.

    A new hash is one change: that of the library's path.
    """
    images = (
        (old.bundle.images.get(p), new.bundle.images.get(q)) for p, q in matches.new_of.items()
    )
    return {
        before.soname: after.soname
        for before, after in images
        if before and after and before.soname and after.soname and NAME_HASH.search(before.soname)
    }


def _sort_paths(snapshot: Snapshot, paths: Iterable[str]) -> list[str]:
    """Sort paths, those of ELF files first."""
    return sorted(paths, key=lambda path: (path not in snapshot.bundle.images, path))


def translate_old_directories(old: Snapshot, matches: FileMatches) -> set[str]:
    """Return the paths of all old directories, members or not, as paths in the new pack."""
    return {matches.translate_path(path) for path in old.bundle.tree.directories}


def _find_new_symlinks_for_files(old: Snapshot, new: Snapshot, matches: FileMatches) -> set[str]:
    """Return the new symlinks at the old paths of the files to which they resolve."""
    files = {matches.translate_path(p): q for p, q in matches.new_of.items()}
    return {path for path, file in _resolve_symlinks(new).items() if files.get(path) == file}


def _find_old_symlinks_for_files(old: Snapshot, new: Snapshot, matches: FileMatches) -> set[str]:
    """Return the old symlinks at the new paths of the files to which they resolved."""
    files = {
        matches.translate_path(path): matches.new_of.get(file)
        for path, file in _resolve_symlinks(old).items()
    }
    return {path for path, file in files.items() if path == file}


def _pair_renumbered_symlinks(
    old: Snapshot,
    removed: Mapping[str, str],
    new: Snapshot,
    added: Iterable[str],
    matches: FileMatches,
) -> Iterator[tuple[str, str]]:
    """Yield pairs of symlinks to the same file whose names differ only in version numbers."""
    old_files, new_files = _resolve_symlinks(old), _resolve_symlinks(new)
    unpaired: dict[tuple[str, str], list[str]] = {}
    for path in added:
        if path in new_files:
            unpaired.setdefault((strip_version_numbers(path), new_files[path]), []).append(path)
    for location, old_path in removed.items():
        file = matches.new_of.get(old_files.get(old_path, ""), "")
        counterparts = unpaired.get((strip_version_numbers(location), file))
        if counterparts:
            yield location, counterparts.pop(0)


def _resolve_symlinks(snapshot: Snapshot) -> dict[str, str]:
    """Return the symlinks that resolve inside the pack, with the paths to which they resolve."""
    tree = snapshot.bundle.tree
    symlinks = (path for path, node in snapshot.nodes.items() if isinstance(node, Symlink))
    targets = ((path, resolve_path(tree, path)) for path in symlinks)
    return {path: target for path, target in targets if isinstance(target, str)}


def _make_unmatched_member(snapshot: Snapshot, path: str) -> UnmatchedMember:
    node = snapshot.nodes[path]
    size = node.content.size if isinstance(node, File) else 0
    target = node.target if isinstance(node, Symlink) else ""
    return UnmatchedMember(path, MEMBER_KINDS[type(node)], size, target)
