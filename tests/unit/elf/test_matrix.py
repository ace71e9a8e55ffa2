"""Every kind of file, edited by every editor that takes it: it runs, and every tool agrees."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.model.content import PathContent, read_chunks
from elf.matrix import CELLS, EXPECTED, Built, build, needs
from elf.support import by_pyelftools, by_readelf, image_of

NEW_RUNPATH = "$ORIGIN/../lib:/opt/" + "x" * 100
CHANGES = Changes(runpath=NEW_RUNPATH)
LIBRARY_CHANGES = Changes(runpath=NEW_RUNPATH, replace_needed=(("libdep.so.1", "libother.so.1"),))
EDITORS = ("inplace", "lief", "patchelf", "auto")
IN_PLACE = {
    name
    for name, cell in CELLS.items()
    if not name.startswith(("lld", "mold", "read-only", "musl"))
    and name not in ("no entry yet, none spare", "no entry yet, one spare")
}
"""The cells that must need no other editor than slot and table."""
REFUSED = {"no entry yet, none spare"}
"""The cells that no editor can change: patchelf, too, wants an entry that it can take."""
BY_PATCHELF = re.compile(
    r"symbol N \((_DYNAMIC|__abi_tag|\$d)\): st_value out of bounds"
    r"|_DYNAMIC_ symbol value N does not match dynamic segment address"
    r"|'\.(bss|tbss|tm_clone_table|relro_padding)'.* (NOBITS|not fully contained)"
    r"|phdr\[N\]: |loadable segment \[N\] is writable|section \[N\] '\.(interp|dynamic)'"
)
"""What eu-elflint finds wrong with every result of patchelf: symbols of what it moved keep their
old values, and the page that it adds is writable. No loader and no debugger minds."""


def tool(built: Built, name: str) -> str:
    """The binutils program for the cell's machine."""
    prefix = CROSS[built.cell.machine].compiler.removesuffix("gcc") if built.cell.machine else ""
    needs(prefix + name)
    return prefix + name


def said(*command: str | Path) -> str:
    """What a tool prints on both streams, whatever its status."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False,
        timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr


def complaints(built: Built, path: Path) -> set[str]:
    """What readelf and eu-elflint find wrong with a file, without offsets and numbers."""
    needs("eu-elflint")
    warned = subprocess.run(
        [tool(built, "readelf"), "-aW", str(path)], capture_output=True, text=True, check=False,
        errors="replace",
    ).stderr  # fmt: skip
    lines = warned.splitlines() + said("eu-elflint", "--gnu-ld", path).splitlines()
    shorter = (re.sub(r"0x[0-9a-f]+|\d+", "N", line.replace(str(path), "FILE")) for line in lines)
    return {re.sub(r"\[ +N\]", "[N]", line) for line in shorter}


def code(built: Built, path: Path) -> str:
    """The disassembly of the code."""
    text = said(tool(built, "objdump"), "-d", "-j", ".text", "--no-show-raw-insn", path)
    return text.partition("Disassembly")[2]


def source_line(path: Path, symbol: str) -> str:
    """The source line of a symbol's address, as eu-addr2line finds it."""
    needs("eu-addr2line")
    return said("eu-addr2line", "-e", path, symbol).strip()


def edited(path: Path, changes: Changes, editor: str, scratch: Path) -> str:
    """Edit a file; returns the editor that did it."""
    content = PathContent(path, path.stat().st_size)
    result = edit_file(content, changes, scratch, editor)
    with result.content.open() as reader, (scratch / "new").open("wb") as file:
        file.writelines(read_chunks(reader))
    shutil.copymode(path, scratch / "new")
    (scratch / "new").replace(path)
    return result.editor


def opinions(built: Built, path: Path) -> tuple[str, str]:
    """What an edit must leave as it is: the code, and the source line of a function."""
    if built.cell.headerless:
        return "", ""
    symbol = "inner" if path == built.program else "own_library_lib"
    return code(built, path), source_line(path, symbol)


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("name", CELLS)
def test_an_edited_file_runs_and_every_tool_agrees(tmp_path: Path, name: str, editor: str) -> None:
    built = build(CELLS[name], tmp_path / "pack")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = {path: (complaints(built, path), opinions(built, path)) for path in built.files}
    original = {path: path.read_bytes() for path in built.files}
    by: dict[Path, str] = {}
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        try:
            by[path] = edited(path, changes, editor, scratch)
        except EditRefusedError:
            assert path.read_bytes() == original[path]
            assert editor != "auto" or name in REFUSED
            assert not (editor == "inplace" and name in IN_PLACE)
    if editor == "auto" and name in IN_PLACE:
        assert set(by.values()) <= {"slot", "table"}
    for path, used in by.items():
        assert by_readelf(path).runpath == by_pyelftools(path).runpath == NEW_RUNPATH
        assert by_readelf(path).rpath is None
        new = complaints(built, path) - before[path][0]
        assert {
            line for line in new if not (used == "patchelf" and BY_PATCHELF.search(line))
        } == set()
        assert opinions(built, path) == before[path][1]
    if built.library in by:
        assert by_readelf(built.library).needed[0] == "libother.so.1"
    if len(by) == 2 and built.cell.starts:
        assert built.output() == EXPECTED
        assert_stripped_files_work(built)


