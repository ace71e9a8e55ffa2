"""The contract of LIEF's results: what the loader would see is as before."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.elf import LINKERS, build_elf
from bundle_fix.elf.changes import Changes
from bundle_fix.elf.edit.patchelf import find_patchelf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.verify.equivalence.contract import (
    MOVED_BY_PATCHELF,
    UNMOVABLE,
    Movable,
    find_broken_equivalence,
)
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import DamagedElfError
from elf.edit.programs import LONGER, build_program, edit_data
from elf.verify.damage import (
    Damage,
    damage_dynamic_entry,
    damage_header,
    damage_section,
    damage_section_end,
    damage_segment,
    damage_symbol,
)

SOURCE = """
extern int puts(const char *);
int counter = 7;
int *address = &counter;
int (*print)(const char *) = puts;
int add(int n) { return puts("add") + n + counter; }
int main(void) { return add(1); }
"""
CHANGES = Changes(runpath=LONGER)


def compare(before: bytes, after: bytes, movable: Movable = UNMOVABLE) -> list[str]:
    with BytesContent(before).open() as old, BytesContent(after).open() as new:
        return list(find_broken_equivalence(old, new, CHANGES, movable))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return a library, and what LIEF made of it."""
    directory = tmp_path_factory.mktemp("files")
    flags = ("-Wl,--hash-style=both",)
    path = build_elf(directory / "x.so", source=SOURCE, runpath="/opt/old", flags=flags)
    return path.read_bytes(), edit_data(path.read_bytes(), CHANGES, directory, "lief")


def test_the_results_of_all_editors_keep_the_contract(
    tmp_path: Path, files: tuple[bytes, bytes]
) -> None:
    assert compare(*files) == []
    before = build_program(tmp_path)
    for editor in ("inplace", "lief"):
        assert compare(before, edit_data(before, CHANGES, tmp_path, editor)) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_symbol(".dynsym", b"add", 8), "the dynamic symbols or their versions changed"),
        (damage_symbol(".dynsym", b"add", 16), "the dynamic symbols or their versions changed"),
        (damage_symbol(".dynsym", b"add", 4), "the dynamic symbols or their versions changed"),
        (damage_section(".gnu.version", 2), "the dynamic symbols or their versions changed"),
        (damage_section_end(".gnu.hash", 3), "a hash table finds other symbols"),
        (damage_section(".rela.dyn", 0), "the relocations changed"),
        (damage_section(".rela.dyn", 8), "the relocations changed"),
        (damage_section(".rela.dyn", 16), "the relocations changed"),
        (damage_dynamic_entry(c.DT_RELASZ, -24), "dynamic tags changed that no edit may change"),
        (damage_section(".text"), "loaded bytes changed near"),
        (damage_section(".data"), "loaded bytes changed near"),
        (damage_section(".comment"), "the section .comment changed"),
        (damage_header(entry=1), "the header's entry changed"),
        (damage_segment(c.PT_GNU_RELRO, memsz=4096), "the RELRO segment changed"),
    ],
)
def test_every_damage_is_found(files: tuple[bytes, bytes], damage: Damage, message: str) -> None:
    before, after = files
    assert [m for m in compare(before, damage(after)) if m.startswith(message)]


def test_a_hash_table_with_numbers_of_no_symbol_is_damaged(files: tuple[bytes, bytes]) -> None:
    before, after = files
    with pytest.raises(DamagedElfError, match="its hash table has the symbol number"):
        compare(before, damage_section_end(".hash", 3)(after))


def test_a_missing_hash_table_is_found(files: tuple[bytes, bytes]) -> None:
    before, after = files
    damaged = damage_dynamic_entry(c.DT_HASH, new_tag=0x6FFFFEF0)(after)
    assert "a table of symbols, hashes or versions is missing" in compare(before, damaged)


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def patched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, bytes]:
    """Return a program, and what patchelf made of it."""
    if find_patchelf() is None:
        pytest.skip("patchelf is not installed")
    directory = tmp_path_factory.mktemp("patched")
    before = build_program(directory, LINKERS["bfd"], request.param, "-Wl,--build-id")
    return before, edit_data(before, CHANGES, directory, "patchelf")


def test_what_patchelf_always_moves_may_move_only_if_the_contract_allows_it(
    patched: tuple[bytes, bytes],
) -> None:
    assert compare(*patched, MOVED_BY_PATCHELF) == []
    assert "the place of a note changed" in compare(*patched)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_section(".text"), "loaded bytes changed near"),
        (damage_section(".note.gnu.build-id", 16), "a note is missing or changed"),
        (damage_section(".interp"), "the interpreter changed"),
        (damage_segment(c.PT_GNU_RELRO, memsz=4096), "the RELRO segment changed"),
    ],
)
def test_every_damage_of_a_file_of_patchelf_is_found(
    patched: tuple[bytes, bytes], damage: Damage, message: str
) -> None:
    before, after = patched
    assert [m for m in compare(before, damage(after), MOVED_BY_PATCHELF) if m.startswith(message)]
