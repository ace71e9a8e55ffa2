"""BF101, BF102, BF106, BF110 and BF112: the files to which needed names resolve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import CROSS, build_elf
from builders.loaders import X86_64_LOADER, copy_into, list_with_real_loader
from builders.pack import make_healthy_pack, make_incident_pack
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_bundle
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.policy.policy import CheckPolicy

from .conftest import Check


def build_opener(path: Path, name: str | None, **more: Any) -> None:
    """Build a program that opens ``name``; an empty one is that of an argument, None is none."""
    main = "int main(int count, char **names) { return names[count] != 0; }"
    if name is not None:
        opened = f'"{name}"' if name else "names[count - 1]"
        main = f"int main(int count, char **names) {{ return !dlopen({opened}, count); }}"
    build_elf(path, program=True, source=f"#include <dlfcn.h>\n{main}", **more)


def test_a_healthy_pack_has_no_findings(tmp_path: Path, check: Check) -> None:
    make_healthy_pack(tmp_path)
    for rule in ("BF101", "BF102", "BF103", "BF104", "BF105", "BF201", "BF203", "BF301", "BF501"):
        assert check(rule) == []


def test_bf101_reports_a_name_that_is_not_found(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libgone.so.1"])
    (finding,) = check("BF101")
    assert (finding.severity, finding.path) == ("error", "bin/x")
    assert finding.message == (
        "needs libgone.so.1, which is neither in the pack nor expected on the host"
    )
    assert finding.hint == "Add libgone.so.1 to the pack, or pass --host-provides libgone.so.1."


def test_bf101_is_silent_about_libraries_of_the_host(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libgone.so.1"])
    assert check("BF101", host=("libgone.so.*",)) == []


def test_bf101_is_a_warning_in_a_plugin_that_no_program_needs(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "lib/plugin.so", needed=["libgone.so.1"])
    assert [f.severity for f in check("BF101")] == ["warning"]


def test_bf101_is_an_error_in_a_pack_without_programs(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/plugin.so", needed=["libgone.so.1"])
    assert [f.severity for f in check("BF101")] == ["error"]


def test_bf101_shows_the_chain_of_objects_that_leads_to_the_name(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libgone.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    (finding,) = check("BF101")
    assert finding.evidence["chain"] == ["bin/x", "lib/liba.so.1"]


def test_bf101_mentions_similar_libraries_of_the_pack(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so.2", soname="liba.so.2")
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1", toolchain=CROSS["i386"])
    build_elf(
        tmp_path / "x", program=True, needed=["liba.so.1", "libb.so.1"], runpath="$ORIGIN/lib"
    )
    assert [f.message.rpartition(" (")[2] for f in check("BF101")] == [
        "the pack has liba.so.2)",
        "lib/libb.so.1 is 32-bit i386)",
    ]


def test_bf101_mentions_a_copy_that_no_search_path_leads_to(tmp_path: Path) -> None:
    """On a host whose files are known and do not include a copy."""
    build_elf(tmp_path / "pack/lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "pack/bin/x", program=True, needed=["liba.so.1"])
    for path in (
        X86_64_LOADER,
        *(path for _, path in list_with_real_loader(Path("/bin/true")) if path),
    ):
        copy_into(tmp_path / "host", path)
    host = RealHost(DirectoryFiles(tmp_path / "host"), "/opt/pack")
    bundle = read_bundle(read_directory(tmp_path / "pack"), "pack")
    found = check_bundle(bundle, CheckPolicy(), host).findings
    assert [f.message for f in found if f.rule == "BF101"] == [
        "needs liba.so.1; the pack has lib/liba.so.1, but in none of the searched directories"
    ]


def test_bf102_names_the_symlink_of_the_pack(tmp_path: Path, check: Check) -> None:
    make_healthy_pack(tmp_path)
    build_elf(tmp_path / "bin/server", program=True, needed=["libtcmalloc.so.4"])
    (finding,) = check("BF102")
    assert "; the pack has lib/libtcmalloc.so.4, but" in finding.message


def test_bf102_shows_the_search_that_ends_at_the_hosts_copy(tmp_path: Path, check: Check) -> None:
    make_incident_pack(tmp_path)
    (finding,) = check("BF102")
    assert finding.severity == "error"
    assert finding.message == (
        "needs libtcmalloc.so.4; the pack has it under another name (bin/libtcmalloc.so), but the"
        " host's /lib64/libtcmalloc.so.4 is loaded"
    )
    assert finding.evidence["provided"] == ["bin/libtcmalloc.so"]
    assert [(s["via"], s["entry"]) for s in finding.evidence["trace"]] == [
        ("runpath", "."),
        ("default", "ld.so.cache"),
    ]


def test_bf102_is_silent_about_a_copy_of_the_c_library(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"])
    assert check("BF102") == []


def test_bf102_is_a_note_if_the_provider_is_only_loaded_by_dlopen(
    tmp_path: Path, check: Check
) -> None:
    build_opener(tmp_path / "bin/java", "lib/server/libjvm.so")
    build_elf(tmp_path / "lib/server/libjvm.so", soname="libjvm.so")
    build_elf(
        tmp_path / "lib/libjava.so", soname="libjava.so", needed=["libjvm.so"], rpath="$ORIGIN"
    )
    assert [f.severity for f in check("BF102")] == ["note"]


@pytest.mark.parametrize(
    ("opens", "severities"),
    [
        ("p.so", []),
        ("%s.so", []),
        ("", []),
        ("libother.so.1", ["warning"]),
        (None, ["warning"]),
    ],
    ids=["opens it", "opens any library", "a setting", "opens another one", "opens none"],
)
def test_bf102_is_silent_if_the_program_that_opens_a_plugin_has_loaded_its_library(
    tmp_path: Path, check: Check, opens: str | None, severities: list[str]
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_opener(tmp_path / "bin/x", opens, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "plugins/p.so", needed=["liba.so.1"])
    assert [f.severity for f in check("BF102")] == severities


def test_bf102_ignores_programs_that_do_not_open_the_plugin(tmp_path: Path, check: Check) -> None:
    """It is an error, because the only program that opens the plugin is in the pack."""
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_opener(tmp_path / "bin/x", "%s.so", needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_opener(tmp_path / "bin/y", "p.so")
    build_elf(tmp_path / "plugins/p.so", needed=["liba.so.1"])
    assert [f.severity for f in check("BF102")] == ["error"]
    build_opener(tmp_path / "bin/x", "p.so", needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert [f.severity for f in check("BF102")] == ["warning"]


def test_bf102_assumes_that_a_program_opens_a_plugin_that_uses_its_symbols(
    tmp_path: Path, check: Check
) -> None:
    export = "int registry; int main(void) { return registry; }"
    use = "extern int registry; int f(void) { return registry; }"
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, source=export, flags=["-rdynamic"])
    build_elf(tmp_path / "plugins/p.so", source=use, needed=["liba.so.1"])
    assert [f.severity for f in check("BF102")] == ["error"]
    build_elf(
        tmp_path / "bin/x", program=True, source=export, flags=["-rdynamic"],
        needed=["liba.so.1"], runpath="$ORIGIN/../lib",
    )  # fmt: skip
    assert check("BF102") == []


def test_bf102_is_silent_if_an_extension_module_has_loaded_the_library_of_its_plugin(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "lib/plugin/p.so", needed=["liba.so.1"])
    source = make_dlopen_source("p.so")
    build_elf(tmp_path / "_m.so", source=source, needed=["liba.so.1"], runpath="$ORIGIN/lib")
    assert check("BF102") == []
    build_elf(tmp_path / "_m.so", source=make_dlopen_source("libother.so"), needed=["liba.so.1"])
    build_elf(tmp_path / "_n.so", needed=["liba.so.1"], runpath="$ORIGIN/lib")
    assert {f.path for f in check("BF102")} == {"_m.so", "lib/plugin/p.so"}


def test_bf102_follows_a_plugin_that_opens_another_one(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_opener(tmp_path / "bin/x", "p.so", needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "plugins/p.so", source=make_dlopen_source("q.so"))
    build_elf(tmp_path / "plugins/q.so", needed=["liba.so.1"])
    assert check("BF102") == []


def test_bf102_uses_the_rpath_of_the_object_that_opens_a_plugin(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(
        tmp_path / "lib/libo.so.1", soname="libo.so.1", rpath="$ORIGIN",
        source=make_dlopen_source("p.so"),
    )  # fmt: skip
    build_elf(tmp_path / "bin/x", program=True, needed=["libo.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "plugins/p.so", needed=["liba.so.1"])
    assert check("BF102") == []


def test_bf106_reports_two_different_files_with_one_needed_soname(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "a/liba.so.1", soname="liba.so.1", tag="one")
    build_elf(tmp_path / "b/liba.so.1", soname="liba.so.1", tag="two")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../a")
    (finding,) = check("BF106")
    assert finding.evidence["files"] == ["a/liba.so.1", "b/liba.so.1"]


def test_bf106_is_silent_about_identical_copies(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "a/liba.so.1", soname="liba.so.1", tag="one")
    build_elf(tmp_path / "b/liba.so.1", soname="liba.so.1", tag="one")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../a")
    assert check("BF106") == []


@pytest.mark.parametrize("name", ["libcrypt.so.1", "libnsl.so.1"])
def test_bf110_is_a_warning_about_former_parts_of_glibc(
    tmp_path: Path, check: Check, name: str
) -> None:
    build_elf(tmp_path / "x", program=True, needed=[name])
    (finding,) = check("BF110")
    assert (finding.severity, "Fedora" in finding.message) == ("warning", True)


def test_bf101_names_the_targets_without_a_library_of_old_distributions(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "x", program=True, needed=["libssl.so.1.1"])
    (finding,) = check("BF101")
    assert finding.message.endswith("host (RHEL 9, Debian 12 and Ubuntu 22.04 do not install it)")


def test_bf110_reports_libraries_that_only_most_hosts_provide(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libz.so.1", "libm.so.6"])
    assert [(f.severity, f.evidence["needed"]) for f in check("BF110")] == [("note", "libz.so.1")]
    assert check("BF110", host=("libz.so.1",)) == []


def test_bf102_does_not_rely_on_entries_that_differ_from_host_to_host(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../$LIB")
    (finding,) = check("BF102")
    assert finding.evidence["trace"][0]["verdict"] == "differs from host to host"


def test_bf112_reports_a_part_of_the_c_library_that_is_loaded_from_the_pack(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"], runpath="$ORIGIN/../lib")
    (finding,) = check("BF112")
    assert (finding.severity, finding.path) == ("error", "lib/libm.so.6")
    assert finding.message == "is loaded instead of the host's libm.so.6, which bin/x needs"


def test_bf112_is_a_warning_if_the_pack_contains_the_loader_too(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "lib/ld-linux-x86-64.so.2", soname="ld-linux-x86-64.so.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"], runpath="$ORIGIN/../lib")
    assert [f.severity for f in check("BF112")] == ["warning"]


def test_bf112_is_silent_if_no_program_loads_the_packs_copy(tmp_path: Path, check: Check) -> None:
    build_elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"])
    assert check("BF112") == []


@pytest.mark.parametrize(
    ("directory", "program", "severities"),
    [
        ("usr/lib/x", None, ["note"]),
        ("usr/lib/y", None, ["warning"]),
        ("usr/lib/x", "x", ["error"]),
    ],
)
def test_bf101_is_a_note_in_a_private_directory_for_the_programs_of_other_packages(
    tmp_path: Path, directory: str, program: str | None, severities: list[str]
) -> None:
    (tmp_path / ".PKGINFO").write_text("pkgname = x\n")
    build_elf(tmp_path / directory / "libshared-252.so", soname="libshared-252.so")
    build_elf(tmp_path / "usr/lib/x/libcore-252.so", needed=["libshared-252.so"])
    if program:
        needed = ["libcore-252.so"]
        build_elf(tmp_path / "bin" / program, program=True, needed=needed, runpath="/usr/lib/x")
    done = run_bundle_fix("check", "--format", "json", str(tmp_path))
    findings = json.loads(done.stdout)["findings"]
    assert [f["severity"] for f in findings if f["rule"] == "BF101"] == severities


def test_bf102_is_silent_if_only_a_library_of_the_pack_opens_the_plugin_that_needs_it(
    tmp_path: Path, check: Check
) -> None:
    build_elf(tmp_path / "liba.so.1", soname="liba.so.1", source=make_dlopen_source("liba_net.so"))
    build_elf(tmp_path / "liba_net.so", soname="liba_net.so", needed=["liba.so.1"])
    assert check("BF102") == []
    assert [f.severity for f in check("BF201")] == ["note"]
    build_elf(tmp_path / "liba.so.1", soname="liba.so.1", source=make_dlopen_source("liba_x.so"))
    assert [f.path for f in check("BF102")] == ["liba_net.so"]
