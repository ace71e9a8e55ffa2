"""What an object asks the loader for: needed names, and what filters stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.strings import find_string_table, read_string
from bundle_fix.loader.hosts.rtld import MUSL
from bundle_fix.loader.hosts.view import View
from bundle_fix.loader.objects import LoadedObject


class DependencyKind(Enum):
    """What kind of dynamic entry asks; an auxiliary filter does without what it names."""

    NEEDED = c.DT_NEEDED
    FILTER = c.DT_FILTER
    AUXILIARY = c.DT_AUXILIARY


AUDIT_TAGS = {c.DT_AUDIT: "DT_AUDIT", c.DT_DEPAUDIT: "DT_DEPAUDIT"}


class Dependency(NamedTuple):
    """A name that one dynamic entry asks for."""

    name: str
    kind: DependencyKind = DependencyKind.NEEDED


def list_audit_tags(mapped: LoadedObject) -> list[str]:
    """The names of the dynamic tags by which an object asks for auditors (rtld-audit(7))."""
    tags = {e.tag for e in (mapped.image.dynamic if mapped.image else None) or ()}
    return [name for tag, name in AUDIT_TAGS.items() if tag in tags]


def read_dependencies(view: View, mapped: LoadedObject, flavour: str) -> Iterator[Dependency]:
    """What ``mapped`` asks for, in the order of its dynamic section; musl knows no filters."""
    image = mapped.image
    if image is None:
        return
    filters = {DependencyKind.FILTER.value, DependencyKind.AUXILIARY.value}
    has_filters = flavour != MUSL and any(e.tag in filters for e in image.dynamic or ())
    content = view.find_content(mapped.real_path or "") if has_filters else None
    table = find_string_table(image) if has_filters else None
    if content is None or table is None:
        yield from map(Dependency, image.needed)
        return
    kinds = {kind.value: kind for kind in DependencyKind}
    with content.open() as reader:
        for entry in image.dynamic or ():
            if entry.tag in kinds:
                try:
                    name = os.fsdecode(read_string(reader, table, entry.value))
                except DamagedElfError:
                    continue
                yield Dependency(name, kinds[entry.tag])
