"""What changed in the members of a pack: files, links and folders, and what their headers say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bundle_fix.diff.matching import FileMatches, strip_version_numbers
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.symbols.symbol_table import DefinedSymbol, read_defined_symbols
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import Directory, File, Node, Special, Symlink, resolve_path

MemberKind = Literal["file", "symlink", "directory", "special"]
Attribute = Literal[
    "path", "kind", "target", "mode", "size", "content", "machine", "type", "interpreter", "soname",
    "needed", "rpath", "runpath", "build-id", "requires", "provides", "symbols",
]  # fmt: skip
Value = str | int | tuple[str, ...] | None
KINDS: Mapping[type[Node], MemberKind] = {
    File: "file", Symlink: "symlink", Directory: "directory", Special: "special",
}  # fmt: skip


class AttributeChange(Struct, frozen=True):
    """One thing about a member that is not what it was.

    ``attribute`` names it; for ``symbols`` the values are the removed ones and the added ones,
    for ``content`` there are none.
    """

    attribute: Attribute
    old: Value = None
    new: Value = None


class UnmatchedMember(Struct, frozen=True):
    """A member that only one of two packs has; ``size`` is 0 for all but files."""

    path: str
    kind: MemberKind
    size: int = 0
    target: str = ""


class ChangedMember(Struct, frozen=True):
    """A member that changed; ``old_path`` is its old path."""

    path: str
    old_path: str
    kind: MemberKind
    changes: tuple[AttributeChange, ...]
    soname: str = ""

    def find_change(self, attribute: Attribute) -> AttributeChange | None:
        """The change of one thing, if that changed."""
        return next((change for change in self.changes if change.attribute == attribute), None)


class MemberComparison(Struct, frozen=True):
    """All members of two packs: how many are the same, and the others, ELF files first."""

    same: int
    added: tuple[UnmatchedMember, ...]
    removed: tuple[UnmatchedMember, ...]
    changed: tuple[ChangedMember, ...]


def compare_members(old: Snapshot, new: Snapshot, pairs: FileMatches) -> MemberComparison:
    """What changed in the members of two packs.

    Raises:
        BundleFixError: the tables of an ELF file cannot be read.
    """
    both = ((p, q) for p, q in pairs.new_of.items() if p in old.nodes and q in new.nodes)
    altered = [_altered_file(old, p, new, q, pairs) for p, q in both]
    gone = {
        pairs.translate_path(path): path
        for path in old.nodes
        if path not in pairs.new_of and path not in ("", pairs.root_directories[0])
    }
    come = {
        path: path
        for path in new.nodes
        if path not in pairs.old_of and path not in ("", pairs.root_directories[1])
    }
    altered += [_altered(old, gone[q], new, q, pairs) for q in come if q in gone]
    told_new = (
        set(gone)
        | _taken_over(old, new, pairs)
        | (translate_old_directories(old, pairs) & set(come))
    )
    told_old = set(come) | _given_up(old, new, pairs) | (new.bundle.tree.directories & set(gone))
    gone = {q: p for q, p in gone.items() if q not in told_old}
    come = {q: q for q in come if q not in told_new}
    for p, q in list(_renumbered(old, gone, new, come, pairs)):
        del gone[pairs.translate_path(p)], come[q]
    changed = [a for a in altered if a.changes]
    return MemberComparison(
        len(altered) - len(changed),
        tuple(_member(new, q) for q in _ordered(new, come)),
        tuple(_member(old, p) for p in _ordered(old, gone.values())),
        tuple(sorted(changed, key=lambda a: (a.path not in new.bundle.images, a.path))),
    )


def _ordered(side: Snapshot, paths: Iterable[str]) -> list[str]:
    """ELF files first, then by path."""
    return sorted(paths, key=lambda path: (path not in side.bundle.images, path))


def translate_old_directories(old: Snapshot, pairs: FileMatches) -> set[str]:
    """Where the old pack's folders, members or not, are to be seen in the new one."""
    return {pairs.translate_path(path) for path in old.bundle.tree.directories}


def _taken_over(old: Snapshot, new: Snapshot, pairs: FileMatches) -> set[str]:
    """New links that have the name which the file they lead to had itself."""
    places = {pairs.translate_path(p): q for p, q in pairs.new_of.items()}
    return {q for q, end in _ends(new).items() if places.get(q) == end}


def _given_up(old: Snapshot, new: Snapshot, pairs: FileMatches) -> set[str]:
    """Where old links were whose names are those of the files they led to themselves now."""
    places = {pairs.translate_path(p): pairs.new_of.get(end) for p, end in _ends(old).items()}
    return {place for place, end in places.items() if place == end}


def _renumbered(
    old: Snapshot,
    gone: Mapping[str, str],
    new: Snapshot,
    come: Mapping[str, str],
    pairs: FileMatches,
) -> Iterator[tuple[str, str]]:
    """Links that differ from new ones in their version number alone, and lead to the same file."""
    before, after = _ends(old), _ends(new)
    waiting: dict[tuple[str, str], list[str]] = {}
    for q in come:
        if q in after:
            waiting.setdefault((strip_version_numbers(q), after[q]), []).append(q)
    for place, p in gone.items():
        counterparts = waiting.get(
            (strip_version_numbers(place), pairs.new_of.get(before.get(p, ""), ""))
        )
        if counterparts:
            yield p, counterparts.pop(0)


