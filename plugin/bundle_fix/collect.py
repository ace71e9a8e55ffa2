"""Collects what a spec names into a tree: files, libraries with their links, and the closure."""

from __future__ import annotations

import glob
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundle_fix.bundle import Bundle, make_bundle
from bundle_fix.closure import find_wanted, matching, unmet
from bundle_fix.content import BytesContent, PathContent, same_bytes
from bundle_fix.elf.image import Image
from bundle_fix.elf.on_disk import image_at
from bundle_fix.errors import BundleFixError
from bundle_fix.loader.libc import belongs_to_libc
from bundle_fix.spec.model import Files, Libraries, Spec
from bundle_fix.spec.names import pack_name, pack_path
from bundle_fix.spec.variables import Values, evaluate_when, substitute
from bundle_fix.tree import Directory, File, Node, Stamp, Symlink, Tree

FOLDER_MODE = 0o755
TEXT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a member of the pack comes from: a file of this machine, and the spec's entry.

    ``source`` is None for literal text; ``asked`` is ``path:line:column`` in the spec, or for what
    the closure added, the object that needs it.
    """

    source: Path | None
    asked: str
    from_closure: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """The pack as collected, before anything in it is edited."""

    bundle: Bundle
    origins: Mapping[str, Origin]
    pinned: tuple[str, ...]


@dataclass(slots=True)
class _Collection:
    """The pack while it grows."""

    root: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)

    def add(self, path: str, node: Node, origin: Origin) -> None:
        """Put a member into the pack.

        Raises:
            BundleFixError: something else has the path already.
        """
        path = posixpath.normpath(path)
        known = self.nodes.get(path)
        if known is not None and not _agree(known, node):
            raise BundleFixError(
                f"two different files would land at {path}: {self.origins[path].source or 'text'}"
                f" (asked for at {self.origins[path].asked}) and {origin.source or 'text'}",
                where=origin.asked,
                hint="give one of them another name with `to`",
            )
        self.nodes.setdefault(path, node)
        self.origins.setdefault(path, origin)
        if isinstance(node, File) and path not in self.images:
            image = None if origin.source is None else image_at(origin.source)
            if image is not None:
                self.images[path] = image

    def bundle(self, top: str) -> Bundle:
        """The bundle, its members sorted by path, folders before what they hold.

        Raises:
            BundleFixError: a member would land below one that is no folder.
        """
        folders = Tree(self.nodes).folders
        for above in sorted(folders & set(self.nodes)):
            path = next(path for path in self.nodes if path.startswith(f"{above}/"))
            raise BundleFixError(
                f"{path} would land below {above}, which is a file"
                f" (asked for at {self.origins[above].asked})",
                where=self.origins[path].asked,
                hint="give one of them another name with `to`",
            )
        newest = max((n.stamp.mtime for n in self.nodes.values()), default=0.0)
        nodes: dict[str, Node] = {
            path: Directory(Stamp(FOLDER_MODE, mtime=newest)) for path in folders
        }
        nodes |= {path: _dated(node, newest) for path, node in self.nodes.items()}
        ordered = {path: nodes[path] for path in sorted(nodes)}
        return make_bundle(Tree(ordered, top), self.images)


def collect(spec: Spec, values: Values, root: Path) -> Collected:
    """Collect everything that ``spec`` names and what its closure bundles.

    Args:
        spec: the spec.
        values: its variables and options.
        root: the folder that its paths are relative to.

    Raises:
        BundleFixError: something is not there, cannot be read, or lands where something else is.
    """
    collection = _Collection(root)
    pinned: list[str] = []
    for number, entry in enumerate(spec.files):
        if evaluate_when(entry.when, values):
            _add_files(collection, entry, values, spec.where("files", number))
    for number, library in enumerate(spec.libraries):
        if evaluate_when(library.when, values):
            where = spec.where("libraries", number)
            folder = pack_path(library.to or spec.layout.lib, values, where)
            for source in _library_sources(collection, library, values, where):
                soname = _add_library(collection, source, folder, where)
                pinned += [soname] if library.pin else []
    _close(collection, spec, values)
    return Collected(
        collection.bundle(pack_name(spec, values)),
        collection.origins,
        tuple(dict.fromkeys(pinned)),
    )


def _add_files(collection: _Collection, entry: Files, values: Values, where: str) -> None:
    to = pack_path(entry.to, values, where)
    is_folder = to == "" or to.endswith("/")
    if entry.text is not None:
        text = substitute(entry.text, values)
        literal = File(BytesContent(os.fsencode(text)), Stamp(_mode(entry.mode, TEXT_MODE)))
        collection.add(to, literal, Origin(None, where))
        return
    pattern = substitute(entry.source or "", values)
    found = _matches(collection.root, pattern)
    if not found and not entry.optional:
        raise _nothing(pattern, collection.root, where)
    if len(found) > 1 and not is_folder:
        raise BundleFixError(
            f"{pattern} matches {len(found)} files, but `to` names one file", where=where,
            hint=f'to = "{to}/" is a folder',
        )  # fmt: skip
    for source in found:
        target = to + source.name if is_folder else to
        for path, inner in _files_under(source, target):
            node = _node(inner, source, entry.mode, where)
            collection.add(path, node, Origin(inner, where))


def _files_under(source: Path, target: str) -> Iterator[tuple[str, Path]]:
    if not source.is_dir():
        yield target, source
        return
    for folder, names, files in os.walk(source):
        names.sort()
        base = posixpath.join(target, os.path.relpath(folder, source))
        links = [name for name in names if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield posixpath.normpath(posixpath.join(base, name)), Path(folder, name)


def _node(path: Path, source: Path, mode: str | None, where: str) -> Node:
    """A member for ``path``: a link where it stays inside ``source``, else what it leads to."""
    if path.is_symlink() and path != source:
        target = path.readlink()
        inside = (path.parent / target).resolve().is_relative_to(source.resolve())
        if inside and not target.is_absolute():
            return Symlink(str(target), Stamp(0o777, mtime=path.lstat().st_mtime))
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:
        raise BundleFixError(f"{path} is a link that leads to nothing", where=where) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleFixError(f"{path} is no regular file", where=where)
    stamp = Stamp(_mode(mode, _own_mode(status.st_mode)), mtime=status.st_mtime)
    return File(PathContent(real, status.st_size), stamp)


def _own_mode(mode: int) -> int:
    """A source file's mode without what depends on the umask it was built under."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def _mode(text: str | None, own: int) -> int:
    return own if text is None else int(text, 8)


