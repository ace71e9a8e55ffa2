"""The members of a tree as entries of a spec that packs the tree again."""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.library_names import get_library_stem, get_library_version, matches_any
from bundle_fix.model.tree import Directory, File, Symlink, resolve_path

LIBRARY_GLOB = "*.so*"
LIBRARY_NAME_GLOBS = ("*.so", "*.so.*")
MAX_PROGRAM_ENTRIES = 12
"""Programs of a top directory that get an entry each; more are packed with their directory."""
MAX_MIXED_PROGRAM_ENTRIES = 3
"""The same limit for a top directory that also contains other files."""


class DraftEntry(Struct, frozen=True):
    """An entry of ``[[files]]`` or ``[[libraries]]``.

    Attributes:
        source: a glob, relative to the tree.
        to: the directory in the pack.
        exclude: globs of names, or of paths relative to the tree.
        mode: permissions in octal; empty for the default.
        remark: what the entry packs, for a comment; one line.
    """

    source: str
    to: str
    exclude: tuple[str, ...] = ()
    mode: str = ""
    remark: str = ""


class TreeSurvey(Struct, frozen=True):
    """The entries for the members of a tree, and the members without an entry.

    Attributes:
        programs: entries of ``[[files]]`` for one program each.
        files: entries of ``[[files]]`` for other files and directories.
        libraries: entries of ``[[libraries]]``.
        left_out: members that no pack can contain, such as broken symlinks.
        stale: other versions of a library than the one that its soname leads to.
    """

    programs: tuple[DraftEntry, ...]
    files: tuple[DraftEntry, ...]
    libraries: tuple[DraftEntry, ...]
    left_out: tuple[str, ...]
    stale: tuple[str, ...] = ()

    @property
    def library_directory(self) -> str:
        """The directory for bundled libraries: ``lib``, or else the first with versioned ones."""
        directories = [entry.to for entry in self.libraries if ".so." in entry.remark]
        return directories[0] if directories and "lib/" not in directories else "lib"


def survey_tree(bundle: Bundle, ignore: Collection[str] = ()) -> TreeSurvey:
    """Return entries for all members of ``bundle``.

    Args:
        bundle: the tree with its images.
        ignore: paths that must not be packed, such as that of the spec.
    """
    libraries = _find_libraries(bundle, ignore)
    other_versions = _find_other_versions(bundle, libraries)
    stale = tuple(
        p for p in other_versions if get_library_stem(p) == get_library_stem(libraries[p])
    )
    libraries = {path: soname for path, soname in libraries.items() if path not in other_versions}
    symlinks = _find_symlinks_to(bundle, set(libraries))
    skipped = {*libraries, *symlinks, *ignore, *stale}
    others: list[str] = []
    left_out: list[str] = []
    for path, node in bundle.tree.nodes.items():
        if not isinstance(node, Directory) and path not in skipped:
            (others if _can_be_packed(bundle, path) else left_out).append(path)
    programs, files = _build_top_level_entries(bundle, others)
    # Members of a top directory that its entry must exclude.
    excluded = (*libraries, *sorted(symlinks), *left_out, *stale)
    for top in sorted({path.split("/")[0] for path in others if "/" in path}):
        top_programs, top_files = _build_top_directory_entries(bundle, top, others, excluded)
        programs += top_programs
        files += top_files
    directories = sorted({posixpath.dirname(path) for path in libraries})
    return TreeSurvey(
        tuple(programs),
        tuple(files),
        tuple(e for d in directories for e in _build_library_entries(bundle, d, libraries)),
        tuple(left_out),
        stale,
    )


def _build_top_level_entries(
    bundle: Bundle, others: Sequence[str]
) -> tuple[list[DraftEntry], list[DraftEntry]]:
    """Return entries for the programs and the other files that are in no directory."""
    programs: list[DraftEntry] = []
    files: list[DraftEntry] = []
    for path in sorted(path for path in others if "/" not in path):
        (programs if _is_program(bundle, path) else files).append(_build_file_entry(bundle, path))
    return programs, files


def _build_top_directory_entries(
    bundle: Bundle, top: str, others: Sequence[str], excluded: Sequence[str]
) -> tuple[list[DraftEntry], list[DraftEntry]]:
    """Return entries for programs in the directory ``top``, and one for its other files, if any.

    Args:
        bundle: the tree with its images.
        top: a directory at the top of the tree.
        others: all members that are neither libraries nor left out.
        excluded: members that the entry for the directory must exclude.
    """
    below = [path for path in others if path.startswith(f"{top}/")]
    programs = [path for path in below if _is_program(bundle, path) and path.isprintable()]
    limit = MAX_MIXED_PROGRAM_ENTRIES if len(programs) < len(below) else MAX_PROGRAM_ENTRIES
    single = programs if len(programs) <= limit else []
    entries = [_build_file_entry(bundle, path) for path in single]
    rest = set(below) - set(single)
    if not rest:
        return entries, []
    excluded = [path for path in excluded if path.startswith(f"{top}/")]
    remark = ", ".join(posixpath.basename(path) for path in programs if path not in single)
    return entries, [_build_directory_entry(top, rest, single, excluded, remark)]


