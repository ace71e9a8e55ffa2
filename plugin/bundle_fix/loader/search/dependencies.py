"""What an object asks the loader for: needed names, and what filters stand for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError, string_table, text_at
from bundle_fix.loader.hosts.files import View
from bundle_fix.loader.hosts.rtld import MUSL
from bundle_fix.loader.objects import Mapped


class Kind(Enum):
    """What kind of dynamic entry asks; an auxiliary filter does without what it names."""

    NEEDED = c.DT_NEEDED
    FILTER = c.DT_FILTER
    AUXILIARY = c.DT_AUXILIARY


AUDITS = {c.DT_AUDIT: "DT_AUDIT", c.DT_DEPAUDIT: "DT_DEPAUDIT"}


class Wanted(NamedTuple):
    """A name that one dynamic entry asks for."""

    name: str
    kind: Kind = Kind.NEEDED


def audited(mapped: Mapped) -> list[str]:
    """The names of the dynamic tags by which an object asks for auditors (rtld-audit(7))."""
    tags = {e.tag for e in (mapped.image.dynamic if mapped.image else None) or ()}
    return [name for tag, name in AUDITS.items() if tag in tags]


def wanted_by(view: View, mapped: Mapped, flavour: str) -> Iterator[Wanted]:
    """What ``mapped`` asks for, in the order of its dynamic section; musl knows no filters."""
    image = mapped.image
    if image is None:
        return
    filters = {Kind.FILTER.value, Kind.AUXILIARY.value}
    has_filters = flavour != MUSL and any(e.tag in filters for e in image.dynamic or ())
    content = view.content(mapped.real or "") if has_filters else None
    table = string_table(image) if has_filters else None
    if content is None or table is None:
        yield from map(Wanted, image.needed)
        return
    kinds = {kind.value: kind for kind in Kind}
    with content.open() as reader:
        for entry in image.dynamic or ():
            if entry.tag in kinds:
                try:
                    name = os.fsdecode(text_at(reader, table, entry.value))
                except DamagedElfError:
                    continue
                yield Wanted(name, kinds[entry.tag])
