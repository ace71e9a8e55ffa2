"""Compare the attributes of two members: kind, target, mode, and the headers of ELF files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from bundle_fix.diff.exported_symbols import compute_removed_symbols, read_exported_symbols
from bundle_fix.diff.matching import FileMatches
from bundle_fix.diff.snapshot import Snapshot
from bundle_fix.elf.read.notes import read_build_id
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


def compare_files(
    old: Snapshot,
    p: str,
    new: Snapshot,
    q: str,
    matches: FileMatches,
    renames: Mapping[str, str],
) -> ChangedMember:
    """Compare two files; ``renames`` has the new names of libraries whose old names have a hash."""
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


def compare_nodes(
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


def _compare_modes(before: Node, after: Node) -> Iterator[AttributeChange]:
    if before.metadata.mode != after.metadata.mode:
        yield AttributeChange("mode", f"{before.metadata.mode:04o}", f"{after.metadata.mode:04o}")


def _resolve_symlink(snapshot: Snapshot, path: str) -> str | None:
    target = resolve_path(snapshot.bundle.tree, path)
    return target if isinstance(target, str) else None


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
