"""Edits of real files: whatever an editor accepts is as asked, runs, and survives strip."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import EditResult, edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.strings import find_string_table
from bundle_fix.elf.verify.invariants import find_broken_invariants
from bundle_fix.model.content import BytesContent, FileSlice, read_chunks
from bundle_fix.model.errors import BundleFixError
from elf.support import (
    LOADER,
    Strings,
    by_pyelftools,
    by_readelf,
    bytes_of,
    content_of,
    image_in,
    image_of,
    object_file,
    run,
    splice,
    with_dynamic,
    with_header,
    with_section,
    without_section_headers,
)

OLD_RUNPATH = "/opt/build/of/pegasus/thirdparty/output/lib"
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
"""The changes whose new strings fit where the old ones are, whoever linked the file."""


@dataclass(frozen=True)
class Pack:
    """A program and a library in ``bin`` and ``lib``, and two libraries for them to need."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / "bin/x"

    @property
    def library(self) -> Path:
        return self.folder / "lib/libx.so"

    def file(self, kind: str) -> Path:
        return self.program if kind == "program" else self.library


def pack(
    folder: Path,
    toolchain: Toolchain = HOST,
    flags: tuple[str, ...] = (),
    runpath: str | None = OLD_RUNPATH,
    rpath: str | None = None,
) -> Pack:
    made = Pack(folder)
    for name in ("libdep", "libother"):
        build_elf(folder / f"lib/{name}.so.1", soname=f"{name}.so.1", tag=name, toolchain=toolchain)
    needed = ["libdep.so.1"]
    build_elf(
        made.program, program=True, needed=needed, runpath=runpath, rpath=rpath, flags=flags,
        toolchain=toolchain,
    )  # fmt: skip
    build_elf(
        made.library, soname="libx.so.1", needed=needed, runpath=runpath, rpath=rpath, tag="libx",
        flags=flags, toolchain=toolchain,
    )  # fmt: skip
    return made


def expected(before: Strings, changes: Changes) -> Strings:
    """What a reader must see after ``changes``."""
    if changes.runpath is not None or changes.rpath is not None:
        before = before._replace(rpath=changes.rpath or None, runpath=changes.runpath or None)
    if changes.soname is not None:
        before = before._replace(soname=changes.soname or None)
    needed = []
    for name in before.needed:
        needed += [new for old, new in changes.insert_needed if old == name]
        needed.append(dict(changes.replace_needed).get(name, name))
    return before._replace(needed=tuple(needed))


def save(edited: EditResult, path: Path) -> Path:
    """Write the edited bytes over the file, as `fix` would."""
    with edited.content.open() as reader, path.with_suffix(".new").open("wb") as file:
        file.writelines(read_chunks(reader))
    path.with_suffix(".new").chmod(0o755)
    path.with_suffix(".new").rename(path)
    return path


def output(path: Path, kind: str) -> set[str]:
    """What is printed when the program runs or the library is loaded."""
    image = image_of(path)
    finds = "$ORIGIN/../lib" in f"{image.runpath}{image.rpath}"
    search = {} if finds else {"LD_LIBRARY_PATH": str(path.parents[1] / "lib")}
    if kind == "program":
        done = run(path, **search)
    else:
        done = run("/bin/true", LD_PRELOAD=str(path), **search)
    listed = run(LOADER, "--list", path, **search).stdout
    assert "not found" not in listed
    return set(done.stdout.split())


def tags(changes: Changes, kind: str) -> set[str]:
    """What must be printed after ``changes``."""
    found = {"main"} if kind == "program" else {"libx"}
    names = needed_names(changes)
    return found | {name.partition(".")[0] for name in names}


def needed_names(changes: Changes) -> tuple[str, ...]:
    return expected(Strings(("libdep.so.1",), None, None, None), changes).needed


