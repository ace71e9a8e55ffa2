"""Files for other systems, which the header or a note of the linker identifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.read.target import find_foreign_system
from bundle_fix.model.content import make_path_content

NOTE = """
__asm__(".pushsection .note.ident,\\"a\\",@note\\n"
        ".balign 4\\n.long %d, 4, 1\\n.asciz \\"%s\\"\\n.balign 4\\n.long 21\\n.popsection");
int work(void) { return 1; }
"""


def find_system(path: Path) -> str | None:
    with make_path_content(path).open() as reader:
        return find_foreign_system(reader, read_image(reader))


def build_with_note(path: Path, owner: str, libc: str) -> Path:
    source = NOTE % (len(owner) + 1, owner)
    return build_elf(path, needed=[libc], source=source, flags=["-nostdlib"])


@pytest.mark.parametrize(
    ("owner", "libc", "expected"),
    [
        ("Android", "libc.so", "Android"),
        ("OpenBSD", "libc.so.97.0", "OpenBSD"),
        ("NetBSD", "libc.so.12", "NetBSD"),
        ("Vendor", "libc.so", None),  # for musl
        ("Android", "libc.so.6", None),  # built by the NDK's clang, for glibc
    ],
)
def test_a_note_identifies_the_system_unless_the_c_library_is_for_linux(
    tmp_path: Path, owner: str, libc: str, expected: str | None
) -> None:
    assert find_system(build_with_note(tmp_path / "libx.so", owner, libc)) == expected


@pytest.mark.parametrize(
    ("abi", "expected"), [(0, None), (3, None), (97, None), (9, "FreeBSD"), (200, "system 200")]
)
def test_the_os_abi_identifies_the_system(tmp_path: Path, abi: int, expected: str | None) -> None:
    path = build_elf(tmp_path / "libx.so")
    data = bytearray(path.read_bytes())
    data[7] = abi
    path.write_bytes(data)
    assert find_system(path) == expected
