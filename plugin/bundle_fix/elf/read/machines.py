"""Machine numbers of e_machine, by the names that a release engineer uses for them."""

from __future__ import annotations

NAMES = {
    2: "sparc",
    3: "i386",
    4: "m68k",
    8: "mips",
    18: "sparc32plus",
    20: "powerpc",
    21: "powerpc64",
    22: "s390",
    40: "arm",
    42: "sh",
    43: "sparcv9",
    50: "ia64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
    0x9026: "alpha",
}


def machine_name(machine: int) -> str:
    """The name of an e_machine number, or ``machine-N`` for one not in the table."""
    return NAMES.get(machine, f"machine-{machine}")
