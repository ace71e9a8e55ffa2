"""Files that an entry of ``[[files]]`` puts into the pack."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from bundle_fix.collect.checksums import verify_checksum
from bundle_fix.collect.pack_builder import Origin, PackBuilder
from bundle_fix.collect.patterns import KeyLocator, build_no_match_error, find_matches, is_excluded
from bundle_fix.model.content import BytesContent, make_path_content
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Node, Symlink
from bundle_fix.spec.names import resolve_pack_path
from bundle_fix.spec.table_types import FilesEntry
from bundle_fix.spec.variables import Values, substitute_variables

TEXT_MODE = 0o644


def add_files(builder: PackBuilder, entry: FilesEntry, values: Values, locate: KeyLocator) -> None:
    """Add the files of an entry of ``[[files]]``; ``locate`` returns the position of its keys.

    Raises:
        BundleFixError: no file matches, or a file cannot be read or has no place in the pack.
    """
    to = resolve_pack_path(entry.to, values, locate("to"))
    is_directory = to == "" or to.endswith("/")
    if entry.text is not None:
        text = substitute_variables(entry.text, values)
        literal = File(
            BytesContent(os.fsencode(text)), Metadata(_parse_mode(entry.mode, TEXT_MODE))
        )
        builder.add_member(to, literal, Origin(None, locate("to")))
        return
    pattern = substitute_variables(entry.source or "", values)
    exclude = [substitute_variables(text, values) for text in entry.exclude]
    found = find_matches(builder.root, pattern, exclude)
    if not found and not entry.optional:
        raise build_no_match_error(pattern, builder.root, locate("from"))
    if len(found) > 1 and not is_directory:
        raise BundleFixError(
            f"{pattern} matches {len(found)} files, but `to` names one file", where=locate("to"),
            hint=f'write to = "{to}/" for a directory',
        )  # fmt: skip
    if entry.checksum is not None:
        verify_checksum(found, entry.checksum, values, locate("checksum"))
    for source in found:
        target = to + source.name if is_directory else to
        for path, inner in _list_files(source, target, locate("from")):
            if not is_excluded(inner, builder.root, exclude):
                node = create_node(inner, source, entry.mode, locate("from"))
                builder.add_member(path, node, Origin(inner, locate("from")))


def _list_files(source: Path, target: str, where: str) -> Iterator[tuple[str, Path]]:
    if not source.is_dir():
        yield target, source
        return

    def raise_unreadable(error: OSError) -> None:
        raise BundleFixError(f"cannot read {error.filename}: {error.strerror}", where=where)

    for directory, names, files in os.walk(source, onerror=raise_unreadable):
        names.sort()
        base = posixpath.join(target, os.path.relpath(directory, source))
        # os.walk lists symlinks to directories among the directories, and does not follow them.
        links = [name for name in names if Path(directory, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield posixpath.normpath(posixpath.join(base, name)), Path(directory, name)


def create_node(path: Path, source: Path, mode: str | None, where: str) -> Node:
    """Return a member for ``path``: a symlink if it stays inside ``source``, else its target.

    Raises:
        BundleFixError: the path is a broken symlink or not a regular file.
    """
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
        raise BundleFixError(f"{path} is a broken symlink", where=where) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleFixError(f"{path} is not a regular file", where=where)
    metadata = Metadata(_parse_mode(mode, _normalize_mode(status.st_mode)))
    return File(make_path_content(real, status), metadata)


def _normalize_mode(mode: int) -> int:
    """Return 755 or 644: the umask of the build must not change the pack."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def _parse_mode(text: str | None, default: int) -> int:
    return default if text is None else int(text, 8)
