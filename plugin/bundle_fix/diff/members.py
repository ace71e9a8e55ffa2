"""Compare the members of two packs: files, symlinks, directories and the headers of ELF files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bundle_fix.diff.matching import FileMatches
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.symbols.definitions import DefinedSymbol, read_defined_symbols
from bundle_fix.model.errors import BundleFixError, DamagedElfError
from bundle_fix.model.library_names import NAME_HASH, strip_version_numbers
from bundle_fix.model.tree import Directory, File, Node, Special, Symlink, resolve_path

MemberKind = Literal["file", "symlink", "directory", "special"]
Attribute = Literal[
    "path", "kind", "target", "mode", "size", "content", "machine", "type", "interpreter", "soname",
    "needed", "rpath", "runpath", "build-id", "requires", "provides", "symbols",
]  # fmt: skip
Value = str | int | tuple[str, ...] | None
MEMBER_KINDS: Mapping[type[Node], MemberKind] = {
    File: "file", Symlink: "symlink", Directory: "directory", Special: "special",
}  # fmt: skip


class AttributeChange(Struct, frozen=True):
    """One changed attribute of a member.

    For ``symbols`` the values are the removed and the added symbols; ``content`` has no values.
    """

    attribute: Attribute
    old: Value = None
    new: Value = None


class UnmatchedMember(Struct, frozen=True):
    """A member that only one of two packs has; ``size`` is 0 if it is not a file."""

    path: str
    kind: MemberKind
    size: int = 0
    target: str = ""


class ChangedMember(Struct, frozen=True):
    """A changed member; ``old_path`` is its path in the old pack."""

    path: str
    old_path: str
    kind: MemberKind
    changes: tuple[AttributeChange, ...]
    soname: str = ""

    def find_change(self, attribute: Attribute) -> AttributeChange | None:
        """Return the change of an attribute, or None if it did not change."""
        return next((change for change in self.changes if change.attribute == attribute), None)


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
    compared = [
        _compare_files(old, old_path, new, new_path, matches, renames)
        for old_path, new_path in matches.new_of.items()
        if old_path in old.nodes and new_path in new.nodes
    ]
    # Old paths without a counterpart, by the path that they would have in the new pack.
    removed = {
        matches.translate_path(path): path
        for path in old.nodes
        if path not in matches.new_of and path not in ("", matches.root_directories[0])
    }
    added = {
        path
        for path in new.nodes
        if path not in matches.old_of and path not in ("", matches.root_directories[1])
    }
    compared += [
        _compare_nodes(old, removed[path], new, path, matches)
        for path in new.nodes
        if path in added and path in removed
    ]
    expected_new = _find_new_symlinks_for_files(old, new, matches)
    expected_new |= translate_old_directories(old, matches)
    expected_old = _find_old_symlinks_for_files(old, new, matches)
    expected_old |= new.bundle.tree.directories
    only_old = {q: p for q, p in removed.items() if q not in added and q not in expected_old}
    only_new = dict.fromkeys(
        q for q in new.nodes if q in added and q not in removed and q not in expected_new
    )
    for old_location, new_path in list(
        _pair_renumbered_symlinks(old, only_old, new, only_new, matches)
    ):
        del only_old[old_location], only_new[new_path]
    changed = [member for member in compared if member.changes]
    return MemberComparison(
        len(compared) - len(changed),
        tuple(_make_unmatched_member(new, path) for path in _sort_paths(new, only_new)),
        tuple(_make_unmatched_member(old, path) for path in _sort_paths(old, only_old.values())),
        tuple(sorted(changed, key=lambda m: (m.path not in new.bundle.images, m.path))),
    )


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


def _compare_nodes(
    old: Snapshot, p: str, new: Snapshot, q: str, matches: FileMatches
) -> ChangedMember:
    """Compare two members of which at least one is not a file."""
    before, after = old.nodes[p], new.nodes[q]
    kinds = MEMBER_KINDS[type(before)], MEMBER_KINDS[type(after)]
    if kinds[0] != kinds[1]:
        return ChangedMember(q, p, kinds[1], (AttributeChange("kind", *kinds),))
    if isinstance(before, Symlink) and isinstance(after, Symlink):
        old_file, new_file = _resolve_symlink(old, p), _resolve_symlink(new, q)
        is_same_file = new_file is not None and matches.new_of.get(old_file or "") == new_file
        is_same = before.target == after.target or is_same_file
        targets = (AttributeChange("target", before.target, after.target),)
        return ChangedMember(q, p, kinds[1], () if is_same else targets)
    return ChangedMember(q, p, kinds[1], tuple(_compare_modes(before, after)))


def _resolve_symlink(snapshot: Snapshot, path: str) -> str | None:
    target = resolve_path(snapshot.bundle.tree, path)
    return target if isinstance(target, str) else None


def _compare_modes(before: Node, after: Node) -> Iterator[AttributeChange]:
    if before.metadata.mode != after.metadata.mode:
        yield AttributeChange("mode", f"{before.metadata.mode:04o}", f"{after.metadata.mode:04o}")


def _compare_files(
    old: Snapshot,
    p: str,
    new: Snapshot,
    q: str,
    matches: FileMatches,
    renames: Mapping[str, str],
) -> ChangedMember:
    image = new.bundle.images.get(q)
    changes = list(_compare_modes(old.nodes[p], new.nodes[q]))
    if q not in matches.same:
        before, after = _collect_attributes(old, p, renames), _collect_attributes(new, q, {})
        header_changes = [
            AttributeChange(attribute, before.get(attribute), after.get(attribute))
            for attribute in dict.fromkeys((*before, *after))
            if before.get(attribute) != after.get(attribute)
        ]
        changes += header_changes or [AttributeChange("content")]
        changes += _compare_symbols(old, p, new, q)
    if matches.translate_path(p) != q:
        changes.insert(0, AttributeChange("path", p, q))
    return ChangedMember(q, p, "file", tuple(changes), (image.soname or "") if image else "")


def _collect_attributes(
    snapshot: Snapshot, path: str, renames: Mapping[str, str]
) -> dict[Attribute, Value]:
    """Return the attributes of a file except its content, with the new names of libraries."""
    image, content = snapshot.bundle.images.get(path), snapshot.contents[path]
    attributes: dict[Attribute, Value] = {"size": content.size}
    if image is None:
        return attributes
    attributes |= {
        "machine": f"{image.format.bits}-bit {image.machine}", "type": image.type,
        "interpreter": image.interpreter, "soname": renames.get(image.soname or "", image.soname),
        "needed": tuple(renames.get(name, name) for name in image.needed),
        "rpath": image.rpath, "runpath": image.runpath,
    }  # fmt: skip
    symbols = snapshot.context.facts
    attributes["build-id"] = symbols.read_fact(path, read_build_id)
    if image.is_dynamic:
        required = symbols.read_needed_versions(path)
        attributes["requires"] = tuple(
            sorted(f"{renames.get(n, n)} {v}" for n, vs in required.items() for v in vs)
        )
        attributes["provides"] = tuple(sorted(symbols.read_defined_versions(path) or ()))
    return attributes


def _compare_symbols(old: Snapshot, p: str, new: Snapshot, q: str) -> Iterator[AttributeChange]:
    before, after = read_exported_symbols(old, p), read_exported_symbols(new, q)
    removed = tuple(symbol.label for symbol in compute_removed_symbols(before, after))
    added = tuple(symbol.label for symbol in compute_removed_symbols(after, before))
    if removed or added:
        yield AttributeChange("symbols", removed, added)


def read_exported_symbols(snapshot: Snapshot, path: str) -> Sequence[DefinedSymbol]:
    """Return the symbols that a shared object exports; none if the file is not one.

    Raises:
        BundleFixError: the symbol tables cannot be read.
    """
    image = snapshot.bundle.images.get(path)
    if image is None or not image.is_dynamic:
        return ()
    try:
        with snapshot.contents[path].open() as reader:
            return read_defined_symbols(reader, image)
    except DamagedElfError as error:
        raise BundleFixError(error.message, where=f"{snapshot.name}: {path}") from error


def compute_removed_symbols(
    before: Sequence[DefinedSymbol], after: Sequence[DefinedSymbol]
) -> list[DefinedSymbol]:
    """Return the symbols in ``before`` that a lookup no longer finds in ``after``.

    A reference without a version also binds to the default version of the name. A reference with a
    version also binds to a library without any versions (glibc's dl-lookup.c, check_match).
    """
    versioned = any(s.version is not None for s in after)
    exact = {(s.name, s.version) for s in after}
    names = {s.name for s in after if not s.hidden}
    return sorted(
        (
            s
            for s in before
            if (s.name, s.version) not in exact
            and not ((s.version is None or not versioned) and s.name in names)
        ),
        key=lambda s: s.label,
    )
