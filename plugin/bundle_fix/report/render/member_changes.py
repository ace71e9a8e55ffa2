"""The changed members of two artifacts, each as a kind of change and a line of text."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from enum import Enum

from msgspec import Struct

from bundle_fix.model.library_names import strip_version_numbers
from bundle_fix.model.wording import format_bytes, format_count, join_names
from bundle_fix.report.diff import (
    ChangedMemberRecord,
    ChangeRecord,
    MemberChangesRecord,
    MemberRecord,
)

MAX_NAMES = 6
"""Limit on the names in one list, also with ``--verbose``."""
ATTRIBUTE_NAMES = {"runpath": "RUNPATH", "rpath": "RPATH", "requires": "required versions"}


class ChangeKind(Enum):
    """The kind of a change; the values are words for a reader."""

    REMOVED = "removed"
    ADDED = "added"
    CHANGED = "changed"


class MemberChange(Struct, frozen=True):
    """One change: its kind, and a line that names the member and what changed."""

    kind: ChangeKind
    text: str


def list_member_changes(members: MemberChangesRecord) -> Iterator[MemberChange]:
    """Yield the changes; a rename is one change, and so is a renamed directory."""
    renames = _find_renamed_directories(members)
    new_paths = set(renames.values())
    for record in members.removed:
        if record.path not in renames:
            yield MemberChange(ChangeKind.REMOVED, _format_member(record))
    for record in members.added:
        if record.path not in new_paths:
            yield MemberChange(ChangeKind.ADDED, _format_member(record))
    for old, new in renames.items():
        if (posixpath.dirname(old), posixpath.dirname(new)) not in renames.items():
            text = f"{_format_rename(old, new)} (directory)"
            yield MemberChange(ChangeKind.CHANGED, text)
    for changed in members.changed:
        before, after = posixpath.split(changed.old_path), posixpath.split(changed.path)
        is_in_renamed = renames.get(before[0]) == after[0] and before[1] == after[1]
        if not (is_in_renamed and [c.attribute for c in changed.changes] == ["path"]):
            text = _format_changed_member(changed, is_renamed=not is_in_renamed)
            yield MemberChange(ChangeKind.CHANGED, text)


def _find_renamed_directories(members: MemberChangesRecord) -> dict[str, str]:
    """Return the new path of each directory whose name differs in version numbers only.

    Directories of which several have the same name without these numbers are not paired.
    """
    removed, added = map(_group_directories, (members.removed, members.added))
    pairs = ((old, added.get(name, [])) for name, old in removed.items())
    return {old[0]: new[0] for old, new in pairs if len(old) == len(new) == 1}


def _group_directories(records: Iterable[MemberRecord]) -> dict[str, list[str]]:
    """Return the paths of directories, by their names without version numbers."""
    paths: dict[str, list[str]] = {}
    for record in records:
        if record.kind == "directory":
            paths.setdefault(strip_version_numbers(record.path), []).append(record.path)
    return paths


def _format_rename(old: str, new: str) -> str:
    """Return both paths, without the directory of the second one if it is the same."""
    same = posixpath.dirname(old) == posixpath.dirname(new)
    return f"{old} -> {posixpath.basename(new) if same else new}"


def _format_member(record: MemberRecord) -> str:
    if record.kind == "symlink":
        return f"{record.path} (symlink to {record.target})"
    return f"{record.path} ({format_bytes(record.size) if record.kind == 'file' else record.kind})"


def _format_changed_member(record: ChangedMemberRecord, *, is_renamed: bool) -> str:
    has_moved = is_renamed and record.old_path != record.path
    name = _format_rename(record.old_path, record.path) if has_moved else record.path
    if record.soname and not record.path.endswith(record.soname):
        name += f" ({record.soname})"
    parts = [_format_change(change) for change in record.changes if change.attribute != "path"]
    return f"{name}: {'; '.join(parts) or 'moved only'}"


def _format_change(change: ChangeRecord) -> str:
    old, new = change.old, change.new
    attribute = ATTRIBUTE_NAMES.get(change.attribute, change.attribute)
    if change.attribute == "content":
        return "content (same size)"
    if change.attribute == "size" and isinstance(old, int) and isinstance(new, int):
        sizes = format_bytes(old), format_bytes(new)
        return " -> ".join(sizes if sizes[0] != sizes[1] else (f"{old} B", f"{new} B"))
    if change.attribute == "symbols" and isinstance(old, tuple) and isinstance(new, tuple):
        removed = f"{format_count(len(old), 'symbol')} removed" if old else ""
        added = f"{format_count(len(new), 'symbol')} added" if new else ""
        return ", ".join(part for part in (removed, added) if part)
    if isinstance(old, tuple) or isinstance(new, tuple):
        return f"{attribute} {_format_name_changes(old, new)}"
    if change.attribute == "build-id":
        return f"{attribute} {_format_value(old)[:8]} -> {_format_value(new)[:8]}"
    return f"{attribute} {_format_value(old)} -> {_format_value(new)}"


def _format_name_changes(old: object, new: object) -> str:
    """Return the removed and the added names of a list, marked with - and +."""
    before, after = (names if isinstance(names, tuple) else () for names in (old, new))
    removed = [f"-{name}" for name in before if name not in after]
    added = [f"+{name}" for name in after if name not in before]
    return join_names([*removed, *added], MAX_NAMES) or "in another order"


def _format_value(value: object) -> str:
    return "none" if value is None else str(value) or "(empty)"
