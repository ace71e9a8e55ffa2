"""BF401, BF402, BF404 and BF406: symbol versions that a file requires of glibc and libraries."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from builders.elf import build_elf, build_versioned_library
from builders.loaders import X86_64_LOADER, copy_into, list_with_real_loader
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.facts.abi import parse_glibc_version
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.elf.symbols.versions import VER_FLG_WEAK, read_needed_versions, read_verneed
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.model.content import BytesReader
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check

GREET = "int greet(void) { return 7; }"
CALLS = "extern int greet(void); int main(void) { return greet() - 7; }"


def versioned(folder: Path, *versions: str) -> Path:
    """A library that defines greet in each of ``versions``, the last one by default."""
    return build_versioned_library(folder / "lib/libv.so.1", "libv.so.1", "greet", versions)


def wants_version(folder: Path, version: str) -> None:
    """A program that was linked with a library that has ``version``."""
    linked = versioned(folder / "linked", "V_1", version)
    build_elf(
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
    assert finding.message == "lacks V_2, required by bin/x"


def test_bf404_is_silent_where_the_version_is_there(tmp_path: Path, check: Check) -> None:
    wants_version(tmp_path, "V_2")
    versioned(tmp_path, "V_1", "V_2")
    assert check("BF404") == []


def test_bf404_is_silent_about_a_copy_without_any_versions(tmp_path: Path, check: Check) -> None:
    wants_version(tmp_path, "V_2")
    build_elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", source=GREET)
    assert check("BF404") == []


def test_bf404_looks_at_libraries_that_no_program_loads(tmp_path: Path, check: Check) -> None:
    linked = versioned(tmp_path / "linked", "V_1", "V_2")
    use = "extern int greet(void); int again(void) { return greet(); }"
    build_elf(tmp_path / "lib/libw.so", source=use, runpath="$ORIGIN", flags=[str(linked)])
    linked.unlink()
    versioned(tmp_path, "V_1")
    assert [(f.severity, f.path) for f in check("BF404")] == [("error", "lib/libv.so.1")]


def test_bf401_heeds_what_packed_relocations_want_of_the_loader(
    tmp_path: Path, check: Check
) -> None:
    flags = ["-Wl,-z,pack-relative-relocs"]
    build_elf(tmp_path / "liba.so", source="int x; int *p = &x;", flags=flags)
    assert [f.evidence["versions"] for f in check("BF401", glibc="2.35")] == [
        {"libc.so.6": ["GLIBC_ABI_DT_RELR"]}
    ]
    assert check("BF401", glibc="2.36") == []


@pytest.mark.parametrize(("newest", "found"), [("V_1", 1), ("V_2", 0)])
def test_bf404_looks_at_a_known_hosts_copy(tmp_path: Path, newest: str, found: int) -> None:
    wants_version(tmp_path / "pack", "V_2")
    for folder in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        versions = ["V_1", "V_2"] if newest == "V_2" else ["V_1"]
        path = tmp_path / "host" / folder / "libv.so.1"
        build_versioned_library(path, "libv.so.1", "greet", versions)
    for file in (
        X86_64_LOADER,
        *(file for _, file in list_with_real_loader(Path("/bin/true")) if file),
    ):
        copy_into(tmp_path / "host", file)
    host = RealHost(DirectoryFiles(tmp_path / "host"), "/opt/pack")
    bundle = read_bundle(read_directory(tmp_path / "pack"), "pack")
    findings = check_bundle(bundle, CheckPolicy(), host).findings
    assert [(f.path, f.message.partition(", which")[0]) for f in findings if f.rule == "BF404"] == [
        ("bin/x", "requires V_2 of libv.so.1")
    ][:found]


@pytest.mark.parametrize(("flags", "found"), [(VER_FLG_WEAK, 0), (0, 1)])
def test_bf401_is_silent_about_versions_that_are_wanted_weakly(
    tmp_path: Path, check: Check, flags: int, found: int
) -> None:
    """The loader only complains about these (dl-version.c, match_symbol)."""
    linked = versioned(tmp_path / "linked", "GLIBC_9.1")
    use = "extern int greet(void); int again(void) { return greet(); }"
    path = build_elf(tmp_path / "liba.so", source=use, flags=[str(linked)])
    linked.unlink()
    reader, image = BytesReader(path.read_bytes()), read_image_at(path)
    assert image is not None
    needs = read_verneed(reader, image)
    assert needs is not None
    place = needs.places[list(read_needed_versions(reader, image)).index("libv.so.1")]
    data = bytearray(reader.data)
    # vna_flags of the first Elf_Vernaux, which stands behind its Elf_Verneed of 16 bytes.
    data[place + 16 + 4] = flags
    path.write_bytes(data)
    assert len(check("BF401", glibc="9.0")) == found


def test_bf401_names_versions_newer_than_the_baseline(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True)
    (finding,) = check("BF401", glibc="2.2")
    assert finding.path == "x"
    assert ", newer than the baseline glibc 2.2 (__libc_start_main@GLIBC_2." in finding.message
    assert all(
        (parse_glibc_version(v) or ()) > (2, 2)
        for vs in finding.evidence["versions"].values()
        for v in vs
    )


def test_bf401_is_silent_without_a_baseline_or_below_it(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True)
    assert check("BF401") == []
    assert check("BF401", glibc="9.9") == []


def test_bf402_names_what_glibc_keeps_for_itself(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(libc(), n))
    use = f"extern int {name}(int); int main(void) {{ return {name}(0); }}"
    build_elf(tmp_path / "x", program=True, source=use, flags=["-Wl,--allow-shlib-undefined"])
    (finding,) = check("BF402")
    assert (finding.severity, finding.evidence["symbols"]) == ("error", [name])


def test_bf402_is_silent_where_the_pack_brings_the_loader_too(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(libc(), n))
    use = f"extern int {name}(int); int main(void) {{ return {name}(0); }}"
    build_elf(tmp_path / "x", program=True, source=use, flags=["-Wl,--allow-shlib-undefined"])
    build_elf(tmp_path / "lib/ld-linux-x86-64.so.2", soname="ld-linux-x86-64.so.2")
    assert check("BF402") == []


def libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


def test_bf402_is_silent_about_the_c_librarys_own_parts(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True)
    assert check("BF402") == []