def assert_harmless(path: Path, kind: str, changes: Changes, editor: str) -> EditResult:
    """Edit the file and hold it to everything an edited file must be."""
    scratch = path.parents[1] / "scratch"
    scratch.mkdir(exist_ok=True)
    before, was = BytesContent(path.read_bytes()), by_readelf(path)
    edited = edit_file(content_of(path), changes, scratch, editor)
    assert path.read_bytes() == before.data
    save(edited, path)
    wanted = expected(was, changes)
    assert by_readelf(path) == wanted
    assert by_pyelftools(path) == wanted
    with before.open() as old, content_of(path).open() as new:
        assert list(find_broken_invariants(old, new, changes)) == []
    again = edit_file(content_of(path), changes, scratch, editor)
    assert (again.editor, bytes_of(again.content)) == ("", path.read_bytes())
    if kind:
        assert output(path, kind) == tags(changes, kind)
        run("strip", path)
        assert by_readelf(path) == wanted
        assert output(path, kind) == tags(changes, kind)
    return edited


# --- every linker, every editor, every change -------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("kind", ["program", "library"])
@pytest.mark.parametrize("linker", LINKERS)
def test_what_an_editor_accepts_is_right(
    tmp_path: Path, linker: str, kind: str, editor: str, change: str
) -> None:
    path = pack(tmp_path, LINKERS[linker]).file(kind)
    changes = CHANGES[change]
    if editor == "lief" and changes.insert_needed:
        with pytest.raises(EditRefusedError, match="LIEF cannot add a needed name before"):
            edit_file(content_of(path), changes, tmp_path, editor)
        return
    before = path.read_bytes()
    try:
        edited = assert_harmless(path, kind, changes, editor)
    except EditRefusedError:
        # Only a single editor may give up, and it leaves the file as it was.
        assert editor in ("lief", "patchelf", "inplace")
        assert not (editor == "inplace" and (change in IN_SLOTS or linker == "bfd"))
        assert path.read_bytes() == before
        return
    assert edited.editor in {"inplace": ("slot", "table"), "auto": (*EDITORS, "slot", "table")}.get(
        editor, (editor,)
    )
    if editor in ("inplace", "auto"):
        if change in IN_SLOTS:
            assert edited.editor == "slot"
        elif linker == "bfd":
            assert edited.editor == "table"
        assert edited.content.size == len(before) or edited.editor in ("lief", "patchelf")


@pytest.mark.parametrize("linker", LINKERS)
@pytest.mark.parametrize(
    ("changes", "editor"),
    [
        (Changes(runpath="$ORIGIN/../lib"), "slot"),
        (Changes(runpath=OLD_RUNPATH), "slot"),
        (Changes(runpath=""), "slot"),
        (Changes(rpath=OLD_RUNPATH), ""),
    ],
)
def test_an_rpath_becomes_a_runpath(
    tmp_path: Path, linker: str, changes: Changes, editor: str
) -> None:
    path = pack(tmp_path, LINKERS[linker], runpath=None, rpath=OLD_RUNPATH).program
    assert by_readelf(path).rpath == OLD_RUNPATH
    edited = assert_harmless(path, "program", changes, "auto")
    assert edited.editor == editor


@pytest.mark.parametrize("editor", EDITORS)
def test_a_change_that_changes_nothing_needs_no_editor(tmp_path: Path, editor: str) -> None:
    path = pack(tmp_path).program
    for changes in (
        Changes(),
        Changes(runpath=OLD_RUNPATH),
        Changes(soname=""),
        Changes(replace_needed=(("libnone.so", "libdep.so.1"),)),
    ):
        edited = edit_file(content_of(path), changes, tmp_path, editor)
        assert edited.editor == ""
        assert edited.content == content_of(path)


@pytest.mark.parametrize("name", CROSS)
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath", "another needed name"])
def test_other_machines_programs_are_edited_in_place(
    tmp_path: Path, name: str, change: str
) -> None:
    path = pack(tmp_path, CROSS[name]).program
    edited = assert_harmless(path, "", CHANGES[change], "inplace")
    assert edited.editor == ("slot" if change in IN_SLOTS else "table")
    run(CROSS[name].compiler.replace("gcc", "strip"), path)
    assert by_readelf(path) == expected(by_readelf(path), CHANGES[change])
    assert emulated(path, name) == tags(CHANGES[change], "program")