def _find_libraries(bundle: Bundle, ignore: Collection[str]) -> dict[str, str]:
    """Return the shared libraries that entries of ``[[libraries]]`` can pack, with their sonames.

    Libraries for other machines than the programs, and those with unusual names, are packed as
    files.
    """
    machines = {bundle.images[path].architecture for path in bundle.list_programs()}
    found = {}
    for path in bundle.list_libraries():
        image, name = bundle.images[path], posixpath.basename(path)
        is_right_machine = not machines or image.architecture in machines
        # A glob does not match a leading dot, as in the shell.
        is_matched = fnmatchcase(name, LIBRARY_GLOB) and name[0] != "." and path.isprintable()
        if is_right_machine and is_matched and path not in ignore:
            found[path] = image.soname or name
    return found


def _find_other_versions(bundle: Bundle, libraries: Mapping[str, str]) -> tuple[str, ...]:
    """Return the libraries with the soname of another file in their directory, which is loaded.

    The loaded file is the one that the symlink of the soname leads to, or without such a symlink
    the latest version.
    """
    groups: dict[tuple[str, str, object], list[str]] = {}
    for path, soname in libraries.items():
        key = (posixpath.dirname(path), soname, bundle.images[path].architecture)
        groups.setdefault(key, []).append(path)
    found = []
    for (directory, soname, _), paths in groups.items():
        target = resolve_path(bundle.tree, posixpath.join(directory, soname))
        loaded = str(target) if target in paths else max(paths, key=_get_version_key)
        found += [path for path in paths if not bundle.has_same_bytes(path, loaded)]
    return tuple(sorted(found))


def _get_version_key(path: str) -> tuple[tuple[int, ...], str]:
    """Return the sort key of a library: ``.so.1.10`` comes after ``.so.1.9``."""
    numbers = re.findall(r"\d+", get_library_version(path))
    return tuple(map(int, numbers)), path


def _find_symlinks_to(bundle: Bundle, libraries: set[str]) -> set[str]:
    """Return the symlinks that lead to a library in their own directory.

    An entry of ``[[libraries]]`` packs them with the library.
    """
    return {
        path
        for path, _ in bundle.tree.iter_symlinks()
        if fnmatchcase(posixpath.basename(path), LIBRARY_GLOB)
        and (target := resolve_path(bundle.tree, path)) in libraries
        and posixpath.dirname(str(target)) == posixpath.dirname(path)
    }


def _can_be_packed(bundle: Bundle, path: str) -> bool:
    """Return whether an entry can pack a member: a file, or a symlink to one in the tree."""
    node = bundle.tree.nodes[path]
    if isinstance(node, Symlink):
        target = resolve_path(bundle.tree, path)
        return isinstance(target, str) and isinstance(bundle.tree.nodes.get(target), File)
    return isinstance(node, File)


def _is_program(bundle: Bundle, path: str) -> bool:
    return path in bundle.images and bundle.images[path].is_program


def _build_file_entry(bundle: Bundle, path: str) -> DraftEntry:
    """Return an entry for one file."""
    directory = posixpath.dirname(path)
    return DraftEntry(
        _escape_glob(path), f"{directory}/" if directory else "./",
        mode="755" if _is_program(bundle, path) else "",
    )  # fmt: skip


def _build_directory_entry(
    top: str, members: set[str], programs: Sequence[str], excluded: Sequence[str], remark: str
) -> DraftEntry:
    """Return an entry for a top directory, without the members that have entries of their own.

    Args:
        top: the directory.
        members: the paths that the entry must pack.
        programs: paths of programs with entries of their own.
        excluded: paths of libraries and of members that are left out.
        remark: the remark of the entry.
    """
    exclude = [_escape_glob(path) for path in programs]
    by_name = all(_has_library_name(path) for path in excluded)
    if excluded and by_name and not any(_has_library_name(path) for path in members):
        # Two short globs also exclude libraries that a later build adds.
        exclude += LIBRARY_NAME_GLOBS
    else:
        exclude += [_escape_glob(path) for path in excluded]
    return DraftEntry(_escape_glob(top), "./", exclude=tuple(exclude), remark=remark)


def _has_library_name(path: str) -> bool:
    name = posixpath.basename(path)
    return matches_any(name, LIBRARY_NAME_GLOBS)


def _build_library_entries(
    bundle: Bundle, directory: str, libraries: Mapping[str, str]
) -> Iterator[DraftEntry]:
    """Yield one entry with a glob for the libraries of a directory, or an entry for each.

    Each gets its own if the glob would match two versions of a library, which `pack` refuses.
    """
    to = f"{directory}/" if directory else "./"
    own = {p: soname for p, soname in libraries.items() if posixpath.dirname(p) == directory}
    stems: dict[str, str] = {}
    for path, soname in own.items():
        other = stems.setdefault(get_library_stem(soname), path)
        if not bundle.has_same_bytes(other, path):
            yield from (DraftEntry(_escape_glob(p), to, remark=name) for p, name in own.items())
            return
    symlinks = _find_symlinks_to(bundle, set(own))
    # Files that the glob matches, but that are not libraries for this pack.
    excluded = [
        path
        for path in bundle.tree.nodes
        if posixpath.dirname(path) == directory
        and fnmatchcase(posixpath.basename(path), LIBRARY_GLOB)
        and not posixpath.basename(path).startswith(".")
        and path not in own
        and path not in symlinks
    ]
    yield DraftEntry(
        _escape_glob(posixpath.join(directory, "")) + LIBRARY_GLOB, to,
        exclude=tuple(_escape_glob(path) for path in excluded),
        remark=", ".join(dict.fromkeys(own.values())),
    )  # fmt: skip


def _escape_glob(path: str) -> str:
    """Return a glob that matches the path; unprintable characters become ``?``, as TOML needs."""
    return "".join(c if c.isprintable() else "?" for c in glob.escape(path))
