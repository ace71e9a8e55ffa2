"""Hash tables of dynamic symbols: definitions by name, and the number of symbols."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from builders.elf import CROSS, HOST, LINKERS, Toolchain, build_elf
from bundle_fix.elf.read import constants as c
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
from bundle_fix.model.errors import DamagedElfError
from elf.support import (
    change_dynamic_entry,
    drop_section_headers,
    find_libc,
    find_section,
    get_content,
    list_system_files,
    parse_image,
    replace_bytes,
)

MANY = (
    "\n".join(f"int defined_{n}(void) {{ return {n}; }}" for n in range(40))
    + """
#include <stdlib.h>
#include <string.h>
__attribute__((visibility("hidden"))) int hidden(void) { return getenv("HOME") != 0; }
__attribute__((weak)) int weak_one(void) { return (int) strlen(getenv("HOME")); }
extern int missing(void) __attribute__((weak));
int (*pointer)(void) = missing;
"""
)

ONLY_UNDEFINED = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) { abort(); puts(getenv("HOME")); }
"""
"""A library that defines no symbol: its GNU hash table is empty."""

TOOLCHAINS = {**LINKERS, **CROSS}


def build_library(directory: Path, style: str, toolchain: Toolchain) -> Path:
    flags = [f"-Wl,--hash-style={style}"]
    return build_elf(directory / "libm.so", source=MANY, flags=flags, toolchain=toolchain)


def list_with_pyelftools(path: Path) -> list[tuple[str, bool]]:
    """Return name and definedness of each dynamic symbol, read by pyelftools."""
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(section, SymbolTableSection)
        return [(s.name, s["st_shndx"] != "SHN_UNDEF") for s in section.iter_symbols()]


def count_in(data: bytes) -> int:
    reader = BytesReader(data)
    return count_symbols(reader, read_image(reader))


def find_in(data: bytes, *names: str) -> list[bool]:
    reader = BytesReader(data)
    image = read_image(reader)
    each = [provides_symbol(reader, image, name.encode()) for name in names]
    # A search for all names at once gives the same.
    assert find_provided_symbols(reader, image, [name.encode() for name in names]) == {
        name.encode() for name, is_defined in zip(names, each, strict=True) if is_defined
    }
    return each


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize("name", TOOLCHAINS)
def test_symbols_are_counted_and_found_as_by_pyelftools(
    tmp_path: Path, name: str, style: str
) -> None:
    path = build_library(tmp_path, style, TOOLCHAINS[name])
    image = parse_image(path.read_bytes())
    assert (image.find_value(c.DT_HASH) is not None) == (style != "gnu")
    assert (image.find_value(c.DT_GNU_HASH) is not None) == (style != "sysv")
    expected = list_with_pyelftools(path)
    assert count_in(path.read_bytes()) == len(expected)
    named = {text: is_defined for text, is_defined in expected if text}
    assert dict(zip(named, find_in(path.read_bytes(), *named), strict=True)) == named
    assert named["defined_39"]
    assert not named["getenv"]
    assert find_in(path.read_bytes(), "weak_one") == [True]
    assert find_in(path.read_bytes(), "hidden", "missing", "defined_", "") == [False] * 4


@pytest.mark.parametrize("style", ["sysv", "gnu"])
@pytest.mark.parametrize("toolchain", [HOST, CROSS["s390x"], CROSS["i386"]])
def test_section_headers_are_not_needed(tmp_path: Path, toolchain: Toolchain, style: str) -> None:
    path = build_library(tmp_path, style, toolchain)
    bare = drop_section_headers(path.read_bytes())
    assert count_in(bare) == len(list_with_pyelftools(path))
    assert find_in(bare, "defined_7", "getenv") == [True, False]


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_symbols_are_counted_if_none_is_defined(tmp_path: Path, name: str) -> None:
    # The empty table of GNU ld has 1 as the number of its first symbol.
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(
        tmp_path / "x.so", source=ONLY_UNDEFINED, flags=flags, toolchain=TOOLCHAINS[name]
    )
    assert count_in(path.read_bytes()) == len(list_with_pyelftools(path))
    assert find_in(path.read_bytes(), "getenv", "loaded") == [False, False]


@pytest.mark.parametrize("name", ["bfd", "lld", "mold", "s390x", "armhf"])
def test_symbols_are_counted_if_none_is_defined_and_section_headers_are_missing(
    tmp_path: Path, name: str
) -> None:
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(
        tmp_path / "x.so", source=ONLY_UNDEFINED, flags=flags, toolchain=TOOLCHAINS[name]
    )
    assert count_in(drop_section_headers(path.read_bytes())) == len(list_with_pyelftools(path))


def test_the_number_may_be_unknown(tmp_path: Path) -> None:
    # The string table no longer follows the symbols: nothing limits them.
    flags = ["-nostartfiles", "-Wl,--hash-style=gnu"]
    path = build_elf(
        tmp_path / "x.so", source=ONLY_UNDEFINED, flags=flags, toolchain=LINKERS["bfd"]
    )
    data = path.read_bytes()
    _, strings = find_section(data, ".dynstr")
    moved = change_dynamic_entry(data, c.DT_STRTAB, strings.addr + 1)
    assert count_in(moved) == len(list_with_pyelftools(path))
    assert count_in(drop_section_headers(moved)) == 0