def emulated(path: Path, name: str) -> set[str]:
    """What the program prints under qemu-user, which must be installed."""
    emulator = {"armhf": "qemu-arm"}.get(name, f"qemu-{name}")
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed")
    root = "/usr/" + CROSS[name].compiler.removesuffix("-gcc")
    search = [] if "$ORIGIN" in str(image_of(path).runpath) else ["-E", libraries(path, root)]
    return set(run(emulator, "-L", root, *search, path).stdout.split())


def libraries(path: Path, root: str) -> str:
    return f"LD_LIBRARY_PATH={path.parents[1] / 'lib'}:{root}/lib"


# --- every shape of file ----------------------------------------------------------------------


SHAPES: dict[str, tuple[str, ...]] = {
    "lazy binding": ("-Wl,-z,lazy",),
    "no relro": ("-Wl,-z,norelro",),
    "relro and now": ("-Wl,-z,relro,-z,now",),
    "code and data in one segment": ("-Wl,-z,noseparate-code",),
    "sysv hash": ("-Wl,--hash-style=sysv",),
    "gnu hash": ("-Wl,--hash-style=gnu",),
    "both hashes": ("-Wl,--hash-style=both",),
    "pages of 64 KiB": ("-Wl,-z,max-page-size=65536",),
    "pages of 2 MiB": ("-Wl,-z,max-page-size=2097152",),
    "packed relocations": ("-Wl,-z,pack-relative-relocs",),
    "relocations kept": ("-Wl,--emit-relocs",),
    "no spare dynamic entry": ("-Wl,--spare-dynamic-tags=0",),
    "no build-id": ("-Wl,--build-id=none",),
    "stripped": ("-s",),
}


