"""Core files of any class and byte order, written field by field, for machines that no test has.

Memory has one page per object with its headers, one page with the loader's structures, and a stack.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.structs import Format, Segment, get_elf_format

PAGE = 4096
FIRST, STEP, HEAP, STACK = 0x400000, 0x100000, 0x10000000, 0x20000000
NT_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE = 1, 3, 6, 0x46494C45
INTERPRETER = "/lib/ld.so.1"


@dataclass(frozen=True)
class CoreObject:
    """An object of the process: its file, the name in the link map, its dynamic section."""

    path: str
    name: str = ""
    soname: str = ""
    build_id: str = ""
    needed: tuple[str, ...] = ()
    runpath: str = ""
    namespace: int = 0


@dataclass(frozen=True)
class CoreShape:
    """Class, byte order and machine of a core file, and which parts of it are missing.

    ``has_pages`` is False for a core file without the pages of mapped files, as core(5) describes
    it for coredump_filter 0x1; ``has_files`` is False for one without NT_FILE.
    """

    bits: int = 64
    order: Literal["little", "big"] = "little"
    machine: int = 62
    has_pages: bool = True
    has_files: bool = True
    environment: tuple[str, ...] = ()
    is_circular: bool = False


def build_core(path: Path, objects: Sequence[CoreObject], shape: CoreShape = CoreShape()) -> Path:
    """Write the core file of a process that has loaded ``objects``, the program first."""
    path.write_bytes(encode_core(objects, shape))
    return path


def encode_core(objects: Sequence[CoreObject], shape: CoreShape = CoreShape()) -> bytes:
    """Return the bytes of a core file; see `build_core`."""
    layout = get_elf_format(shape.bits, shape.order)
    heap = _encode_link_maps(layout, objects, shape.is_circular)
    memory = []
    for index, o in enumerate(objects):
        page = _encode_object(layout, shape, o, FIRST + index * STEP, is_main=index == 0)
        # Only the dynamic section, which the loader has written to, is dumped without pages.
        memory.append((FIRST + index * STEP, page if shape.has_pages else b""))
    memory.append((HEAP, heap))
    vector = _encode_vector(layout, STACK)
    memory.append((STACK, _encode_stack(layout, vector, shape.environment)))
    notes = [
        (NT_PRSTATUS, struct.pack(_mark(layout) + "12xh", 6) + bytes(100)),
        (NT_PRPSINFO, _encode_process_info(layout, shape, objects[0].path)),
        (NT_AUXV, vector),
    ]
    if shape.has_files:
        notes.append((NT_FILE, _encode_files(layout, objects)))
    return _encode_file(
        layout, shape.machine, b"".join(_encode_note(layout, *n) for n in notes), memory
    )


def _mark(layout: Format) -> str:
    return "<" if layout.order == "little" else ">"


def _encode_note(layout: Format, kind: int, content: bytes) -> bytes:
    header = struct.pack(_mark(layout) + "III", 5, len(content), kind)
    return header + b"CORE\0\0\0\0" + content + bytes(-len(content) % 4)


def _encode_file(
    layout: Format, machine: int, notes: bytes, memory: Sequence[tuple[int, bytes]]
) -> bytes:
    count = 1 + len(memory)
    at = 16 + layout.header.size + count * layout.segment.size
    segments = [Segment(c.PT_NOTE, 0, at, 0, 0, len(notes), 0, 4)]
    at += len(notes)
    start = at + -at % PAGE
    offset = start
    for address, data in memory:
        size = len(data) + -len(data) % PAGE or PAGE
        filled = size if data else 0
        flags = c.PF_R | (c.PF_X if address < HEAP else c.PF_W)
        segments.append(Segment(c.PT_LOAD, flags, offset, address, 0, filled, size, PAGE))
        offset += filled
    head = _encode_header(layout, c.ET_CORE, machine, count)
    head += b"".join(map(layout.pack_segment, segments)) + notes
    body = b"".join(data + bytes(-len(data) % PAGE) for _, data in memory)
    return head + bytes(start - len(head)) + body


def _encode_header(layout: Format, kind: int, machine: int, count: int) -> bytes:
    ident = b"\x7fELF" + bytes([layout.bits // 32, 1 if layout.order == "little" else 2, 1])
    size = 16 + layout.header.size
    fields = (kind, machine, 1, 0, size, 0, 0, size, layout.segment.size, count, 0, 0, 0)
    return ident.ljust(16, b"\0") + layout.header.pack(*fields)


def _encode_object(
    layout: Format, shape: CoreShape, o: CoreObject, base: int, *, is_main: bool
) -> bytes:
    """Return the page of an object: headers, note, strings, dynamic section."""
    count = 4 if is_main else 3
    note_at = 16 + layout.header.size + count * layout.segment.size
    raw = bytes.fromhex(o.build_id)
    note = struct.pack(_mark(layout) + "III", 4, len(raw), 3) + b"GNU\0" + raw
    note = note + bytes(-len(note) % 4) if raw else b""
    strings, places = b"\0", {}
    for text in (o.soname, o.runpath, *o.needed):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    strings_at = note_at + len(note)
    interpreter_at = strings_at + len(strings)
    interpreter = INTERPRETER.encode() + b"\0" if is_main else b""
    dynamic_at = interpreter_at + len(interpreter)
    dynamic_at += -dynamic_at % 16
    entries = [(c.DT_NEEDED, places[name]) for name in o.needed]
    entries += [(c.DT_SONAME, places[o.soname])] if o.soname else []
    entries += [(c.DT_RUNPATH, places[o.runpath])] if o.runpath else []
    # glibc has added the load address to the pointer.
    entries += [(c.DT_STRTAB, base + strings_at), (c.DT_STRSZ, len(strings))]
    entries += [(c.DT_DEBUG, HEAP)] if is_main else []
    dynamic = b"".join(layout.dynamic.pack(*e) for e in (*entries, (c.DT_NULL, 0)))
    segments = [
        Segment(c.PT_LOAD, 5, 0, 0, 0, PAGE, PAGE, PAGE),
        Segment(c.PT_NOTE, 4, note_at, note_at, 0, len(note), len(note), 4),
        Segment(c.PT_DYNAMIC, 6, dynamic_at, dynamic_at, 0, len(dynamic), len(dynamic), 8),
    ]
    if is_main:
        size = len(interpreter)
        segments.append(Segment(c.PT_INTERP, 4, interpreter_at, interpreter_at, 0, size, size, 1))
    page = _encode_header(layout, c.ET_DYN, shape.machine, count)
    page += b"".join(map(layout.pack_segment, segments)) + note + strings + interpreter
    page += bytes(dynamic_at - len(page)) + dynamic
    return page.ljust(PAGE, b"\0")


def _find_dynamic(layout: Format, page: bytes) -> int:
    size = layout.segment.size
    segment = layout.unpack_segment(page[16 + layout.header.size + 2 * size :][:size])
    return segment.vaddr


def _encode_link_maps(layout: Format, objects: Sequence[CoreObject], is_circular: bool) -> bytes:
    """Return r_debug of each namespace, then the link maps, then their names."""
    word = layout.word.size
    namespaces = sorted({o.namespace for o in objects})
    maps_at = HEAP + 6 * word * len(namespaces)
    names_at = maps_at + 5 * word * len(objects)
    names, maps = b"", b""
    for index, o in enumerate(objects):
        base = FIRST + index * STEP
        shape = CoreShape(layout.bits, layout.order)
        dynamic = base + _find_dynamic(
            layout, _encode_object(layout, shape, o, base, is_main=index == 0)
        )
        later = [n for n in range(index + 1, len(objects)) if objects[n].namespace == o.namespace]
        following = maps_at + 5 * word * later[0] if later else 0
        following = maps_at if is_circular and not later else following
        for value in (base, names_at + len(names), dynamic, following, 0):
            maps += layout.word.pack(value)
        names += o.name.encode() + b"\0"
    debug = b""
    for number, namespace in enumerate(namespaces):
        first = next(n for n, o in enumerate(objects) if o.namespace == namespace)
        debug += struct.pack(_mark(layout) + "i", 2).ljust(word, b"\0")
        after = HEAP + 6 * word * (number + 1) if number + 1 < len(namespaces) else 0
        for value in (maps_at + 5 * word * first, 0, 0, 0, after):
            debug += layout.word.pack(value)
    return debug + maps + names


def _encode_vector(layout: Format, stack: int) -> bytes:
    table = FIRST + 16 + layout.header.size
    pairs = [(3, table), (4, layout.segment.size), (5, 4), (7, FIRST + STEP), (9, FIRST)]
    pairs += [(25, stack + 2048), (31, stack + PAGE - 64), (0, 0)]
    return b"".join(layout.dynamic.pack(*pair) for pair in pairs)


def _encode_stack(layout: Format, vector: bytes, environment: Sequence[str]) -> bytes:
    """Return the page that the kernel fills; see fs/binfmt_elf.c, create_elf_tables."""
    texts = [text.encode() + b"\0" for text in environment]
    strings = b"".join(texts)
    start = PAGE - 64 - len(strings)
    pointers, at = b"", STACK + start
    for text in texts:
        pointers += layout.word.pack(at)
        at += len(text)
    null = layout.word.pack(0)
    block = layout.word.pack(0) + null + pointers + null + vector
    page = bytearray(PAGE)
    page[2048 - len(block) : 2048] = block
    page[start : start + len(strings)] = strings
    program = b"/opt/pack/bin/server\0"
    page[PAGE - 64 : PAGE - 64 + len(program)] = program
    return bytes(page)


def _encode_process_info(layout: Format, shape: CoreShape, program: str) -> bytes:
    name = program.rpartition("/")[2].encode()
    numbers = struct.pack(_mark(layout) + "iiii", 4711, 1, 4711, 4711)
    before = bytes(24 if shape.bits == 64 else 12)
    return before + numbers + name[:15].ljust(16, b"\0") + program.encode()[:79].ljust(80, b"\0")


def _encode_files(layout: Format, objects: Sequence[CoreObject]) -> bytes:
    data = layout.word.pack(len(objects)) + layout.word.pack(PAGE)
    for index in range(len(objects)):
        start = FIRST + index * STEP
        data += b"".join(map(layout.word.pack, (start, start + PAGE, 0)))
    return data + b"".join(o.path.encode() + b"\0" for o in objects)
