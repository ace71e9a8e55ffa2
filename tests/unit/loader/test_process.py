"""Processes: small trees of real ELF files, for the real loader and the model."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.loader.search.steps import SearchRule


def map_on_adversarial_host(root: Path, entry: str) -> Process:
    bundle = read_bundle(read_directory(root), str(root))
    return Deployment(bundle, build_adversarial_host()).map_process(entry)


def list_with_model(root: Path, entry: str) -> list[tuple[str, str | None]]:
    """Return name and path in the pack of each object that comes from the pack, but the entry."""
    objects = map_on_adversarial_host(root, entry).objects[1:]
    return [(o.name, o.path) for o in objects if o.origin is ObjectOrigin.BUNDLE]


def list_with_loader(root: Path, entry: str) -> list[tuple[str, str | None]]:
    """Return the list of `list_with_model` as the real loader prints it."""
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
    """Assert that the loader and the model load the same files of the pack; return them."""
    expected = list_with_loader(root, entry)
    assert list_with_model(root, entry) == expected
    return expected


def test_runpath_applies_only_to_needed_names_of_its_own_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    assert assert_same(tmp_path) == [("liba.so.1", "lib/liba.so.1")]


def test_rpath_is_inherited_by_loaded_libraries(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert len(assert_same(tmp_path)) == 2


def test_a_runpath_disables_inherited_rpaths(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="/missing"
    )
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], rpath="$ORIGIN/../lib")
    assert assert_same(tmp_path) == [("liba.so.1", "lib/liba.so.1")]


def test_the_runpath_of_a_program_is_not_inherited(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libc1.so.1", soname="libc1.so.1")
    build_elf(tmp_path / "mid/libb.so.1", soname="libb.so.1", needed=["libc1.so.1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libb.so.1"],
        runpath="$ORIGIN/../mid:$ORIGIN/../lib",
    )
    assert assert_same(tmp_path) == [("libb.so.1", "mid/libb.so.1")]


def test_needed_names_are_loaded_breadth_first(tmp_path: Path) -> None:
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


def test_a_loaded_object_satisfies_its_soname(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libdev.so", soname="libreal.so.1")
    build_elf(tmp_path / "lib/libuser.so.1", soname="libuser.so.1", needed=["libreal.so.1"])
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libdev.so", "libuser.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert [name for name, _ in assert_same(tmp_path)] == ["libdev.so", "libuser.so.1"]


def test_a_file_with_two_names_is_one_object(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libone.so.1", tag="one")
    (tmp_path / "lib/libtwo.so.1").symlink_to("libone.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["libone.so.1", "libtwo.so.1"],
        runpath="$ORIGIN/../lib",
    )
    assert list_with_model(tmp_path, "bin/x") == [("libone.so.1", "lib/libone.so.1")]
    ran = subprocess.run([tmp_path / "bin/x"], capture_output=True, text=True, check=True)
    assert ran.stdout == "one\nmain\n"


def test_origin_of_a_program_is_the_directory_of_the_file_itself(tmp_path: Path) -> None:
    build_elf(tmp_path / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "opt/bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/x").symlink_to("../opt/bin/x")
    assert len(assert_same(tmp_path)) == 1


def test_origin_of_a_library_is_the_directory_of_its_symlink(tmp_path: Path) -> None:
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


def test_a_library_of_another_machine_is_skipped(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib32/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib64/liba.so.1", soname="liba.so.1")
    build_elf(
        tmp_path / "bin/x",
        program=True,
        needed=["liba.so.1"],
        runpath="$ORIGIN/../lib32:$ORIGIN/../lib64",
    )
    assert assert_same(tmp_path) == [("liba.so.1", "lib64/liba.so.1")]
    step = map_on_adversarial_host(tmp_path, "bin/x").objects[1].trace[0]
    assert step.verdict == "skipped: 32-bit i386"


def test_a_needed_path_is_not_searched(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1", tag="right")
    build_elf(tmp_path / "decoy/liba.so.1", soname="liba.so.1", tag="wrong")
    program = build_elf(tmp_path / "bin/x", program=True, needed=["$ORIGIN/../lib/liba.so.1"])
    process = map_on_adversarial_host(tmp_path, "bin/x")
    assert (process.objects[1].path, process.objects[1].via) == (
        "lib/liba.so.1",
        SearchRule.DIRECT,
    )
    env = {"LD_LIBRARY_PATH": str(tmp_path / "decoy")}
    ran = subprocess.run([program], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "right\nmain\n"


def test_tokens_may_have_braces(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="${ORIGIN}/../lib")
    assert len(assert_same(tmp_path)) == 1


def test_a_directory_behind_a_symlink_is_searched(tmp_path: Path) -> None:
    build_elf(
        tmp_path / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], runpath="$ORIGIN"
    )
    build_elf(tmp_path / "lib/libb.so.1", soname="libb.so.1")
    (tmp_path / "lib64").symlink_to("lib")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib64")
    assert len(assert_same(tmp_path)) == 2


@pytest.mark.parametrize("entry", [".", "", "lib", "../lib"])
def test_an_entry_relative_to_the_working_directory_is_not_relied_on(
    tmp_path: Path, entry: str
) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1"], runpath=f"{entry}:/missing")
    found = map_on_adversarial_host(tmp_path, "bin/x").objects[1]
    assert (found.origin, found.path) == (ObjectOrigin.HOST, "/lib64/liba.so.1")
    assert found.trace[0].verdict == "depends on the working directory of the process"


def test_the_adversarial_host_has_every_name_that_the_pack_provides(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "bin/x", program=True, needed=["liba.so.1", "libunknown.so.1"])
    origins = {o.name: o.origin for o in map_on_adversarial_host(tmp_path, "bin/x").objects[1:]}
    assert origins == {
        "liba.so.1": ObjectOrigin.HOST,
        "libunknown.so.1": ObjectOrigin.MISSING,
        "libc.so.6": ObjectOrigin.HOST,
    }


def test_a_program_in_the_top_directory_of_the_pack_finds_its_libraries(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/liba.so.1", soname="liba.so.1")
    build_elf(tmp_path / "x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/lib")
    assert len(assert_same(tmp_path, "x")) == 1


def test_a_runpath_that_leaves_the_pack_finds_no_file_of_the_pack(tmp_path: Path) -> None:
    root = tmp_path / "pack"
    build_elf(root / "lib/liba.so.1", soname="liba.so.1")
    build_elf(
        root / "bin/x",
        program=True,
        needed=["liba.so.1"],
        runpath="$ORIGIN/../../pack/lib:$ORIGIN/../lib",
    )
    found = map_on_adversarial_host(root, "bin/x").objects[1]
    assert [s.verdict for s in found.trace] == ["points outside the pack", "found"]
