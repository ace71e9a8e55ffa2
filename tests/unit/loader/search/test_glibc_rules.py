"""The search rules of glibc: small trees of real ELF files, for the real loader and the model."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builders.elf import CROSS, HOST, Toolchain, build_elf
from builders.loaders import (
    assert_same,
    deploy_here,
    find_loader_here,
    get_loader_error,
    list_process_files,
    list_with_real_loader,
    map_process_here,
)
from bundle_fix.elf.read import constants as c
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.hosts.cpu import detect_cpu
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.search.steps import SearchRule

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="this machine's C library is not glibc"
)
LIB = "$ORIGIN/../lib"
DT_RELACOUNT = 0x6FFFFFF9


def build_library(
    path: Path,
    *needed: str,
    runpath: str | None = None,
    rpath: str | None = None,
    flags: Sequence[str] = (),
    toolchain: Toolchain = HOST,
) -> Path:
    return build_elf(
        path,
        soname=path.name,
        needed=needed,
        runpath=runpath,
        rpath=rpath,
        flags=flags,
        toolchain=toolchain,
    )


def build_program(
    root: Path,
    *needed: str,
    runpath: str | None = None,
    rpath: str | None = None,
    flags: Sequence[str] = (),
) -> Path:
    return build_elf(
        root / "bin/x", program=True, needed=needed, runpath=runpath, rpath=rpath, flags=flags
    )


def list_verdicts(root: Path, name: str, environment: Environment = EMPTY_ENVIRONMENT) -> list[str]:
    """Return the verdicts of the steps that search for ``name`` in the process of ``bin/x``."""
    process = map_process_here(root, "bin/x", environment)
    return [s.verdict for o in process.objects if o.name == name for s in o.trace]


def test_library_path_comes_before_runpath(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "env/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/liba.so.1"]
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["env/liba.so.1"]


def test_library_path_comes_after_rpath(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "env/liba.so.1")
    build_program(tmp_path, "liba.so.1", rpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


@pytest.mark.parametrize("separator", [":", ";"])
def test_library_path_has_two_separators(tmp_path: Path, separator: str) -> None:
    build_library(tmp_path / "env/liba.so.1")
    build_program(tmp_path, "liba.so.1")
    environment = Environment(library_path=separator.join(["/missing", str(tmp_path / "env")]))
    assert assert_same(tmp_path, environment=environment) == ["env/liba.so.1"]


@pytest.mark.parametrize("text", [":/missing", "/missing:", "/missing::/missing2", "./", "."])
def test_an_empty_entry_is_the_working_directory(tmp_path: Path, text: str) -> None:
    build_library(tmp_path / "cwd/liba.so.1")
    build_program(tmp_path, "liba.so.1")
    environment = Environment(library_path=text, working_directory=str(tmp_path / "cwd"))
    assert assert_same(tmp_path, environment=environment) == ["cwd/liba.so.1"]


@pytest.mark.parametrize(
    ("runpath", "rpath", "start"),
    [("../lib", None, "bin"), (None, "../lib", "bin"), (":/x", None, "lib")],
)
def test_a_relative_entry_starts_at_the_working_directory(
    tmp_path: Path, runpath: str | None, rpath: str | None, start: str
) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=runpath, rpath=rpath)
    environment = Environment(working_directory=str(tmp_path / start))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


def test_tokens_in_library_path_are_expanded_for_the_program(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1")
    environment = Environment(library_path="${ORIGIN}/../lib")
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]


@pytest.mark.parametrize("entry", ["$ORIGIN/../$LIB", "$ORIGIN/../${LIB}"])
def test_lib_is_the_directory_that_the_loader_was_built_with(tmp_path: Path, entry: str) -> None:
    build_program(tmp_path, "liba.so.1", runpath=entry)
    loader = find_loader_here(tmp_path / "bin/x")
    build_library(tmp_path / str(loader.lib) / "liba.so.1")
    assert assert_same(tmp_path) == [f"{loader.lib}/liba.so.1"]


@pytest.mark.parametrize("entry", ["$ORIGIN/../$PLATFORM", "$ORIGIN/../${PLATFORM}/."])
def test_platform_is_the_name_of_this_processor(tmp_path: Path, entry: str) -> None:
    build_program(tmp_path, "liba.so.1", runpath=entry)
    name = str(find_loader_here(tmp_path / "bin/x").platform)
    build_library(tmp_path / name / "liba.so.1")
    assert assert_same(tmp_path) == [f"{name}/liba.so.1"]


@pytest.mark.parametrize("directory", ["$ORIGINAL", "$LIBS", "${ORIGIN", "$ORIGIN_1", "$FOO", "$"])
def test_text_that_resembles_a_token_is_not_expanded(tmp_path: Path, directory: str) -> None:
    build_library(tmp_path / directory / "liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../{directory}")
    assert assert_same(tmp_path) == [f"{directory}/liba.so.1"]


def test_a_token_ends_at_a_dash(tmp_path: Path) -> None:
    build_library(tmp_path / "bin-2/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath="$ORIGIN-2")
    assert assert_same(tmp_path) == ["bin-2/liba.so.1"]


def test_origin_in_the_middle_of_an_entry_is_an_absolute_path(tmp_path: Path) -> None:
    build_library(tmp_path / "bin/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath="/proc/self/root/$ORIGIN")
    real = [path for name, path in list_with_real_loader(tmp_path / "bin/x") if name == "liba.so.1"]
    assert real[0] is not None
    assert real[0].startswith("/proc/self/root/")
    # The model knows no /proc of the process. It must not find the library in the pack by mistake.
    (found,) = [o for o in map_process_here(tmp_path, "bin/x").objects if o.name == "liba.so.1"]
    assert found.origin is not ObjectOrigin.BUNDLE or os.path.realpath(real[0]) == str(
        tmp_path / "bin/liba.so.1"
    )


def test_nodefaultlib_excludes_the_cache_and_the_default_directories(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1", "libresolv.so.2", flags=["-Wl,-z,nodefaultlib"])
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert_same(tmp_path)
    assert "not searched: -z nodefaultlib" in list_verdicts(tmp_path, "libresolv.so.2")


@pytest.mark.parametrize("entry", ["lib/liba.so.1", "./lib/liba.so.1", "../p/lib/liba.so.1"])
def test_a_needed_path_starts_at_the_working_directory(tmp_path: Path, entry: str) -> None:
    root = tmp_path / "p"
    build_library(root / "lib/liba.so.1")
    build_program(root, entry)
    environment = Environment(working_directory=str(root))
    assert assert_same(root, environment=environment) == ["lib/liba.so.1"]


def test_a_library_needed_by_path_satisfies_its_soname_later(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "env/liba.so.1")
    build_library(tmp_path / "lib/libb.so.1", "liba.so.1")
    build_program(tmp_path, "$ORIGIN/../lib/liba.so.1", "libb.so.1", runpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    found = assert_same(tmp_path, environment=environment)
    assert found == ["lib/liba.so.1", "lib/libb.so.1"]


def test_the_best_hwcaps_level_is_found_first_in_every_directory(tmp_path: Path) -> None:
    levels = list_levels_here(tmp_path)
    for level in levels:
        build_library(tmp_path / f"two/glibc-hwcaps/{level}/liba.so.1")
    build_library(tmp_path / "two/liba.so.1")
    build_library(tmp_path / "one/libb.so.1")
    build_library(tmp_path / "two/libb.so.1")
    build_library(tmp_path / f"two/glibc-hwcaps/{levels[0]}/libb.so.1")
    build_program(tmp_path, "liba.so.1", "libb.so.1", runpath="$ORIGIN/../one:$ORIGIN/../two")
    best = f"two/glibc-hwcaps/{levels[0]}/liba.so.1"
    assert assert_same(tmp_path) == [best, "one/libb.so.1"]


def test_legacy_hwcap_directories_are_searched_up_to_glibc_2_36(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/tls/liba.so.1")
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert len(assert_same(tmp_path)) == 1


def test_a_hard_link_is_the_same_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libone.so.1")
    (tmp_path / "lib/libtwo.so.1").hardlink_to(tmp_path / "lib/libone.so.1")
    build_program(tmp_path, "libone.so.1", "libtwo.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libone.so.1"]


def test_a_resolved_name_is_not_searched_again(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "other/liba.so.1")
    build_library(tmp_path / "lib/libb.so.1", "liba.so.1", runpath="$ORIGIN/../other")
    build_program(tmp_path, "libb.so.1", "liba.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libb.so.1", "lib/liba.so.1"]


def test_a_name_missing_for_one_object_may_be_found_for_another(tmp_path: Path) -> None:
    build_library(tmp_path / "other/liba.so.1")
    build_library(tmp_path / "lib/libb.so.1", "liba.so.1", runpath="$ORIGIN/../other")
    build_program(tmp_path, "liba.so.1", "libb.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libb.so.1", "other/liba.so.1"]


@pytest.mark.parametrize("machine", ["armhf", "i386", "aarch64", "riscv64", "s390x"])
def test_a_library_of_another_machine_class_or_byte_order_is_skipped(
    tmp_path: Path, machine: str
) -> None:
    build_library(tmp_path / "env/liba.so.1", toolchain=CROSS[machine])
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(library_path=str(tmp_path / "env"))
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]
    assert list_verdicts(tmp_path, "liba.so.1", environment)[0].startswith("skipped: ")


@pytest.mark.parametrize("text", ["", "INPUT(-lc)\n", "\x7fELF"])
def test_a_file_that_is_not_an_elf_library_ends_the_search(tmp_path: Path, text: str) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").write_text(text)
    if text != "\x7fELF":
        assert list_verdicts(tmp_path, "liba.so.1")[-1].endswith("the search fails here")
    assert get_loader_error(tmp_path / "bin/x")


def test_a_directory_with_the_needed_name_ends_the_search(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:{LIB}")
    (tmp_path / "bad/liba.so.1").mkdir(parents=True)
    assert "cannot read file data" in get_loader_error(tmp_path / "bin/x")
    assert list_verdicts(tmp_path, "liba.so.1") == ["a directory: the search fails here"]


def test_a_symlink_loop_ends_its_list_of_directories(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "late/liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    path = f"{tmp_path}/bad:{tmp_path}/late"
    environment = Environment(library_path=path)
    assert assert_same(tmp_path, environment=environment) == ["lib/liba.so.1"]
    expected = ["a symlink loop", "found"]
    assert list_verdicts(tmp_path, "liba.so.1", environment) == expected


@pytest.mark.parametrize("kind", ["glibc-hwcaps", "tls"])
@pytest.mark.parametrize("is_in_directory", [False, True])
def test_a_symlink_loop_in_a_subdirectory_does_not_end_the_list(
    tmp_path: Path, kind: str, *, is_in_directory: bool
) -> None:
    """Up to glibc 2.36 the loader searches ``tls`` as well."""
    build_library(tmp_path / "late/liba.so.1")
    name = f"{kind}/{list_levels_here(tmp_path)[0]}" if kind != "tls" else kind
    (tmp_path / "lib" / name).mkdir(parents=True)
    (tmp_path / "lib" / name / "liba.so.1").symlink_to("liba.so.1")
    if is_in_directory:
        build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=f"{LIB}:$ORIGIN/../late")
    assert assert_same(tmp_path) == ["lib/liba.so.1" if is_in_directory else "late/liba.so.1"]


def test_a_broken_symlink_and_a_file_instead_of_a_directory_are_skipped(
    tmp_path: Path,
) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/liba.so.1").symlink_to("nothing")
    (tmp_path / "file").write_text("x")
    build_program(tmp_path, "liba.so.1", runpath=f"$ORIGIN/../bad:$ORIGIN/../file:{LIB}")
    assert assert_same(tmp_path) == ["lib/liba.so.1"]


def test_preloaded_objects_come_first_and_load_their_dependencies(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libdeep.so.1")
    build_library(tmp_path / "lib/libpre.so.1", "libdeep.so.1", runpath="$ORIGIN")
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    environment = Environment(preload=f"{tmp_path}/lib/libpre.so.1 libresolv.so.2")
    found = assert_same(tmp_path, environment=environment)
    assert found == ["lib/libpre.so.1", "lib/liba.so.1", "lib/libdeep.so.1"]
    process = map_process_here(tmp_path, "bin/x", environment)
    assert [o.via for o in process.objects[1:3]] == [SearchRule.PRELOAD, SearchRule.PRELOAD]


def test_a_missing_preload_is_ignored(tmp_path: Path) -> None:
    build_program(tmp_path)
    environment = Environment(preload="libmissing.so.1")
    assert_same(tmp_path, environment=environment)
    process = map_process_here(tmp_path, "bin/x", environment)
    assert process.remarks == ("preloaded library libmissing.so.1 is missing and is ignored",)


def test_preloaded_names_are_searched_like_needed_names_of_the_program(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libpre.so.1")
    build_program(tmp_path, runpath=LIB)
    environment = Environment(preload="libpre.so.1")
    assert assert_same(tmp_path, environment=environment) == ["lib/libpre.so.1"]


def test_an_auxiliary_library_comes_before_its_filter(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libaux.so.1")
    build_library(tmp_path / "lib/libfilter.so.1", flags=["-Wl,-f,libaux.so.1"], runpath="$ORIGIN")
    build_program(tmp_path, "libfilter.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libaux.so.1", "lib/libfilter.so.1"]


def test_a_missing_auxiliary_library_is_ignored(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libfilter.so.1", flags=["-Wl,-f,libaux.so.1"])
    binary = build_program(tmp_path, "libfilter.so.1", runpath=LIB)
    assert subprocess.run([binary], capture_output=True, check=False).returncode == 0
    process = map_process_here(tmp_path, "bin/x")
    assert all(o.origin is not ObjectOrigin.MISSING for o in process.objects)
    assert process.remarks == ("lib/libfilter.so.1: auxiliary library libaux.so.1 is missing",)


def test_an_audit_tag_is_reported(tmp_path: Path) -> None:
    build_program(tmp_path, flags=["-Wl,--audit,libaudit.so"])
    assert map_process_here(tmp_path, "bin/x").remarks == ("bin/x: DT_AUDIT is not followed",)


def test_the_interpreter_is_loaded_before_anything_needs_it(tmp_path: Path) -> None:
    name = Path(str(find_loader_here(build_program(tmp_path)).path)).name
    build_library(tmp_path / f"lib/{name}")
    build_program(tmp_path, name, runpath=LIB, flags=["-Wl,--allow-shlib-undefined"])
    assert assert_same(tmp_path) == []


def test_thousands_of_objects_take_bounded_time(tmp_path: Path) -> None:
    """Each library needs the next one, and searches 300 missing directories first."""
    original = build_library(tmp_path / "lib/libchain0.so.1", "libchain1.so.1", runpath="$ORIGIN")
    assert original
    for number in range(1, 40):
        build_library(tmp_path / f"lib/libchain{number}.so.1", f"libchain{number + 1}.so.1",
                rpath=":".join(f"$ORIGIN/no{n}" for n in range(300)) + ":$ORIGIN")  # fmt: skip
    build_program(tmp_path, "libchain0.so.1", "libchain1.so.1", runpath=LIB)
    expected = [(n, p) for n, p in list_with_real_loader(tmp_path / "bin/x") if p is not None]
    process = map_process_here(tmp_path, "bin/x")
    found = [
        (o.name, o.origin) for o in process.objects[1:] if o.origin is not ObjectOrigin.MISSING
    ]
    assert [name for name, _ in found] == [name for name, _ in expected]


def list_levels_here(root: Path) -> tuple[str, ...]:
    """Return the glibc-hwcaps levels of this machine, or skip the test if there are none."""
    levels = find_loader_here(build_program(root)).hwcaps
    if not levels:
        pytest.skip(f"no glibc-hwcaps for this processor ({detect_cpu()}) or this glibc")
    return levels


def test_a_plugin_is_searched_by_the_rpath_of_the_program_but_not_its_runpath(
    tmp_path: Path,
) -> None:
    source = """
    #include <dlfcn.h>
    #include <stdio.h>
    int main(int argc, char **argv) { return dlopen(argv[1], RTLD_NOW) ? 0 : (puts(dlerror()), 3); }
    """
    build_library(tmp_path / "lib/libb.so.1")
    plugin = build_library(tmp_path / "plugins/libplugin.so", "libb.so.1")
    for tag, status in (("rpath", 0), ("runpath", 3)):
        opener = build_elf(
            tmp_path / f"bin/{tag}",
            program=True,
            source=source,
            rpath=LIB if tag == "rpath" else None,
            runpath=LIB if tag == "runpath" else None,
        )
        done = subprocess.run([opener, plugin], env={}, capture_output=True, check=False)
        assert done.returncode == status
        deployment = deploy_here(tmp_path)
        process = deployment.map_process(f"bin/{tag}")
        added = deployment.dlopen_process(process, "plugins/libplugin.so")
        origins = [o.origin for o in added.objects if o.name == "libb.so.1"]
        assert origins == [ObjectOrigin.BUNDLE if status == 0 else ObjectOrigin.MISSING]


def test_files_of_the_pack_are_listed_by_absolute_path(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert (
        "liba.so.1", f"{tmp_path.resolve()}/lib/liba.so.1"
    ) in list_process_files(map_process_here(tmp_path, "bin/x"), tmp_path)  # fmt: skip


def test_filtees_and_what_they_need_come_before_other_libraries(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libdeep.so.1")
    build_library(tmp_path / "lib/libone.so.1", "libdeep.so.1", runpath="$ORIGIN")
    build_library(tmp_path / "lib/libtwo.so.1")
    build_library(
        tmp_path / "lib/libfilter.so.1", flags=["-Wl,-F,libone.so.1,-f,libtwo.so.1"],
        runpath="$ORIGIN",
    )  # fmt: skip
    build_library(tmp_path / "lib/liblast.so.1", "libdeep.so.1", runpath="$ORIGIN")
    build_program(tmp_path, "libfilter.so.1", "liblast.so.1", runpath=LIB)
    assert_same(tmp_path)


def test_a_filtee_that_is_needed_later_moves_before_its_filter(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libdeep.so.1")
    build_library(tmp_path / "lib/libaux.so.1", "libdeep.so.1", runpath="$ORIGIN")
    build_library(tmp_path / "lib/libfilter.so.1", flags=["-Wl,-f,libaux.so.1"], runpath="$ORIGIN")
    build_library(tmp_path / "lib/liblast.so.1")
    build_program(tmp_path, "libfilter.so.1", "liblast.so.1", "libaux.so.1", runpath=LIB)
    found = assert_same(tmp_path)
    assert found[:2] == ["lib/libaux.so.1", "lib/libfilter.so.1"]


def test_a_filtee_that_is_loaded_before_its_filter_stays(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libaux.so.1")
    build_library(tmp_path / "lib/libfilter.so.1", flags=["-Wl,-f,libaux.so.1"], runpath="$ORIGIN")
    build_program(tmp_path, "libaux.so.1", "libfilter.so.1", runpath=LIB)
    assert assert_same(tmp_path)[:2] == ["lib/libaux.so.1", "lib/libfilter.so.1"]


def test_a_library_that_is_its_own_filtee_is_mapped_once(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/libself.so.1", flags=["-Wl,-F,libself.so.1"])
    build_program(tmp_path, "libself.so.1", runpath=LIB)
    assert assert_same(tmp_path) == ["lib/libself.so.1"]


def test_circular_filters_crash_the_loader_and_are_a_remark(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        flags = [f"-Wl,-F,lib{other}.so.1"]
        build_library(tmp_path / f"lib/lib{name}.so.1", flags=flags, runpath="$ORIGIN")
    binary = build_program(tmp_path, "liba.so.1", runpath=LIB)
    assert subprocess.run([binary], capture_output=True, check=False).returncode < 0
    process = map_process_here(tmp_path, "bin/x")
    assert process.remarks == ("lib/liba.so.1: circular DT_FILTER crashes the loader",)


def test_of_several_entries_with_one_tag_the_last_one_counts(tmp_path: Path) -> None:
    build_library(tmp_path / "lib/liba.so.1")
    build_library(tmp_path / "new/liba.so.1")
    first, second = LIB, "$ORIGIN/../new"
    binary = build_program(tmp_path, "liba.so.1", runpath=f"{first}:{second}")
    assert assert_same(tmp_path) == ["lib/liba.so.1"]
    add_second_entry(binary, c.DT_RUNPATH, len(first) + 1)
    assert assert_same(tmp_path) == ["new/liba.so.1"]
    image = read_image_at(binary)
    assert image is not None
    assert image.runpath == second


def add_second_entry(binary: Path, tag: int, skipped: int) -> None:
    """Add an entry whose string is that of the first one without its ``skipped`` first bytes.

    It takes the place of DT_RELACOUNT, which the loader does not need.
    """
    image = read_image_at(binary)
    assert image is not None
    value = image.find_value(tag)
    assert value is not None
    packed = struct.Struct("<QQ")
    data = binary.read_bytes()
    old = packed.pack(DT_RELACOUNT, image.find_value(DT_RELACOUNT) or 0)
    assert data.count(old) == 1
    binary.write_bytes(data.replace(old, packed.pack(tag, value + skipped)))
