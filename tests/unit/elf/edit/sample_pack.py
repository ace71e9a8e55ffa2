"""A small pack of real ELF files, and the changes that the tests of edits make to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builders.elf import HOST, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.verify.equivalence.contract import (
    MOVED_BY_PATCHELF,
    UNMOVABLE,
    find_broken_equivalence,
)
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.model.content import BytesContent, read_chunks
from elf.support import (
    LOADER,
    Strings,
    get_content,
    read_bytes_of,
    read_image_of,
    read_with_pyelftools,
    read_with_readelf,
    run_tool,
)

OLD_RUNPATH = "/opt/build/of/pegasus/thirdparty/output/lib"
MOVABLE = {"lief": UNMOVABLE, "patchelf": MOVED_BY_PATCHELF}
"""What the editors that rewrite a file may move."""
EDITORS = ("inplace", "lief", "patchelf", "auto")
LONG = "/opt/" + "x" * 100
VERY_LONG = ":".join(f"/opt/of/which/there/are/many/{n}" for n in range(40))

CHANGES = {
    "a shorter runpath": Changes(runpath="$ORIGIN/../lib"),
    "a longer runpath": Changes(runpath=f"$ORIGIN/../lib:{LONG}"),
    "a much longer runpath": Changes(runpath=f"{VERY_LONG}:$ORIGIN/../lib"),
    "no runpath": Changes(runpath=""),
    "an rpath": Changes(rpath="$ORIGIN/../lib"),
    "a longer rpath": Changes(rpath=f"$ORIGIN/../lib:{LONG}"),
    "another soname": Changes(soname="libquite-another-name.so.12"),
    "another needed name": Changes(replace_needed=(("libdep.so.1", "libother.so.1"),)),
    "one more needed name": Changes(insert_needed=(("libdep.so.1", "libother.so.1"),)),
    "all at once": Changes(
        runpath="$ORIGIN/../lib:/a",
        soname="libx.so.9",
        replace_needed=(("libdep.so.1", "libother.so.1"),),
    ),
}
IN_SLOTS = {"a shorter runpath", "no runpath", "an rpath"}
"""The changes whose new strings fit over the old ones, with every linker."""


@dataclass(frozen=True)
class SamplePack:
    """A program in ``bin``, a library in ``lib``, and two libraries that they can need."""

    directory: Path

    @property
    def program(self) -> Path:
        return self.directory / "bin/x"

    @property
    def library(self) -> Path:
        return self.directory / "lib/libx.so"

    def file(self, kind: str) -> Path:
        return self.program if kind == "program" else self.library


def build_pack(
    directory: Path,
    toolchain: Toolchain = HOST,
    flags: tuple[str, ...] = (),
    runpath: str | None = OLD_RUNPATH,
    rpath: str | None = None,
) -> SamplePack:
    built = SamplePack(directory)
    for name in ("libdep", "libother"):
        build_elf(
            directory / f"lib/{name}.so.1", soname=f"{name}.so.1", tag=name, toolchain=toolchain
        )
    needed = ["libdep.so.1"]
    build_elf(
        built.program, program=True, needed=needed, runpath=runpath, rpath=rpath, flags=flags,
        toolchain=toolchain,
    )  # fmt: skip
    build_elf(
        built.library, soname="libx.so.1", needed=needed, runpath=runpath, rpath=rpath, tag="libx",
        flags=flags, toolchain=toolchain,
    )  # fmt: skip
    return built


def compute_strings(before: Strings, changes: Changes) -> Strings:
    """Return the strings that a reader must return after ``changes``."""
    if changes.runpath is not None or changes.rpath is not None:
        before = before._replace(rpath=changes.rpath or None, runpath=changes.runpath or None)
    if changes.soname is not None:
        before = before._replace(soname=changes.soname or None)
    needed = []
    for name in before.needed:
        needed += [new for old, new in changes.insert_needed if old == name]
        needed.append(dict(changes.replace_needed).get(name, name))
    return before._replace(needed=tuple(needed))


def save_result(edited: EditResult, path: Path) -> Path:
    """Write the edited bytes over the file, as ``fix`` does."""
    with edited.content.open() as reader, path.with_suffix(".new").open("wb") as file:
        file.writelines(read_chunks(reader))
    path.with_suffix(".new").chmod(0o755)
    path.with_suffix(".new").rename(path)
    return path


def run_and_list_tags(path: Path, kind: str) -> set[str]:
    """Return the tags that are printed when the program runs or the library is loaded."""
    image = read_image_of(path)
    finds = "$ORIGIN/../lib" in f"{image.runpath}{image.rpath}"
    search = {} if finds else {"LD_LIBRARY_PATH": str(path.parents[1] / "lib")}
    if kind == "program":
        done = run_tool(path, **search)
    else:
        done = run_tool("/bin/true", LD_PRELOAD=str(path), **search)
    listed = run_tool(LOADER, "--list", path, **search).stdout
    assert "not found" not in listed
    return set(done.stdout.split())


def list_expected_tags(changes: Changes, kind: str) -> set[str]:
    """Return the tags that must be printed after ``changes``."""
    found = {"main"} if kind == "program" else {"libx"}
    names = list_expected_names(changes)
    return found | {name.partition(".")[0] for name in names}


def list_expected_names(changes: Changes) -> tuple[str, ...]:
    return compute_strings(Strings(("libdep.so.1",), None, None, None), changes).needed


def assert_harmless(path: Path, kind: str, changes: Changes, editor: str) -> EditResult:
    """Edit the file and assert everything that must be true of an edited file."""
    scratch = path.parents[1] / "scratch"
    scratch.mkdir(exist_ok=True)
    before, strings = BytesContent(path.read_bytes()), read_with_readelf(path)
    edited = edit_file(get_content(path), changes, scratch, editor)
    assert path.read_bytes() == before.data
    save_result(edited, path)
    strings_after = compute_strings(strings, changes)
    assert read_with_readelf(path) == strings_after
    assert read_with_pyelftools(path) == strings_after
    with before.open() as old, get_content(path).open() as new:
        if edited.editor in MOVABLE:
            broken = find_broken_equivalence(old, new, changes, MOVABLE[edited.editor])
        else:
            broken = find_broken_invariants(old, new, changes)
        assert list(broken) == []
    again = edit_file(get_content(path), changes, scratch, editor)
    assert (again.editor, read_bytes_of(again.content)) == ("", path.read_bytes())
    if kind:
        assert run_and_list_tags(path, kind) == list_expected_tags(changes, kind)
    # strip breaks files whose program headers are not at their start, as LIEF writes them.
    if kind and edited.editor != "lief":
        run_tool("strip", path)
        assert read_with_readelf(path) == strings_after
        assert run_and_list_tags(path, kind) == list_expected_tags(changes, kind)
    return edited


def edit_and_save(path: Path, changes: Changes, editor: str = "inplace") -> EditResult:
    edited = edit_file(get_content(path), changes, path.parent, editor)
    save_result(edited, path)
    return edited
