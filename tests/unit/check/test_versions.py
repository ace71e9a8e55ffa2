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


def build_greet(root: Path, *versions: str) -> Path:
    """Build a library that defines greet in each of ``versions``, the last one by default."""
    return build_versioned_library(root / "lib/libv.so.1", "libv.so.1", "greet", versions)


def build_program_that_requires(root: Path, version: str) -> None:
    """Build a program that was linked with a library that has ``version``."""
    linked = build_greet(root / "linked", "V_1", version)
    build_elf(
        root / "bin/x", program=True, source=CALLS, runpath="$ORIGIN/../lib",
        flags=[str(linked)],
    )  # fmt: skip
    for path in (linked, linked.parent, linked.parent.parent):
        path.unlink() if path.is_file() else path.rmdir()


def test_bf404_reports_a_version_that_the_packs_copy_lacks(tmp_path: Path, check: Check) -> None:
    build_program_that_requires(tmp_path, "V_2")
    build_greet(tmp_path, "V_1")
    (finding,) = check("BF404")
    assert (finding.severity, finding.path) == ("error", "lib/libv.so.1")
    assert finding.message == "lacks V_2, required by bin/x"


def test_bf404_is_silent_if_the_library_has_the_version(tmp_path: Path, check: Check) -> None:
    build_program_that_requires(tmp_path, "V_2")
    build_greet(tmp_path, "V_1", "V_2")
    assert check("BF404") == []


def test_bf404_is_silent_about_a_copy_without_any_versions(tmp_path: Path, check: Check) -> None:
    build_program_that_requires(tmp_path, "V_2")
    build_elf(tmp_path / "lib/libv.so.1", soname="libv.so.1", source=GREET)
    assert check("BF404") == []


def test_bf404_checks_libraries_that_no_program_loads(tmp_path: Path, check: Check) -> None:
    linked = build_greet(tmp_path / "linked", "V_1", "V_2")
    use = "extern int greet(void); int again(void) { return greet(); }"
    build_elf(tmp_path / "lib/libw.so", source=use, runpath="$ORIGIN", flags=[str(linked)])
    linked.unlink()
    build_greet(tmp_path, "V_1")
    assert [(f.severity, f.path) for f in check("BF404")] == [("error", "lib/libv.so.1")]


@pytest.mark.parametrize(
    ("tags", "baseline"),
    [
        (["manylinux_2_3_x86_64"], "2.3"),
        (["manylinux_2_4_x86_64.manylinux_2_3_x86_64"], "2.3"),
        (["manylinux_2_9999_x86_64"], None),
        (["musllinux_1_1_x86_64"], ""),
        (["manylinux_2_3_x86_64", "linux_x86_64"], None),
    ],
)
def test_bf401_takes_the_baseline_from_the_tags_of_a_wheel(
    tmp_path: Path, check: Check, tags: list[str], baseline: str | None
) -> None:
    build_elf(tmp_path / "x", program=True)
    (tmp_path / "x-1.dist-info").mkdir()
    lines = [f"Tag: py3-none-{tag}\n" for tag in tags]
    (tmp_path / "x-1.dist-info/WHEEL").write_text("".join(lines))
    assert [f.evidence["baseline"] for f in check("BF401")] == (
        [] if baseline is None else [baseline]
    )
    assert check("BF401", glibc="9.9") == []


def test_bf401_knows_the_glibc_that_supports_packed_relocations(
    tmp_path: Path, check: Check
) -> None:
    flags = ["-Wl,-z,pack-relative-relocs"]
    build_elf(tmp_path / "liba.so", source="int x; int *p = &x;", flags=flags)
    assert [f.evidence["versions"] for f in check("BF401", glibc="2.35")] == [
        {"libc.so.6": ["GLIBC_ABI_DT_RELR"]}
    ]
    assert check("BF401", glibc="2.36") == []


@pytest.mark.parametrize(("newest", "found"), [("V_1", 1), ("V_2", 0)])
def test_bf404_checks_the_copy_of_a_host_whose_files_are_known(
    tmp_path: Path, newest: str, found: int
) -> None:
    build_program_that_requires(tmp_path / "pack", "V_2")
    for directory in ("usr/lib/x86_64-linux-gnu", "usr/lib64"):
        versions = ["V_1", "V_2"] if newest == "V_2" else ["V_1"]
        path = tmp_path / "host" / directory / "libv.so.1"
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
def test_bf401_is_silent_about_weak_versions(
    tmp_path: Path, check: Check, flags: int, found: int
) -> None:
    """The loader only prints a warning about them (dl-version.c, match_symbol)."""
    linked = build_greet(tmp_path / "linked", "GLIBC_9.1")
    use = "extern int greet(void); int again(void) { return greet(); }"
    path = build_elf(tmp_path / "liba.so", source=use, flags=[str(linked)])
    linked.unlink()
    reader, image = BytesReader(path.read_bytes()), read_image_at(path)
    assert image is not None
    needs = read_verneed(reader, image)
    assert needs is not None
    place = needs.places[list(read_needed_versions(reader, image)).index("libv.so.1")]
    data = bytearray(reader.data)
    # vna_flags of the first Elf_Vernaux, which follows its Elf_Verneed of 16 bytes.
    data[place + 16 + 4] = flags
    path.write_bytes(data)
    assert len(check("BF401", glibc="9.0")) == found