@pytest.mark.parametrize("kind", ["program", "library"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_of_any_shape_gets_a_longer_runpath(tmp_path: Path, shape: str, kind: str) -> None:
    path = pack(tmp_path, LINKERS["bfd"], SHAPES[shape]).file(kind)
    edited = assert_harmless(path, kind, CHANGES["a longer runpath"], "auto")
    if shape != "code and data in one segment":
        assert edited.editor == "table"


def test_a_program_at_a_fixed_address_gets_a_longer_runpath(tmp_path: Path) -> None:
    path = pack(tmp_path).program
    build_elf(path, program=True, needed=["libdep.so.1"], runpath=OLD_RUNPATH, flags=["-no-pie"])
    assert image_of(path).type == "exec"
    assert assert_harmless(path, "program", CHANGES["a longer runpath"], "auto").editor == "table"


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld", "mold"])
def test_a_file_that_never_had_a_runpath_gets_one(tmp_path: Path, linker: str) -> None:
    path = pack(tmp_path, LINKERS[linker], runpath=None).program
    assert_harmless(path, "program", CHANGES["a longer runpath"], "auto")


def test_without_a_spare_entry_nothing_is_added_in_place(tmp_path: Path) -> None:
    path = pack(tmp_path, LINKERS["bfd"], ("-Wl,--spare-dynamic-tags=0",), runpath=None).program
    with pytest.raises(EditRefusedError, match="has space for"):
        edit_file(content_of(path), CHANGES["a shorter runpath"], tmp_path, "inplace")


@pytest.mark.parametrize("style", ["sysv", "gnu"])
def test_a_file_without_section_headers_is_edited_in_place(tmp_path: Path, style: str) -> None:
    made = pack(tmp_path, LINKERS["bfd"], (f"-Wl,--hash-style={style}",))
    path = made.library
    path.write_bytes(without_section_headers(path.read_bytes()))
    changes = CHANGES["a longer runpath"]
    edited = edit_file(content_of(path), changes, tmp_path, "inplace")
    assert edited.editor == "table"
    save(edited, path)
    assert image_of(path).runpath == changes.runpath
    assert output(path, "library") == {"libx", "libdep"}


def test_a_second_different_edit_finds_room_as_well(tmp_path: Path) -> None:
    path = pack(tmp_path, LINKERS["bfd"]).program
    for number in range(4):
        changes = Changes(runpath=f"$ORIGIN/../lib:{LONG * (number + 1)}")
        assert edit_and_save(path, changes).editor == "table"
        assert by_readelf(path).runpath == changes.runpath
        assert output(path, "program") == {"main", "libdep"}
    assert edit_and_save(path, Changes(runpath=OLD_RUNPATH)).editor == "slot"


def edit_and_save(path: Path, changes: Changes, editor: str = "inplace") -> EditResult:
    edited = edit_file(content_of(path), changes, path.parent, editor)
    save(edited, path)
    return edited


EDITS = st.one_of(
    st.builds(lambda p: Changes(runpath=p), st.sampled_from(["", "$ORIGIN/../lib", LONG, "/r"])),
    st.builds(lambda p: Changes(rpath=p), st.sampled_from(["$ORIGIN/../lib", LONG, "/r"])),
    st.builds(lambda s: Changes(soname=s), st.sampled_from(["", "libx.so.1", "lib" + "y" * 30])),
    st.just(Changes(replace_needed=(("libdep.so.1", "libother.so.1"),))),
    st.just(Changes(replace_needed=(("libother.so.1", "libdep.so.1"),))),
)


@settings(max_examples=20, deadline=None)
@given(edits=st.lists(EDITS, min_size=1, max_size=6), linker=st.sampled_from(["bfd", "gold"]))
def test_edits_upon_edits_give_what_was_asked_and_can_be_undone(
    tmp_path_factory: pytest.TempPathFactory, linker: str, edits: list[Changes]
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    path = pack(folder, LINKERS[linker]).library
    original = by_readelf(path)
    undo = Changes(
        runpath=OLD_RUNPATH,
        soname=original.soname,
        replace_needed=(("libother.so.1", "libdep.so.1"),),
    )
    for changes in (*edits, undo):
        wanted = expected(by_readelf(path), changes)
        try:
            edit_and_save(path, changes)
        except EditRefusedError as error:
            assert "no segment has enough unused space" in str(error)  # noqa: PT017
            return
        assert by_readelf(path) == wanted
    assert by_readelf(path) == original
    assert output(path, "library") == {"libx", "libdep"}
    shutil.rmtree(folder)


def test_a_member_of_an_archive_is_edited_where_it_lies(tmp_path: Path) -> None:
    data = pack(tmp_path, LINKERS["bfd"]).program.read_bytes()
    archive = tmp_path / "archive"
    archive.write_bytes(b"before" * 100 + data + b"behind" * 100)
    with archive.open("rb") as file:
        member = FileSlice(file.fileno(), 600, len(data))
        edited = edit_file(member, CHANGES["a longer runpath"], tmp_path)
        alone = edit_file(BytesContent(data), CHANGES["a longer runpath"], tmp_path)
        assert bytes_of(edited.content) == bytes_of(alone.content)


# --- versions ---------------------------------------------------------------------------------


def versioned(folder: Path, toolchain: Toolchain = HOST) -> Path:
    """A program that wants a version of libv.so.1; libw.so.1 offers the same."""
    (folder / "lib").mkdir(parents=True)
    (folder / "script").write_text("V_1 { global: answer; local: *; };")
    source = "int answer(void) { return 0; }"
    for name in ("libv.so.1", "libw.so.1"):
        flags = [f"-Wl,--version-script={folder / 'script'}"]
        build_elf(
            folder / "lib" / name, soname=name, source=source, flags=flags, toolchain=toolchain
        )
    return build_elf(
        folder / "bin/x",
        program=True,
        source="int answer(void); int main(void) { return answer(); }",
        flags=[str(folder / "lib/libv.so.1"), "-Wl,-rpath,$ORIGIN/../lib"],
        toolchain=toolchain,
    )


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold"])
@pytest.mark.parametrize("editor", EDITORS)
def test_wanted_versions_follow_the_name_of_their_library(
    tmp_path: Path, linker: str, editor: str
) -> None:
    # The loader stops a program that wants versions of a library under a name not loaded.
    path = versioned(tmp_path, LINKERS[linker])
    for new in ("libw.so.1", f"{tmp_path}/lib/libw.so.1"):
        if image_of(path).needed[0] == new:
            continue
        changes = Changes(replace_needed=((image_of(path).needed[0], new),))
        try:
            edit_and_save(path, changes, editor)
        except EditRefusedError:
            assert editor != "auto"
            return
        run(path)
        assert "libw.so.1" in run(LOADER, "--list", path).stdout
        if editor == "auto" and "/" not in new:
            (tmp_path / "lib/libv.so.1").unlink()
            run(path)


def test_a_versioned_library_is_not_replaced_by_a_path_the_loader_expands(tmp_path: Path) -> None:
    path = versioned(tmp_path)
    changes = Changes(replace_needed=(("libv.so.1", "$ORIGIN/../lib/libv.so.1"),))
    with pytest.raises(EditRefusedError, match=r"it needs symbol versions of libv\.so\.1"):
        edit_file(content_of(path), changes, tmp_path)


def test_a_path_before_a_versioned_name_is_loaded_and_satisfies_it(tmp_path: Path) -> None:
    path = versioned(tmp_path)
    changes = Changes(insert_needed=(("libv.so.1", "$ORIGIN/../lib/libv.so.1"),))
    edit_and_save(path, changes)
    run(path, LD_LIBRARY_PATH="/nonexistent")


# --- what stays as it is ----------------------------------------------------------------------


@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath"])
def test_data_appended_to_the_file_survives(tmp_path: Path, editor: str, change: str) -> None:
    path = pack(tmp_path, LINKERS["bfd"]).program
    payload = os.urandom(5000)
    path.write_bytes(path.read_bytes() + payload)
    try:
        edit_and_save(path, CHANGES[change], editor)
    except EditRefusedError:
        assert editor in ("lief", "patchelf")
        return
    assert path.read_bytes().endswith(payload)
    assert output(path, "program") == {"main", "libdep"}


def test_an_edit_in_place_writes_nothing_to_disk(tmp_path: Path) -> None:
    path = pack(tmp_path).program
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    edit_file(content_of(path), CHANGES["a longer runpath"], scratch)
    assert not any(scratch.iterdir())


def test_debuggers_and_unwinders_still_see_the_same_addresses(tmp_path: Path) -> None:
    path = pack(tmp_path, LINKERS["bfd"]).program
    asked = ("readelf", "--debug-dump=decodedline", path), ("nm", path), ("readelf", "-nW", path)
    before = [run(*command).stdout for command in asked]
    edit_and_save(path, CHANGES["a longer runpath"])
    assert [run(*command).stdout for command in asked] == before


def test_elflint_finds_nothing_new_to_complain_about(tmp_path: Path) -> None:
    path = pack(tmp_path, LINKERS["bfd"]).program
    shutil.copy(path, tmp_path / "before")
    edit_and_save(path, CHANGES["a longer runpath"])
    assert complaints(path) <= complaints(tmp_path / "before")


def complaints(path: Path) -> set[str]:
    run("eu-elflint", "--version")
    return set(run("sh", "-c", f"eu-elflint --gnu-ld {path} || true").stdout.splitlines())


# --- what is refused --------------------------------------------------------------------------


def refused(folder: Path, path: Path, editor: str = "auto") -> str:
    with pytest.raises(EditRefusedError) as error:
        edit_file(content_of(path), Changes(runpath="$ORIGIN"), folder, editor)
    assert error.value.message.startswith("it cannot be edited: ")
    return error.value.message.partition(": ")[2]


@pytest.mark.parametrize("editor", EDITORS)
def test_an_object_file_is_refused(tmp_path: Path, editor: str) -> None:
    assert refused(tmp_path, object_file(["-c"], "int x;", HOST), editor) == "it is an object file"


@pytest.mark.parametrize("editor", EDITORS)
def test_a_static_program_is_refused(tmp_path: Path, editor: str) -> None:
    path = build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    assert refused(tmp_path, path, editor) == "it is static or contains only debug information"


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold"])
def test_a_static_pie_is_refused(tmp_path: Path, linker: str) -> None:
    path = build_elf(tmp_path / "x", program=True, flags=["-static-pie"], toolchain=LINKERS[linker])
    assert refused(tmp_path, path) == "it is a static program"


def test_a_core_file_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path).program
    path.write_bytes(with_header(path.read_bytes(), type=c.ET_CORE))
    assert refused(tmp_path, path) == "it is a core file"


@pytest.mark.parametrize("command", ["objcopy --only-keep-debug {0} {1}", "eu-strip {0} -f {1}"])
def test_a_debug_file_is_refused(tmp_path: Path, command: str) -> None:
    path = pack(tmp_path).program
    run(*command.format(path, tmp_path / "x.debug").split())
    message = refused(tmp_path, tmp_path / "x.debug")
    assert message == "it is static or contains only debug information"


@pytest.mark.parametrize(
    "path",
    [
        LOADER,
        "/usr/lib/x86_64-linux-musl/libc.so",
        "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
        "/usr/arm-linux-gnueabihf/lib/ld-linux-armhf.so.3",
        "/usr/i686-linux-gnu/lib/ld-linux.so.2",
        "/usr/powerpc64le-linux-gnu/lib/ld64.so.2",
        "/usr/riscv64-linux-gnu/lib/ld-linux-riscv64-lp64d.so.1",
        "/usr/s390x-linux-gnu/lib/ld64.so.1",
    ],
)
def test_a_dynamic_loader_is_refused(tmp_path: Path, path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"{path} is not installed")
    assert refused(tmp_path, Path(path).resolve()) == "it is the dynamic loader"


@pytest.mark.parametrize("soname", ["libdl.so.2", "libld.so.1", "ld.bfd.so", "libc.so.6"])
def test_a_library_with_a_name_like_a_loaders_is_not_taken_for_one(
    tmp_path: Path, soname: str
) -> None:
    path = build_elf(tmp_path / "x.so", soname=soname, flags=["-nostdlib"], source="int x;")
    assert edit_file(content_of(path), Changes(runpath="$ORIGIN"), tmp_path).editor


def test_a_damaged_file_is_not_edited(tmp_path: Path) -> None:
    data = pack(tmp_path).program.read_bytes()
    with pytest.raises(DamagedElfError):
        edit_file(BytesContent(data[:0x1000]), Changes(runpath="$ORIGIN"), tmp_path)


def test_a_refusal_names_every_editor_that_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundle_fix.elf.edit.patchelf.find_patchelf", lambda: None)
    path = pack(tmp_path, LINKERS["bfd"], ("-Wl,--spare-dynamic-tags=0",), runpath=None).program
    with pytest.raises(EditRefusedError) as error:
        edit_file(content_of(path), Changes(runpath="$ORIGIN"), tmp_path)
    message = error.value.message
    assert [message.find(f"{name}: ") > 0 for name in ("slot", "table", "lief")] == [True] * 3
    assert "patchelf: patchelf is not installed" in message


@pytest.mark.parametrize("text", [os.fsdecode(b"/caf\xe9/lib"), "/café"])
@pytest.mark.parametrize("editor", EDITORS)
def test_names_in_any_encoding_are_written_or_refused(
    tmp_path: Path, editor: str, text: str
) -> None:
    path = pack(tmp_path).program
    try:
        edited = edit_file(content_of(path), Changes(runpath=text), tmp_path, editor)
    except EditRefusedError:
        assert editor == "lief"
        return
    assert os.fsencode(text) + b"\0" in bytes_of(edited.content)


def test_a_dynamic_string_beyond_all_tables_is_refused(tmp_path: Path) -> None:
    data = pack(tmp_path).program.read_bytes()
    lying = with_dynamic(data, c.DT_DEBUG, 1 << 40, new_tag=c.DT_AUDIT)
    with pytest.raises(EditRefusedError, match="lies outside its table"):
        edit_file(BytesContent(lying), CHANGES["a shorter runpath"], tmp_path, "inplace")


# --- damaged files ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return pack(tmp_path_factory.mktemp("victim")).library.read_bytes()


def places(data: bytes) -> Iterator[int]:
    """Offsets of headers, of the dynamic section, and of the tables before the code."""
    yield from range(16, 0x600)
    for segment in image_in(data).segments:
        if segment.type == c.PT_DYNAMIC:
            yield from range(segment.offset, segment.file_end)
    header = image_in(data).header
    yield from range(header.shoff, header.shoff + header.shnum * header.shentsize)


@settings(
    max_examples=120, deadline=4000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), change=st.sampled_from(["a shorter runpath", "a longer runpath"]))
def test_an_edit_of_a_damaged_file_is_refused_or_keeps_the_damage(
    victim: bytes, tmp_path: Path, data: st.DataObject, change: str
) -> None:
    damaged = bytearray(victim)
    spots = st.tuples(st.sampled_from(list(places(victim))), st.integers(0, 255))
    for at, value in data.draw(st.lists(spots, min_size=1, max_size=5)):
        damaged[at] = value
    if data.draw(st.booleans()):
        at = data.draw(st.sampled_from(list(places(victim))))
        word = data.draw(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 31, (1 << 64) - 1, 1 << 63]))
        damaged = bytearray(splice(bytes(damaged), at, word.to_bytes(8, "little")))
    before = BytesContent(bytes(damaged))
    changes = replace(CHANGES[change])
    try:
        edited = edit_file(before, changes, tmp_path, "inplace")
    except BundleFixError:
        return
    assert edited.content.size == len(damaged)
    assert edited.image.runpath == changes.runpath


