from __future__ import annotations

from pathlib import Path

from builders.dlopen import make_dlopen_source
from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack
from bundle_fix.archive.directory import read_directory
from bundle_fix.elf.changes import Changes
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.plan.planner import Plan, make_plan


def read_pack(directory: Path) -> Bundle:
    return read_bundle(read_directory(directory), str(directory))


def make_plan_for(directory: Path) -> Plan:
    return make_plan(read_pack(directory))


def list_runpaths(plan: Plan) -> dict[str, str | None]:
    return {path: changes.runpath for path, changes in plan.edits.items()}


def test_a_healthy_pack_needs_no_change(tmp_path: Path) -> None:
    assert make_plan_for(make_healthy_pack(tmp_path)).is_empty


def test_the_incident_gets_a_soname_symlink_and_a_runpath(tmp_path: Path) -> None:
    plan = make_plan_for(make_incident_pack(tmp_path))
    assert plan.symlinks == {"bin/libtcmalloc.so.4": "libtcmalloc.so"}
    assert list_runpaths(plan) == {"bin/server": "$ORIGIN"}


def test_two_different_files_with_one_soname_get_no_symlink(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/liba.so.1.5", soname="liba.so.1", tag="stale")
    build_elf(tmp_path / "bin/liba.so.1.6", soname="liba.so.1")
    build_elf(tmp_path / "bin/libb.so", soname="libb.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN")
    assert make_plan_for(tmp_path).symlinks == {"bin/libb.so.1": "libb.so"}


def test_a_runpath_is_relative_to_the_directory_of_the_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/tools/x", program=True, needed=["liba.so.1"])
    build_elf(tmp_path / "lib/sasl2/libplug.so", soname="libplug.so", needed=["liba.so.1"])
    assert list_runpaths(make_plan_for(tmp_path)) == {
        "bin/tools/x": "$ORIGIN/../../lib",
        "lib/sasl2/libplug.so": "$ORIGIN/..",
    }


def test_entries_that_resolve_inside_the_pack_are_kept_in_order(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "extra/libb.so.1", soname="libb.so.1")
    (tmp_path / "plugins").mkdir()
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["liba.so.1", "libb.so.1"],
        runpath="/opt/build/lib:$ORIGIN/../plugins:lib::${ORIGIN}/../lib:$ORIGIN/../../outside",
    )
    plan = make_plan_for(tmp_path)
    assert list_runpaths(plan) == {"bin/x": "$ORIGIN/../plugins:${ORIGIN}/../lib:$ORIGIN/../extra"}


def test_an_object_finds_the_same_file_after_the_fix(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", tag="wrong")
    build_elf(tmp_path / "bin/compat/liba.so.1", soname="liba.so.1", tag="right")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="/opt/x:$ORIGIN/compat")
    assert make_plan_for(tmp_path).edits == {"bin/x": Changes(rpath="$ORIGIN/compat")}