def test_bf401_reports_versions_newer_than_the_baseline(tmp_path: Path, check: Check) -> None:
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


def test_bf402_reports_private_symbols_of_glibc(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(load_libc(), n))
    use = f"extern int {name}(int); int main(void) {{ return {name}(0); }}"
    build_elf(tmp_path / "x", program=True, source=use, flags=["-Wl,--allow-shlib-undefined"])
    (finding,) = check("BF402")
    assert (finding.severity, finding.evidence["symbols"]) == ("error", [name])


def test_bf402_is_silent_if_the_pack_contains_the_loader_too(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(load_libc(), n))
    use = f"extern int {name}(int); int main(void) {{ return {name}(0); }}"
    build_elf(tmp_path / "x", program=True, source=use, flags=["-Wl,--allow-shlib-undefined"])
    build_elf(tmp_path / "lib/ld-linux-x86-64.so.2", soname="ld-linux-x86-64.so.2")
    assert check("BF402") == []


def test_bf402_is_silent_about_weak_symbols(tmp_path: Path, check: Check) -> None:
    name = next(n for n in ("__libc_early_init", "_dl_signal_error") if hasattr(load_libc(), n))
    use = f"#pragma weak {name}\nextern int {name}(int); int main(void) {{ return !{name}; }}"
    flags = ["-Wl,--allow-shlib-undefined", "-Wl,-z,dynamic-undefined-weak"]
    build_elf(tmp_path / "x", program=True, source=use, flags=flags)
    assert check("BF402") == []


def load_libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


def test_bf402_is_silent_about_parts_of_the_c_library(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "x", program=True)
    assert check("BF402") == []


@pytest.mark.parametrize("runtime", ["libstdc++.so.6", "libgcc_s.so.1"])
def test_bf406_notes_a_runtime_that_drivers_of_an_unknown_host_may_need(
    tmp_path: Path, check: Check, runtime: str
) -> None:
    build_elf(tmp_path / "lib" / runtime, soname=runtime)
    program = tmp_path / "bin/x"
    needed = [runtime, "libGL.so.1"]
    build_elf(program, program=True, needed=needed, runpath="$ORIGIN/../lib")
    (finding,) = check("BF406")
    assert (finding.severity, finding.path) == ("note", f"lib/{runtime}")
    assert finding.message == (
        f"is loaded instead of the host's {runtime};"
        " drivers that the host's libGL.so.1 opens may need a newer one"
    )
    build_elf(program, program=True, needed=[runtime, "libX11.so.6"], runpath="$ORIGIN/../lib")
    assert check("BF406") == []


@pytest.mark.parametrize(("newest", "found"), [("V_1", 1), ("V_2", 0)])
def test_bf406_checks_the_drivers_of_a_host_whose_files_are_known(
    tmp_path: Path, newest: str, found: int
) -> None:
    host = tmp_path / "host/usr/lib/x86_64-linux-gnu"
    build_greet(tmp_path / "pack", *(["V_1"] if newest == "V_1" else ["V_1", "V_2"]))
    needed = ["libv.so.1", "libGL.so.1"]
    build_elf(tmp_path / "pack/bin/x", program=True, needed=needed, runpath="$ORIGIN/../lib")
    linked = build_greet(tmp_path / "linked", "V_1", "V_2")
    use = "extern int greet(void); int again(void) { return greet(); }"
    build_elf(host / "libGL.so.1", soname="libGL.so.1")
    build_elf(host / "dri/iris_dri.so", source=use, flags=[str(linked)])
    for file in (
        X86_64_LOADER,
        *(file for _, file in list_with_real_loader(Path("/bin/true")) if file),
    ):
        copy_into(tmp_path / "host", file)
    real_host = RealHost(DirectoryFiles(tmp_path / "host"), "/opt/pack")
    bundle = read_bundle(read_directory(tmp_path / "pack"), "pack")
    findings = check_bundle(bundle, CheckPolicy(), real_host).findings
    assert [(f.severity, f.path) for f in findings if f.rule == "BF406"] == [
        ("warning", "lib/libv.so.1")
    ][:found]
