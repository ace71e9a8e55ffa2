"""Tiny trees of real ELF files, each run through the real loader and through the model."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import map_process
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.loader.process import Process


def modelled(root: Path, entry: str) -> Process:
    return map_process(
        read_bundle(read_directory(root), str(root)), build_adversarial_host(), entry
    )


def model_list(root: Path, entry: str) -> list[tuple[str, str | None]]:
    """Name and real file, relative to the pack, of each object; the host's and libc's left out."""
    return [(o.name, o.path) for o in modelled(root, entry).objects[1:] if o.origin == "bundle"]


def loader_list(root: Path, entry: str) -> list[tuple[str, str | None]]:
    """The same from the real loader."""
    program = root / entry
    done = subprocess.run(
        [program], env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, text=True, check=True
    )
    found: list[tuple[str, str | None]] = []
    for name, path in re.findall(r"^\s+(\S+) => (/\S+) \(", done.stdout, re.MULTILINE):
        real = Path(path).resolve()
        if real.is_relative_to(root.resolve()):
            found.append((name, str(real.relative_to(root.resolve()))))
    return found


def assert_same(root: Path, entry: str = "bin/x") -> list[tuple[str, str | None]]:
    expected = loader_list(root, entry)
    assert model_list(root, entry) == expected
    return expected


def test_runpath_serves_only_its_own_objects_needs(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert assert_same(tmp_path) == [("liba.so.1", "lib/liba.so.1")]


def test_rpath_is_inherited_by_what_it_loads(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert len(assert_same(tmp_path)) == 2


def test_a_runpath_silences_the_rpath_of_its_loaders(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="/nowhere"
    )
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert assert_same(tmp_path) == [("liba.so.1", "lib/liba.so.1")]


def test_the_rpath_of_an_object_with_a_runpath_counts_for_nobody(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libc1.so.1", soname="libc1.so.1")
    build_elf(tmp_path / "mid/libb.so.1", soname="libb.so.1", needed=["libc1.so.1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libb.so.1"],
        runpath="$ORIGIN/../mid:$ORIGIN/../lib",
    )
    assert assert_same(tmp_path) == [("libb.so.1", "mid/libb.so.1")]


def test_needed_names_are_taken_breadth_first(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libdeep.so.1", soname="libdeep.so.1", runpath="$ORIGIN")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libdeep.so.1"], runpath="$ORIGIN"
    )
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["liba.so.1", "libb.so.1"],
        runpath="$ORIGIN/../lib",
    )
    names = [name for name, _ in assert_same(tmp_path)]
    assert names == ["liba.so.1", "libb.so.1", "libdeep.so.1"]


def test_a_name_is_satisfied_by_what_is_loaded_with_that_soname(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libdev.so", soname="libreal.so.1")
    build_elf(tmp_path / "lib/libuser.so.1", soname="libuser.so.1", needed=["libreal.so.1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libdev.so", "libuser.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert [name for name, _ in assert_same(tmp_path)] == ["libdev.so", "libuser.so.1"]


def test_one_file_under_two_names_is_one_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libone.so.1", tag="one")
    (tmp_path / "lib/libtwo.so.1").symlink_to("libone.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libone.so.1", "libtwo.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert model_list(tmp_path, "bin/x") == [("libone.so.1", "lib/libone.so.1")]
    ran = subprocess.run([tmp_path / "bin/x"], capture_output=True, text=True, check=True)
    assert ran.stdout == "one\nmain\n"


def test_origin_of_a_linked_program_is_where_the_program_really_is(tmp_path: Path) -> None:
    build_elf(tmp_path / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "opt/bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/x").symlink_to("../opt/bin/x")
    assert len(assert_same(tmp_path)) == 1


def test_origin_of_a_linked_library_is_where_the_link_is(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "lib/real/liba.so.1.2",
        soname="liba.so.1",
        needed=["libb.so.1"],
        runpath="$ORIGIN",
    )
    (tmp_path / "lib/liba.so.1").symlink_to("real/liba.so.1.2")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert len(assert_same(tmp_path)) == 2


def test_a_candidate_of_another_machine_is_passed_over(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib32/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["liba.so.1"],
        runpath="$ORIGIN/../lib32:$ORIGIN/../lib64",
    )
    assert assert_same(tmp_path) == [("liba.so.1", "lib64/liba.so.1")]
    step = modelled(tmp_path, "bin/x").objects[1].trace[0]
    assert step.verdict == "passed over: 32-bit i386"


def test_a_needed_path_is_taken_without_any_search(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", tag="right")
    build_elf(tmp_path / "decoy/liba.so.1", soname="liba.so.1", tag="wrong")
    program = build_elf(tmp_path / "bin/x", program=True, needed=["$ORIGIN/../lib/liba.so.1"])
    process = modelled(tmp_path, "bin/x")
    assert (process.objects[1].path, process.objects[1].via) == ("lib/liba.so.1", "direct")
    env = {"LD_LIBRARY_PATH": str(tmp_path / "decoy")}
    ran = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "right\nmain\n"


def test_braces_around_tokens_mean_the_same(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="${ORIGIN}/../lib")
    assert len(assert_same(tmp_path)) == 1


def test_a_folder_reached_through_a_link_is_searched(tmp_path: Path) -> None:
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN"
    )
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    (tmp_path / "lib64").symlink_to("lib")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib64")
    assert len(assert_same(tmp_path)) == 2


@pytest.mark.parametrize("entry", [".", "", "lib", "../lib"])
def test_an_entry_relative_to_the_working_directory_is_never_counted_on(
    tmp_path: Path, entry: str
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{entry}:/nowhere")
    found = modelled(tmp_path, "bin/x").objects[1]
    assert (found.origin, found.path) == ("host", "/lib64/liba.so.1")
    assert found.trace[0].verdict == "depends on the working directory of the process"


def test_the_adversarial_host_has_every_name_that_the_pack_provides(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1", "libunheard.so.1"])
    origins = {o.name: o.origin for o in modelled(tmp_path, "bin/x").objects[1:]}
    assert origins == {"liba.so.1": "host", "libunheard.so.1": "missing", "libc.so.6": "host"}


def test_a_program_in_the_root_of_the_pack_finds_its_folder(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/lib")
    assert len(assert_same(tmp_path, "x")) == 1


def test_a_runpath_that_leaves_the_pack_finds_nothing_in_it(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(
        root / "bin/x",
        program=True,
        needed=["liba.so.1"],
        runpath="$ORIGIN/../../pack/lib:$ORIGIN/../lib",
    )
    found = modelled(root, "bin/x").objects[1]
    assert [s.verdict for s in found.trace] == ["points outside the pack", "found"]
