"""The names of operating systems in e_ident[EI_OSABI].

Source: the gABI, chapter 4, "ELF Identification"; the names are those of patchelf.
"""

from __future__ import annotations

from bundle_fix.model.errors import BundleFixError

OS_ABI_NAMES = {
    0: "System V", 1: "HP-UX", 2: "NetBSD", 3: "Linux", 4: "GNU Hurd", 6: "Solaris", 7: "AIX",
    8: "IRIX", 9: "FreeBSD", 10: "Tru64", 12: "OpenBSD", 13: "OpenVMS",
}  # fmt: skip
ALIASES = {"system-v": 0, "sysv": 0, "gnu": 3, "gnu-hurd": 4, "hurd": 4}


def format_os_abi(value: int) -> str:
    """Return the name of an operating system, or its number such as ``0x61``."""
    return OS_ABI_NAMES.get(value, f"0x{value:02X}")


def parse_os_abi(text: str) -> int:
    """Return the number of an operating system, whose name may be in any case of letters.

    Raises:
        BundleFixError: the name is unknown.
    """
    names = {name.lower(): value for value, name in OS_ABI_NAMES.items()} | ALIASES
    value = names.get(text.strip().lower())
    if value is None:
        raise BundleFixError(
            f"unrecognized OS ABI {text!r}", hint=f"use one of {', '.join(OS_ABI_NAMES.values())}"
        )
    return value
