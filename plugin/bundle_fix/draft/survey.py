"""What a tree has, as the entries of a spec that pack it again."""

from __future__ import annotations

import glob
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from bundle_fix.loader.bundle import Bundle
from bundle_fix.model.tree import Directory, File, Symlink, resolve_path

LIBRARY = "*.so*"
NAMES_OF_LIBRARIES = ("*.so", "*.so.*")
MANY, FEW = 12, 3
"""Programs of a top folder that get an entry each; with other files beside them, only a few do."""


class Entry(Struct, frozen=True):
    """An entry of ``[[files]]`` or ``[[libraries]]``: globs below the tree, and a place.

    ``remark`` is what a reader should know of it, on one line.
    """

    source: str
    to: str
    exclude: tuple[str, ...] = ()
    mode: str = ""
    remark: str = ""


class Survey(Struct, frozen=True):
    """The entries for all that is in a tree, and the members that none takes.

    ``stale`` are other versions of a library, beside the one that their soname leads to.
    """

    programs: tuple[Entry, ...]
    files: tuple[Entry, ...]
    libraries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    stale: tuple[str, ...] = ()

    @property
    def library_folder(self) -> str:
        """The folder for libraries that come from elsewhere: ``lib``, or one where such are."""
        folders = [entry.to for entry in self.libraries if ".so." in entry.remark]
        return folders[0] if folders and "lib/" not in folders else "lib"


def survey(bundle: Bundle, ignore: Collection[str] = ()) -> Survey:
    """Sort out what is in ``bundle``.

    Args:
        bundle: the tree with its images.
        ignore: paths that are no part of what is to be packed, such as the spec's own.
    """
    libraries = _libraries(bundle, ignore)
    seconds = _seconds(bundle, libraries)
    stale = tuple(path for path in seconds if _stem(path) == _stem(libraries[path]))
    libraries = {path: soname for path, soname in libraries.items() if path not in seconds}
    links = _links_to(bundle, set(libraries))
    others: list[str] = []
    left_out: list[str] = []
    ignore = {*ignore, *stale}
    for path, node in bundle.tree.nodes.items():
        if isinstance(node, Directory) or path in libraries or path in links or path in ignore:
            continue
        (others if _can_be_packed(bundle, path) else left_out).append(path)
    lone = {path for path in others if "/" not in path}
    programs: list[Entry] = []
    files: list[Entry] = []
    for path in sorted(lone):
        (programs if _is_program(bundle, path) else files).append(_one(bundle, path))
    for top in sorted({path.split("/")[0] for path in others} - lone):
        below = [path for path in others if path.startswith(f"{top}/")]
        aside = [p for p in (*libraries, *links, *left_out, *stale) if p.startswith(f"{top}/")]
        own = [path for path in below if _is_program(bundle, path) and path.isprintable()]
        others_too = len(own) < len(below)
        taken = own if len(own) <= (FEW if others_too else MANY) else []
        programs += [_one(bundle, path) for path in taken]
        if set(below) - set(taken):
            remark = ", ".join(posixpath.basename(path) for path in own if path not in taken)
            files.append(_folder(top, set(below) - set(taken), taken, aside, remark))
    by_folder = sorted({posixpath.dirname(path) for path in libraries})
    groups = [_group(bundle, folder, libraries) for folder in by_folder]
    return Survey(
        tuple(programs),
        tuple(files),
        tuple(entry for group in groups for entry in group),
        tuple(left_out),
        stale,
    )


def _libraries(bundle: Bundle, ignore: Collection[str]) -> dict[str, str]:
    """The shared libraries that entries of their own can take, each with its soname."""
    machines = {bundle.images[path].architecture for path in bundle.list_programs()}
    found = {}
    for path in bundle.list_libraries():
        image, name = bundle.images[path], posixpath.basename(path)
        is_ours = not machines or image.architecture in machines
        is_swept = fnmatchcase(name, LIBRARY) and name[0] != "." and path.isprintable()
        if is_ours and is_swept and path not in ignore:
            found[path] = image.soname or name
    return found


