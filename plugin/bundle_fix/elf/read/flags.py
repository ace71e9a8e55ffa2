"""The flags of a dynamic section, by the names that readelf prints.

Sources: the gABI (DT_FLAGS), and glibc's elf.h (DT_FLAGS_1).
"""

from __future__ import annotations

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import Image

FLAG_NAMES = {
    c.DT_FLAGS: {
        0x1: "ORIGIN", 0x2: "SYMBOLIC", 0x4: "TEXTREL", 0x8: "BIND_NOW", 0x10: "STATIC_TLS",
    },
    c.DT_FLAGS_1: {
        0x1: "NOW", 0x2: "GLOBAL", 0x4: "GROUP", 0x8: "NODELETE", 0x10: "LOADFLTR",
        0x20: "INITFIRST", 0x40: "NOOPEN", 0x80: "ORIGIN", 0x100: "DIRECT", 0x400: "INTERPOSE",
        0x800: "NODEFLIB", 0x1000: "NODUMP", 0x2000: "CONFALT", 0x4000: "ENDFILTEE",
        0x8000: "DISPRELDNE", 0x10000: "DISPRELPND", 0x20000: "NODIRECT", 0x40000: "IGNMULDEF",
        0x80000: "NOKSYMS", 0x100000: "NOHDR", 0x200000: "EDITED", 0x400000: "NORELOC",
        0x800000: "SYMINTPOSE", 0x1000000: "GLOBAUDIT", 0x2000000: "SINGLETON", 0x4000000: "STUB",
        0x8000000: "PIE", 0x10000000: "KMOD", 0x20000000: "WEAKFILTER", 0x40000000: "NOCOMMON",
    },
}  # fmt: skip
"""For each tag of flags: its bits and their names. A bit without a name is shown as a number."""
FLAG_TAGS = {c.DT_SYMBOLIC: "SYMBOLIC", c.DT_TEXTREL: "TEXTREL", c.DT_BIND_NOW: "BIND_NOW"}
"""Older tags without a value; each means the same as a bit of DT_FLAGS."""


def list_flag_names(image: Image) -> tuple[str, ...]:
    """Return the names of all flags that are set, each once, DT_FLAGS before DT_FLAGS_1."""
    found = [FLAG_TAGS[entry.tag] for entry in image.dynamic or () if entry.tag in FLAG_TAGS]
    for tag, names in FLAG_NAMES.items():
        value = image.find_value(tag) or 0
        bits = (1 << n for n in range(value.bit_length()) if value & 1 << n)
        found += [names.get(bit, f"{bit:#x}") for bit in bits]
    return tuple(dict.fromkeys(found))