def assert_stripped_files_work(built: Built) -> None:
    """``strip -g`` and then ``strip`` leave both files working, with their strings."""
    if built.cell.headerless:
        return
    strings = {path: by_readelf(path) for path in built.files}
    for option in ("-g", "-s"):
        for path in built.files:
            shutil.copy(path, path.with_suffix(".kept"))
            assert said(tool(built, "strip"), option, path) == ""
            assert by_readelf(path) == strings[path]
        assert built.output() == EXPECTED
        for path in built.files:
            path.with_suffix(".kept").replace(path)


def test_a_static_pie_is_left_alone(tmp_path: Path) -> None:
    from builders.elf import LINKERS, compile_cached

    path = compile_cached("int main(void) { return 0; }", ["-static-pie"], LINKERS["bfd"])
    with pytest.raises(EditRefusedError, match="static"):
        edit_file(PathContent(path, path.stat().st_size), CHANGES, tmp_path)


NATIVE = [name for name, cell in CELLS.items() if not (cell.machine or cell.headerless)]
NOT_DEBUGGED = {
    "stripped": "it has no source lines",
    "musl": "gdb does not know the loader",
    "ifunc": "gdb stops where the symbol is resolved",
    "read-only dynamic section": "the loader cannot tell gdb of libraries (DT_DEBUG)",
    **dict.fromkeys(REFUSED, "it cannot be edited"),
}
"""Cells whose backtrace says nothing, also before an edit."""
DEBUGGED = [n for n in NATIVE if CELLS[n].starts and n not in NOT_DEBUGGED]


def backtrace(built: Built, *settings: str) -> str:
    """What gdb prints of the stack in the library, called by the program."""
    needs("gdb")
    commands = [
        "set debuginfod enabled off", "set confirm off", "set width 0", *settings,
        "set breakpoint pending on", "break give", "run", "backtrace",
    ]  # fmt: skip
    arguments = [part for command in commands for part in ("-iex", command)]
    split = arguments.index("set breakpoint pending on") - 1
    arguments[split::2] = ["-ex"] * len(arguments[split::2])
    text = said("gdb", "-nx", "-q", "-batch", *arguments, built.program)
    if "ptrace" in text and "not permitted" in text:
        pytest.skip("gdb may not trace here")
    return text


@pytest.mark.parametrize("name", DEBUGGED)
def test_a_debugger_sees_source_lines_through_edited_files(tmp_path: Path, name: str) -> None:
    built = build(CELLS[name], tmp_path / "pack")
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        edited(path, changes, "auto", tmp_path)
    text = backtrace(built)
    for function in ("give", "inner", "main"):
        assert re.search(rf"^#\d .*{function} \(.*\) at .*source\.c:\d+", text, re.M), text


@pytest.mark.parametrize("found_by", ["debuglink", "build-id"])
@pytest.mark.parametrize("name", ["bfd", "gold", "lld", "mold", "fixed address"])
def test_split_debug_files_are_still_found(tmp_path: Path, name: str, found_by: str) -> None:
    needs("objcopy", "strip", "gdb")
    cell = CELLS[name]
    with_id = type(cell)(cell.toolchain, ("-Wl,--build-id=sha1",), program=cell.program)
    built = build(with_id, tmp_path / "pack")
    debug = tmp_path / "debug"
    for path in built.files:
        identity = re.search(r"Build ID: (\w+)", said("readelf", "-nW", path))
        assert identity is not None
        apart = path.with_name(path.name + ".debug")
        if found_by == "build-id":
            apart = debug / ".build-id" / identity[1][:2] / f"{identity[1][2:]}.debug"
            apart.parent.mkdir(parents=True, exist_ok=True)
        said("objcopy", "--only-keep-debug", path, apart)
        said("strip", "-g", path)
        if found_by == "debuglink":
            said("objcopy", f"--add-gnu-debuglink={apart}", path)
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        edited(path, changes, "auto", tmp_path)
    text = backtrace(built, f"set debug-file-directory {debug}")
    for function in ("give", "inner", "main"):
        assert re.search(rf"^#\d .*{function} \(.*\) at .*source\.c:\d+", text, re.M), text


def test_the_matrix_has_what_it_claims(tmp_path: Path) -> None:
    """The flags do what the cells' names say, in the files that are edited."""
    high = build(CELLS["high base"], tmp_path / "high")
    assert image_of(high.library).find_loads()[0].vaddr >= 0x36000000
    relr = build(CELLS["lld, relr"], tmp_path / "relr")
    assert image_of(relr.program).find_value(36) is not None
    bss = build(CELLS["200 MB of bss"], tmp_path / "bss")
    assert any(s.memsz - s.filesz >= 200 << 20 for s in image_of(bss.program).find_loads())
    notes = image_of(build(CELLS["two note alignments"], tmp_path / "notes").program)
    assert {s.align for s in notes.segments if s.type == 4} == {4, 8}
    read_only = build(CELLS["read-only dynamic section"], tmp_path / "rodynamic")
    dynamic = next(s for s in image_of(read_only.program).segments if s.type == 2)
    assert not dynamic.flags & 2