# --- cost -------------------------------------------------------------------------------------


PEAK = """
import resource, sys, tempfile
from pathlib import Path
from bundle_fix.model.content import PathContent
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
path = Path(sys.argv[1])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
with tempfile.TemporaryDirectory() as scratch:
    content = PathContent(path, path.stat().st_size)
    print(edit_file(content, Changes(runpath=sys.argv[2]), Path(scratch), "inplace").editor)
print(peak() - before)
"""


def peak_of_edit(path: Path, runpath: str) -> tuple[str, int]:
    """Who edited the file, in a process of its own, and how many KiB the process grew by."""
    editor, grown = run(sys.executable, "-c", PEAK, path, runpath).stdout.split()
    return editor, int(grown)


@pytest.mark.parametrize("where", ["debug information", "appended data"])
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath"])
def test_a_library_of_300_megabytes_takes_no_more_memory_than_a_small_one(
    tmp_path: Path, where: str, change: str
) -> None:
    path = pack(tmp_path, LINKERS["bfd"]).library
    if where == "appended data":
        os.truncate(path, 300 << 20)
    else:
        data = path.read_bytes()
        much = (300 << 20) - len(data)
        path.write_bytes(with_section(data, ".debug_str", offset=len(data), size=much))
        os.truncate(path, 300 << 20)
    assert path.stat().st_size >= 300 << 20
    editor, grown = peak_of_edit(path, str(CHANGES[change].runpath))
    assert editor == ("slot" if change in IN_SLOTS else "table")
    # The tables of so small a library take next to nothing; the bar for large ones is 60 MB.
    assert grown < 8 << 10


