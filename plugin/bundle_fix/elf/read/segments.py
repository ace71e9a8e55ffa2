"""Which segments hold what."""

from __future__ import annotations

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Segment


def read_only_data_segments(image: Image) -> list[Segment]:
    """The segments that hold read-only data: where code has one of its own, it holds none.

    Neither has the one with the tables for the loader, where the data is apart from these.
    """
    fixed = [s for s in image.find_loads() if not s.flags & c.PF_W]
    data = [s for s in fixed if not s.flags & c.PF_X] or fixed
    strings = image.find_value(c.DT_STRTAB) or 0
    return [s for s in data if not s.vaddr <= strings < s.memory_end] or data


def code(image: Image) -> list[Segment]:
    """The segments that are executed."""
    return [s for s in image.find_loads() if s.flags & c.PF_X]
