"""The matrix of files and editors: edited files run, and all tools read them without complaint."""

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
from bundle_fix.model.content import PathContent
from elf.matrix import CELLS, EXPECTED, BuiltCell, build_cell, edit_at, require_tools
from elf.support import read_image_of, read_with_pyelftools, read_with_readelf

NEW_RUNPATH = "$ORIGIN/../lib:/opt/" + "x" * 100
CHANGES = Changes(runpath=NEW_RUNPATH)
LIBRARY_CHANGES = Changes(runpath=NEW_RUNPATH, replace_needed=(("libdep.so.1", "libother.so.1"),))
EDITORS = ("inplace", "segment", "lief", "patchelf", "auto")
IN_PLACE = {
    name
    for name, cell in CELLS.items()
    if not name.startswith(("lld", "mold", "read-only", "musl"))
    and name not in ("no entry yet, none spare", "no entry yet, one spare")
}
"""The cells for which the editors slot and table must suffice."""
NOT_GROWN = {"200 MB of bss", "gold, 200 MB of bss", "no section headers"}
"""The cells that the editor segment would make much larger, so that the tools would take long, or
in which debug information without section headers must not move."""
BY_PATCHELF = re.compile(
    r"symbol N \((_DYNAMIC|__abi_tag|\$d)\): st_value out of bounds"
    r"|_DYNAMIC_ symbol value N does not match dynamic segment address"
    r"|'\.(bss|tbss|tm_clone_table|relro_padding)'.* (NOBITS|not fully contained)"
    r"|phdr\[N\]: |loadable segment \[N\] is writable|section \[N\] '\.(interp|dynamic)'"
)
"""The complaints of eu-elflint about any output of patchelf: symbols of moved sections keep their
old values, and the added page is writable. Loaders and debuggers accept both."""
BY_LIEF = re.compile(
    r"symbol N \((_DYNAMIC)?\): st_value out of bounds"
    r"|_DYNAMIC_ symbol value N does not match dynamic segment address"
)
"""Those about LIEF: symbols of the moved .dynstr and, without a spare entry, .dynamic stay."""
BY_SEGMENT = re.compile(r"'\.(bss|plt)' has wrong type: expected \w+, is PROGBITS")
"""The complaint of eu-elflint about zeroed memory that became a part of the file."""
ACCEPTED = {"patchelf": BY_PATCHELF, "segment": BY_SEGMENT, "lief": BY_LIEF}


def find_tool(built: BuiltCell, name: str) -> str:
    """Return the name of a binutils program for the cell's machine."""
    prefix = CROSS[built.cell.machine].compiler.removesuffix("gcc") if built.cell.machine else ""
    require_tools(prefix + name)
    return prefix + name


def get_tool_output(*command: str | Path) -> str:
    """Return the output of a tool on both streams, whatever its exit code."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors="replace", check=False,
        timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr


def list_complaints(built: BuiltCell, path: Path) -> set[str]:
    """Return the complaints of readelf and eu-elflint about a file, without numbers."""
    require_tools("eu-elflint")
    warned = subprocess.run(
        [find_tool(built, "readelf"), "-aW", str(path)], capture_output=True, text=True,
        check=False, errors="replace",
    ).stderr  # fmt: skip
    lines = warned.splitlines() + get_tool_output("eu-elflint", "--gnu-ld", path).splitlines()
    shorter = (re.sub(r"0x[0-9a-f]+|\d+", "N", line.replace(str(path), "FILE")) for line in lines)
    return {re.sub(r"\[ +N\]", "[N]", line) for line in shorter}


def disassemble_code(built: BuiltCell, path: Path) -> str:
    """Return the disassembly of the code."""
    text = get_tool_output(
        find_tool(built, "objdump"), "-d", "-j", ".text", "--no-show-raw-insn", path
    )
    return text.partition("Disassembly")[2]


def find_source_line(path: Path, symbol: str) -> str:
    """Return the source line of a symbol's address (eu-addr2line)."""
    require_tools("eu-addr2line")
    return get_tool_output("eu-addr2line", "-e", path, symbol).strip()


