"""The image of an ELF file: its header, program headers and dynamic section as data.

Source: the System V gABI, chapters 4 and 5.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.structs import Format, Header, Segment

TYPES = {c.ET_REL: "rel", c.ET_EXEC: "exec", c.ET_DYN: "dyn", c.ET_CORE: "core"}


def get_machine_name(number: int) -> str:
    """Return the name of a machine, such as ``x86_64``, or ``machine-N`` for an unknown number."""
    return c.MACHINE_NAMES.get(number, f"machine-{number}")


class DynamicEntry(NamedTuple):
    """One entry of the dynamic section."""

    tag: int
    value: int


class Image(Struct, frozen=True):
    """The facts about one ELF file that the loader uses.

    Attributes:
        size: the file's size in bytes.
        dynamic: the entries before the DT_NULL that ends them; None for a file without a dynamic
            section: static programs, ``.o``, core and debug-only files.
        os_abi: the operating system of the file (e_ident[EI_OSABI]); Linux has 0 and 3.
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

    @property
    def machine(self) -> str:
        """The machine's name."""
        return get_machine_name(self.header.machine)

    @property
    def type(self) -> str:
        """``rel``, ``exec``, ``dyn``, ``core``, or the number of another type."""
        return TYPES.get(self.header.type, str(self.header.type))

    @property
    def architecture(self) -> tuple[int, str, int]:
        """Class, byte order, machine: all must be equal for one object to load another."""
        return self.format.bits, self.format.order, self.header.machine

    @property
    def is_dynamic(self) -> bool:
        """Return whether the file has a dynamic section, which the loader needs."""
        return self.dynamic is not None

    def find_value(self, tag: int) -> int | None:
        """Return the value of the last dynamic entry with ``tag``.

        Of several entries the loaders use the last one (glibc's elf/get-dynamic-info.h, musl's
        decode_vec).
        """
        for entry in reversed(self.dynamic or ()):
            if entry.tag == tag:
                return entry.value
        return None

    @property
    def requests_executable_stack(self) -> bool | None:
        """Return whether PT_GNU_STACK asks for an executable stack; None without PT_GNU_STACK."""
        # The kernel and the loader use the last one (binfmt_elf.c, glibc's dl-load.c).
        flags = [s.flags for s in self.segments if s.type == c.PT_GNU_STACK]
        return bool(flags[-1] & c.PF_X) if flags else None

    @property
    def is_program(self) -> bool:
        """Return whether execve(2) starts it with the loader: an interpreter and no soname."""
        # libc.so.6 and libpthread.so.0 have an interpreter as well, to print their version.
        pie = (self.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
        return self.interpreter is not None and self.is_dynamic and bool(pie or not self.soname)

    @property
    def is_static_program(self) -> bool:
        """Return whether execve(2) starts it without a loader, as far as the headers show.

        Linkers for Linux write a PT_GNU_STACK, and code that is not writable. Images of kernels and
        firmware differ, or lie in the upper half of the address space. A file of split debug
        information has the same headers as its program.
        """
        pie = (self.find_value(c.DT_FLAGS_1) or 0) & c.DF_1_PIE
        is_linked_statically = not self.needed if pie else not self.is_dynamic
        return (
            self.header.type == (c.ET_DYN if pie else c.ET_EXEC)
            and is_linked_statically
            and not self.is_program
            and any(s.type == c.PT_GNU_STACK for s in self.segments)
            and any(map(self._is_entry_in, self.find_loads()))
        )

    def _is_entry_in(self, segment: Segment) -> bool:
        """Return whether a process starts in the code of ``segment``."""
        is_code = bool(segment.flags & c.PF_X) and not segment.flags & c.PF_W
        is_in_lower_half = not segment.vaddr >> (self.format.bits - 1)
        return (
            is_code and is_in_lower_half and segment.vaddr <= self.header.entry < segment.memory_end
        )

    @property
    def is_library(self) -> bool:
        """Return whether the file is a shared object that others may need or open."""
        is_shared = self.header.type == c.ET_DYN and self.is_dynamic
        return is_shared and not self.is_program and not self.is_static_program

    def find_loads(self) -> tuple[Segment, ...]:
        """Return the PT_LOAD segments."""
        return tuple(s for s in self.segments if s.type == c.PT_LOAD)

    def find_offset(self, address: int) -> int | None:
        """Return the file offset of the byte at ``address``, or None if no segment loads it."""
        for s in self.find_loads():
            if s.vaddr <= address < s.vaddr + s.filesz:
                return s.offset + address - s.vaddr
        return None


def read_only_data_segments(image: Image) -> list[Segment]:
    """Return the segments that may hold read-only data, such as string constants.

    If data and code have segments of their own, the ones with code are left out. So is the segment
    of the loader's tables, if the data is in another one.
    """
    read_only = [s for s in image.find_loads() if not s.flags & c.PF_W]
    data = [s for s in read_only if not s.flags & c.PF_X] or read_only
    strings = image.find_value(c.DT_STRTAB) or 0
    return [s for s in data if not s.vaddr <= strings < s.memory_end] or data
