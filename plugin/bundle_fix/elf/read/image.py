"""The image of an ELF file: its headers, program headers and dynamic section as data."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.structs import Format, Header, Segment
from bundle_fix.model.errors import BundleFixError

TYPES = {c.ET_REL: "rel", c.ET_EXEC: "exec", c.ET_DYN: "dyn", c.ET_CORE: "core"}


class DamagedElfError(BundleFixError):
    """The file begins as ELF but its headers contradict its size or each other."""


class DynamicEntry(NamedTuple):
    """One entry of the dynamic section."""

    tag: int
    value: int


class Image(Struct, frozen=True):
    """What was read from one ELF file.

    ``dynamic`` holds the entries before the DT_NULL that ends them; it is None for a file without
    a dynamic section: static programs, ``.o``, core and debug-only files.
    """

    format: Format
    header: Header
    segments: tuple[Segment, ...]
    size: int
    dynamic: tuple[DynamicEntry, ...] | None = None
    interpreter: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    os_abi: int = 0
    """The system that it is for (e_ident[EI_OSABI]); 0 and 3 are what Linux has."""

    @property
    def machine(self) -> str:
        """The machine's name, such as ``x86_64``; ``machine-N`` if the number has none here."""
        return c.MACHINE_NAMES.get(self.header.machine, f"machine-{self.header.machine}")

    @property
    def type(self) -> str:
        """``rel``, ``exec``, ``dyn``, ``core``, or the number where it is none of these."""
        return TYPES.get(self.header.type, str(self.header.type))

    @property
    def architecture(self) -> tuple[int, str, int]:
        """Class, byte order, machine: what must be equal for one object to load another."""
        return self.format.bits, self.format.order, self.header.machine

    @property
    def is_dynamic(self) -> bool:
        """Whether the loader has anything to do with it."""
        return self.dynamic is not None

    def find_value(self, tag: int) -> int | None:
        """The value of the first dynamic entry with ``tag``."""
        for entry in self.dynamic or ():
            if entry.tag == tag:
                return entry.value
        return None

    @property
    def is_program(self) -> bool:
        """Whether it is started by execve and needs the loader: an interpreter and no soname.

        libc.so.6 and libpthread.so.0 have an interpreter as well, to print their version.
        """
        pie = (self.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
        return self.interpreter is not None and self.is_dynamic and bool(pie or not self.soname)

    @property
    def is_library(self) -> bool:
        """Whether it is a shared object that others may need or open."""
        return self.header.type == c.ET_DYN and self.is_dynamic and not self.is_program

    def find_loads(self) -> tuple[Segment, ...]:
        """The PT_LOAD segments."""
        return tuple(s for s in self.segments if s.type == c.PT_LOAD)

    def find_offset(self, address: int) -> int | None:
        """Where in the file the byte at ``address`` is, or None where no segment loads it."""
        for s in self.find_loads():
            if s.vaddr <= address < s.vaddr + s.filesz:
                return s.offset + address - s.vaddr
        return None
