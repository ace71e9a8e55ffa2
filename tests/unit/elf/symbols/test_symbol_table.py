"""The dynamic symbols, compared with pyelftools."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from builders.elf import CROSS, HOST, LINKERS, build_elf, build_versioned_library
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.symbols import symbol_table as symbols
from bundle_fix.elf.symbols.definitions import Exports, read_exports
from bundle_fix.elf.symbols.symbol_table import UndefinedSymbol, read_undefined_symbols
from bundle_fix.model.content import BytesReader
from bundle_fix.model.errors import DamagedElfError

SOURCE = """
#include <stdlib.h>
int one(void) { return 1; }
__attribute__((weak)) int two(void) { return 2; }
extern int maybe(void) __attribute__((weak));
int three(void) { if (!maybe) abort(); return maybe(); }
"""
TOOLCHAINS = {"host": HOST, **LINKERS, **CROSS}


def read_undefined(path: Path) -> tuple[UndefinedSymbol, ...]:
    reader = BytesReader(path.read_bytes())
    return read_undefined_symbols(reader, read_image(reader))


def read_own(path: Path) -> Exports:
    reader = BytesReader(path.read_bytes())
    return read_exports(reader, read_image(reader))


@pytest.mark.parametrize("share", [1 << 20, 0], ids=["split at once", "name by name"])
@pytest.mark.parametrize("name", TOOLCHAINS)
def test_symbols_match_pyelftools(
    tmp_path: Path, name: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symbols, "MAX_STRING_SHARE", share)
    path = build_elf(tmp_path / "liba.so", source=SOURCE, toolchain=TOOLCHAINS[name])
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(section, SymbolTableSection)
        listed = [
            s for s in section.iter_symbols() if s.name and s["st_info"]["bind"] != "STB_LOCAL"
        ]
    defined = {s.name.encode() for s in listed if s["st_shndx"] != "SHN_UNDEF"}
    weak = {s.name.encode() for s in listed if s["st_info"]["bind"] == "STB_WEAK"} - defined
    assert read_own(path).names == defined >= {b"one", b"two", b"three"}
    undefined = [s.name.encode() for s in listed if s["st_shndx"] == "SHN_UNDEF"]
    found = read_undefined(path)
    assert [s.name for s in found] == undefined
    assert {s.name for s in found if s.weak} == weak >= {b"maybe"}
    (abort,) = (s for s in found if s.name == b"abort")
    assert (abort.library or "").startswith("libc.so.6")
    assert (abort.version or "").startswith("GLIBC_2.")


def test_a_needed_version_is_satisfied_by_itself_and_by_unversioned_symbols(tmp_path: Path) -> None:
    path = tmp_path / "liba.so.1"
    versioned = read_own(build_versioned_library(path, "liba.so.1", "greet", ["V_1", "V_2"]))
    plain = read_own(build_elf(tmp_path / "libb.so.1", source="int greet(void) { return 1; }"))
    versions = [None, "V_1", "V_2", "V_3"]
    assert [versioned.provides_symbol(b"greet", version) for version in versions] == [
        True,
        True,
        True,
        False,
    ]
    assert [plain.provides_symbol(b"greet", version) for version in versions] == [True] * 4
    assert not versioned.provides_symbol(b"other", None)


def test_a_reference_without_version_finds_only_the_oldest_hidden_version(tmp_path: Path) -> None:
    """With glibc, such a program ends with "undefined symbol: second"."""
    flags = [f"-Wl,--version-script={tmp_path}/map"]
    (tmp_path / "map").write_text("V_1 {}; V_2 {} V_1;")
    lines = (
        f'int f{n}(void) {{ return 1; }} __asm__(".symver f{n}, {name}");'
        for n, name in enumerate(["first@V_1", "second@V_2", "third@@V_2", "third@V_1"])
    )
    found = read_own(build_elf(tmp_path / "liba.so", source="\n".join(lines), flags=flags))
    names = (b"first", b"second", b"third")
    assert [found.provides_symbol(name, None) for name in names] == [True, False, True]
    assert found.provides_symbol(b"second", "V_2")


def test_overlapping_names_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build_elf(tmp_path / "liba.so", source=SOURCE)
    monkeypatch.setattr(symbols, "MAX_STRING_SHARE", 0)
    monkeypatch.setattr(symbols, "MAX_SINGLE_NAMES", 8)
    with pytest.raises(DamagedElfError, match="exceed the limit of 8 bytes"):
        read_own(path)


def test_a_static_program_has_no_symbols(tmp_path: Path) -> None:
    path = build_elf(
        tmp_path / "x", source="int main(void) { return 0; }", flags=["-static", "-no-pie"]
    )
    assert (read_own(path), read_undefined(path)) == (Exports(), ())
    assert UndefinedSymbol(b"a", None, None, weak=False) != UndefinedSymbol(
        b"a", None, None, weak=True
    )
