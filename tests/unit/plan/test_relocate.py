from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_incident_pack, make_tarball
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Symlink
from bundle_fix.plan.relocate import RelocatedBundle, move_libraries


def move_to(directory: Path, to: str = "lib") -> RelocatedBundle:
    return move_libraries(read_bundle(read_directory(directory), str(directory)), to)


def list_symlinks(result: RelocatedBundle) -> dict[str, str]:
    return {path: link.target for path, link in result.bundle.tree.iter_symlinks()}


def test_a_library_moves_with_its_symlinks_and_leaves_symlinks(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True, needed=["libx.so.4"])
    build_elf(tmp_path / "bin/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "bin/libx.so.4").symlink_to("libx.so.4.6")
    result = move_to(tmp_path)
    assert result.paths == {
        "bin/libx.so.4": "lib/libx.so.4",
        "bin/libx.so.4.6": "lib/libx.so.4.6",
    }
    assert list_symlinks(result) == {
        "lib/libx.so.4": "libx.so.4.6",
        "bin/libx.so.4": "../lib/libx.so.4",
        "bin/libx.so.4.6": "../lib/libx.so.4.6",
    }
    assert set(result.bundle.images) == {"bin/x", "lib/libx.so.4.6"}


def test_other_libraries_and_other_files_are_not_moved(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "plugins/liby.so", soname="liby.so")
    (tmp_path / "bin/libnot.so").write_text("a linker script")
    assert not move_to(tmp_path).paths


def test_another_file_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "bin/libx.so.4", soname="libx.so.4", tag="one")
    build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4", tag="two")
    result = move_to(tmp_path)
    assert not result.paths
    assert result.remarks == {"bin/libx.so.4": ("not moved: lib/libx.so.4 is a different file",)}


def test_an_identical_file_in_the_target_directory_is_used(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    for directory in ("bin", "lib"):
        build_elf(tmp_path / directory / "libx.so.4", soname="libx.so.4", tag="one")
    result = move_to(tmp_path)
    assert list_symlinks(result) == {"bin/libx.so.4": "../lib/libx.so.4"}
    assert set(result.bundle.images) == {"bin/x", "lib/libx.so.4"}


def test_only_one_of_two_libraries_with_the_same_name_is_moved(tmp_path: Path) -> None:
    for directory in ("a", "b"):
        build_elf(tmp_path / directory / "x", program=True)
        build_elf(tmp_path / directory / "libx.so.4", soname="libx.so.4", tag=directory)
    result = move_to(tmp_path)
    assert list(result.paths) == ["a/libx.so.4"]
    assert list(result.remarks) == ["b/libx.so.4"]


def test_hard_links_remain_hard_links(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "bin/libx.so.4", soname="libx.so.4")
    (tmp_path / "bin/libx.so").hardlink_to(tmp_path / "bin/libx.so.4")
    nodes = move_to(tmp_path).bundle.tree.nodes
    files = {path: node.hardlink for path, node in nodes.items() if isinstance(node, File)}
    assert files["lib/libx.so.4"] == "lib/libx.so"
    assert isinstance(nodes["bin/libx.so.4"], Symlink)


@pytest.mark.parametrize("directory", ["/usr/lib", "../lib", "bin/x", "bin/x/lib"])
def test_an_invalid_target_directory_is_refused(tmp_path: Path, directory: str) -> None:
    build_elf(tmp_path / "bin/x", program=True)
    build_elf(tmp_path / "bin/libx.so.4", soname="libx.so.4")
    with pytest.raises(BundleFixError):
        move_to(tmp_path, directory)


def test_a_pack_with_moved_libraries_runs(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    result = run_bundle_fix("fix", pack, "--move-libraries", "lib")
    assert result.returncode == 0, result.stderr
    assert "bin/libtcmalloc.so: moved to lib/libtcmalloc.so; a symlink remains\n" in result.stderr
    subprocess.run(["tar", "xf", tmp_path / "pack.fixed.tar.gz", "-C", tmp_path], check=True)
    (tmp_path / "pack/bin/libtcmalloc.so").unlink()  # what is loaded is in lib
    program = tmp_path / "pack/bin/server"
    program_run = subprocess.run([program], capture_output=True, text=True, check=True)
    assert program_run.stdout == "shipped\nmain\n"
    again = run_bundle_fix("fix", tmp_path / "pack.fixed.tar.gz", "--move-libraries", "lib")
    assert "nothing to fix" in again.stderr