def _ends(side: Snapshot) -> dict[str, str]:
    """The links that lead to something in the pack, and to what."""
    tree = side.bundle.tree
    links = (path for path, node in side.nodes.items() if isinstance(node, Symlink))
    ends = ((path, resolve_path(tree, path)) for path in links)
    return {path: end for path, end in ends if isinstance(end, str)}


def _member(side: Snapshot, path: str) -> UnmatchedMember:
    node = side.nodes[path]
    size = node.content.size if isinstance(node, File) else 0
    target = node.target if isinstance(node, Symlink) else ""
    return UnmatchedMember(path, KINDS[type(node)], size, target)


def _altered(old: Snapshot, p: str, new: Snapshot, q: str, pairs: FileMatches) -> ChangedMember:
    """What changed in a member that is no file, or has become or has been one."""
    before, after = old.nodes[p], new.nodes[q]
    kinds = KINDS[type(before)], KINDS[type(after)]
    if kinds[0] != kinds[1]:
        return ChangedMember(q, p, kinds[1], (AttributeChange("kind", *kinds),))
    if isinstance(before, Symlink) and isinstance(after, Symlink):
        ends = _end(old, p), _end(new, q)
        follows = ends[1] is not None and pairs.new_of.get(ends[0] or "") == ends[1]
        same = before.target == after.target or follows
        targets = (AttributeChange("target", before.target, after.target),)
        return ChangedMember(q, p, kinds[1], () if same else targets)
    return ChangedMember(q, p, kinds[1], tuple(_mode(before, after)))


def _end(side: Snapshot, path: str) -> str | None:
    end = resolve_path(side.bundle.tree, path)
    return end if isinstance(end, str) else None


def _mode(before: Node, after: Node) -> Iterator[AttributeChange]:
    if before.metadata.mode != after.metadata.mode:
        yield AttributeChange("mode", f"{before.metadata.mode:04o}", f"{after.metadata.mode:04o}")


def _altered_file(
    old: Snapshot, p: str, new: Snapshot, q: str, pairs: FileMatches
) -> ChangedMember:
    image = new.bundle.images.get(q)
    changes = list(_mode(old.nodes[p], new.nodes[q]))
    if q not in pairs.same:
        before, after = _facts(old, p), _facts(new, q)
        told = [
            AttributeChange(what, before.get(what), after.get(what))
            for what in dict.fromkeys((*before, *after))
            if before.get(what) != after.get(what)
        ]
        changes += told or [AttributeChange("content")]
        changes += _symbols(old, p, new, q)
    moved = pairs.translate_path(p) != q
    if moved:
        changes.insert(0, AttributeChange("path", p, q))
    return ChangedMember(q, p, "file", tuple(changes), (image.soname or "") if image else "")


def _facts(side: Snapshot, path: str) -> dict[Attribute, Value]:
    """What there is to compare in one file besides its bytes."""
    image, content = side.bundle.images.get(path), side.contents[path]
    facts: dict[Attribute, Value] = {"size": content.size}
    if image is None:
        return facts
    facts |= {
        "machine": f"{image.format.bits}-bit {image.machine}", "type": image.type,
        "interpreter": image.interpreter, "soname": image.soname, "needed": image.needed,
        "rpath": image.rpath, "runpath": image.runpath,
    }  # fmt: skip
    symbols = side.context.symbols
    facts["build-id"] = symbols.read(path, read_build_id)
    if image.is_dynamic:
        wanted = symbols.wanted_versions(path)
        facts["requires"] = tuple(sorted(f"{n} {v}" for n, vs in wanted.items() for v in vs))
        facts["provides"] = tuple(sorted(symbols.offered_versions(path) or ()))
    return facts


def _symbols(old: Snapshot, p: str, new: Snapshot, q: str) -> Iterator[AttributeChange]:
    before, after = read_exported_symbols(old, p), read_exported_symbols(new, q)
    lost, more = compute_removed_symbols(before, after), compute_removed_symbols(after, before)
    if lost or more:
        yield AttributeChange("symbols", tuple(s.label for s in lost), tuple(s.label for s in more))


def read_exported_symbols(side: Snapshot, path: str) -> Sequence[DefinedSymbol]:
    """The symbols that a shared object offers; none where the file is none.

    Raises:
        BundleFixError: its tables cannot be read.
    """
    image = side.bundle.images.get(path)
    if image is None or not image.is_dynamic:
        return ()
    try:
        with side.contents[path].open() as reader:
            return read_defined_symbols(reader, image)
    except DamagedElfError as error:
        raise BundleFixError(error.message, where=f"{side.name}: {path}") from error


def compute_removed_symbols(
    before: Sequence[DefinedSymbol], after: Sequence[DefinedSymbol]
) -> list[DefinedSymbol]:
    """The symbols that are not found any more by those who found them.

    A symbol that had no version is found under any that is its name's default; one that had a
    version is found in a library that has none at all (glibc's dl-lookup.c, check_match).
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