def describe_invariants(built: BuiltCell, path: Path) -> tuple[str, str]:
    """Return facts that no edit may change: the code, and the source line of a function."""
    if built.cell.headerless:
        return "", ""
    symbol = "inner" if path == built.program else "own_library_lib"
    return disassemble_code(built, path), find_source_line(path, symbol)


@pytest.mark.parametrize(
    ("name", "editor"),
    [(n, e) for e in EDITORS for n in CELLS if not (e == "segment" and n in NOT_GROWN)],
)
def test_an_edited_file_runs_and_no_tool_complains(tmp_path: Path, name: str, editor: str) -> None:
    built = build_cell(CELLS[name], tmp_path / "pack")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = {
        path: (list_complaints(built, path), describe_invariants(built, path))
        for path in built.files
    }
    original = {path: path.read_bytes() for path in built.files}
    editors_used: dict[Path, str] = {}
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        try:
            editors_used[path] = edit_at(path, changes, editor, scratch)
        except EditRefusedError:
            assert path.read_bytes() == original[path]
            assert editor != "auto"
            assert editor != "segment"
            assert not (editor == "inplace" and name in IN_PLACE)
    if editor == "auto" and name in IN_PLACE:
        assert set(editors_used.values()) <= {"slot", "table"}
    if editor == "auto":
        assert set(editors_used.values()) <= {"slot", "table", "segment"}
    for path, used in editors_used.items():
        assert read_with_readelf(path).runpath == read_with_pyelftools(path).runpath == NEW_RUNPATH
        assert read_with_readelf(path).rpath is None
        new = list_complaints(built, path) - before[path][0]
        accepted = ACCEPTED.get(used)
        assert {line for line in new if accepted is None or not accepted.search(line)} == set()
        assert describe_invariants(built, path) == before[path][1]
    if built.library in editors_used:
        assert read_with_readelf(built.library).needed[0] == "libother.so.1"
    if len(editors_used) == 2 and built.cell.starts:
        assert built.run_program() == EXPECTED
        # strip breaks files whose program headers are not at their start, as LIEF writes them.
        if "lief" not in editors_used.values():
            assert_stripped_files_work(built)


def assert_stripped_files_work(built: BuiltCell) -> None:
    """Assert that both files work after ``strip -g`` and after ``strip -s``."""
    if built.cell.headerless:
        return
    strings = {path: read_with_readelf(path) for path in built.files}
    for option in ("-g", "-s"):
        for path in built.files:
            shutil.copy(path, path.with_suffix(".kept"))
            assert get_tool_output(find_tool(built, "strip"), option, path) == ""
            assert read_with_readelf(path) == strings[path]
        assert built.run_program() == EXPECTED
        for path in built.files:
            path.with_suffix(".kept").replace(path)


def test_a_static_pie_is_not_edited(tmp_path: Path) -> None:
    from builders.elf import LINKERS, compile_cached

    path = compile_cached("int main(void) { return 0; }", ["-static-pie"], LINKERS["bfd"])
    with pytest.raises(EditRefusedError, match="static"):
        edit_file(PathContent(path, path.stat().st_size), CHANGES, tmp_path)


NATIVE = [name for name, cell in CELLS.items() if not (cell.machine or cell.headerless)]
NOT_DEBUGGED = {
    "stripped": "it has no source lines",
    "musl": "gdb does not know the loader",
    "ifunc": "gdb stops where the symbol is resolved",
    "read-only dynamic section": "the loader cannot write DT_DEBUG, where gdb finds libraries",
}
"""Cells without a usable backtrace, before an edit as well."""
DEBUGGED = [n for n in NATIVE if CELLS[n].starts and n not in NOT_DEBUGGED]


