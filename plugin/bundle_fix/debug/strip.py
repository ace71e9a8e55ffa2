"""Removal of debug information from the programs and libraries of a pack, before any edit.

Split debug information is laid out so that gdb finds it in two ways (gdb's manual, "Separate Debug
Files"): by build-id, if the directory of the debug pack is a `debug-file-directory`; and by the
name and checksum in `.gnu_debuglink`, in the `.debug/` directory of each object, if the debug pack
is unpacked over the pack.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bundle_fix.debug.altlink import AltLink, find_shared_file, get_build_id_path, read_altlink
from bundle_fix.debug.objcopy import Architecture, find_objcopy, run_objcopy
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
from bundle_fix.loader.bundle import Bundle, build_bundle
from bundle_fix.model.content import Content, PathContent, Reader, SliceReader, read_chunks
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.progress import Progress, ProgressStep, no_progress, track_parts
from bundle_fix.model.tree import Directory, File, Metadata, Node, Symlink, Tree, get_relative_path
from bundle_fix.model.wording import format_count
from bundle_fix.plan.companions import list_signed_files


class StrippedPack(Struct, frozen=True):
    """A pack without debug information.

    Attributes:
        bundle: the pack.
        saved: the bytes by which each file became smaller, by path.
        debug: the split debug information as a pack of its own; None if nothing was split off.
        remarks: lines about debug information that gdb will not find.
    """

    bundle: Bundle
    saved: Mapping[str, int]
    debug: Tree | None = None
    remarks: tuple[str, ...] = ()


class _StrippedFile(Struct, frozen=True):
    """A file without debug information, and the debug information that was split off.

    Attributes:
        content: the stripped file.
        image: its image.
        debug: the split debug file; None if debug information is only removed.
        debug_path: the path of ``debug`` in the debug pack.
        altlink: the reference to a debug file that it shares with other files, if any.
        shared: that shared file; None if it is not on this machine.
    """

    content: Content
    image: Image
    debug: PathContent | None
    debug_path: str
    altlink: AltLink | None
    shared: PathContent | None


def strip_bundle(
    bundle: Bundle,
    strip: str,
    scratch: Path,
    progress: Progress = no_progress,
    toolchain: Mapping[Architecture, str] = {},
) -> StrippedPack:
    """Return ``bundle`` without debug information; files without any keep their bytes.

    Args:
        bundle: the pack as collected: its ELF files are on the disk.
        strip: the value of the spec: ``none``, ``debug`` (remove) or ``split``.
        scratch: a directory for new files; it must outlive the result.
        progress: receives the number of stripped files.
        toolchain: see `find_objcopy`.

    Raises:
        BundleFixError: objcopy is missing or fails.
    """
    found = [] if strip == "none" else [p for p in bundle.images if has_removable_debug(bundle, p)]
    signed = list_signed_files(bundle.tree, found)
    paths = [path for path in found if path not in signed]
    kept = [
        f"{path}: debug information kept: {signature} signs its content"
        for path, signature in signed.items()
    ]
    tools = {path: find_objcopy(bundle.images[path], path, toolchain) for path in paths}
    stripped = _strip_contents(bundle, tools, strip, scratch, progress)
    nodes, images = dict(bundle.tree.nodes), dict(bundle.images)
    saved = {}
    for path in paths:
        node, file = nodes[path], stripped[path]
        assert isinstance(node, File)  # noqa: S101 (only files have images)
        nodes[path], images[path] = replace(node, content=file.content), file.image
        saved[path] = node.content.size - file.content.size
    result = build_bundle(replace(bundle.tree, nodes=nodes), images)
    if strip != "split" or not stripped:
        return StrippedPack(result, saved, remarks=tuple(kept))
    debug = _build_debug_tree(stripped, bundle.tree)
    return StrippedPack(result, saved, debug, (*kept, *_report_missing_shared_files(stripped)))


def has_removable_debug(bundle: Bundle, path: str) -> bool:
    """Return whether the ELF file at ``path`` has debug information that can be removed."""
    with bundle.get_content(path).open() as reader:
        return has_debug_information(reader, bundle.images[path])


def _strip_contents(
    bundle: Bundle, tools: dict[str, str], strip: str, scratch: Path, progress: Progress
) -> dict[str, _StrippedFile]:
    """Strip the files at the paths of ``tools`` in parallel, each with its objcopy.

    A content with several paths is stripped once.
    """
    # The first path of a content names its debug file.
    first = {bundle.get_content(path): path for path in reversed(tools)}
    size = sum(content.size for content in first)
    step = ProgressStep("stripping", size, format_count(len(first), "file"), len(first))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(
            lambda pair: _strip_file(
                bundle, pair[1], tools[pair[1]], strip, scratch / f"debug-{pair[0]}"
            ),
            enumerate(first.values()),
        )
        stripped = dict(zip(first, track_parts(results, partial(progress, step)), strict=True))
    return {path: stripped[bundle.get_content(path)] for path in tools}


def _report_missing_shared_files(stripped: Mapping[str, _StrippedFile]) -> Iterator[str]:
    """Yield a remark for each file whose shared debug file is not on this machine."""
    for path, file in stripped.items():
        if file.altlink is not None and file.shared is None:
            yield (
                f"{path}: missing shared debug file {file.altlink.name} (made by dwz);"
                " debuggers will lack its part of the debug information"
            )


def _strip_file(bundle: Bundle, path: str, tool: str, strip: str, scratch: Path) -> _StrippedFile:
    """Strip one file; with ``split``, write its debug information to a separate file."""
    image, content = bundle.images[path], bundle.get_content(path)
    assert isinstance(content, PathContent)  # noqa: S101 (collected packs are on the disk)
    scratch.mkdir(parents=True)
    target = scratch / posixpath.basename(path)
    with content.open() as reader:
        debug_path = _choose_debug_path(path, read_build_id(reader, image))
        is_linked = has_debuglink(reader, image)
        altlink = read_altlink(reader, image)
    # Without debug information nothing refers to the shared file any more.
    options = ["--strip-debug", "--remove-section=.gnu_debugaltlink"]
    source = content.path
    debug = shared = None
    if strip == "split":
        shared = find_shared_file(altlink, content.path.parent) if altlink else None
        debug_file = scratch / f"{target.name}{DEBUG_SUFFIX}"
        run_objcopy(tool, content.path, debug_file, "--only-keep-debug")
        if altlink and shared:
            debug_file = _rewrite_altlink(tool, debug_file, altlink, debug_path)
        debug = PathContent(debug_file, debug_file.stat().st_size)
        options.append(f"--add-gnu-debuglink={debug_file}")
    if is_linked and debug is not None:
        # gdb reads the first .gnu_debuglink only, and objcopy adds the new one after the old.
        source = scratch / f"{target.name}.unlinked"
        run_objcopy(tool, content.path, source, "--remove-section=.gnu_debuglink")
    run_objcopy(tool, source, target, *options)
    result = PathContent(target, target.stat().st_size)
    stripped_image = _verify_loaded_sections(content, image, result, path, tool)
    return _StrippedFile(result, stripped_image, debug, debug_path, altlink, shared)


def _choose_debug_path(path: str, build_id: str | None) -> str:
    """Return the path in the debug pack for the debug file of ``path``.

    It is derived from the build-id. Without a build-id it is in the `.debug/` directory of the
    object.
    """
    if build_id is None or len(build_id) < 4:
        return _get_debuglink_path(path)
    return get_build_id_path(build_id)


def _get_debuglink_path(path: str) -> str:
    """Return the path at which gdb looks for the debug file that `.gnu_debuglink` names."""
    name = f"{posixpath.basename(path)}{DEBUG_SUFFIX}"
    return posixpath.join(posixpath.dirname(path), DEBUG_DIRECTORY, name)


def _rewrite_altlink(tool: str, debug: Path, altlink: AltLink, debug_path: str) -> Path:
    """Return a copy of a debug file that names the shared file by its path in the debug pack.

    Args:
        tool: objcopy.
        debug: the debug file.
        altlink: its reference to the shared file.
        debug_path: its path in the debug pack.
    """
    name = get_relative_path(altlink.pack_path, posixpath.dirname(debug_path))
    section = debug.with_name("altlink")
    section.write_bytes(altlink.encode_section(name))
    # The name of the copy must stay: --add-gnu-debuglink stores it.
    copy = debug.with_name("relinked") / debug.name
    copy.parent.mkdir()
    run_objcopy(tool, debug, copy, f"--update-section=.gnu_debugaltlink={section}")
    return copy


def _verify_loaded_sections(
    before: PathContent, image: Image, after: PathContent, path: str, tool: str
) -> Image:
    """Return the image of a stripped file.

    Raises:
        BundleFixError: the loader would map something else than before.
    """
    with before.open() as left, after.open() as right:
        stripped = read_image(right)
        if not _has_same_loaded_sections(left, image, right, stripped):
            raise BundleFixError(
                f"{Path(tool).name} --strip-debug changes the loaded sections", where=path,
                hint='set strip = "none" in [debug], or strip the file with another tool',
            )  # fmt: skip
    return stripped


def _has_same_loaded_sections(before: Reader, old: Image, after: Reader, new: Image) -> bool:
    """Return whether both files map the same sections to the same addresses.

    Bytes outside of sections are not compared: linkers leave headers and padding there, which
    objcopy may move.
    """
    entries = [(i.needed, i.soname, i.rpath, i.runpath, i.interpreter) for i in (old, new)]
    loads = [[(s.vaddr, s.memsz, s.flags) for s in i.find_loads()] for i in (old, new)]
    left, right = _list_loaded_sections(before, old), _list_loaded_sections(after, new)
    if entries[0] != entries[1] or loads[0] != loads[1] or left.keys() != right.keys():
        return False
    return all(
        one.size == right[key].size
        and all(a == b for a, b in zip(read_chunks(one), read_chunks(right[key]), strict=True))
        for key, one in left.items()
    )


def _list_loaded_sections(reader: Reader, image: Image) -> dict[tuple[str, int], SliceReader]:
    """Return a reader for each section with SHF_ALLOC, by name and address."""
    return {
        (name, s.addr): SliceReader(reader, s.offset, 0 if s.type == c.SHT_NOBITS else s.size)
        for name, s in read_named_sections(reader, image)
        if s.flags & c.SHF_ALLOC
    }


def _build_debug_tree(stripped: Mapping[str, _StrippedFile], pack: Tree) -> Tree:
    """Return the debug pack: each debug file under its build-id, and symlinks to it in `.debug/`.

    All members get the latest modification time of the pack, so that the debug pack is
    reproducible as well.
    """
    mtime = max(node.metadata.mtime for node in pack.nodes.values())
    nodes: dict[str, Node] = {}
    for path, file in stripped.items():
        if file.debug is None:
            continue
        linked_path, metadata = _get_debuglink_path(path), Metadata(0o644, mtime=mtime)
        nodes.setdefault(file.debug_path, File(file.debug, metadata))
        if file.debug_path != linked_path:
            target = get_relative_path(file.debug_path, posixpath.dirname(linked_path))
            nodes[linked_path] = Symlink(target, Metadata(0o777, mtime=mtime))
        if file.altlink and file.shared:
            nodes.setdefault(file.altlink.pack_path, File(file.shared, metadata))
    for directory in Tree(nodes).directories:
        nodes[directory] = Directory(Metadata(0o755, mtime=mtime))
    return Tree({path: nodes[path] for path in sorted(nodes)}, pack.top)
