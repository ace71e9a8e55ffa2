"""Edits of real files with every linker, editor and change: the result is as requested and runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.elf import CROSS, LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.model.content import BytesContent, FileSlice
from elf.edit.sample_pack import (
    CHANGES,
    EDITORS,
    IN_SLOTS,
    LONG,
    OLD_RUNPATH,
    assert_harmless,
    build_pack,
    compute_strings,
    edit_and_save,
    list_expected_tags,
    run_and_list_tags,
    save_result,
)
from elf.support import (
    drop_section_headers,
    get_content,
    read_bytes_of,
    read_image_of,
    read_with_readelf,
    run_tool,
)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("kind", ["program", "library"])
@pytest.mark.parametrize("linker", LINKERS)
def test_every_accepted_edit_is_correct(
    tmp_path: Path, linker: str, kind: str, editor: str, change: str
) -> None:
    path = build_pack(tmp_path, LINKERS[linker]).file(kind)
    changes = CHANGES[change]
    before = path.read_bytes()
    try:
        edited = assert_harmless(path, kind, changes, editor)
    except EditRefusedError:
        # Only a single editor may refuse, and it then does not change the file.
        assert editor in ("lief", "patchelf", "inplace")
        assert not (editor == "inplace" and (change in IN_SLOTS or linker == "bfd"))
        assert path.read_bytes() == before
        return
    assert edited.editor in {
        "inplace": ("slot", "table"), "auto": ("slot", "table", "segment"),
    }.get(editor, (editor,))  # fmt: skip
    if editor in ("inplace", "auto"):
        if change in IN_SLOTS:
            assert edited.editor == "slot"
        elif linker == "bfd":
            assert edited.editor == "table"
        assert edited.content.size == len(before) or edited.editor == "segment"


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
    path = build_pack(tmp_path, LINKERS[linker], runpath=None, rpath=OLD_RUNPATH).program
    assert read_with_readelf(path).rpath == OLD_RUNPATH
    edited = assert_harmless(path, "program", changes, "auto")
    assert edited.editor == editor


@pytest.mark.parametrize("editor", EDITORS)
def test_changes_without_effect_use_no_editor(tmp_path: Path, editor: str) -> None:
    path = build_pack(tmp_path).program
    for changes in (
        Changes(),
        Changes(runpath=OLD_RUNPATH),
        Changes(soname=""),
        Changes(replace_needed=(("libnone.so", "libdep.so.1"),)),
    ):
        edited = edit_file(get_content(path), changes, tmp_path, editor)
        assert edited.editor == ""
        assert edited.content == get_content(path)


@pytest.mark.parametrize("name", CROSS)
@pytest.mark.parametrize("change", ["a shorter runpath", "a longer runpath", "another needed name"])
def test_programs_of_other_machines_are_edited_in_place(
    tmp_path: Path, name: str, change: str
) -> None:
    path = build_pack(tmp_path, CROSS[name]).program
    edited = assert_harmless(path, "", CHANGES[change], "inplace")
    assert edited.editor == ("slot" if change in IN_SLOTS else "table")
    run_tool(CROSS[name].compiler.replace("gcc", "strip"), path)
    assert read_with_readelf(path) == compute_strings(read_with_readelf(path), CHANGES[change])
    assert run_emulated(path, name) == list_expected_tags(CHANGES[change], "program")


def run_emulated(path: Path, name: str) -> set[str]:
    """Return the tags that the program prints under qemu-user; skip if it is not installed."""
    emulator = {"armhf": "qemu-arm"}.get(name, f"qemu-{name}")
    if shutil.which(emulator) is None:
        pytest.skip(f"{emulator} is not installed")
    root = "/usr/" + CROSS[name].compiler.removesuffix("-gcc")
    search = (
        []
        if "$ORIGIN" in str(read_image_of(path).runpath)
        else ["-E", find_sysroot_libraries(path, root)]
    )
    return set(run_tool(emulator, "-L", root, *search, path).stdout.split())


def find_sysroot_libraries(path: Path, root: str) -> str:
    return f"LD_LIBRARY_PATH={path.parents[1] / 'lib'}:{root}/lib"


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
    path = build_pack(tmp_path, LINKERS["bfd"], SHAPES[shape]).file(kind)
    edited = assert_harmless(path, kind, CHANGES["a longer runpath"], "auto")
    if shape != "code and data in one segment":
        assert edited.editor == "table"


def test_a_program_at_a_fixed_address_gets_a_longer_runpath(tmp_path: Path) -> None:
    path = build_pack(tmp_path).program
    build_elf(path, program=True, needed=["libdep.so.1"], runpath=OLD_RUNPATH, flags=["-no-pie"])
    assert read_image_of(path).type == "exec"
    assert assert_harmless(path, "program", CHANGES["a longer runpath"], "auto").editor == "table"


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld", "mold"])
def test_a_file_without_a_runpath_gets_one(tmp_path: Path, linker: str) -> None:
    path = build_pack(tmp_path, LINKERS[linker], runpath=None).program
    assert_harmless(path, "program", CHANGES["a longer runpath"], "auto")


def test_without_an_unused_entry_a_dispensable_one_is_replaced(tmp_path: Path) -> None:
    path = build_pack(
        tmp_path, LINKERS["bfd"], ("-Wl,--spare-dynamic-tags=0",), runpath=None
    ).program
    before = {entry.tag for entry in read_image_of(path).dynamic or ()}
    edited = assert_harmless(path, "program", CHANGES["a shorter runpath"], "inplace")
    after = {entry.tag for entry in edited.image.dynamic or ()}
    assert (before - after, after - before) == ({c.DT_RELACOUNT}, {c.DT_RUNPATH})


@pytest.mark.parametrize("style", ["sysv", "gnu"])
def test_a_file_without_section_headers_is_edited_in_place(tmp_path: Path, style: str) -> None:
    built = build_pack(tmp_path, LINKERS["bfd"], (f"-Wl,--hash-style={style}",))
    path = built.library
    path.write_bytes(drop_section_headers(path.read_bytes()))
    changes = CHANGES["a longer runpath"]
    edited = edit_file(get_content(path), changes, tmp_path, "inplace")
    assert edited.editor == "table"
    save_result(edited, path)
    assert read_image_of(path).runpath == changes.runpath
    assert run_and_list_tags(path, "library") == {"libx", "libdep"}


def test_a_second_edit_finds_space(tmp_path: Path) -> None:
    path = build_pack(tmp_path, LINKERS["bfd"]).program
    for number in range(4):
        changes = Changes(runpath=f"$ORIGIN/../lib:{LONG * (number + 1)}")
        assert edit_and_save(path, changes).editor == "table"
        assert read_with_readelf(path).runpath == changes.runpath
        assert run_and_list_tags(path, "program") == {"main", "libdep"}
    assert edit_and_save(path, Changes(runpath=OLD_RUNPATH)).editor == "slot"


EDITS = st.one_of(
    st.builds(lambda p: Changes(runpath=p), st.sampled_from(["", "$ORIGIN/../lib", LONG, "/r"])),
    st.builds(lambda p: Changes(rpath=p), st.sampled_from(["$ORIGIN/../lib", LONG, "/r"])),
    st.builds(lambda s: Changes(soname=s), st.sampled_from(["", "libx.so.1", "lib" + "y" * 30])),
    st.just(Changes(replace_needed=(("libdep.so.1", "libother.so.1"),))),
    st.just(Changes(replace_needed=(("libother.so.1", "libdep.so.1"),))),
)


@settings(max_examples=20, deadline=None)
@given(edits=st.lists(EDITS, min_size=1, max_size=6), linker=st.sampled_from(["bfd", "gold"]))
def test_repeated_edits_give_the_requested_strings_and_can_be_undone(
    tmp_path_factory: pytest.TempPathFactory, linker: str, edits: list[Changes]
) -> None:
    directory = tmp_path_factory.mktemp("edits")
    path = build_pack(directory, LINKERS[linker]).library
    original = read_with_readelf(path)
    undo = Changes(
        runpath=OLD_RUNPATH,
        soname=original.soname,
        replace_needed=(("libother.so.1", "libdep.so.1"),),
    )
    for changes in (*edits, undo):
        strings_after = compute_strings(read_with_readelf(path), changes)
        try:
            edit_and_save(path, changes)
        except EditRefusedError as error:
            assert "no segment has enough unused space" in str(error)  # noqa: PT017
            return
        assert read_with_readelf(path) == strings_after
    assert read_with_readelf(path) == original
    assert run_and_list_tags(path, "library") == {"libx", "libdep"}
    shutil.rmtree(directory)


def test_a_member_of_an_archive_is_edited_in_place(tmp_path: Path) -> None:
    data = build_pack(tmp_path, LINKERS["bfd"]).program.read_bytes()
    archive = tmp_path / "archive"
    archive.write_bytes(b"before" * 100 + data + b"behind" * 100)
    with archive.open("rb") as file:
        member = FileSlice(file.fileno(), 600, len(data))
        edited = edit_file(member, CHANGES["a longer runpath"], tmp_path)
        alone = edit_file(BytesContent(data), CHANGES["a longer runpath"], tmp_path)
        assert read_bytes_of(edited.content) == read_bytes_of(alone.content)
