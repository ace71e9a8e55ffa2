from __future__ import annotations

from pathlib import Path

from builders.dlopen import opens
from builders.elf import elf
from builders.pack import healthy, incident
from bundle_fix.archive.directory import read_directory
from bundle_fix.elf.changes import Changes
from bundle_fix.loader.bundle import Bundle, read_bundle
from bundle_fix.plan.planner import Plan, make_plan


def bundle_of(folder: Path) -> Bundle:
    return read_bundle(read_directory(folder), str(folder))


def plan_for(folder: Path) -> Plan:
    return make_plan(bundle_of(folder))


def runpaths(plan: Plan) -> dict[str, str | None]:
    return {path: changes.runpath for path, changes in plan.edits.items()}


def test_a_healthy_pack_needs_no_change(tmp_path: Path) -> None:
    assert plan_for(healthy(tmp_path)).is_empty


def test_the_incident_gets_a_soname_link_and_a_runpath(tmp_path: Path) -> None:
    plan = plan_for(incident(tmp_path))
    assert plan.symlinks == {"bin/libtcmalloc.so.4": "libtcmalloc.so"}
    assert runpaths(plan) == {"bin/server": "$ORIGIN"}


def test_of_two_different_files_with_one_soname_neither_gets_the_link(tmp_path: Path) -> None:
    elf(tmp_path / "bin/liba.so.1.5", soname="liba.so.1", tag="stale")
    elf(tmp_path / "bin/liba.so.1.6", soname="liba.so.1")
    elf(tmp_path / "bin/libb.so", soname="libb.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN")
    assert plan_for(tmp_path).symlinks == {"bin/libb.so.1": "libb.so"}


