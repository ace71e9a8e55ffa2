"""Dynamic symbols by their hash tables: who is defined, and how many there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.image import DamagedElfError
from bundle_fix.elf.read.parser import read_image
from bundle_fix.elf.symbols.hashes import (
    compute_gnu_hash,
    compute_sysv_hash,
    count_symbols,
    find_provided_symbols,
    get_sysv_word_size,
    measure_gnu_hash,
    measure_sysv_hash,
    provides_symbol,
)
from bundle_fix.model.content import BytesReader
from elf.support import (
    content_of,
    image_in,
    libc,
    section_of,
    splice,
    system_files,
    with_dynamic,
    without_section_headers,
)

MANY = (
    "\n".join(f"int defined_{n}(void) {{ return {n}; }}" for n in range(40))
    + """
#include <stdlib.h>
#include <string.h>
__attribute__((visibility("hidden"))) int hidden(void) { return getenv("HOME") != 0; }
__attribute__((weak)) int weak_one(void) { return (int) strlen(getenv("HOME")); }
extern int nobody(void) __attribute__((weak));
int (*asks)(void) = nobody;
"""
)

ONLY_NEEDS = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) { abort(); puts(getenv("HOME")); }
"""
"""A library that offers nothing: its GNU hash table is empty."""

TOOLCHAINS = {**LINKERS, **CROSS}


def many(folder: Path, style: str, toolchain: Toolchain) -> Path:
    flags = [f"-Wl,--hash-style={style}"]
    return build_elf(folder / "libm.so", source=MANY, flags=flags, toolchain=toolchain)


def symbols(path: Path) -> list[tuple[str, bool]]:
    """By pyelftools: each dynamic symbol's name, and whether it is defined here."""
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(section, SymbolTableSection)
        return [(s.name, s["st_shndx"] != "SHN_UNDEF") for s in section.iter_symbols()]


def counted(data: bytes) -> int:
    reader = BytesReader(data)
    return count_symbols(reader, read_image(reader))


def defined(data: bytes, *names: str) -> list[bool]:
    reader = BytesReader(data)
    image = read_image(reader)
    each = [provides_symbol(reader, image, name.encode()) for name in names]
    # Asking for many at once is asking for each.
    assert find_provided_symbols(reader, image, [name.encode() for name in names]) == {
        name.encode() for name, is_defined in zip(names, each, strict=True) if is_defined
    }
    return each


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize("name", TOOLCHAINS)
def test_symbols_are_counted_and_found_as_pyelftools_does(
    tmp_path: Path, name: str, style: str
) -> None:
    path = many(tmp_path, style, TOOLCHAINS[name])
    image = image_in(path.read_bytes())
    assert (image.find_value(c.DT_HASH) is not None) == (style != "gnu")
    assert (image.find_value(c.DT_GNU_HASH) is not None) == (style != "sysv")
    expected = symbols(path)
    assert counted(path.read_bytes()) == len(expected)
    named = {text: here for text, here in expected if text}
    assert dict(zip(named, defined(path.read_bytes(), *named), strict=True)) == named
    assert named["defined_39"]
    assert not named["getenv"]
    assert defined(path.read_bytes(), "weak_one") == [True]
    assert defined(path.read_bytes(), "hidden", "nobody", "defined_", "") == [False] * 4


@pytest.mark.parametrize("style", ["sysv", "gnu"])
@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"], CROSS["i386"]])
def test_no_section_headers_are_needed(tmp_path: Path, toolchain: Toolchain, style: str) -> None:
    path = many(tmp_path, style, toolchain)
    bare = without_section_headers(path.read_bytes())
    assert counted(bare) == len(symbols(path))
    assert defined(bare, "defined_7", "getenv") == [True, False]


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_symbols_are_counted_where_none_is_offered(tmp_path: Path, name: str) -> None:
    # GNU ld's table of no symbols says that the first of them would be number 1.
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(tmp_path / "x.so", source=ONLY_NEEDS, flags=flags, toolchain=TOOLCHAINS[name])
    assert counted(path.read_bytes()) == len(symbols(path))
    assert defined(path.read_bytes(), "getenv", "loaded") == [False, False]


@pytest.mark.parametrize("name", ["bfd", "lld", "mold", "s390x", "armhf"])
def test_symbols_are_counted_where_none_is_offered_and_no_section_header_is_left(
    tmp_path: Path, name: str
) -> None:
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(tmp_path / "x.so", source=ONLY_NEEDS, flags=flags, toolchain=TOOLCHAINS[name])
    assert counted(without_section_headers(path.read_bytes())) == len(symbols(path))


def test_the_count_is_unknown_where_nothing_tells_it(tmp_path: Path) -> None:
    # The string table is not behind the symbols any more: nothing bounds them.
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(tmp_path / "x.so", source=ONLY_NEEDS, flags=flags, toolchain=LINKERS["bfd"])
    data = path.read_bytes()
    _, strings = section_of(data, ".dynstr")
    moved = with_dynamic(data, c.DT_STRTAB, strings.addr + 1)
    assert counted(moved) == len(symbols(path))
    assert counted(without_section_headers(moved)) == 0


