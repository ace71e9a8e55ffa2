"""The ELF files that a pack has, from the pack itself or from its manifest."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from functools import cached_property

from msgspec import Struct, field

from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.symbols.hashes import provides_symbol
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.manifest.model import ElfRecord, Manifest, decode_path, read_manifest
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Metadata, Symlink, Tree, resolve_path


class PackedFile(Struct, frozen=True):
    """An ELF file of a pack.

    ``machine`` is named as `Image.machine` is. ``defines_malloc`` is None if that is unknown, as a
    manifest does not say it.
    """

    machine: str
    soname: str | None
    build_id: str | None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    is_program: bool = False
    defines_malloc: bool | None = None


class PackContents(Struct, frozen=True, dict=True):
    """The ELF files of a pack.

    Attributes:
        name: its name for messages.
        files: its ELF files by path.
        names: the paths of the files that each file name, symlink or soname leads to.
        aliases: the file that each symlink leads to, by the symlink's path.
    """

    name: str
    files: Mapping[str, PackedFile]
    names: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def paths_by_build_id(self) -> Mapping[str, tuple[str, ...]]:
        """The paths of the files with each build-id."""
        found: dict[str, list[str]] = {}
        for path, file in self.files.items():
            if file.build_id:
                found.setdefault(file.build_id, []).append(path)
        return {build_id: tuple(paths) for build_id, paths in found.items()}

    def find_member(self, path: str) -> str | None:
        """Return the path of the ELF file at ``path``, symlinks followed, or None."""
        found = self.aliases.get(path, path)
        return found if found in self.files else None

    def find_libraries(self, name: str, machine: str) -> Iterator[str]:
        """Yield the paths of the libraries for ``machine`` with a file name or soname."""
        for path in self.names.get(name, ()):
            if self.files[path].machine == machine and not self.files[path].is_program:
                yield path

    def has_file_name(self, name: str) -> bool:
        """Return whether a file or a symlink of the pack has this name, not only a soname."""
        return any(posixpath.basename(path) == name for path in (*self.files, *self.aliases))


def read_pack_contents(tree: Tree, name: str) -> PackContents:
    """Return the ELF files of a pack, whose contents must be open.

    Args:
        tree: the pack.
        name: its name for messages, if it has no manifest.

    Raises:
        BundleFixError: an ELF file in it is damaged, or its ELF files exceed a limit.
    """
    bundle = read_bundle(tree, name)
    files: dict[str, PackedFile] = {}
    for path, image in bundle.images.items():
        with bundle.get_content(path).open() as reader:
            build_id = read_build_id(reader, image)
            has_malloc = image.is_dynamic and provides_symbol(reader, image, b"malloc")
        files[path] = PackedFile(
            image.machine, image.soname, build_id, image.needed, image.rpath, image.runpath,
            not image.is_library, has_malloc,
        )  # fmt: skip
    try:
        manifest = read_manifest(tree)
    except BundleFixError:
        manifest = None
    name = decode_path(manifest.name) if manifest is not None else name
    return _build_contents(name, tree, files)


def convert_manifest(manifest: Manifest) -> PackContents:
    """Return the ELF files that a manifest lists."""
    files = {
        decode_path(record.path): _convert_record(record.elf)
        for record in manifest.files
        if record.elf is not None
    }
    empty = File(BytesContent(b""), Metadata(0o644))
    nodes: dict[str, File | Symlink] = {
        decode_path(record.path): empty for record in manifest.files
    }
    for link in manifest.links:
        nodes[decode_path(link.path)] = Symlink(decode_path(link.target), Metadata(0o777))
    return _build_contents(decode_path(manifest.name), Tree(dict(nodes)), files)


def _convert_record(record: ElfRecord) -> PackedFile:
    soname, rpath, runpath = (
        None if text is None else decode_path(text)
        for text in (record.soname, record.rpath, record.runpath)
    )
    return PackedFile(
        record.machine, soname, record.build_id, tuple(map(decode_path, record.needed)), rpath,
        runpath, record.type == "exec",
    )  # fmt: skip


def _build_contents(name: str, tree: Tree, files: Mapping[str, PackedFile]) -> PackContents:
    """Return the contents with their names; ``tree`` has the symlinks."""
    names: dict[str, dict[str, None]] = {}
    for path, file in files.items():
        names.setdefault(posixpath.basename(path), {})[path] = None
        if file.soname:
            names.setdefault(posixpath.basename(file.soname), {})[path] = None
    aliases: dict[str, str] = {}
    for path, _ in tree.iter_symlinks():
        target = resolve_path(tree, path)
        if isinstance(target, str) and target in files:
            names.setdefault(posixpath.basename(path), {})[target] = None
            aliases[path] = target
    return PackContents(name, files, {n: tuple(paths) for n, paths in names.items()}, aliases)
