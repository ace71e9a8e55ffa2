"""The dynamic section of one ELF file, and its editor, as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from bundle_fix.elf.read.flags import list_flag_names
from bundle_fix.elf.read.os_abi import format_os_abi
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.pipelines.elf_files import EditedFile, ElfFile

TYPE_NAMES = {"exec": "program", "dyn": "shared object", "rel": "object file", "core": "core file"}


class ElfFileRecord(msgspec.Struct, frozen=True):
    """One file. A field is null if the file does not have it; ``class`` is 32 or 64."""

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
    os_abi: str
    executable_stack: bool | None


class EditedFileRecord(ElfFileRecord, frozen=True):
    """One file after its edit.

    ``editor`` is the editor that made the changes; null if there was nothing to change. ``skipped``
    has the reason of each editor that was tried before and failed, ``remarks`` advice for the user.
    """

    editor: str | None
    skipped: tuple[str, ...]
    remarks: tuple[str, ...]


def make_elf_record(file: ElfFile) -> ElfFileRecord:
    """Return the record of a file."""
    image = file.image
    return ElfFileRecord(
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
        os_abi=format_os_abi(image.os_abi),
        executable_stack=image.requests_executable_stack,
    )


def make_edited_record(file: ElfFile, result: EditedFile) -> EditedFileRecord:
    """Return the record of a file after its edit."""
    plain = msgspec.structs.asdict(make_elf_record(file))
    return EditedFileRecord(
        **plain,
        editor=result.edited.editor or None,
        skipped=result.edited.refusals,
        remarks=result.remarks,
    )


def render_elf(record: ElfFileRecord) -> str:
    """Return one file as text: a line with a name and a value for each value."""
    lines = [f"{escape_unprintable(record.path)}:"]
    lines += [f"  {name:<12} {escape_unprintable(value)}" for name, value in _list_rows(record)]
    return "\n".join(lines) + "\n"


def _list_rows(record: ElfFileRecord) -> Iterator[tuple[str, str]]:
    # Both programs and libraries have the type ET_DYN; flags and the soname distinguish them.
    kind = TYPE_NAMES.get(record.type, "unknown")
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
    if record.executable_stack:
        yield "stack", "executable"


def _to_values(value: str | None) -> Sequence[str]:
    return () if value is None else (value,)


FIELDS: dict[str, Callable[[ElfFileRecord], Sequence[str]]] = {
    "interpreter": lambda record: _to_values(record.interpreter),
    "soname": lambda record: _to_values(record.soname),
    "needed": lambda record: record.needed,
    "rpath": lambda record: _to_values(record.rpath),
    "runpath": lambda record: _to_values(record.runpath),
    "build-id": lambda record: _to_values(record.build_id),
}
"""The fields of the text, each with a function that returns its values."""
STACKS = {True: "execstack: X", False: "execstack: -", None: "execstack: ?"}
"""The words of patchelf for a stack that is executable or not, and for no PT_GNU_STACK."""
PRINTED_FIELDS: dict[str, Callable[[ElfFileRecord], Sequence[str]]] = {
    **FIELDS,
    "path": lambda record: _to_values(record.rpath if record.runpath is None else record.runpath),
    "os-abi": lambda record: (record.os_abi,),
    "execstack": lambda record: (STACKS[record.executable_stack],),
}
"""The fields that ``--print`` can print; ``path`` is the RUNPATH, or the RPATH without one."""
