"""Edits of needed names with symbol versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.edit import edit_file
from bundle_fix.elf.edit.errors import EditRefusedError
from elf.edit.sample_pack import (
    EDITORS,
    edit_and_save,
)
from elf.support import (
    LOADER,
    get_content,
    read_image_of,
    run_tool,
)


def build_versioned_program(directory: Path, toolchain: Toolchain = HOST) -> Path:
    """Build a program that needs a version of libv.so.1; libw.so.1 defines the same version."""
    (directory / "lib").mkdir(parents=True)
    (directory / "script").write_text("V_1 { global: answer; local: *; };")
    source = "int answer(void) { return 0; }"
    for name in ("libv.so.1", "libw.so.1"):
        flags = [f"-Wl,--version-script={directory / 'script'}"]
        build_elf(
            directory / "lib" / name, soname=name, source=source, flags=flags, toolchain=toolchain
        )
    return build_elf(
        directory / "bin/x",
        program=True,
        source="int answer(void); int main(void) { return answer(); }",
        flags=[str(directory / "lib/libv.so.1"), "-Wl,-rpath,$ORIGIN/../lib"],
        toolchain=toolchain,
    )


@pytest.mark.parametrize("linker", ["bfd", "lld", "mold"])
@pytest.mark.parametrize("editor", EDITORS)
def test_needed_versions_follow_a_renamed_library(tmp_path: Path, linker: str, editor: str) -> None:
    # The loader ends a program that needs versions of a library whose name was not loaded.
    path = build_versioned_program(tmp_path, LINKERS[linker])
    for new in ("libw.so.1", f"{tmp_path}/lib/libw.so.1"):
        if read_image_of(path).needed[0] == new:
            continue
        changes = Changes(replace_needed=((read_image_of(path).needed[0], new),))
        try:
            edit_and_save(path, changes, editor)
        except EditRefusedError:
            assert editor != "auto"
            return
        run_tool(path)
        assert "libw.so.1" in run_tool(LOADER, "--list", path).stdout
        if editor == "auto" and "/" not in new:
            (tmp_path / "lib/libv.so.1").unlink()
            run_tool(path)


def test_a_versioned_library_is_not_replaced_by_a_path_with_tokens(tmp_path: Path) -> None:
    path = build_versioned_program(tmp_path)
    changes = Changes(replace_needed=(("libv.so.1", "$ORIGIN/../lib/libv.so.1"),))
    with pytest.raises(EditRefusedError, match=r"it needs symbol versions of libv\.so\.1"):
        edit_file(get_content(path), changes, tmp_path)


def test_a_path_inserted_before_a_versioned_name_satisfies_it(tmp_path: Path) -> None:
    path = build_versioned_program(tmp_path)
    changes = Changes(insert_needed=(("libv.so.1", "$ORIGIN/../lib/libv.so.1"),))
    edit_and_save(path, changes)
    run_tool(path, LD_LIBRARY_PATH="/nonexistent")