def test_sysv_words_of_64_bit_s390_have_8_bytes(tmp_path: Path) -> None:
    image = parse_image(build_library(tmp_path, "sysv", CROSS["s390x"]).read_bytes())
    assert get_sysv_word_size(image) == 8
    assert (
        get_sysv_word_size(
            parse_image(build_library(tmp_path, "sysv", CROSS["ppc64le"]).read_bytes())
        )
        == 4
    )


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_sizes_of_tables_match_their_sections(tmp_path: Path, name: str) -> None:
    path = build_library(tmp_path, "both", TOOLCHAINS[name])
    reader = BytesReader(path.read_bytes())
    image = read_image(reader)
    for section, tag, measure in (
        (".hash", c.DT_HASH, measure_sysv_hash),
        (".gnu.hash", c.DT_GNU_HASH, measure_gnu_hash),
    ):
        address = image.find_value(tag)
        assert address is not None
        assert measure(reader, image, address) == find_section(reader.data, section)[1].size


def test_counts_of_this_machines_libraries_match_their_section_headers() -> None:
    wrong = []
    for path in list_system_files(every=4):
        with get_content(path).open() as reader:
            image = read_image(reader)
            if not image.is_dynamic:
                continue
            data = reader.pread(0, reader.size)
            _, section = find_section(data, ".dynsym")
            if count_symbols(reader, image) * image.format.symbol_size != section.size:
                wrong.append(path)
    assert not wrong


def test_libc_defines_malloc_and_a_program_that_uses_it_does_not() -> None:
    data = find_libc().read_bytes()
    assert find_in(data, "malloc", "free", "_Znwm", "malloc_no") == [True, True, False, False]
    shell = Path("/bin/sh").resolve().read_bytes()
    assert find_in(shell, "malloc") == [False]


@pytest.mark.parametrize(
    ("name", "gnu", "sysv"),
    [(b"", 0x1505, 0), (b"printf", 0x156B2BB8, 0x077905A6), (b"exit", 0x7C967E3F, 0x0006CF04)],
)
def test_hashes_match_published_values(name: bytes, gnu: int, sysv: int) -> None:
    # The values are those of the DT_GNU_HASH examples at flapenguin.me and of glibc's dl-hash.h.
    assert (compute_gnu_hash(name), compute_sysv_hash(name)) == (gnu, sysv)


# --- invalid tables ---------------------------------------------------------------------------


@pytest.mark.parametrize(("style", "tag"), [("sysv", c.DT_HASH), ("gnu", c.DT_GNU_HASH)])
def test_a_table_outside_all_segments_is_an_error(tmp_path: Path, style: str, tag: int) -> None:
    data = change_dynamic_entry(build_library(tmp_path, style, HOST).read_bytes(), tag, 1 << 40)
    for read in (count_in, lambda d: find_in(d, "defined_1")):
        with pytest.raises(DamagedElfError):
            read(data)


def test_billions_of_symbols_are_an_error(tmp_path: Path) -> None:
    data = build_library(tmp_path, "sysv", HOST).read_bytes()
    _, section = find_section(data, ".hash")
    with pytest.raises(DamagedElfError, match="4294967295 entries"):
        count_in(replace_bytes(data, section.offset + 4, b"\xff" * 4))


@pytest.mark.parametrize("word", [0, 1, 2], ids=["buckets", "first symbol", "bloom words"])
def test_a_gnu_table_with_an_invalid_header_is_an_error(tmp_path: Path, word: int) -> None:
    data = build_library(tmp_path, "gnu", HOST).read_bytes()
    _, section = find_section(data, ".gnu.hash")
    with pytest.raises(DamagedElfError):
        count_in(replace_bytes(data, section.offset + 4 * word, b"\xff" * 4))


def test_a_bloom_filter_of_billions_of_words_is_an_error(tmp_path: Path) -> None:
    data = build_library(tmp_path, "gnu", HOST).read_bytes()
    _, section = find_section(data, ".gnu.hash")
    with pytest.raises(DamagedElfError):
        find_in(replace_bytes(data, section.offset + 8, b"\xff" * 4), "malloc")


def test_a_chain_without_end_is_an_error(tmp_path: Path) -> None:
    # After the last bucket are zeros, none of which ends the chain.
    data = build_library(tmp_path, "gnu", HOST).read_bytes()
    _, section = find_section(data, ".gnu.hash")
    image = parse_image(data)
    endless = data[: section.offset + 16] + bytes(1 << 20)
    buckets = int.from_bytes(data[section.offset : section.offset + 4], "little")
    bloom = int.from_bytes(data[section.offset + 8 : section.offset + 12], "little") * 8
    start = section.offset + 16 + bloom
    endless = replace_bytes(endless, start, data[start : start + 4 * buckets])
    with pytest.raises(DamagedElfError, match="longer than 65536 symbols"):
        count_symbols(BytesReader(endless), image)


def test_a_circular_sysv_chain_ends(tmp_path: Path) -> None:
    data = bytearray(build_library(tmp_path, "sysv", HOST).read_bytes())
    _, section = find_section(bytes(data), ".hash")
    words = section.size // 4
    buckets = int.from_bytes(data[section.offset : section.offset + 4], "little")
    for number in range(2 + buckets, words):
        at = section.offset + 4 * number
        data[at : at + 4] = (1).to_bytes(4, "little")
    assert find_in(bytes(data), "no_such_symbol") == [False]
