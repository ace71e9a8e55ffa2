from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, Toolchain, build_elf
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.model.errors import BundleFixError
from collect.test_collect import build_library, collect_spec, list_members

PROGRAM = '[[files]]\nfrom = "bin/*"\nto = "bin/"\n'


def collect_closure(
    root: Path,
    closure: str = 'bundle = ["lib*"]',
    more: str = "",
    sources: LibrarySources | None = None,
) -> dict[str, str]:
    return list_members(collect_spec(root, f"{PROGRAM}{more}[closure]\n{closure}\n", sources))


def get_error(root: Path, text: str = 'bundle = ["lib*"]', more: str = "") -> str:
    with pytest.raises(BundleFixError) as caught:
        collect_closure(root, text, more)
    return str(caught.value)


def test_an_unlisted_library_is_reported_with_its_chain_of_needs(tmp_path: Path) -> None:
    build_elf(tmp_path / "out/libA.so.1", soname="libA.so.1", needed=["libmissing.so.2"])
    for name in ("meta", "replica"):
        build_elf(tmp_path / "bin" / name, program=True, needed=["libA.so.1"])
    message = get_error(tmp_path, 'bundle = ["libA*"]\nsearch = ["out"]')
    assert (
        "libmissing.so.2 is needed, but not in the pack and not listed in `host`:"
        " bin/meta → lib/libA.so.1 → libmissing.so.2; bin/replica → lib/libA.so.1 →"
        " libmissing.so.2 (add it with an entry in [[libraries]]"
    ) in message


def test_an_unlisted_library_of_this_machine_is_only_suggested(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, needed=["libstdc++.so.6"])
    message = get_error(tmp_path, 'bundle = ["libz.so.1"]')
    assert "bin/server → libstdc++.so.6 (add it to `bundle` to ship /" in message


def test_a_library_in_host_is_not_bundled(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, needed=["libjvm.so", "libm.so.6"])
    assert list(collect_closure(tmp_path, 'bundle = ["lib*"]\nhost = ["libjvm.so"]')) == [
        "bin/server"
    ]


def test_all_unresolved_libraries_are_reported_together(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, needed=["libone.so.1", "libtwo.so.2"])
    lines = get_error(tmp_path, 'bundle = ["libone*"]').splitlines()
    assert ["libone.so.1 is not found" in lines[0], "libtwo.so.2 is needed" in lines[1]] == [
        True
    ] * 2


def test_an_rpath_is_inherited_on_the_build_machine(tmp_path: Path) -> None:
    build_library(tmp_path / "deep", "libdeep.so.1", "libdeep.so.1")
    build_elf(tmp_path / "mid/libmid.so.1", soname="libmid.so.1", needed=["libdeep.so.1"])
    build_elf(
        tmp_path / "bin/server",
        program=True, needed=["libmid.so.1"], rpath="$ORIGIN/../mid:$ORIGIN/../deep",
    )  # fmt: skip
    assert "lib/libdeep.so.1" in collect_closure(tmp_path)


def test_a_runpath_applies_only_to_its_own_object(tmp_path: Path) -> None:
    build_library(tmp_path / "deep", "libdeep.so.1", "libdeep.so.1")
    build_elf(tmp_path / "mid/libmid.so.1", soname="libmid.so.1", needed=["libdeep.so.1"])
    build_elf(
        tmp_path / "bin/server",
        program=True, needed=["libmid.so.1"], runpath="$ORIGIN/../mid:$ORIGIN/../deep",
    )  # fmt: skip
    message = get_error(tmp_path)
    assert (
        "libdeep.so.1 is not found on this machine: bin/server → lib/libmid.so.1 → lib" in message
    )


def test_runpaths_that_lead_to_different_files_are_an_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_library(tmp_path / name, "libx.so.1", "libx.so.1", tag=name)
        build_elf(
            tmp_path / f"out/lib{name}.so.1",
            soname=f"lib{name}.so.1", needed=["libx.so.1"], runpath=f"$ORIGIN/../{name}",
        )  # fmt: skip
    build_elf(tmp_path / "bin/server", program=True, needed=["liba.so.1", "libb.so.1"])
    message = get_error(tmp_path, 'bundle = ["lib*"]\nsearch = ["out"]')
    for name in ("a", "b"):
        assert f"/out/../{name}/libx.so.1 (for lib/lib{name}.so.1)" in message


