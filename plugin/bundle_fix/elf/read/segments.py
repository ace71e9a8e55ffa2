"""Which segments hold what."""

from __future__ import annotations

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.structs import Segment


def code(image: Image) -> list[Segment]:
    """The segments that are executed."""
    return [s for s in image.find_loads() if s.flags & c.PF_X]