def _library_sources(
    collection: _Collection, entry: Libraries, values: Values, where: str
) -> list[Path]:
    if entry.source is not None:
        pattern = substitute(entry.source, values)
        found = _matches(collection.root, pattern)
        if not found and not entry.optional:
            raise _nothing(pattern, collection.root, where)
        return found
    name = substitute(entry.name or "", values)
    folders = [collection.root / substitute(text, values) for text in entry.search]
    source = next((p for folder in folders for p in _with_soname(folder, name)), None)
    if source is None and not entry.optional:
        raise BundleFixError(
            f"no library with the soname {name} in {', '.join(map(str, folders)) or 'no folder'}",
            where=where,
            hint="build it, or add the folder that holds it to `search`",
        )
    return [] if source is None else [source]


def _with_soname(folder: Path, name: str) -> Iterator[Path]:
    """The file of that name, and those whose DT_SONAME is that name, whatever they are called."""
    if (folder / name).exists():
        yield folder / name
    for path in sorted(folder.glob("*.so*")) if folder.is_dir() else ():
        image = image_at(path)
        if image is not None and image.soname == name:
            yield path


def _add_library(
    collection: _Collection, source: Path, folder: str, where: str, needed_by: str = ""
) -> str:
    """Add the real file behind ``source`` with the links that its soname and source call for.

    Returns:
        Its soname, or its file name where it has none.
    """
    real = source.resolve()
    image = image_at(real)
    if image is None or not image.is_library:
        raise BundleFixError(f"{source} is not a shared library", where=where)
    soname = image.soname or source.name
    names = {soname, source.name, real.name}
    development = source.parent / f"{soname.partition('.so')[0]}.so"
    if not needed_by and development.is_symlink() and development.resolve() == real:
        names.add(development.name)
    origin = Origin(real, needed_by or where, from_closure=bool(needed_by))
    node = _node(real, real, None, where)
    collection.add(posixpath.join(folder, real.name), node, origin)
    for name in sorted(names - {real.name}):
        link = Symlink(real.name, Stamp(0o777, mtime=node.stamp.mtime))
        collection.add(posixpath.join(folder, name), link, origin)
    return soname


def _close(collection: _Collection, spec: Spec, values: Values) -> None:
    """Add what the objects still need and ``[closure] bundle`` asks for, until nothing is new."""
    patterns = [substitute(text, values) for text in spec.closure.bundle]
    search = [collection.root / substitute(text, values) for text in spec.closure.search]
    where = spec.where("closure", "bundle")
    folder = pack_path(spec.layout.lib, values, where)
    for pattern in patterns:
        if belongs_to_libc(pattern):
            raise BundleFixError(
                f"{pattern} belongs to the target's own dynamic loader and cannot be bundled",
                where=where,
                hint="leave it out: every target has it",
            )
    done: set[tuple[str, str]] = set()
    while True:
        bundle = make_bundle(Tree(collection.nodes), collection.images)
        sources = {path: origin.source for path, origin in collection.origins.items()}
        wanted = [w for w in unmet(bundle, sources) if (w.path, w.name) not in done]
        wanted = [w for w in wanted if matching(w.name, patterns)]
        if not wanted:
            return
        for want in wanted:
            done.add((want.path, want.name))
            source = find_wanted(want, search, where)
            _add_library(collection, source, folder, where, needed_by=want.path)


def _matches(root: Path, pattern: str) -> list[Path]:
    """What a pattern names, each with all that is below it: nothing below another match."""
    if pattern == "**" or pattern.endswith("/**"):
        # All that is below a folder is what lies in it, whole.
        pattern = pattern[:-1]
    # Path.glob takes neither absolute patterns nor root_dir.
    found = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
    matches = dict.fromkeys(root / name for name in sorted(found))
    return [path for path in matches if not any(above in matches for above in path.parents)]


def _nothing(pattern: str, root: Path, where: str) -> BundleFixError:
    return BundleFixError(
        f"nothing matches {pattern} in {root}", where=where,
        hint="build it first, correct the path, or say `optional = true`",
    )  # fmt: skip


def _agree(one: Node, other: Node) -> bool:
    if isinstance(one, File) and isinstance(other, File):
        return same_bytes(one.content, other.content)
    if isinstance(one, Symlink) and isinstance(other, Symlink):
        return one.target == other.target
    return False


def _dated(node: Node, newest: float) -> Node:
    return node if node.stamp.mtime else replace(node, stamp=replace(node.stamp, mtime=newest))
