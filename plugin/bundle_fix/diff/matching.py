"""Match each file of an old pack with the file of a new pack that replaces it.

Files with the same path match first. The others are matched by soname, by path without version
numbers, by name and size, by content, by name, and libraries by their name up to ``.so``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Hashable, Iterable, Mapping

from msgspec import Struct

from bundle_fix.diff.snapshot import Snapshot, find_common_root
from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.content import Content, has_same_bytes
from bundle_fix.model.library_names import get_library_stem, strip_version_numbers
from bundle_fix.model.tree import File

KeyFunction = Callable[[Bundle, str], Hashable | None]


class FileMatches(Struct, frozen=True):
    """The files of an old pack and the files that replace them in a new pack.

    Attributes:
        new_of: old path to new path.
        old_of: new path to old path.
        same: new paths of the files with unchanged content.
        translate_path: returns the path that an old path would have in the new pack.
        root_directories: the directory around the whole old pack and that around the whole new
            pack, if the other pack has no such member; else empty.
    """

    new_of: Mapping[str, str]
    old_of: Mapping[str, str]
    same: frozenset[str]
    translate_path: Callable[[str], str]
    root_directories: tuple[str, str]


def match_files(old: Snapshot, new: Snapshot) -> FileMatches:
    """Match the files of two packs, and compare the content of each pair."""
    root_directories = find_common_root(old.bundle.tree, new.bundle.tree)
    old_prefix, new_prefix = (f"{root}/" if root else "" for root in root_directories)

    def translate_path(path: str) -> str:
        return new_prefix + path.removeprefix(old_prefix)

    matches = _pair_files(old, new, translate_path)
    contents = ((old.contents.get(p), new.contents.get(q), q) for p, q in matches.items())
    same = {q for one, other, q in contents if one and other and _is_same(one, other)}
    return FileMatches(
        new_of=matches,
        old_of={q: p for p, q in matches.items()},
        same=frozenset(same),
        translate_path=translate_path,
        root_directories=root_directories,
    )


def _pair_files(
    old: Snapshot, new: Snapshot, translate_path: Callable[[str], str]
) -> dict[str, str]:
    old_paths, new_paths = ([p for p, _ in side.bundle.tree.iter_files()] for side in (old, new))
    matches: dict[str, str] = {}
    if old.context.only is not None and new.context.only is not None:
        # Two single files are compared with each other, whatever their names are.
        matches[old.context.only] = new.context.only
    available = set(new_paths) - set(matches.values())
    for path in old_paths:
        if path not in matches and translate_path(path) in available:
            matches[path] = translate_path(path)
    for key in (
        _get_soname_key, _get_path_key, _get_name_and_size_key, _get_size_key, _get_name_key,
        _get_library_key,
    ):  # fmt: skip
        matched = set(matches.values())
        old_paths = [path for path in old_paths if path not in matches]
        new_paths = [path for path in new_paths if path not in matched]
        matches |= _pair_by_key(old, old_paths, new, new_paths, key)
    return matches


def _pair_by_key(
    old: Snapshot, old_paths: list[str], new: Snapshot, new_paths: list[str], key: KeyFunction
) -> dict[str, str]:
    matches: dict[str, str] = {}
    old_groups = _group_paths(old.bundle, old_paths, key)
    new_groups = _group_paths(new.bundle, new_paths, key)
    for value, paths in old_groups.items():
        counterparts = new_groups.get(value, [])
        # Several files with the same key are only paired, in their order, for libraries.
        if len(paths) != len(counterparts) or (len(paths) > 1 and key is not _get_soname_key):
            continue
        for path, counterpart in zip(paths, counterparts, strict=True):
            # Files of the same size are only paired if they have the same content.
            if key is not _get_size_key or _is_same(
                _get_content(old, path), _get_content(new, counterpart)
            ):
                matches[path] = counterpart
    return matches


def _group_paths(
    bundle: Bundle, paths: Iterable[str], key: KeyFunction
) -> dict[Hashable, list[str]]:
    groups: dict[Hashable, list[str]] = {}
    for path in paths:
        value = key(bundle, path)
        if value is not None:
            groups.setdefault(value, []).append(path)
    return groups


def _get_soname_key(bundle: Bundle, path: str) -> Hashable | None:
    image = bundle.images.get(path)
    if image is None or not image.is_library or not image.soname:
        return None
    return image.architecture, image.soname


def _get_path_key(bundle: Bundle, path: str) -> Hashable | None:
    return path in bundle.images, strip_version_numbers(path)


def _get_name_and_size_key(bundle: Bundle, path: str) -> Hashable | None:
    return posixpath.basename(path), _get_size_key(bundle, path)


def _get_size_key(bundle: Bundle, path: str) -> Hashable | None:
    node = bundle.tree.nodes[path]
    return (node.content.size or None) if isinstance(node, File) else None


def _get_name_key(bundle: Bundle, path: str) -> Hashable | None:
    return path in bundle.images, posixpath.basename(path)


def _get_library_key(bundle: Bundle, path: str) -> Hashable | None:
    image = bundle.images.get(path)
    name = strip_version_numbers(get_library_stem(path))
    return (image.architecture, name) if image is not None and image.is_library else None


def _get_content(side: Snapshot, path: str) -> Content:
    node = side.bundle.tree.nodes[path]
    assert isinstance(node, File)  # noqa: S101 (only files are paired)
    return node.content


def _is_same(one: Content, other: Content) -> bool:
    # Equal contents, such as the same range of the same file, need not be read.
    return one == other or has_same_bytes(one, other)