def test_a_library_found_by_an_inherited_rpath_gets_its_own_runpath(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libinner.so.1", soname="libinner.so.1")
    build_elf(tmp_path / "lib/libouter.so.1", soname="libouter.so.1", needed=["libinner.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["libouter.so.1"], rpath="$ORIGIN/../lib")
    assert list_runpaths(make_plan_for(tmp_path)) == {"lib/libouter.so.1": "$ORIGIN"}


def test_identical_copies_of_a_library_become_symlinks_to_the_longest_name(tmp_path: Path) -> None:
    for name in ("libx.so", "libx.so.4", "libx.so.4.6.11"):
        build_elf(tmp_path / "lib" / name, soname="libx.so.4", tag="x")
    plan = make_plan_for(tmp_path)
    assert plan.symlinks == {"lib/libx.so": "libx.so.4.6.11", "lib/libx.so.4": "libx.so.4.6.11"}
    assert plan.merged == {"lib/libx.so", "lib/libx.so.4"}


def test_different_files_with_one_soname_are_not_merged(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4", tag="one")
    build_elf(tmp_path / "lib/compat/libx.so.4", soname="libx.so.4", tag="two")
    assert not make_plan_for(tmp_path).symlinks


def test_the_c_library_is_left_to_the_host(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"])
    assert make_plan_for(tmp_path).is_empty


def test_a_broken_symlink_with_its_target_in_the_same_directory_is_fixed(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "lib/libx.so").symlink_to("/opt/build/lib/libx.so.4.6")
    (tmp_path / "lib/libx.so.4").symlink_to("libx.so.4.5")
    assert make_plan_for(tmp_path).symlinks == {
        "lib/libx.so": "libx.so.4.6",
        "lib/libx.so.4": "libx.so.4.6",
    }


def test_a_library_for_another_machine_is_not_a_provider(tmp_path: Path) -> None:
    from builders.elf import CROSS

    build_elf(tmp_path / "lib32/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib32")
    assert list_runpaths(make_plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib32:$ORIGIN/../lib64"}


def test_a_program_without_execute_permission_becomes_executable(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True).chmod(0o640)
    assert make_plan_for(tmp_path).modes == {"bin/x": 0o750}


def test_a_library_with_symlinks_in_several_directories_finds_its_needs_from_each(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/libinner.so.1", soname="libinner.so.1")
    build_elf(
        tmp_path / "lib/real/libouter.so.1.2", soname="libouter.so.1", needed=["libinner.so.1"]
    )
    (tmp_path / "lib/libouter.so.1").symlink_to("real/libouter.so.1.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["libouter.so.1"], runpath="$ORIGIN/../lib")
    assert list_runpaths(make_plan_for(tmp_path)) == {
        "lib/real/libouter.so.1.2": "$ORIGIN/..:$ORIGIN"
    }


def build_two_programs(directory: Path, bad_entry: str = "") -> None:
    """Build two programs that need libm.so.1, which finds another libx.so.1 in each."""
    for version in ("v1", "v2"):
        build_elf(directory / f"lib/{version}/libx.so.1", soname="libx.so.1", tag=version)
        path = f"{bad_entry}$ORIGIN/../lib:$ORIGIN/../lib/{version}"
        build_elf(directory / f"bin/{version}", program=True, needed=["libm.so.1"], rpath=path)
    build_elf(directory / "lib/libm.so.1", soname="libm.so.1", needed=["libx.so.1"])


def test_a_library_that_finds_another_file_in_each_program_is_not_changed(tmp_path: Path) -> None:
    build_two_programs(tmp_path)
    assert make_plan_for(tmp_path).is_empty


def test_a_cleaned_up_rpath_remains_an_rpath(tmp_path: Path) -> None:
    build_two_programs(tmp_path, "/opt/x:")
    assert make_plan_for(tmp_path).edits == {
        f"bin/{version}": Changes(rpath=f"$ORIGIN/../lib:$ORIGIN/../lib/{version}")
        for version in ("v1", "v2")
    }


def test_new_entries_do_not_change_the_files_found_by_others(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/v1/libx.so.1", soname="libx.so.1", tag="one")
    build_elf(tmp_path / "lib/v2/libx.so.1", soname="libx.so.1", tag="two")
    build_elf(tmp_path / "lib/v2/liby.so.1", soname="liby.so.1")
    build_elf(tmp_path / "lib/libm.so.1", soname="libm.so.1", needed=["liby.so.1", "libx.so.1"])
    path = "$ORIGIN/../lib:$ORIGIN/../lib/v1:$ORIGIN/../lib/v2"
    build_elf(tmp_path / "bin/x", program=True, needed=["libm.so.1"], rpath=path)
    assert make_plan_for(tmp_path).is_empty


def test_a_concrete_directory_is_added_after_one_that_depends_on_the_host(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../$LIB")
    assert list_runpaths(make_plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../$LIB:$ORIGIN/../lib64"}


def test_a_needed_path_of_the_build_machine_becomes_a_name(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libq.so")
    build_elf(tmp_path / "bin/x", program=True, needed=["/build/out/libq.so", "/opt/other/libr.so"])
    assert make_plan_for(tmp_path).edits == {
        "bin/x": Changes(
            runpath="$ORIGIN/../lib", replace_needed=(("/build/out/libq.so", "libq.so"),)
        )
    }


def test_a_needed_path_inside_the_pack_is_kept(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libq.so")
    build_elf(tmp_path / "bin/x", program=True, needed=["$ORIGIN/../lib/libq.so"])
    assert make_plan_for(tmp_path).is_empty


def test_an_entry_for_a_missing_directory_is_removed_if_the_runpath_changes(
    tmp_path: Path,
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../nosuch")
    assert list_runpaths(make_plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_a_runpath_that_works_is_kept_with_its_useless_entries(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "$ORIGIN/../nosuch:$ORIGIN/../lib:$ORIGIN/../lib/"
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert make_plan_for(tmp_path).is_empty


def test_two_entries_for_one_directory_become_one_if_the_runpath_changes(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "/opt/x:$ORIGIN/../lib:$ORIGIN/../lib/"
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert list_runpaths(make_plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_an_absolute_entry_with_a_token_is_removed(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "/usr/$LIB:$ORIGIN/../lib"
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert list_runpaths(make_plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_a_directory_name_that_a_runpath_cannot_contain_is_reported(tmp_path: Path) -> None:
    for directory in ("a:b", "$ORIGIN"):
        pack = tmp_path / f"pack{len(directory)}"
        build_elf(pack / directory / "liba.so.1", soname="liba.so.1")
        build_elf(pack / "bin/x", program=True, needed=["liba.so.1"])
        plan = make_plan_for(pack)
        assert not plan.edits
        assert plan.remarks["bin/x"][0].startswith(
            f"liba.so.1: a RUNPATH cannot contain the path {directory} ("
        )


def test_copies_in_two_installations_of_one_archive_are_not_merged(tmp_path: Path) -> None:
    for jdk in ("jdk-17", "jdk-21"):
        build_elf(tmp_path / jdk / "lib/libx.so.1", soname="libx.so.1", tag="x")
        program = tmp_path / jdk / "bin/x"
        build_elf(program, program=True, needed=["libx.so.1"], runpath="$ORIGIN/../lib")
    assert make_plan_for(tmp_path).is_empty


def test_a_hard_link_with_a_soname_symlink_elsewhere_gets_no_second_one(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "lib/libx.so.4").symlink_to("libx.so.4.6")
    (tmp_path / "alias").mkdir()
    (tmp_path / "alias/libx.so.4.6").hardlink_to(tmp_path / "lib/libx.so.4.6")
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib")
    assert make_plan_for(tmp_path).is_empty


def plan_dlopened(directory: Path, *names: str) -> dict[str, str | None]:
    return list_runpaths(make_plan(read_pack(directory), dlopened=names))


def test_an_object_that_dlopens_a_library_gets_a_runpath_for_it(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        source=make_dlopen_source("libplug.so.1") + "int main() {}",
    )
    build_elf(
        tmp_path / "bin/other",
        program=True,
        source=make_dlopen_source("libother.so.1") + "int main() {}",
    )
    build_elf(tmp_path / "bin/plain", program=True)
    assert plan_dlopened(tmp_path) == {}
    assert plan_dlopened(tmp_path, "libplug.so.1") == {"bin/x": "$ORIGIN/../lib"}
    assert plan_dlopened(tmp_path, "libgone.so.1", "/opt/libplug.so.1") == {}
    plan = make_plan(read_pack(tmp_path), pinned=["lib*"], dlopened=["libplug.so.1"])
    assert plan.edits["bin/x"].replace_needed == ()


def test_every_object_that_imports_dlopen_counts_if_none_contains_the_name(tmp_path: Path) -> None:
    build_elf(tmp_path / "plugins/libplug.so.1", soname="libplug.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=make_dlopen_source("it"))
    build_elf(tmp_path / "bin/plain", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert plan_dlopened(tmp_path, "libplug.so.1") == {"lib/liba.so.1": "$ORIGIN/../plugins"}