def test_a_runpath_is_relative_to_the_objects_own_folder(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/tools/x", program=True, needed=["liba.so.1"])
    elf(tmp_path / "lib/sasl2/libplug.so", soname="libplug.so", needed=["liba.so.1"])
    assert runpaths(plan_for(tmp_path)) == {
        "bin/tools/x": "$ORIGIN/../../lib",
        "lib/sasl2/libplug.so": "$ORIGIN/..",
    }


def test_entries_that_work_inside_the_pack_stay_in_their_order(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "extra/libb.so.1", soname="libb.so.1")
    (tmp_path / "plugins").mkdir()
    elf(
        tmp_path / "bin/x",
        program=True,
        needed=["liba.so.1", "libb.so.1"],
        runpath="/opt/build/lib:$ORIGIN/../plugins:lib::${ORIGIN}/../lib:$ORIGIN/../../outside",
    )
    plan = plan_for(tmp_path)
    assert runpaths(plan) == {"bin/x": "$ORIGIN/../plugins:${ORIGIN}/../lib:$ORIGIN/../extra"}


def test_what_an_object_finds_today_is_what_it_finds_tomorrow(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", tag="wrong")
    elf(tmp_path / "bin/compat/liba.so.1", soname="liba.so.1", tag="right")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="/opt/x:$ORIGIN/compat")
    assert plan_for(tmp_path).edits == {"bin/x": Changes(rpath="$ORIGIN/compat")}


def test_a_library_found_by_its_programs_rpath_gets_a_runpath_of_its_own(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libinner.so.1", soname="libinner.so.1")
    elf(tmp_path / "lib/libouter.so.1", soname="libouter.so.1", needed=["libinner.so.1"])
    elf(tmp_path / "bin/x", program=True, needed=["libouter.so.1"], rpath="$ORIGIN/../lib")
    assert runpaths(plan_for(tmp_path)) == {"lib/libouter.so.1": "$ORIGIN"}


def test_identical_copies_of_a_library_become_links_to_the_longest_name(tmp_path: Path) -> None:
    for name in ("libx.so", "libx.so.4", "libx.so.4.6.11"):
        elf(tmp_path / "lib" / name, soname="libx.so.4", tag="x")
    plan = plan_for(tmp_path)
    assert plan.symlinks == {"lib/libx.so": "libx.so.4.6.11", "lib/libx.so.4": "libx.so.4.6.11"}
    assert plan.merged == {"lib/libx.so", "lib/libx.so.4"}


def test_different_files_of_one_soname_stay_two_files(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libx.so.4", soname="libx.so.4", tag="one")
    elf(tmp_path / "lib/compat/libx.so.4", soname="libx.so.4", tag="two")
    assert not plan_for(tmp_path).symlinks


def test_the_c_library_is_left_to_the_host(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libm.so.6", soname="libm.so.6")
    elf(tmp_path / "bin/x", program=True, needed=["libm.so.6"])
    assert plan_for(tmp_path).is_empty


def test_a_dangling_link_with_its_target_beside_it_is_mended(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "lib/libx.so").symlink_to("/opt/build/lib/libx.so.4.6")
    (tmp_path / "lib/libx.so.4").symlink_to("libx.so.4.5")
    assert plan_for(tmp_path).symlinks == {
        "lib/libx.so": "libx.so.4.6",
        "lib/libx.so.4": "libx.so.4.6",
    }


def test_a_library_of_another_machine_is_no_provider(tmp_path: Path) -> None:
    from builders.elf import CROSS

    elf(tmp_path / "lib32/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib32")
    assert runpaths(plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib32:$ORIGIN/../lib64"}


def test_a_program_that_cannot_be_executed_gets_its_mode_back(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True).chmod(0o640)
    assert plan_for(tmp_path).modes == {"bin/x": 0o750}


def test_a_library_that_several_folders_link_to_finds_its_needs_from_each(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libinner.so.1", soname="libinner.so.1")
    elf(tmp_path / "lib/real/libouter.so.1.2", soname="libouter.so.1", needed=["libinner.so.1"])
    (tmp_path / "lib/libouter.so.1").symlink_to("real/libouter.so.1.2")
    elf(tmp_path / "bin/x", program=True, needed=["libouter.so.1"], runpath="$ORIGIN/../lib")
    assert runpaths(plan_for(tmp_path)) == {"lib/real/libouter.so.1.2": "$ORIGIN/..:$ORIGIN"}


def two_programs_with_a_library_of_their_own(folder: Path, bad_entry: str = "") -> None:
    """Both need libm.so.1, which needs libx.so.1: by each program's RPATH another file."""
    for version in ("v1", "v2"):
        elf(folder / f"lib/{version}/libx.so.1", soname="libx.so.1", tag=version)
        path = f"{bad_entry}$ORIGIN/../lib:$ORIGIN/../lib/{version}"
        elf(folder / f"bin/{version}", program=True, needed=["libm.so.1"], rpath=path)
    elf(folder / "lib/libm.so.1", soname="libm.so.1", needed=["libx.so.1"])


def test_a_library_that_finds_another_file_in_each_program_stays_as_it_is(tmp_path: Path) -> None:
    two_programs_with_a_library_of_their_own(tmp_path)
    assert plan_for(tmp_path).is_empty


def test_an_rpath_that_is_tidied_stays_an_rpath(tmp_path: Path) -> None:
    two_programs_with_a_library_of_their_own(tmp_path, "/opt/x:")
    assert plan_for(tmp_path).edits == {
        f"bin/{version}": Changes(rpath=f"$ORIGIN/../lib:$ORIGIN/../lib/{version}")
        for version in ("v1", "v2")
    }


def test_new_entries_never_lead_to_another_file_than_today(tmp_path: Path) -> None:
    elf(tmp_path / "lib/v1/libx.so.1", soname="libx.so.1", tag="one")
    elf(tmp_path / "lib/v2/libx.so.1", soname="libx.so.1", tag="two")
    elf(tmp_path / "lib/v2/liby.so.1", soname="liby.so.1")
    elf(tmp_path / "lib/libm.so.1", soname="libm.so.1", needed=["liby.so.1", "libx.so.1"])
    path = "$ORIGIN/../lib:$ORIGIN/../lib/v1:$ORIGIN/../lib/v2"
    elf(tmp_path / "bin/x", program=True, needed=["libm.so.1"], rpath=path)
    assert plan_for(tmp_path).is_empty


def test_a_concrete_folder_stands_behind_one_that_differs_from_host_to_host(
    tmp_path: Path,
) -> None:
    elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../$LIB")
    assert runpaths(plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../$LIB:$ORIGIN/../lib64"}


def test_a_library_needed_by_the_path_of_the_build_is_needed_by_name(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libq.so")
    elf(tmp_path / "bin/x", program=True, needed=["/build/out/libq.so", "/opt/other/libr.so"])
    assert plan_for(tmp_path).edits == {
        "bin/x": Changes(
            runpath="$ORIGIN/../lib", replace_needed=(("/build/out/libq.so", "libq.so"),)
        )
    }


def test_a_library_needed_by_a_path_inside_the_pack_stays_needed_so(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libq.so")
    elf(tmp_path / "bin/x", program=True, needed=["$ORIGIN/../lib/libq.so"])
    assert plan_for(tmp_path).is_empty


def test_an_entry_to_a_folder_that_is_not_there_goes_when_the_path_has_to_change(
    tmp_path: Path,
) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../nosuch")
    assert runpaths(plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_a_path_that_works_stays_as_it_is_whatever_else_it_names(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "$ORIGIN/../nosuch:$ORIGIN/../lib:$ORIGIN/../lib/"
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert plan_for(tmp_path).is_empty


def test_two_entries_for_one_folder_become_one_when_the_path_has_to_change(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "/opt/x:$ORIGIN/../lib:$ORIGIN/../lib/"
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert runpaths(plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_an_absolute_entry_goes_also_with_a_token_of_the_host_in_it(tmp_path: Path) -> None:
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    path = "/usr/$LIB:$ORIGIN/../lib"
    elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=path)
    assert runpaths(plan_for(tmp_path)) == {"bin/x": "$ORIGIN/../lib"}


def test_a_folder_whose_name_no_runpath_can_hold_is_told(tmp_path: Path) -> None:
    for folder in ("a:b", "$ORIGIN"):
        pack = tmp_path / f"pack{len(folder)}"
        elf(pack / folder / "liba.so.1", soname="liba.so.1")
        elf(pack / "bin/x", program=True, needed=["liba.so.1"])
        plan = plan_for(pack)
        assert not plan.edits
        assert plan.remarks["bin/x"][0].startswith(
            f"liba.so.1 is in {folder}, a name that cannot be written in a RUNPATH"
        )


def test_copies_in_two_installations_of_one_archive_stay_two_files(tmp_path: Path) -> None:
    for jdk in ("jdk-17", "jdk-21"):
        elf(tmp_path / jdk / "lib/libx.so.1", soname="libx.so.1", tag="x")
        program = tmp_path / jdk / "bin/x"
        elf(program, program=True, needed=["libx.so.1"], runpath="$ORIGIN/../lib")
    assert plan_for(tmp_path).is_empty


def test_a_hard_link_with_a_soname_link_elsewhere_needs_no_other(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "lib/libx.so.4").symlink_to("libx.so.4.6")
    (tmp_path / "alias").mkdir()
    (tmp_path / "alias/libx.so.4.6").hardlink_to(tmp_path / "lib/libx.so.4.6")
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../lib")
    assert plan_for(tmp_path).is_empty


def opening(folder: Path, *names: str) -> dict[str, str | None]:
    return runpaths(make_plan(bundle_of(folder), dlopened=names))


def test_what_opens_a_library_at_run_time_gets_a_runpath_that_leads_there(tmp_path: Path) -> None:
    elf(tmp_path / "lib/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "bin/x", program=True, source=opens("libplug.so.1") + "int main() {}")
    elf(tmp_path / "bin/other", program=True, source=opens("libother.so.1") + "int main() {}")
    elf(tmp_path / "bin/plain", program=True)
    assert opening(tmp_path) == {}
    assert opening(tmp_path, "libplug.so.1") == {"bin/x": "$ORIGIN/../lib"}
    assert opening(tmp_path, "libgone.so.1", "/opt/libplug.so.1") == {}
    plan = make_plan(bundle_of(tmp_path), pinned=["lib*"], dlopened=["libplug.so.1"])
    assert plan.edits["bin/x"].replace_needed == ()


def test_where_no_object_has_the_name_any_that_imports_dlopen_may_open_it(tmp_path: Path) -> None:
    elf(tmp_path / "plugins/libplug.so.1", soname="libplug.so.1")
    elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", source=opens("it"))
    elf(tmp_path / "bin/plain", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert opening(tmp_path, "libplug.so.1") == {"lib/liba.so.1": "$ORIGIN/../plugins"}
