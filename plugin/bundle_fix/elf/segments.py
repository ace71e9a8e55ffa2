"""Which segments hold what."""

from __future__ import annotations

from bundle_fix.elf import constants as c
from bundle_fix.elf.image import Image
from bundle_fix.elf.structs import Segment


def constants(image: Image) -> list[Segment]:
    """The segments that hold read-only data: where code has one of its own, it holds none."""
    fixed = [s for s in image.loads() if not s.flags & c.PF_W]
    return [s for s in fixed if not s.flags & c.PF_X] or fixed


def code(image: Image) -> list[Segment]:
    """The segments that are executed."""
    return [s for s in image.loads() if s.flags & c.PF_X]
