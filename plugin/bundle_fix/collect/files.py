"""Files of any kind: what an entry of ``[[files]]`` puts into the pack."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.collect.checksums import verify
from bundle_fix.collect.collection import Collection, Origin
from bundle_fix.collect.patterns import Where, is_excluded, matches, nothing_matches
from bundle_fix.model.content import BytesContent, make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Node, Symlink
from bundle_fix.spec.model import FilesEntry
from bundle_fix.spec.names import resolve_pack_path
from bundle_fix.spec.variables import Values, substitute

TEXT_MODE = 0o644


def add_files(collection: Collection, entry: FilesEntry, values: Values, where: Where) -> None:
    """Add what an entry of ``[[files]]``, whose keys stand at ``where`` in the spec, asks for.

    Raises:
        BundleFixError: nothing matches it, or what does cannot be put there.
    """
    to = resolve_pack_path(entry.to, values, where("to"))
    is_folder = to == "" or to.endswith("/")
    if entry.text is not None:
        text = substitute(entry.text, values)
        literal = File(BytesContent(os.fsencode(text)), Metadata(_mode(entry.mode, TEXT_MODE)))
        collection.add(to, literal, Origin(None, where("to")))
        return
    pattern = substitute(entry.source or "", values)
    exclude = [substitute(text, values) for text in entry.exclude]
    found = matches(collection.root, pattern, exclude)
    if not found and not entry.optional:
        raise nothing_matches(pattern, collection.root, where("from"))
    if len(found) > 1 and not is_folder:
        raise BundleFixError(
            f"{pattern} matches {len(found)} files, but `to` names one file", where=where("to"),
            hint=f'to = "{to}/" is a folder',
        )  # fmt: skip
    if entry.checksum is not None:
        verify(found, entry.checksum, values, where("checksum"))
    for source in found:
        target = to + source.name if is_folder else to
        for path, inner in _files_under(source, target, where("from")):
            if not is_excluded(inner, collection.root, exclude):
                node = node_at(inner, source, entry.mode, where("from"))
                collection.add(path, node, Origin(inner, where("from")))


def _files_under(source: Path, target: str, where: str) -> Iterator[tuple[str, Path]]:
    if not source.is_dir():
        yield target, source
        return

    def refuse(error: OSError) -> None:
        raise BundleFixError(f"cannot read {error.filename}: {error.strerror}", where=where)

    for folder, names, files in os.walk(source, onerror=refuse):
        names.sort()
        base = posixpath.join(target, os.path.relpath(folder, source))
        links = [name for name in names if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield posixpath.normpath(posixpath.join(base, name)), Path(folder, name)


def node_at(path: Path, source: Path, mode: str | None, where: str) -> Node:
    """A member for ``path``: a link where it stays inside ``source``, else what it leads to."""
    real = path
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            target = path.readlink()
            inside = (path.parent / target).resolve().is_relative_to(source.resolve())
            if inside and path != source and not target.is_absolute():
                return Symlink(str(target), Metadata(0o777))
            real = path.resolve(strict=True)
            status = real.lstat()
    except (OSError, RuntimeError) as error:
        raise BundleFixError(f"{path} is a link that leads to nothing", where=where) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleFixError(f"{path} is no regular file", where=where)
    stamp = Metadata(_mode(mode, _own_mode(status.st_mode)))
    return File(make_path_content(real, status), stamp)


def _own_mode(mode: int) -> int:
    """A source file's mode without what depends on the umask it was built under."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def _mode(text: str | None, own: int) -> int:
    return own if text is None else int(text, 8)
