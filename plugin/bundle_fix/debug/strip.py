"""Takes debug information out of a pack's programs and libraries before anything is edited.

What is split off is laid out so that gdb finds it both ways: by build-id, with the folder as
`debug-file-directory`, and by the name and checksum in `.gnu_debuglink`, in `.debug/` beside each
object once the debug pack is unpacked over the pack (gdb's manual, "Separate Debug Files").
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.debug.objcopy import find_objcopy, run_objcopy
from bundle_fix.debug.shared import Shared, by_build_id, find_shared, shared_by
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.sections import read_named_sections
from bundle_fix.elf.scan.debug_info import (
    DEBUG_DIRECTORY,
    DEBUG_SUFFIX,
    has_debug_information,
    has_debuglink,
)
from bundle_fix.loader.bundle import Bundle, make_bundle
from bundle_fix.model.content import Content, PathContent, Reader, read_chunks
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree, get_relative_path
from bundle_fix.model.wording import format_count


class Stripped(Struct, frozen=True):
    """A pack without debug information.

    Attributes:
        bundle: the pack.
        saved: the bytes that each file lost, by path.
        debug: the debug information that was split off, or None where there is none.
        remarks: lines on what gdb will miss.
    """

    bundle: Bundle
    saved: Mapping[str, int]
    debug: Tree | None = None
    remarks: tuple[str, ...] = ()


class _Parts(Struct, frozen=True):
    """What became of one file: its new content and image, and its debug information.

    ``debug`` goes to ``place`` in the debug pack; ``shared`` is what it shares with others, which
    are ``others``, None where they are not there.
    """

    content: Content
    image: Image
    debug: PathContent | None
    place: str
    shared: Shared | None
    others: PathContent | None


def strip_bundle(
    bundle: Bundle, how: str, scratch: Path, progress: Progress = no_progress
) -> Stripped:
    """``bundle`` without debug information; files that have none keep their bytes.

    Args:
        bundle: the pack as collected: its ELF files lie on the disk.
        how: ``none``, ``debug`` (dropped) or ``split``.
        scratch: a folder for new files, which must outlive the result.
        progress: is told how many files are done.

    Raises:
        BundleFixError: there is no objcopy, or it fails.
    """
    paths = [] if how == "none" else [p for p in bundle.images if has_debug(bundle, p)]
    first = {bundle.get_content(path): path for path in reversed(paths)}
    size = sum(content.size for content in first)
    step = ProgressStep("stripping", size, format_count(len(first), "file"), len(first))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        made = pool.map(
            lambda pair: _part(bundle, pair[1], how, scratch / f"debug-{pair[0]}"),
            enumerate(first.values()),
        )
        done = track_parts(made, partial(progress, step))
        parts = dict(zip(first, done, strict=True))
    nodes, images = dict(bundle.tree.nodes), dict(bundle.images)
    saved = {}
    for path in paths:
        node = nodes[path]
        assert isinstance(node, File)  # noqa: S101 (images are of files alone)
        part = parts[node.content]
        nodes[path], images[path] = replace(node, content=part.content), part.image
        saved[path] = node.content.size - part.content.size
    found = {path: parts[bundle.get_content(path)] for path in paths}
    split = how == "split" and bool(found)
    debug = _debug_tree(found, bundle.tree) if split else None
    remarks = tuple(
        f"{path}: shares debug information with others in {part.shared.name} (dwz), which is not"
        " there: a debugger will miss it"
        for path, part in found.items()
        if split and part.shared is not None and part.others is None
    )
    stripped = make_bundle(replace(bundle.tree, nodes=nodes), images)
    return Stripped(stripped, saved, debug, remarks)


def has_debug(bundle: Bundle, path: str) -> bool:
    """Whether the ELF file at ``path`` has debug information to lose."""
    with bundle.get_content(path).open() as reader:
        return has_debug_information(reader, bundle.images[path])


def _part(bundle: Bundle, path: str, how: str, folder: Path) -> _Parts:
    """Strip one file, and keep its debug information where that is asked for."""
    image, content = bundle.images[path], bundle.get_content(path)
    assert isinstance(content, PathContent)  # noqa: S101 (as collected)
    tool = find_objcopy(image, path)
    folder.mkdir(parents=True)
    target = folder / posixpath.basename(path)
    options = ["--strip-debug", "--remove-section=.gnu_debugaltlink"]
    with content.open() as reader:
        place = _place(path, read_build_id(reader, image))
        linked = has_debuglink(reader, image)
        shared = shared_by(reader, image)
    debug = others = None
    if how == "split":
        others = find_shared(shared, content.path.parent) if shared else None
        kept = folder / f"{target.name}{DEBUG_SUFFIX}"
        run_objcopy(tool, content.path, kept, "--only-keep-debug")
        if shared and others:
            kept = _relinked(tool, kept, shared, place)
        debug = PathContent(kept, kept.stat().st_size)
        options.append(f"--add-gnu-debuglink={kept}")
    source = content.path
    if linked and debug is not None:
        # An old link would stay the first.
        source = folder / f"{target.name}.unlinked"
        run_objcopy(tool, content.path, source, "--remove-section=.gnu_debuglink")
    run_objcopy(tool, source, target, *options)
    made = PathContent(target, target.stat().st_size)
    with content.open() as before, made.open() as after:
        new = read_image(after)
        if not _loads_the_same(before, image, after, new):
            raise BundleFixError(
                f"{Path(tool).name} --strip-debug changes what the loader would map", where=path,
                hint='say [debug] strip = "none", or strip the file by another tool',
            )  # fmt: skip
    return _Parts(made, new, debug, place, shared, others)


def _place(path: str, identity: str | None) -> str:
    """Where the debug information of the file at ``path`` lies: by its build-id, if it has one."""
    return by_build_id(identity) if identity and len(identity) >= 4 else _beside(path)


def _beside(path: str) -> str:
    name = f"{posixpath.basename(path)}{DEBUG_SUFFIX}"
    return posixpath.join(posixpath.dirname(path), DEBUG_DIRECTORY, name)


def _relinked(tool: str, debug: Path, shared: Shared, place: str) -> Path:
    """Debug information that names what it shares where the debug pack has it.

    Args:
        tool: objcopy.
        debug: the file.
        shared: what it shares.
        place: where the file lies in the debug pack.
    """
    link = debug.with_name("altlink")
    link.write_bytes(shared.linked(get_relative_path(shared.place, posixpath.dirname(place))))
    folder = debug.with_name("relinked")
    folder.mkdir()
    run_objcopy(tool, debug, folder / debug.name, f"--update-section=.gnu_debugaltlink={link}")
    return folder / debug.name


def _loads_the_same(before: Reader, old: Image, after: Reader, new: Image) -> bool:
    """Whether both map the same sections to the same addresses.

    What is in no section does not count: linkers leave headers and zeros there that may move.
    """
    told = [(i.needed, i.soname, i.rpath, i.runpath, i.interpreter) for i in (old, new)]
    loads = [[(s.vaddr, s.memsz, s.flags) for s in i.find_loads()] for i in (old, new)]
    left, right = _loaded(before, old), _loaded(after, new)
    if told[0] != told[1] or loads[0] != loads[1] or left.keys() != right.keys():
        return False
    return all(
        one.size == right[key].size
        and all(a == b for a, b in zip(read_chunks(one), read_chunks(right[key]), strict=True))
        for key, one in left.items()
    )


def _loaded(reader: Reader, image: Image) -> dict[tuple[str, int], _Window]:
    """The bytes of every section that is loaded, by name and address."""
    return {
        (name, s.addr): _Window(reader, s.offset, 0 if s.type == c.SHT_NOBITS else s.size)
        for name, s in read_named_sections(reader, image)
        if s.flags & c.SHF_ALLOC
    }


class _Window(Struct, frozen=True):
    """A part of what another reader reads."""

    base: Reader
    start: int
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        """See `Reader`."""
        return self.base.pread(self.start + offset, min(length, max(self.size - offset, 0)))


def _debug_tree(parts: Mapping[str, _Parts], like: Tree) -> Tree:
    """The debug pack: each file once, under its build-id, and links to it beside each object."""
    mtime = max(node.metadata.mtime for node in like.nodes.values())
    nodes: dict[str, Node] = {}
    for path, part in parts.items():
        if part.debug is None:
            continue
        beside, stamp = _beside(path), Metadata(0o644, mtime=mtime)
        nodes.setdefault(part.place, File(part.debug, stamp))
        if part.place != beside:
            target = get_relative_path(part.place, posixpath.dirname(beside))
            nodes[beside] = Symlink(target, Metadata(0o777, mtime=mtime))
        if part.shared and part.others:
            nodes.setdefault(part.shared.place, File(part.others, stamp))
    for folder in Tree(nodes).directories:
        nodes[folder] = Directory(Metadata(0o755, mtime=mtime))
    return Tree({path: nodes[path] for path in sorted(nodes)}, like.top)
