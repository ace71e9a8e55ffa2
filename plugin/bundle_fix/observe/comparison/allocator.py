"""The object whose ``malloc`` a process calls: the first in load order that defines it."""

from __future__ import annotations

import posixpath
from pathlib import Path

from msgspec import Struct

from bundle_fix.check.facts.allocators import ALLOCATOR_PREFIXES
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.notes import read_build_id
from bundle_fix.elf.read.parser import read_image_from
from bundle_fix.elf.symbols.hashes import provides_symbol
from bundle_fix.model.content import PathContent, Reader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.observe.comparison.verdict import ComparedObject, Comparison
from bundle_fix.observe.snapshot import ProcessSnapshot

MALLOC = b"malloc"
MAX_LOOKUPS = 1000
"""Limit of the objects in which ``malloc`` is looked up; the C library is one of the first."""


class MallocProvider(Struct, frozen=True):
    """The object that answers ``malloc``.

    It is not certain if the symbols of this object or of an earlier one are neither in memory nor
    in a file.
    """

    provider: ComparedObject
    is_certain: bool


def find_malloc_provider(
    snapshot: ProcessSnapshot, comparison: Comparison
) -> MallocProvider | None:
    """Return the object that answers ``malloc`` in the program's namespace, or None."""
    is_certain = True
    for compared in _list_global_objects(comparison)[:MAX_LOOKUPS]:
        has_malloc = _provides_malloc(snapshot, comparison, compared)
        if has_malloc is None:
            is_certain = False
            has_malloc = _has_name_of_allocator(compared)
        if has_malloc:
            return MallocProvider(compared, is_certain)
    return None


def _list_global_objects(comparison: Comparison) -> list[ComparedObject]:
    """Return the objects of the program's namespace; none if their order is unknown."""
    return [
        o for o in comparison.objects if o.observed.namespace == 0 and o.observed.path is not None
    ]


def _provides_malloc(
    snapshot: ProcessSnapshot, comparison: Comparison, compared: ComparedObject
) -> bool | None:
    """Return whether an object defines ``malloc``; None if its symbols cannot be read."""
    observed = compared.observed
    if observed.loaded is not None and observed.loaded.is_complete:
        found = _look_up(observed.loaded.reader, observed.loaded.image)
        if found is not None:
            return found
    if comparison.pack is not None and compared.member is not None:
        file = comparison.pack.files[compared.member]
        if file.build_id == observed.build_id and file.defines_malloc is not None:
            return file.defines_malloc
    return _look_up_on_disk(snapshot, observed.path or "", observed.build_id)


def _look_up(reader: Reader, image: Image) -> bool | None:
    try:
        return provides_symbol(reader, image, MALLOC) if image.is_dynamic else False
    except BundleFixError:
        return None


def _look_up_on_disk(snapshot: ProcessSnapshot, path: str, build_id: str | None) -> bool | None:
    """Look into the file on this machine, if it has the build-id of the process's object."""
    place = (snapshot.root or Path("/")) / path.lstrip("/")
    try:
        with PathContent(place, place.stat().st_size).open() as reader:
            image = read_image_from(reader, str(place))
            if image is None or build_id is None or read_build_id(reader, image) != build_id:
                return None
            return _look_up(reader, image)
    except (OSError, BundleFixError):
        return None


def _has_name_of_allocator(compared: ComparedObject) -> bool:
    names = map(posixpath.basename, compared.observed.names)
    return any(name.startswith((*ALLOCATOR_PREFIXES, "libc.so", "ld-musl-")) for name in names)