def get_backtrace(built: BuiltCell, *settings: str) -> str:
    """Return gdb's backtrace in the library, which the program calls."""
    require_tools("gdb")
    commands = [
        "set debuginfod enabled off", "set confirm off", "set width 0", *settings,
        "set breakpoint pending on", "break give", "run", "backtrace",
    ]  # fmt: skip
    arguments = [part for command in commands for part in ("-iex", command)]
    split = arguments.index("set breakpoint pending on") - 1
    arguments[split::2] = ["-ex"] * len(arguments[split::2])
    text = get_tool_output("gdb", "-nx", "-q", "-batch", *arguments, built.program)
    if "ptrace" in text and "not permitted" in text:
        pytest.skip("gdb is not permitted to trace processes")
    return text


@pytest.mark.parametrize("name", DEBUGGED)
def test_a_debugger_sees_source_lines_through_edited_files(tmp_path: Path, name: str) -> None:
    built = build_cell(CELLS[name], tmp_path / "pack")
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        edit_at(path, changes, "auto", tmp_path)
    text = get_backtrace(built)
    for function in ("give", "inner", "main"):
        assert re.search(rf"^#\d .*{function} \(.*\) at .*source\.c:\d+", text, re.M), text


@pytest.mark.parametrize("found_by", ["debuglink", "build-id"])
@pytest.mark.parametrize("name", ["bfd", "gold", "lld", "mold", "fixed address"])
def test_split_debug_files_are_found_after_an_edit(
    tmp_path: Path, name: str, found_by: str
) -> None:
    require_tools("objcopy", "strip", "gdb")
    cell = CELLS[name]
    with_id = type(cell)(cell.toolchain, ("-Wl,--build-id=sha1",), program=cell.program)
    built = build_cell(with_id, tmp_path / "pack")
    debug = tmp_path / "debug"
    for path in built.files:
        identity = re.search(r"Build ID: (\w+)", get_tool_output("readelf", "-nW", path))
        assert identity is not None
        apart = path.with_name(path.name + ".debug")
        if found_by == "build-id":
            apart = debug / ".build-id" / identity[1][:2] / f"{identity[1][2:]}.debug"
            apart.parent.mkdir(parents=True, exist_ok=True)
        get_tool_output("objcopy", "--only-keep-debug", path, apart)
        get_tool_output("strip", "-g", path)
        if found_by == "debuglink":
            get_tool_output("objcopy", f"--add-gnu-debuglink={apart}", path)
    for path, changes in zip(built.files, (CHANGES, LIBRARY_CHANGES), strict=True):
        edit_at(path, changes, "auto", tmp_path)
    text = get_backtrace(built, f"set debug-file-directory {debug}")
    for function in ("give", "inner", "main"):
        assert re.search(rf"^#\d .*{function} \(.*\) at .*source\.c:\d+", text, re.M), text


def test_the_matrix_has_the_promised_features(tmp_path: Path) -> None:
    """The flags have the effect that the names of the cells promise."""
    high = build_cell(CELLS["high base"], tmp_path / "high")
    assert read_image_of(high.library).find_loads()[0].vaddr >= 0x36000000
    relr = build_cell(CELLS["lld, relr"], tmp_path / "relr")
    assert read_image_of(relr.program).find_value(36) is not None
    bss = build_cell(CELLS["200 MB of bss"], tmp_path / "bss")
    assert any(s.memsz - s.filesz >= 200 << 20 for s in read_image_of(bss.program).find_loads())
    notes = read_image_of(build_cell(CELLS["two note alignments"], tmp_path / "notes").program)
    assert {s.align for s in notes.segments if s.type == 4} == {4, 8}
    read_only = build_cell(CELLS["read-only dynamic section"], tmp_path / "rodynamic")
    dynamic = next(s for s in read_image_of(read_only.program).segments if s.type == 2)
    assert not dynamic.flags & 2
