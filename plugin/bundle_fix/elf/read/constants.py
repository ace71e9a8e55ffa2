"""Numbers of the System V gABI and its GNU extensions, under the names that elf.h gives them."""

from __future__ import annotations

from typing import Final

ET_REL: Final = 1
ET_EXEC: Final = 2
ET_DYN: Final = 3
ET_CORE: Final = 4

PT_NULL: Final = 0
PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_INTERP: Final = 3
PT_NOTE: Final = 4
PT_PHDR: Final = 6
PT_TLS: Final = 7
PT_GNU_EH_FRAME: Final = 0x6474E550
PT_GNU_STACK: Final = 0x6474E551
PT_GNU_RELRO: Final = 0x6474E552
PT_GNU_PROPERTY: Final = 0x6474E553

PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4

SHN_XINDEX: Final = 0xFFFF

SHT_PROGBITS: Final = 1
SHT_SYMTAB: Final = 2
SHT_STRTAB: Final = 3
SHT_HASH: Final = 5
SHT_DYNAMIC: Final = 6
SHT_NOTE: Final = 7
SHT_NOBITS: Final = 8
SHT_DYNSYM: Final = 11
SHT_GNU_HASH: Final = 0x6FFFFFF6
SHT_GNU_VERDEF: Final = 0x6FFFFFFD
SHT_GNU_VERNEED: Final = 0x6FFFFFFE
SHT_GNU_VERSYM: Final = 0x6FFFFFFF

SHF_ALLOC: Final = 2
SHF_EXECINSTR: Final = 4
SHF_TLS: Final = 0x400

DT_NULL: Final = 0
DT_NEEDED: Final = 1
DT_PLTRELSZ: Final = 2
DT_HASH: Final = 4
DT_STRTAB: Final = 5
DT_SYMTAB: Final = 6
DT_RELA: Final = 7
DT_RELASZ: Final = 8
DT_STRSZ: Final = 10
DT_SYMENT: Final = 11
DT_INIT: Final = 12
DT_SONAME: Final = 14
DT_RPATH: Final = 15
DT_SYMBOLIC: Final = 16
DT_REL: Final = 17
DT_RELSZ: Final = 18
DT_PLTREL: Final = 20
DT_DEBUG: Final = 21
DT_TEXTREL: Final = 22
DT_JMPREL: Final = 23
DT_BIND_NOW: Final = 24
DT_FINI_ARRAY: Final = 26
DT_INIT_ARRAYSZ: Final = 27
DT_FLAGS: Final = 30
DT_RUNPATH: Final = 29
DT_GNU_HASH: Final = 0x6FFFFEF5
DT_CONFIG: Final = 0x6FFFFEFA
DT_DEPAUDIT: Final = 0x6FFFFEFB
DT_AUDIT: Final = 0x6FFFFEFC
DT_VERSYM: Final = 0x6FFFFFF0
DT_RELACOUNT: Final = 0x6FFFFFF9
DT_RELCOUNT: Final = 0x6FFFFFFA
DT_FLAGS_1: Final = 0x6FFFFFFB
DT_VERDEF: Final = 0x6FFFFFFC
DT_VERDEFNUM: Final = 0x6FFFFFFD
DT_VERNEED: Final = 0x6FFFFFFE
DT_VERNEEDNUM: Final = 0x6FFFFFFF
DT_AUXILIARY: Final = 0x7FFFFFFD
DT_FILTER: Final = 0x7FFFFFFF
DT_MIPS_RLD_MAP_REL: Final = 0x70000035

STRING_TAGS: Final = frozenset(
    {
        DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH,
        DT_CONFIG, DT_DEPAUDIT, DT_AUDIT, DT_AUXILIARY, DT_FILTER,
    }
)  # fmt: skip
"""Dynamic tags whose value is an offset into the dynamic string table."""

DF_ORIGIN: Final = 0x1
DF_SYMBOLIC: Final = 0x2
DF_TEXTREL: Final = 0x4
DF_BIND_NOW: Final = 0x8
DF_STATIC_TLS: Final = 0x10
DF_1_NOW: Final = 0x1
DF_1_NODEFLIB: Final = 0x800
DF_1_PIE: Final = 0x08000000

STT_SECTION: Final = 3
SHN_UNDEF: Final = 0

EM_386: Final = 3
EM_S390: Final = 22
EM_ALPHA: Final = 0x9026

MACHINE_NAMES: Final = {
    2: "sparc", 3: "i386", 4: "m68k", 8: "mips", 18: "sparc32plus", 20: "powerpc",
    21: "powerpc64", 22: "s390", 40: "arm", 42: "sh", 43: "sparcv9", 50: "ia64", 62: "x86_64",
    183: "aarch64", 243: "riscv", 258: "loongarch", 0x9026: "alpha",
}  # fmt: skip
"""Values of e_machine, by the names that uname(1) and distributions use for them."""
