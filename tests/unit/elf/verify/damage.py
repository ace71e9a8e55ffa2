"""Functions that damage a file in one place."""

from __future__ import annotations

from collections.abc import Callable

from elf.support import (
    change_dynamic_entry,
    change_header,
    change_section,
    change_segment,
    find_section,
    parse_image,
    replace_bytes,
)

SHNDX, VALUE = 6, 8
"""Offsets in an Elf64_Sym: st_shndx, st_value."""


Damage = Callable[[bytes], bytes]


def flip_byte(data: bytes, at: int) -> bytes:
    return replace_bytes(data, at, bytes([data[at] ^ 0x55]))


def damage_section(name: str, at: int = 0) -> Damage:
    return lambda data: flip_byte(data, find_section(data, name)[1].offset + at)


def damage_section_end(name: str, back: int = 1) -> Damage:
    def damage(data: bytes) -> bytes:
        section = find_section(data, name)[1]
        return flip_byte(data, section.offset + section.size - back)

    return damage


def damage_header(**fields: int) -> Damage:
    return lambda data: change_header(data, **fields)


def damage_segment(kind: int, number: int = 0, **deltas: int) -> Damage:
    """Return a function that adds to the fields of a program header."""

    def damage(data: bytes) -> bytes:
        segment = [s for s in parse_image(data).segments if s.type == kind][number]
        fields = {name: getattr(segment, name) + delta for name, delta in deltas.items()}
        return change_segment(data, kind, number, **fields)

    return damage


def damage_section_header(name: str, **deltas: int) -> Damage:
    """Return a function that adds to the fields of a section header."""

    def damage(data: bytes) -> bytes:
        section = find_section(data, name)[1]
        fields = {field: getattr(section, field) + delta for field, delta in deltas.items()}
        return change_section(data, name, **fields)

    return damage


def damage_dynamic_entry(tag: int, delta: int = 0, new_tag: int | None = None) -> Damage:
    def damage(data: bytes) -> bytes:
        value = parse_image(data).find_value(tag)
        assert value is not None
        return change_dynamic_entry(data, tag, value + delta, new_tag)

    return damage


def damage_string(old: bytes, new: bytes) -> Damage:
    """Return a function that overwrites a string of the dynamic string table."""

    def damage(data: bytes) -> bytes:
        section = find_section(data, ".dynstr")[1]
        at = data.index(old + b"\0", section.offset)
        assert at < section.offset + section.size
        return replace_bytes(data, at, new)

    return damage


def damage_symbol(table: str, name: bytes, at: int, size: int = 1) -> Damage:
    """Return a function that changes bytes at offset ``at`` of the symbol ``name`` of a table."""

    def damage(data: bytes) -> bytes:
        section = find_section(data, table)[1]
        strings = find_section(data, ".dynstr" if table == ".dynsym" else ".strtab")[1].offset
        for start in range(section.offset, section.offset + section.size, 24):
            text = strings + int.from_bytes(data[start : start + 4], "little")
            if data[text : data.index(b"\0", text)] == name:
                return replace_bytes(
                    data, start + at, bytes(b ^ 0x55 for b in data[start + at :][:size])
                )
        raise LookupError(name)

    return damage


def make_undefined(data: bytes) -> bytes:
    """Make the symbol ``exported`` undefined."""
    changed = damage_symbol(".dynsym", b"exported", SHNDX, 2)(data)
    at = next(n for n, (a, b) in enumerate(zip(data, changed, strict=True)) if a != b)
    return replace_bytes(data, at, b"\0\0")


def damage_bytes(old: bytes, new: bytes) -> Damage:
    return lambda data: data.replace(old, new)
