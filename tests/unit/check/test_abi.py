"""BF402 to BF408: each tripped by a real file, and nearly."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from builders.elf import CROSS, elf, object_with_versions
from bundle_fix.artifacts.directory import read_directory
from bundle_fix.bundle import read_bundle
from bundle_fix.check.context import Context, Expectations
from bundle_fix.check.rules.abi import newest_versions
from bundle_fix.loader.host import adversarial_host

from .conftest import Check

GREET = "int greet(void) { return 7; }"
CALLS = "extern int greet(void); int main(void) { return greet() - 7; }"


def versioned(folder: Path, *versions: str) -> Path:
    """A library that defines greet in each of ``versions``, the last one by default."""
    return object_with_versions(folder / "lib/libv.so.1", "libv.so.1", "greet", versions)


def wants_version(folder: Path, version: str) -> None:
    """A program that was linked with a library that has ``version``."""
    linked = versioned(folder / "linked", "V_1", version)
    elf(
        folder / "bin/x", program=True, source=CALLS, runpath="$ORIGIN/../lib",
        flags=[str(linked)],
    )  # fmt: skip
    for path in (linked, linked.parent, linked.parent.parent):
        path.unlink() if path.is_file() else path.rmdir()


def test_bf404_names_a_version_that_the_packs_copy_lacks(tmp_path: Path, check: Check) -> None:
    wants_version(tmp_path, "V_2")
    versioned(tmp_path, "V_1")
    (finding,) = check("BF404")
    assert (finding.severity, finding.path) == ("error", "lib/libv.so.1")
    assert finding.message == "lacks V_2, which bin/x wants of libv.so.1"


def test_bf404_is_silent_where_the_version_is_there(tmp_path: Path, check: Check) -> None:
    wants_version(tmp_path, "V_2")
    versioned(tmp_path, "V_1", "V_2")
    assert check("BF404") == []


def test_bf404_is_silent_about_a_copy_without_any_versions(tmp_path: Path, check: Check) -> None:
    wants_version(tmp_path, "V_2")
    elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", source=GREET)
    assert check("BF404") == []


@pytest.mark.parametrize(("symbol", "found"), [("_ZN3two5greetEv", 1), ("_ZN3one5greetEv", 0)])
def test_bf405_names_a_cplusplus_symbol_that_nobody_defines(
    tmp_path: Path, check: Check, symbol: str, found: int
) -> None:
    def library(path: Path, name: str) -> Path:
        define = f'int g(void) __asm__("{name}"); int g(void) {{ return 0; }}'
        return elf(path, soname="libg.so.1", source=define)

    library(tmp_path / "p/lib/libg.so.1", "_ZN3one5greetEv")
    linked = library(tmp_path / "linked.so", symbol)
    use = f'extern int g(void) __asm__("{symbol}"); int main(void) {{ return g(); }}'
    elf(
        tmp_path / "p/bin/x", program=True, source=use, runpath="$ORIGIN/../lib",
        flags=[str(linked)],
    )  # fmt: skip
    linked.unlink()
    findings = check("BF405")
    assert [f.message for f in findings] == [
        f"uses {symbol}, which nothing in the process of p/bin/x defines"
    ][:found]


def test_bf405_says_nothing_where_a_library_of_the_host_could_define_it(
    tmp_path: Path, check: Check
) -> None:
    use = 'extern int g(void) __asm__("_ZN3two5greetEv"); int main(void) { return g(); }'
    elf(
        tmp_path / "bin/x", program=True, needed=["libz.so.1"], source=use,
        flags=["-Wl,--unresolved-symbols=ignore-all"],
    )  # fmt: skip
    assert check("BF405", host=("libz.so.1",)) == []


def test_bf402_names_what_glibc_keeps_for_itself(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(libc(), n))
    use = f"extern int {name}(int); int main(void) {{ return {name}(0); }}"
    elf(tmp_path / "x", program=True, source=use, flags=["-Wl,--allow-shlib-undefined"])
    (finding,) = check("BF402")
    assert (finding.severity, finding.evidence["symbols"]) == ("error", [name])


def libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


def test_bf402_is_silent_about_the_c_librarys_own_parts(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "x", program=True)
    assert check("BF402") == []


def test_bf407_notes_a_library_for_another_machine(tmp_path: Path, check: Check) -> None:
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"])
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", toolchain=CROSS["aarch64"])
    elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", toolchain=CROSS["i386"])
    elf(tmp_path / "lib/libc2.so.1", soname="libc2.so.1")
    assert [(f.severity, f.path) for f in check("BF407")] == [
        ("warning", "lib/liba.so.1"),
        ("note", "lib/libb.so.1"),
    ]


@pytest.mark.parametrize("level", ["", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_bf408_names_a_file_marked_for_newer_processors(
    tmp_path: Path, check: Check, level: str
) -> None:
    elf(tmp_path / "x", program=True, flags=[f"-Wl,-z,{level}"] if level else [])
    assert [f.evidence["level"] for f in check("BF408")] == ([level] if level else [])


def test_the_newest_versions_of_a_pack_are_told_with_a_file_that_wants_them(
    tmp_path: Path,
) -> None:
    elf(tmp_path / "bin/x", program=True)
    bundle = read_bundle(read_directory(tmp_path), "pack")
    found = newest_versions(Context(bundle, Expectations(), adversarial_host(())))
    assert found["GLIBC"][1] == "bin/x"
    assert tuple(map(int, found["GLIBC"][0].split("."))) >= (2, 2, 5)
