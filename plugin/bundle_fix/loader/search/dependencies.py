"""The names that an object has the loader load: DT_NEEDED, DT_FILTER and DT_AUXILIARY."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.loader.hosts.libc import Libc
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.objects import LoadedObject
from bundle_fix.model.content import Reader
from bundle_fix.model.errors import DamagedElfError


class DependencyKind(Enum):
    """The dynamic tag of a name; a missing DT_AUXILIARY library is not an error (dl-deps.c)."""

    NEEDED = c.DT_NEEDED
    FILTER = c.DT_FILTER
    AUXILIARY = c.DT_AUXILIARY


AUDIT_TAGS = {c.DT_AUDIT: "DT_AUDIT", c.DT_DEPAUDIT: "DT_DEPAUDIT"}


class Dependency(NamedTuple):
    """The name of one dynamic entry."""

    name: str
    kind: DependencyKind = DependencyKind.NEEDED


def list_audit_tags(requester: LoadedObject) -> list[str]:
    """Return the names of the tags with which an object requires auditors (rtld-audit(7))."""
    tags = {e.tag for e in (requester.image.dynamic if requester.image else None) or ()}
    return [name for tag, name in AUDIT_TAGS.items() if tag in tags]


def read_dependencies(view: View, requester: LoadedObject, libc: Libc) -> Iterator[Dependency]:
    """Yield the dependencies of ``requester``, in the order of its dynamic section.

    Only glibc supports DT_FILTER and DT_AUXILIARY.
    """
    image = requester.image
    if image is None:
        return
    has_filters = libc is not Libc.MUSL and has_filtees(image)
    content = view.find_content(requester.real_path or "") if has_filters else None
    if content is None:
        yield from map(Dependency, image.needed)
        return
    with content.open() as reader:
        yield from read_dynamic_names(reader, image)


def has_filtees(image: Image) -> bool:
    """Return whether an object has DT_FILTER or DT_AUXILIARY entries."""
    filters = {DependencyKind.FILTER.value, DependencyKind.AUXILIARY.value}
    return any(entry.tag in filters for entry in image.dynamic or ())


def read_dynamic_names(reader: Reader, image: Image) -> Iterator[Dependency]:
    """Yield the names of an object with its filtees; damaged ones are left out."""
    table = find_string_table(image)
    if table is None:
        return
    kinds = {kind.value: kind for kind in DependencyKind}
    for entry in image.dynamic or ():
        if entry.tag in kinds:
            try:
                name = os.fsdecode(read_string(reader, table, entry.value))
            except DamagedElfError:
                continue
            yield Dependency(name, kinds[entry.tag])