@pytest.mark.parametrize("how", ["copy", "link", "hard link"])
def test_files_with_the_same_content_are_not_ambiguous(tmp_path: Path, how: str) -> None:
    build_library(tmp_path / "a", "libx.so.1", "libx.so.1", tag="same")
    (tmp_path / "b").mkdir()
    path = tmp_path / "b/libx.so.1"
    if how == "copy":
        path.write_bytes((tmp_path / "a/libx.so.1").read_bytes())
    elif how == "link":
        path.symlink_to("../a/libx.so.1")
    else:
        os.link(tmp_path / "a/libx.so.1", path)
    build_elf(tmp_path / "bin/one", program=True, needed=["libx.so.1"], runpath="$ORIGIN/../a")
    build_elf(tmp_path / "bin/two", program=True, needed=["libx.so.1"], runpath="$ORIGIN/../b")
    assert "lib/libx.so.1" in collect_closure(tmp_path)


def test_two_files_in_search_are_an_error_unless_a_runpath_decides(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_library(tmp_path / name, "libx.so.1", "libx.so.1", tag=name)
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.1"])
    text = 'bundle = ["lib*"]\nsearch = ["a", "b"]'
    assert f"{tmp_path}/a/libx.so.1 (for bin/server) and {tmp_path}/b" in get_error(tmp_path, text)
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.1"], runpath="$ORIGIN/../b")
    result = collect_spec(tmp_path, f"{PROGRAM}[closure]\n{text}\n")
    assert result.origins["lib/libx.so.1"].source == tmp_path / "b/libx.so.1"


def test_programs_that_would_load_different_files_are_an_error(tmp_path: Path) -> None:
    build_library(tmp_path / "ours", "libz.so.1", "libz.so.1", tag="ours")
    build_elf(
        tmp_path / "bin/server", program=True, needed=["libz.so.1"], runpath="$ORIGIN/../ours"
    )
    build_elf(tmp_path / "bin/tool", program=True, needed=["libz.so.1"])
    message = get_error(tmp_path)
    assert "/ours/libz.so.1 (for bin/server) and /" in message
    assert "(for bin/tool)" in message
    assert "lib/libz.so.1" in collect_closure(tmp_path, 'bundle = ["lib*"]\nsearch = ["ours"]')


def test_a_library_that_the_process_has_loaded_is_used_again(tmp_path: Path) -> None:
    build_library(tmp_path / "ours", "libz.so.1", "libz.so.1", tag="ours")
    build_elf(tmp_path / "ours/libm1.so.1", soname="libm1.so.1", needed=["libz.so.1"])
    needed = ["libz.so.1", "libm1.so.1"]
    build_elf(tmp_path / "bin/server", program=True, needed=needed, runpath="$ORIGIN/../ours")
    assert "lib/libz.so.1" in collect_closure(tmp_path)


def test_skipped_files_for_another_machine_are_reported(tmp_path: Path) -> None:
    build_elf(tmp_path / "wrong/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_elf(
        tmp_path / "bin/server", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../wrong"
    )
    assert "/wrong/liba.so.1: skipped: 32-bit i386" in get_error(tmp_path)
    build_elf(tmp_path / "bin/server", program=True, needed=["liba.so.1"])
    message = get_error(tmp_path, 'bundle = ["lib*"]\nsearch = ["wrong"]')
    assert f"{tmp_path}/wrong/liba.so.1: skipped" in message


def test_a_dlopened_library_is_bundled_with_its_dependencies(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libdeep.so.1", "libdeep.so.1")
    build_elf(tmp_path / "out/libplug.so.1", soname="libplug.so.1", needed=["libdeep.so.1"])
    build_elf(tmp_path / "bin/server", program=True)
    text = 'bundle = ["lib*"]\nsearch = ["out"]\ndlopen = ["libplug.so.1"]'
    assert list(collect_closure(tmp_path, text)) == [
        "bin/server",
        "lib/libdeep.so.1",
        "lib/libplug.so.1",
    ]
    assert "bin/server → libplug.so.1" in get_error(tmp_path, text.replace("lib*", "libdeep*"))


def test_search_finds_a_library_by_soname_under_its_development_name(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so", "libx.so.4")
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.4"])
    found = collect_closure(tmp_path, 'bundle = ["lib*"]\nsearch = ["out"]')
    assert found == {"bin/server": "755", "lib/libx.so": "755", "lib/libx.so.4": "libx.so"}


def test_the_needs_of_a_plugin_are_resolved_as_well(tmp_path: Path) -> None:
    build_elf(tmp_path / "plug/libplug.so", needed=["libmissing.so.2"])
    build_elf(tmp_path / "bin/server", program=True)
    more = '[[files]]\nfrom = "plug"\nto = "lib/"\n'
    assert "lib/plug/libplug.so → libmissing.so.2" in get_error(tmp_path, more=more)


def test_a_plugin_inherits_the_rpath_of_the_program_that_dlopens_it(tmp_path: Path) -> None:
    build_library(tmp_path / "deep", "libdeep.so.1", "libdeep.so.1")
    build_elf(tmp_path / "plug/libplug.so", needed=["libdeep.so.1"])
    build_elf(tmp_path / "bin/server", program=True, rpath="$ORIGIN/../deep")
    more = '[[files]]\nfrom = "plug"\nto = "lib/"\n'
    assert "lib/libdeep.so.1" in collect_closure(tmp_path, more=more)


def test_libraries_that_need_each_other_are_bundled_once(tmp_path: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        build_elf(
            tmp_path / f"out/lib{one}.so.1", soname=f"lib{one}.so.1", needed=[f"lib{other}.so.1"]
        )
    build_elf(tmp_path / "bin/server", program=True, needed=["liba.so.1"])
    found = collect_closure(tmp_path, 'bundle = ["lib*"]\nsearch = ["out"]')
    assert list(found) == ["bin/server", "lib/liba.so.1", "lib/libb.so.1"]


def test_an_unneeded_name_in_bundle_is_reported_but_not_a_glob(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so.1", "libx.so.1")
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.1"])
    text = 'bundle = ["libx.so.*", "libgone.so.1", "libicu*.so.*"]\nsearch = ["out"]'
    result = collect_spec(tmp_path, f"{PROGRAM}[closure]\n{text}\n")
    (remark,) = result.remarks
    assert remark.endswith("`bundle` lists libgone.so.1, which no object needs")


def test_the_lib_token_is_expanded_as_on_the_build_machine(tmp_path: Path) -> None:
    """$LIB is lib/x86_64-linux-gnu on Debian, lib64 elsewhere."""
    for directory in ("lib/x86_64-linux-gnu", "lib64"):
        build_library(tmp_path / directory, "libx.so.1", "libx.so.1")
    build_elf(
        tmp_path / "bin/server", program=True, needed=["libx.so.1"], runpath="$ORIGIN/../$LIB"
    )
    assert "lib/libx.so.1" in collect_closure(tmp_path)


def test_a_pack_for_another_machine_gets_libraries_for_that_machine(tmp_path: Path) -> None:
    cross = CROSS["aarch64"]
    build_elf(tmp_path / "out/libx.so.1", soname="libx.so.1", needed=["libz.so.1"], toolchain=cross)
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.1"], toolchain=cross)
    text = 'bundle = ["lib*"]\nsearch = ["out"]'
    assert "libz.so.1 is not found on this machine" in get_error(tmp_path, text)
    build_elf(tmp_path / "out/libz.so.1", soname="libz.so.1", toolchain=cross)
    assert list(collect_closure(tmp_path, text)) == ["bin/server", "lib/libx.so.1", "lib/libz.so.1"]


def test_a_pack_for_musl_inherits_runpaths_and_does_not_bundle_musl(tmp_path: Path) -> None:
    musl = Toolchain("musl-gcc")
    build_elf(tmp_path / "deep/libdeep.so.1", soname="libdeep.so.1", toolchain=musl)
    build_elf(
        tmp_path / "deep/libmid.so.1",
        soname="libmid.so.1", needed=["libdeep.so.1"], toolchain=musl,
    )  # fmt: skip
    build_elf(
        tmp_path / "bin/server",
        program=True, needed=["libmid.so.1"], runpath="$ORIGIN/../deep", toolchain=musl,
    )  # fmt: skip
    assert list(collect_closure(tmp_path)) == ["bin/server", "lib/libdeep.so.1", "lib/libmid.so.1"]


def test_a_damaged_file_in_search_is_an_error_only_under_the_needed_name(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so.4.6", "libx.so.4")
    (tmp_path / "out/libother.so").write_bytes(b"\x7fELF")
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.4"])
    text = 'bundle = ["lib*"]\nsearch = ["out"]'
    assert "lib/libx.so.4.6" in collect_closure(tmp_path, text)
    (tmp_path / "out/libx.so.4").write_bytes(b"\x7fELF")
    assert "out/libx.so.4: the ELF file is damaged" in get_error(tmp_path, text)


def test_a_needed_path_of_the_build_is_resolved_from_the_root(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "out/libx.so")
    build_elf(tmp_path / "bin/server", program=True, flags=[str(path)])
    assert list(collect_closure(tmp_path)) == ["bin/server", "lib/libx.so"]
    # ld(1) stores a relative path unchanged.
    (tmp_path / "x.c").write_text("int main(void) { return 0; }\n")
    command = ["cc", "x.c", "-Wl,--no-as-needed", "out/libx.so", "-o", "bin/server"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert list(collect_closure(tmp_path)) == ["bin/server", "lib/libx.so"]


def test_a_runpath_relative_to_the_working_directory_is_ignored(tmp_path: Path) -> None:
    build_library(tmp_path, "libx.so.1", "libx.so.1", tag="left in the root")
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.1"], runpath=".")
    assert "libx.so.1 is not found on this machine" in get_error(tmp_path)


def test_a_library_newer_than_the_oldest_glibc_must_be_listed(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, needed=["libmvec.so.1", "libm.so.6"])
    assert list(collect_closure(tmp_path, more='[check]\nglibc = "2.22"\n')) == ["bin/server"]
    message = get_error(tmp_path, more='[check]\nglibc = "2.17"\n')
    assert (
        "bin/server → libmvec.so.1 (it is part of glibc since 2.22; `glibc` of [check]" in message
    )
    assert "libm.so.6" not in message


def test_directories_of_the_build_come_before_this_machine_and_the_first_copy_counts(
    tmp_path: Path,
) -> None:
    build_library(tmp_path / "one", "libz.so", "libz.so.1")
    build_library(tmp_path / "two", "libz.so.1", "libz.so.1", tag="other")
    build_elf(tmp_path / "bin/server", program=True, needed=["libz.so.1"])
    sources = LibrarySources((tmp_path / "gone", tmp_path / "one", tmp_path / "two"))
    assert collect_closure(tmp_path, sources=sources)["lib/libz.so.1"] == "libz.so"
    build_library(tmp_path / "mine", "libz.so.1", "libz.so.1", tag="mine")
    members = collect_closure(tmp_path, 'bundle = ["lib*"]\nsearch = ["mine"]', sources=sources)
    assert members["lib/libz.so.1"] == "755"


def test_a_sysroot_replaces_the_default_directories_of_this_machine(tmp_path: Path) -> None:
    root = tmp_path / "sysroot"
    build_library(root / "usr/lib", "libz.so.1.9", "libz.so.1")
    (root / "lib").symlink_to("/usr/lib")
    (root / "usr/lib/libz.so.1").symlink_to("/lib/libz.so.1.9")
    build_elf(tmp_path / "bin/server", program=True, needed=["libz.so.1"])
    assert collect_closure(tmp_path, sources=LibrarySources(sysroot=root)) == {
        "bin/server": "755",
        "lib/libz.so.1": "libz.so.1.9",
        "lib/libz.so.1.9": "755",
    }
    build_elf(tmp_path / "bin/server", program=True, needed=["libstdc++.so.6"])
    with pytest.raises(BundleFixError, match=r"libstdc\+\+\.so\.6 is not found on this machine"):
        collect_closure(tmp_path, sources=LibrarySources(sysroot=root))


def test_a_runpath_leads_into_the_sysroot_and_origin_to_this_machine(tmp_path: Path) -> None:
    root = tmp_path / "sysroot"
    build_library(root / "opt/x", "liba.so.1", "liba.so.1")
    build_library(tmp_path / "out", "libb.so.1", "libb.so.1")
    build_elf(
        tmp_path / "bin/server",
        program=True, needed=["liba.so.1", "libb.so.1"], runpath="/opt/x:$ORIGIN/../out",
    )  # fmt: skip
    members = collect_closure(tmp_path, sources=LibrarySources(sysroot=root))
    assert list(members) == ["bin/server", "lib/liba.so.1", "lib/libb.so.1"]