def test_a_library_of_120_000_symbols_takes_little_more_memory_than_its_tables(
    tmp_path: Path,
) -> None:
    names = (f"_ZN7pegasus7replica9generated{n:06d}ServiceInterfaceImplEv" for n in range(120_000))
    source = "".join(f'__asm__(".globl {s}\\n.type {s},@function\\n{s}: ret");\n' for s in names)
    path = build_elf(
        tmp_path / "x.so", source=source, flags=["-nostdlib", "-g0"], runpath=OLD_RUNPATH,
        toolchain=LINKERS["bfd"],
    )  # fmt: skip
    table = find_string_table(image_of(path))
    assert table is not None
    assert table[1] > 6 << 20
    # Larger than what LIEF is asked about, which reads it whole.
    os.truncate(path, 65 << 20)
    editor, grown = peak_of_edit(path, "$ORIGIN")
    assert editor == "slot"
    assert grown < 30 << 10


def test_an_empty_segment_is_no_obstacle(tmp_path: Path) -> None:
    path = build_elf(
        tmp_path / "x.so", source="int f(void) { return 1; }", runpath=OLD_RUNPATH,
        flags=["-nostdlib", "-fno-asynchronous-unwind-tables"], toolchain=LINKERS["bfd"],
    )  # fmt: skip
    assert any(s.memsz == 0 for s in image_of(path).find_loads())
    edit_and_save(path, Changes(runpath="$ORIGIN"))
    assert by_readelf(path).runpath == "$ORIGIN"
