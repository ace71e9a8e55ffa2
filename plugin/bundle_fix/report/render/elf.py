"""What one ELF file asks of the loader, and who edited it: as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from bundle_fix.elf.read.flags import list_flag_names
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.pipelines.elf_files import EditedFile, ElfFile

KINDS = {"exec": "program", "dyn": "shared object", "rel": "object file", "core": "core file"}


class ElfRecord(msgspec.Struct, frozen=True):
    """One file; null for what it does not have. ``class`` is 32 or 64."""

    path: str
    bits: int = msgspec.field(name="class")
    byte_order: str
    machine: str
    type: str
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]
    rpath: str | None
    runpath: str | None
    build_id: str | None
    flags: tuple[str, ...]


class EditedRecord(ElfRecord, frozen=True):
    """One file after its edit.

    ``editor`` made it: null where nothing had to change. ``passed`` says of each editor that was
    tried before why it was not the one, and ``remarks`` what the user should know.
    """

    editor: str | None
    passed: tuple[str, ...]
    remarks: tuple[str, ...]


def elf_record(file: ElfFile) -> ElfRecord:
    """The record of a file that was read."""
    image = file.image
    return ElfRecord(
        path=str(file.path),
        bits=image.format.bits,
        byte_order=image.format.order,
        machine=image.machine,
        type=image.type,
        interpreter=image.interpreter,
        soname=image.soname,
        needed=image.needed,
        rpath=image.rpath,
        runpath=image.runpath,
        build_id=file.build_id,
        flags=list_flag_names(image),
    )


def edited_record(file: ElfFile, done: EditedFile) -> EditedRecord:
    """The record of a file that was read after its edit."""
    plain = msgspec.structs.asdict(elf_record(file))
    return EditedRecord(
        **plain,
        editor=done.edited.editor or None,
        passed=done.edited.refusals,
        remarks=done.remarks,
    )


def render_elf(record: ElfRecord) -> str:
    """One file as text: a name and a value a line, as many lines as there are values."""
    lines = [f"{escape_unprintable(record.path)}:"]
    lines += [f"  {name:<12} {escape_unprintable(value)}" for name, value in _rows(record)]
    return "\n".join(lines) + "\n"


def _rows(record: ElfRecord) -> Iterator[tuple[str, str]]:
    kind = KINDS.get(record.type, "unknown")
    if record.type == "dyn" and (
        "PIE" in record.flags or (record.interpreter and not record.soname)
    ):
        kind = "program"
    order = f"{record.byte_order}-endian"
    yield "type", f"{record.type} ({kind}), {record.bits}-bit {order} {record.machine}"
    for name, values in FIELDS.items():
        for value in values(record):
            yield name, value or "(empty)"
    if record.flags:
        yield "flags", " ".join(record.flags)


def _one(value: str | None) -> Sequence[str]:
    return () if value is None else (value,)


FIELDS: dict[str, Callable[[ElfRecord], Sequence[str]]] = {
    "interpreter": lambda record: _one(record.interpreter),
    "soname": lambda record: _one(record.soname),
    "needed": lambda record: record.needed,
    "rpath": lambda record: _one(record.rpath),
    "runpath": lambda record: _one(record.runpath),
    "build-id": lambda record: _one(record.build_id),
}
"""What ``--print`` can print, and the values of it."""