def test_the_words_of_64_bit_s390_are_64_bits_wide(tmp_path: Path) -> None:
    image = image_in(many(tmp_path, "sysv", CROSS["s390x"]).read_bytes())
    assert get_sysv_word_size(image) == 8
    assert get_sysv_word_size(image_in(many(tmp_path, "sysv", CROSS["ppc64le"]).read_bytes())) == 4


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_the_tables_are_as_large_as_their_sections(tmp_path: Path, name: str) -> None:
    path = many(tmp_path, "both", TOOLCHAINS[name])
    reader = BytesReader(path.read_bytes())
    image = read_image(reader)
    for section, tag, size_of in (
        (".hash", c.DT_HASH, measure_sysv_hash),
        (".gnu.hash", c.DT_GNU_HASH, measure_gnu_hash),
    ):
        address = image.find_value(tag)
        assert address is not None
        assert size_of(reader, image, address) == section_of(reader.data, section)[1].size


def test_the_machines_own_libraries_are_counted_as_their_section_headers_say() -> None:
    wrong = []
    for path in system_files(every=4):
        with content_of(path).open() as reader:
            image = read_image(reader)
            if not image.is_dynamic:
                continue
            data = reader.pread(0, reader.size)
            _, section = section_of(data, ".dynsym")
            if count_symbols(reader, image) * image.format.symbol_size != section.size:
                wrong.append(path)
    assert not wrong


def test_libc_defines_malloc_and_its_users_do_not() -> None:
    data = libc().read_bytes()
    assert defined(data, "malloc", "free", "_Znwm", "malloc_no") == [True, True, False, False]
    shell = Path("/bin/sh").resolve().read_bytes()
    assert defined(shell, "malloc") == [False]


@pytest.mark.parametrize(
    ("name", "gnu", "sysv"),
    [(b"", 0x1505, 0), (b"printf", 0x156B2BB8, 0x077905A6), (b"exit", 0x7C967E3F, 0x0006CF04)],
)
def test_the_hashes_are_those_of_the_specification(name: bytes, gnu: int, sysv: int) -> None:
    # The values are those of the DT_GNU_HASH examples at flapenguin.me and of glibc's dl-hash.h.
    assert (compute_gnu_hash(name), compute_sysv_hash(name)) == (gnu, sysv)


# --- tables that lie --------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "tag"), [("sysv", c.DT_HASH), ("gnu", c.DT_GNU_HASH)])
def test_a_table_outside_all_segments_is_damage(tmp_path: Path, style: str, tag: int) -> None:
    data = with_dynamic(many(tmp_path, style, HOST).read_bytes(), tag, 1 << 40)
    for ask in (counted, lambda d: defined(d, "defined_1")):
        with pytest.raises(DamagedElfError):
            ask(data)


def test_a_claim_of_billions_of_symbols_is_damage(tmp_path: Path) -> None:
    data = many(tmp_path, "sysv", HOST).read_bytes()
    _, section = section_of(data, ".hash")
    with pytest.raises(DamagedElfError, match="4294967295 entries"):
        counted(splice(data, section.offset + 4, b"\xff" * 4))


@pytest.mark.parametrize("word", [0, 1, 2], ids=["buckets", "first symbol", "bloom words"])
def test_a_gnu_table_with_a_lying_head_is_damage(tmp_path: Path, word: int) -> None:
    data = many(tmp_path, "gnu", HOST).read_bytes()
    _, section = section_of(data, ".gnu.hash")
    with pytest.raises(DamagedElfError):
        counted(splice(data, section.offset + 4 * word, b"\xff" * 4))


def test_a_bloom_filter_of_billions_of_words_is_damage(tmp_path: Path) -> None:
    data = many(tmp_path, "gnu", HOST).read_bytes()
    _, section = section_of(data, ".gnu.hash")
    with pytest.raises(DamagedElfError):
        defined(splice(data, section.offset + 8, b"\xff" * 4), "malloc")


def test_a_chain_without_end_is_damage(tmp_path: Path) -> None:
    # Zeros behind the last bucket, none of which ends the chain.
    data = many(tmp_path, "gnu", HOST).read_bytes()
    _, section = section_of(data, ".gnu.hash")
    image = image_in(data)
    endless = data[: section.offset + 16] + bytes(1 << 20)
    buckets = int.from_bytes(data[section.offset : section.offset + 4], "little")
    bloom = int.from_bytes(data[section.offset + 8 : section.offset + 12], "little") * 8
    start = section.offset + 16 + bloom
    endless = splice(endless, start, data[start : start + 4 * buckets])
    with pytest.raises(DamagedElfError, match="longer than 65536 symbols"):
        count_symbols(BytesReader(endless), image)


def test_a_sysv_chain_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    data = bytearray(many(tmp_path, "sysv", HOST).read_bytes())
    _, section = section_of(bytes(data), ".hash")
    words = section.size // 4
    buckets = int.from_bytes(data[section.offset : section.offset + 4], "little")
    for number in range(2 + buckets, words):
        at = section.offset + 4 * number
        data[at : at + 4] = (1).to_bytes(4, "little")
    assert defined(bytes(data), "no_such_symbol") == [False]
