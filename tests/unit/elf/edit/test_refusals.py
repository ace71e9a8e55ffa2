"""Files that no editor changes, and edits of damaged files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from builders.elf import HOST, LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from bundle_fix.elf.read import constants as c
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError, DamagedElfError
from elf.edit.sample_pack import (
    CHANGES,
    EDITORS,
    build_pack,
)
from elf.support import (
    LOADER,
    build_object_file,
    change_dynamic_entry,
    change_header,
    get_content,
    parse_image,
    read_bytes_of,
    replace_bytes,
    run_tool,
)


def get_refusal(directory: Path, path: Path, editor: str = "auto") -> str:
    with pytest.raises(EditRefusedError) as error:
        edit_file(get_content(path), Changes(runpath="$ORIGIN"), directory, editor)
    assert error.value.message.startswith("it cannot be edited: ")
    return error.value.message.partition(": ")[2]


@pytest.mark.parametrize("editor", EDITORS)
def test_an_object_file_is_refused(tmp_path: Path, editor: str) -> None:
    assert (
        get_refusal(tmp_path, build_object_file(["-c"], "int x;", HOST), editor)
        == "it is an object file"
    )


@pytest.mark.parametrize("editor", EDITORS)
def test_a_static_program_is_refused(tmp_path: Path, editor: str) -> None:
    path = build_elf(tmp_path / "x", program=True, flags=["-static", "-no-pie"])
    assert get_refusal(tmp_path, path, editor) == "it is static or contains only debug information"


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold"])
def test_a_static_pie_is_refused(tmp_path: Path, linker: str) -> None:
    path = build_elf(tmp_path / "x", program=True, flags=["-static-pie"], toolchain=LINKERS[linker])
    assert get_refusal(tmp_path, path) == "it is a static program"


def test_a_core_file_is_refused(tmp_path: Path) -> None:
    path = build_pack(tmp_path).program
    path.write_bytes(change_header(path.read_bytes(), type=c.ET_CORE))
    assert get_refusal(tmp_path, path) == "it is a core file"


@pytest.mark.parametrize("command", ["objcopy --only-keep-debug {0} {1}", "eu-strip {0} -f {1}"])
def test_a_debug_file_is_refused(tmp_path: Path, command: str) -> None:
    path = build_pack(tmp_path).program
    run_tool(*command.format(path, tmp_path / "x.debug").split())
    message = get_refusal(tmp_path, tmp_path / "x.debug")
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
    assert get_refusal(tmp_path, Path(path).resolve()) == "it is the dynamic loader"


@pytest.mark.parametrize(
    ("soname", "symbol"),
    [
        ("ld-uClibc.so.0", "x"), ("ld64-uClibc.so.1", "x"), ("ld-android.so", "x"),
        ("linker64", "x"), ("ld-elf.so.1", "x"), ("libany.so", "_dl_debug_state"),
        ("libany.so", "r_debug_state"), ("libany.so", "rtld_db_dlactivity"),
    ],
)  # fmt: skip
def test_a_loader_of_another_libc_is_refused(tmp_path: Path, soname: str, symbol: str) -> None:
    source = f"void {symbol}(void) {{}}"
    path = build_elf(tmp_path / "x.so", soname=soname, flags=["-nostdlib"], source=source)
    assert get_refusal(tmp_path, path) == "it is the dynamic loader"


@pytest.mark.parametrize("soname", ["libdl.so.2", "libld.so.1", "ld.bfd.so", "libc.so.6"])
def test_a_library_with_a_name_like_a_loader_is_edited(tmp_path: Path, soname: str) -> None:
    path = build_elf(tmp_path / "x.so", soname=soname, flags=["-nostdlib"], source="int x;")
    assert edit_file(get_content(path), Changes(runpath="$ORIGIN"), tmp_path).editor


def test_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    data = build_pack(tmp_path).program.read_bytes()
    with pytest.raises(DamagedElfError):
        edit_file(BytesContent(data[:0x1000]), Changes(runpath="$ORIGIN"), tmp_path)


def test_a_refusal_has_the_reason_of_every_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundle_fix.elf.edit.patchelf.find_patchelf", lambda: None)
    path = build_pack(tmp_path, LINKERS["lld"]).program
    path.write_bytes(path.read_bytes() + b"a payload")
    with pytest.raises(EditRefusedError) as error:
        edit_file(get_content(path), Changes(runpath="/" + "x" * 99), tmp_path)
    message = error.value.message
    assert all(name in message for name in ("slot: ", "table: ", "segment: ", "lief (headers "))
    assert "patchelf: patchelf is not installed" in message


@pytest.mark.parametrize("text", [os.fsdecode(b"/caf\xe9/lib"), "/café"])
@pytest.mark.parametrize("editor", EDITORS)
def test_names_in_any_encoding_are_written_or_refused(
    tmp_path: Path, editor: str, text: str
) -> None:
    path = build_pack(tmp_path).program
    try:
        edited = edit_file(get_content(path), Changes(runpath=text), tmp_path, editor)
    except EditRefusedError:
        assert editor in ("lief", "patchelf")
        return
    assert os.fsencode(text) + b"\0" in read_bytes_of(edited.content)


def test_a_dynamic_string_beyond_the_string_table_is_refused(tmp_path: Path) -> None:
    data = build_pack(tmp_path).program.read_bytes()
    invalid = change_dynamic_entry(data, c.DT_DEBUG, 1 << 40, new_tag=c.DT_AUDIT)
    with pytest.raises(EditRefusedError, match="lies outside its table"):
        edit_file(BytesContent(invalid), CHANGES["a shorter runpath"], tmp_path, "inplace")


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_pack(tmp_path_factory.mktemp("undamaged")).library.read_bytes()


def list_vital_offsets(data: bytes) -> Iterator[int]:
    """Yield the offsets of headers, of the dynamic section, and of the tables before the code."""
    yield from range(16, 0x600)
    for segment in parse_image(data).segments:
        if segment.type == c.PT_DYNAMIC:
            yield from range(segment.offset, segment.file_end)
    header = parse_image(data).header
    yield from range(header.shoff, header.shoff + header.shnum * header.shentsize)


@settings(
    max_examples=120, deadline=4000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), change=st.sampled_from(["a shorter runpath", "a longer runpath"]))
def test_an_edit_of_a_damaged_file_is_refused_or_keeps_the_damage(
    undamaged: bytes, tmp_path: Path, data: st.DataObject, change: str
) -> None:
    damaged = bytearray(undamaged)
    byte_changes = st.tuples(
        st.sampled_from(list(list_vital_offsets(undamaged))), st.integers(0, 255)
    )
    for at, value in data.draw(st.lists(byte_changes, min_size=1, max_size=5)):
        damaged[at] = value
    if data.draw(st.booleans()):
        at = data.draw(st.sampled_from(list(list_vital_offsets(undamaged))))
        word = data.draw(st.sampled_from([0, 1, (1 << 32) - 1, 1 << 31, (1 << 64) - 1, 1 << 63]))
        damaged = bytearray(replace_bytes(bytes(damaged), at, word.to_bytes(8, "little")))
    before = BytesContent(bytes(damaged))
    changes = replace(CHANGES[change])
    try:
        edited = edit_file(before, changes, tmp_path, "inplace")
    except BundleFixError:
        return
    assert edited.content.size == len(damaged)
    assert edited.image.runpath == changes.runpath
