"""The functions that the loader runs when it maps an object.

Source: the gABI, "Initialization and Termination Functions".
"""

from __future__ import annotations

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image
from bundle_fix.elf.read.sections import read_sections
from bundle_fix.model.content import Reader


def has_constructors(reader: Reader, image: Image) -> bool:
    """Return whether an object runs code of its own when it is loaded.

    The compiler adds a constructor and a destructor (crtstuff.c, frame_dummy and
    __do_global_dtors_aux) and an empty DT_INIT function at the start of its section (crti.S, _init)
    to every object; these do not count.
    """
    entries = (image.find_value(c.DT_INIT_ARRAYSZ) or 0) * 8 // image.format.bits
    is_from_compiler = image.find_value(c.DT_FINI_ARRAY) is not None
    if entries > (1 if is_from_compiler else 0):
        return True
    init = image.find_value(c.DT_INIT)
    if init is None:
        return False
    if not entries:
        # Compilers before GCC 4.7 list constructors in .ctors, which _init runs.
        return True
    sections = list(read_sections(reader, image.format, image.header))
    within = [s for s in sections if s.addr <= init < s.addr + s.size]
    return bool(within) and all(s.addr != init for s in within)