def _seconds(bundle: Bundle, libraries: Mapping[str, str]) -> tuple[str, ...]:
    """The libraries that do not get the link of their soname, as another file in the folder does.

    That is the one to which the soname leads there, or else the one of the latest version.
    """
    groups: dict[tuple[str, str, object], list[str]] = {}
    for path, soname in libraries.items():
        key = (posixpath.dirname(path), soname, bundle.images[path].architecture)
        groups.setdefault(key, []).append(path)
    found = []
    for (folder, soname, _), paths in groups.items():
        meant = resolve_path(bundle.tree, posixpath.join(folder, soname))
        kept = str(meant) if meant in paths else max(paths, key=_version)
        found += [path for path in paths if not bundle.has_same_bytes(path, kept)]
    return tuple(sorted(found))


def _stem(name: str) -> str:
    """What stands before ``.so`` in a library's name."""
    return posixpath.basename(name).partition(".so")[0]


def _version(path: str) -> tuple[tuple[int, ...], str]:
    """What libraries of one folder are put into order by: ``.so.1.10`` comes behind ``.so.1.9``."""
    numbers = re.findall(r"\d+", posixpath.basename(path).partition(".so")[2])
    return tuple(map(int, numbers)), path


def _links_to(bundle: Bundle, libraries: set[str]) -> set[str]:
    """The links beside libraries that lead to them: they come with them."""
    return {
        path
        for path, _ in bundle.tree.iter_symlinks()
        if fnmatchcase(posixpath.basename(path), LIBRARY)
        and (target := resolve_path(bundle.tree, path)) in libraries
        and posixpath.dirname(str(target)) == posixpath.dirname(path)
    }


def _can_be_packed(bundle: Bundle, path: str) -> bool:
    """Whether an entry can take a member: a file, or a link to one in the tree."""
    node = bundle.tree.nodes[path]
    if isinstance(node, Symlink):
        target = resolve_path(bundle.tree, path)
        return isinstance(target, str) and isinstance(bundle.tree.nodes.get(target), File)
    return isinstance(node, File)


def _is_program(bundle: Bundle, path: str) -> bool:
    return path in bundle.images and bundle.images[path].is_program


def _one(bundle: Bundle, path: str) -> Entry:
    folder = posixpath.dirname(path)
    return Entry(
        _as_glob(path), f"{folder}/" if folder else "./",
        mode="755" if _is_program(bundle, path) else "",
    )  # fmt: skip


def _folder(
    top: str, below: set[str], own: Sequence[str], aside: Sequence[str], remark: str
) -> Entry:
    """A whole top folder, without the programs and libraries that have entries of their own."""
    exclude = [_as_glob(path) for path in own]
    names = [posixpath.basename(path) for path in aside]
    by_name = all(_is_named_so(name) for name in names)
    if aside and by_name and not any(_is_named_so(posixpath.basename(path)) for path in below):
        exclude += NAMES_OF_LIBRARIES
    else:
        exclude += [_as_glob(path) for path in aside]
    return Entry(_as_glob(top), "./", exclude=tuple(exclude), remark=remark)


def _is_named_so(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NAMES_OF_LIBRARIES)


def _group(bundle: Bundle, folder: str, libraries: dict[str, str]) -> Iterator[Entry]:
    """The libraries of a folder: by one glob, or each alone where a glob would be refused."""
    to = f"{folder}/" if folder else "./"
    own = {path: soname for path, soname in libraries.items() if posixpath.dirname(path) == folder}
    stems: dict[str, str] = {}
    for path, soname in own.items():
        other = stems.setdefault(_stem(soname), path)
        if not bundle.has_same_bytes(other, path):
            yield from (Entry(_as_glob(path), to, remark=soname) for path in own)
            return
    links = _links_to(bundle, set(own))
    swept = [
        path
        for path in bundle.tree.nodes
        if posixpath.dirname(path) == folder
        and fnmatchcase(posixpath.basename(path), LIBRARY)
        and not posixpath.basename(path).startswith(".")
        and path not in own
        and path not in links
    ]
    yield Entry(
        _as_glob(posixpath.join(folder, "")) + LIBRARY, to,
        exclude=tuple(_as_glob(path) for path in swept),
        remark=", ".join(dict.fromkeys(own.values())),
    )  # fmt: skip


def _as_glob(path: str) -> str:
    """A glob of the path alone, as far as a text of a spec can hold its characters."""
    return "".join(c if c.isprintable() else "?" for c in glob.escape(path))
