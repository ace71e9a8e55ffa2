"""One rule, one tiny folder of real ELF files, run through this machine's loader and the model."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from builders.loaders import (
    assert_same,
    deploy_here,
    find_loader_here,
    get_loader_error,
    list_process_files,
    list_with_real_loader,
    map_process_here,
)
from bundle_fix.loader.hosts.cpu import detect_cpu
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="this machine's C library is not glibc"
)
LIB = "$ORIGIN/../lib"


def library(path: Path, *needed: str, **options: str) -> Path:
    return build_elf(path, soname=path.name, needed=needed, **options)  # type: ignore[arg-type]


def program(root: Path, *needed: str, **options: str) -> Path:
    return build_elf(root / "bin/x", program=True, needed=needed, **options)  # type: ignore[arg-type]


def verdicts(root: Path, name: str, environment: Environment = EMPTY_ENVIRONMENT) -> list[str]:
    process = map_process_here(root, "bin/x", environment)
    return [s.verdict for o in process.objects if o.name == name for s in o.trace]


def test_library_path_comes_before_runpath(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "env/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/liba.so.1"]
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["env/liba.so.1"]


def test_library_path_comes_after_rpath(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "env/liba.so.1")
    program(tmp_path, "liba.so.1", rpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


@pytest.mark.parametrize("separator", [":", ";"])
def test_library_path_has_two_separators(tmp_path: Path, separator: str) -> None:
    library(tmp_path / "env/liba.so.1")
    program(tmp_path, "liba.so.1")
    environment = Environment(library_path=separator.join(["/nowhere", str(tmp_path / "env")]))
    assert assert_same(tmp_path, environment=environment) == ["env/liba.so.1"]


@pytest.mark.parametrize("text", [":/nowhere", "/nowhere:", "/nowhere::/nowhere2", "./", "."])
def test_an_empty_element_is_the_working_directory(tmp_path: Path, text: str) -> None:
    library(tmp_path / "cwd/liba.so.1")
    program(tmp_path, "liba.so.1")
    environment = Environment(library_path=text, working_directory=str(tmp_path / "cwd"))
    assert assert_same(tmp_path, environment=environment) == ["cwd/liba.so.1"]


@pytest.mark.parametrize("tags", [{"runpath": "../lib"}, {"rpath": "../lib"}, {"runpath": ":/x"}])
def test_a_relative_entry_counts_from_the_working_directory(
    tmp_path: Path, tags: Mapping[str, str]
) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", **tags)
    folder = "lib" if ":" in tags.get("runpath", "") else "bin"
    environment = Environment(working_directory=str(tmp_path / folder))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


def test_tokens_in_library_path_are_the_programs(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1")
    environment = Environment(library_path="${ORIGIN}/../lib")
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


@pytest.mark.parametrize("entry", ["$ORIGIN/../$LIB", "$ORIGIN/../${LIB}"])
def test_lib_means_what_the_loader_was_built_with(tmp_path: Path, entry: str) -> None:
    program(tmp_path, "liba.so.1", runpath=entry)
    loader = find_loader_here(tmp_path / "bin/x")
    library(tmp_path / str(loader.lib) / "liba.so.1")
    assert assert_same(tmp_path) == [f"{loader.lib}/liba.so.1"]


@pytest.mark.parametrize("entry", ["$ORIGIN/../$PLATFORM", "$ORIGIN/../${PLATFORM}/."])
def test_platform_means_this_processor(tmp_path: Path, entry: str) -> None:
    program(tmp_path, "liba.so.1", runpath=entry)
    name = str(find_loader_here(tmp_path / "bin/x").platform)
    library(tmp_path / name / "liba.so.1")
    assert assert_same(tmp_path) == [f"{name}/liba.so.1"]


@pytest.mark.parametrize("folder", ["$ORIGINAL", "$LIBS", "${ORIGIN", "$ORIGIN_1", "$FOO", "$"])
def test_what_only_looks_like_a_token_is_text(tmp_path: Path, folder: str) -> None:
    library(tmp_path / folder / "liba.so.1")
    program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../{folder}")
    assert assert_same(tmp_path) == [f"{folder}/liba.so.1"]


def test_a_token_ends_at_a_dash(tmp_path: Path) -> None:
    library(tmp_path / "bin-2/liba.so.1")
    program(tmp_path, "liba.so.1", runpath="$ORIGIN-2")
    assert assert_same(tmp_path) == ["bin-2/liba.so.1"]


def test_origin_in_the_middle_of_an_entry_is_an_absolute_path(tmp_path: Path) -> None:
    library(tmp_path / "bin/liba.so.1")
    program(tmp_path, "liba.so.1", runpath="/proc/self/root/$ORIGIN")
    real = [path for name, path in list_with_real_loader(tmp_path / "bin/x") if name == "liba.so.1"]
    assert real[0] is not None
    assert real[0].startswith("/proc/self/root/")
    # The model sees no /proc of the process; what matters is that it is not the pack's folder.
    (found,) = [o for o in map_process_here(tmp_path, "bin/x").objects if o.name == "liba.so.1"]
    assert found.origin != "bundle" or os.path.realpath(real[0]) == str(tmp_path / "bin/liba.so.1")


def test_nodefaultlib_keeps_from_cache_and_default_directories(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1", "libresolv.so.2", flags=["-Wl,-z,nodefaultlib"])  # type: ignore[arg-type]
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert_same(tmp_path)
    assert "not searched: -z nodefaultlib" in verdicts(tmp_path, "libresolv.so.2")


@pytest.mark.parametrize("entry", ["lib/liba.so.1", "./lib/liba.so.1", "../p/lib/liba.so.1"])
def test_a_needed_path_counts_from_the_working_directory(tmp_path: Path, entry: str) -> None:
    root = tmp_path / "p"
    library(root / "lib/liba.so.1")
    program(root, entry)
    environment = Environment(working_directory=str(root))
    assert assert_same(root, environment=environment) == ["lib/liba.so.1"]


def test_a_pinned_library_satisfies_later_needs_of_its_soname(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "env/liba.so.1")
    library(tmp_path / "lib/libb.so.1", "liba.so.1")
    program(tmp_path, "$ORIGIN/../lib/liba.so.1", "libb.so.1", runpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    found = assert_same(tmp_path, environment=environment)
    assert found == ["lib/liba.so.1", "lib/libb.so.1"]


def test_the_best_level_of_hwcaps_wins_in_every_directory(tmp_path: Path) -> None:
    levels = levels_here(tmp_path)
    for level in levels:
        library(tmp_path / f"two/glibc-hwcaps/{level}/liba.so.1")
    library(tmp_path / "two/liba.so.1")
    library(tmp_path / "one/libb.so.1")
    library(tmp_path / "two/libb.so.1")
    library(tmp_path / f"two/glibc-hwcaps/{levels[0]}/libb.so.1")
    program(tmp_path, "liba.so.1", "libb.so.1", runpath="$ORIGIN/../one:$ORIGIN/../two")
    best = f"two/glibc-hwcaps/{levels[0]}/liba.so.1"
    assert assert_same(tmp_path) == [best, "one/libb.so.1"]


def test_folders_named_after_hwcap_count_up_to_glibc_2_36(tmp_path: Path) -> None:
    library(tmp_path / "lib/tls/liba.so.1")
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert len(assert_same(tmp_path)) == 1


def test_a_hard_link_is_the_same_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libone.so.1")
    (tmp_path / "lib/libtwo.so.1").hardlink_to(tmp_path / "lib/libone.so.1")
    program(tmp_path, "libone.so.1", "libtwo.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libone.so.1"]


def test_a_name_found_once_is_not_searched_again(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "other/liba.so.1")
    library(tmp_path / "lib/libb.so.1", "liba.so.1", runpath="$ORIGIN/../other")
    program(tmp_path, "libb.so.1", "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libb.so.1", "lib/liba.so.1"]


def test_what_one_object_does_not_find_another_may(tmp_path: Path) -> None:
    library(tmp_path / "other/liba.so.1")
    library(tmp_path / "lib/libb.so.1", "liba.so.1", runpath="$ORIGIN/../other")
    program(tmp_path, "liba.so.1", "libb.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libb.so.1", "other/liba.so.1"]


@pytest.mark.parametrize("machine", ["armhf", "i386", "aarch64", "riscv64", "s390x"])
def test_a_candidate_of_another_machine_class_or_byte_order_is_passed_over(
    tmp_path: Path, machine: str
) -> None:
    library(tmp_path / "env/liba.so.1", toolchain=CROSS[machine])  # type: ignore[arg-type]
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]
    assert verdicts(tmp_path, "liba.so.1", environment)[0].startswith("passed over: ")


@pytest.mark.parametrize("text", ["", "INPUT(-lc)\n", "\x7fELF"])
def test_over_a_file_that_is_no_library_the_loader_gives_up(tmp_path: Path, text: str) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").write_text(text)
    if text != "\x7fELF":
        assert verdicts(tmp_path, "liba.so.1")[-1].endswith("the loader gives up here")
    assert get_loader_error(tmp_path / "bin/x")


def test_over_a_folder_of_the_name_the_loader_gives_up(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    (tmp_path / "bad/liba.so.1").mkdir(parents=True)
    assert "cannot read file data" in get_loader_error(tmp_path / "bin/x")
    assert verdicts(tmp_path, "liba.so.1") == ["a directory: the loader gives up here"]


def test_a_circle_of_links_ends_its_list_of_directories(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    library(tmp_path / "late/liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    path = f"{tmp_path}/bad:{tmp_path}/late"
    environment = Environment(library_path=path)
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]
    expected = ["a link that is a symlink loop", "found"]
    assert verdicts(tmp_path, "liba.so.1", environment) == expected


def test_a_dangling_link_and_a_file_in_the_place_of_a_folder_are_passed_over(
    tmp_path: Path,
) -> None:
    library(tmp_path / "lib/liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("nothing")
    (tmp_path / "file").write_text("x")
    program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:$ORIGIN/../file:{LIB}")
    assert assert_same(tmp_path) == ["lib/liba.so.1"]


def test_preloaded_objects_come_first_and_bring_their_needs(tmp_path: Path) -> None:
    library(tmp_path / "lib/libdeep.so.1")
    library(tmp_path / "lib/libpre.so.1", "libdeep.so.1", runpath="$ORIGIN")
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(preload=f"{tmp_path}/lib/libpre.so.1 libresolv.so.2")
    found = assert_same(tmp_path, environment=environment)
    assert found == ["lib/libpre.so.1", "lib/liba.so.1", "lib/libdeep.so.1"]
    process = map_process_here(tmp_path, "bin/x", environment)
    assert [o.via for o in process.objects[1:3]] == ["preload", "preload"]


def test_what_cannot_be_preloaded_is_ignored(tmp_path: Path) -> None:
    program(tmp_path)
    environment = Environment(preload="libnowhere.so.1")
    assert_same(tmp_path, environment=environment)
    process = map_process_here(tmp_path, "bin/x", environment)
    assert process.remarks == ("libnowhere.so.1 cannot be preloaded, and is ignored",)


def test_preloaded_names_are_searched_as_the_programs_own(tmp_path: Path) -> None:
    library(tmp_path / "lib/libpre.so.1")
    program(tmp_path, runpath=LIB)
    environment = Environment(preload="libpre.so.1")
    assert assert_same(tmp_path, environment=environment) == ["lib/libpre.so.1"]


def test_what_an_auxiliary_filter_names_comes_before_it(tmp_path: Path) -> None:
    library(tmp_path / "lib/libaux.so.1")
    options = {"flags": ["-Wl,-f,libaux.so.1"], "runpath": "$ORIGIN"}
    library(tmp_path / "lib/libfilter.so.1", **options)  # type: ignore[arg-type]
    program(tmp_path, "libfilter.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libaux.so.1", "lib/libfilter.so.1"]


def test_an_auxiliary_that_is_not_there_is_ignored(tmp_path: Path) -> None:
    options = {"flags": ["-Wl,-f,libaux.so.1"]}
    library(tmp_path / "lib/libfilter.so.1", **options)  # type: ignore[arg-type]
    binary = program(tmp_path, "libfilter.so.1", runpath=LIB)
    assert subprocess.run([binary], capture_output=True, check=False).returncode == 0
    process = map_process_here(tmp_path, "bin/x")
    assert all(o.origin != "missing" for o in process.objects)
    assert process.remarks == ("lib/libfilter.so.1: no libaux.so.1, which it would stand behind",)


def test_an_auditor_is_told_of(tmp_path: Path) -> None:
    program(tmp_path, flags=["-Wl,--audit,libaudit.so"])  # type: ignore[arg-type]
    assert map_process_here(tmp_path, "bin/x").remarks == (
        "bin/x has DT_AUDIT: what auditors do is not modelled",
    )


def test_the_interpreter_is_an_object_that_is_there_already(tmp_path: Path) -> None:
    name = Path(str(find_loader_here(program(tmp_path)).path)).name
    library(tmp_path / f"lib/{name}")
    program(tmp_path, name, runpath=LIB, flags=["-Wl,--allow-shlib-undefined"])  # type: ignore[arg-type]
    assert assert_same(tmp_path) == []


def test_thousands_of_objects_take_bounded_time(tmp_path: Path) -> None:
    """Each needs the next one, by a list of many directories that are not there."""
    original = library(tmp_path / "lib/libchain0.so.1", "libchain1.so.1", runpath="$ORIGIN")
    assert original
    for number in range(1, 40):
        library(tmp_path / f"lib/libchain{number}.so.1", f"libchain{number + 1}.so.1",
                rpath=":".join(f"$ORIGIN/no{n}" for n in range(300)) + ":$ORIGIN")  # fmt: skip
    program(tmp_path, "libchain0.so.1", "libchain1.so.1", runpath=LIB)
    expected = [(n, p) for n, p in list_with_real_loader(tmp_path / "bin/x") if p is not None]
    process = map_process_here(tmp_path, "bin/x")
    found = [(o.name, o.origin) for o in process.objects[1:] if o.origin != "missing"]
    assert [name for name, _ in found] == [name for name, _ in expected]


def levels_here(root: Path) -> tuple[str, ...]:
    levels = find_loader_here(program(root)).hwcaps
    if not levels:
        pytest.skip(f"no glibc-hwcaps for this processor ({detect_cpu()}) or this glibc")
    return levels


def test_a_plugin_finds_its_needs_by_the_rpath_of_the_program(tmp_path: Path) -> None:
    source = """
    #include <dlfcn.h>
    #include <stdio.h>
    int main(int argc, char **argv) { return dlopen(argv[1], RTLD_NOW) ? 0 : (puts(dlerror()), 3); }
    """
    library(tmp_path / "lib/libb.so.1")
    plugin = library(tmp_path / "plugins/libplugin.so", "libb.so.1")
    for tag, status in (("rpath", 0), ("runpath", 3)):
        opener = build_elf(tmp_path / f"bin/{tag}", program=True, source=source, **{tag: LIB})  # type: ignore[arg-type]
        done = subprocess.run([opener, plugin], env={}, capture_output=True, check=False)
        assert done.returncode == status
        world = deploy_here(tmp_path)
        opened = world.dlopen_process(world.map_process(f"bin/{tag}"), "plugins/libplugin.so")
        origins = [o.origin for o in opened.objects if o.name == "libb.so.1"]
        assert origins == (["bundle"] if status == 0 else ["missing"])


def test_model_list_names_files_of_the_pack_by_their_place(tmp_path: Path) -> None:
    library(tmp_path / "lib/liba.so.1")
    program(tmp_path, "liba.so.1", runpath=LIB)
    assert (
        "liba.so.1", f"{tmp_path.resolve()}/lib/liba.so.1"
    ) in list_process_files(map_process_here(tmp_path, "bin/x"), tmp_path)  # fmt: skip
