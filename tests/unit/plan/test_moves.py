from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import elf
from builders.pack import incident, tarball
from builders.run import bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Symlink
from bundle_fix.plan.relocate import RelocatedBundle, move_libraries


def moved(folder: Path, to: str = "lib") -> RelocatedBundle:
    return move_libraries(read_bundle(read_directory(folder), str(folder)), to)


def links(result: RelocatedBundle) -> dict[str, str]:
    return {path: link.target for path, link in result.bundle.tree.links()}


def test_a_library_beside_a_program_moves_with_its_links_and_leaves_links(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True, needed=["libx.so.4"])
    elf(tmp_path / "bin/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "bin/libx.so.4").symlink_to("libx.so.4.6")
    result = moved(tmp_path)
    assert result.paths == {
        "bin/libx.so.4": "lib/libx.so.4",
        "bin/libx.so.4.6": "lib/libx.so.4.6",
    }
    assert links(result) == {
        "lib/libx.so.4": "libx.so.4.6",
        "bin/libx.so.4": "../lib/libx.so.4",
        "bin/libx.so.4.6": "../lib/libx.so.4.6",
    }
    assert set(result.bundle.images) == {"bin/x", "lib/libx.so.4.6"}


def test_libraries_elsewhere_and_what_is_no_library_stay(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True)
    elf(tmp_path / "plugins/liby.so", soname="liby.so")
    (tmp_path / "bin/libnot.so").write_text("a linker script")
    assert not moved(tmp_path).paths


def test_another_file_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True)
    elf(tmp_path / "bin/libx.so.4", soname="libx.so.4", tag="one")
    elf(tmp_path / "lib/libx.so.4", soname="libx.so.4", tag="two")
    result = moved(tmp_path)
    assert not result.paths
    assert result.remarks == {
        "bin/libx.so.4": ("stays where it is: lib/libx.so.4 is another file",)
    }


def test_the_same_file_there_already_is_enough(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True)
    for folder in ("bin", "lib"):
        elf(tmp_path / folder / "libx.so.4", soname="libx.so.4", tag="one")
    result = moved(tmp_path)
    assert links(result) == {"bin/libx.so.4": "../lib/libx.so.4"}
    assert set(result.bundle.images) == {"bin/x", "lib/libx.so.4"}


def test_libraries_of_one_name_beside_two_programs_move_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        elf(tmp_path / folder / "x", program=True)
        elf(tmp_path / folder / "libx.so.4", soname="libx.so.4", tag=folder)
    result = moved(tmp_path)
    assert list(result.paths) == ["a/libx.so.4"]
    assert list(result.remarks) == ["b/libx.so.4"]


def test_hard_links_stay_one_file(tmp_path: Path) -> None:
    elf(tmp_path / "bin/x", program=True)
    elf(tmp_path / "bin/libx.so.4", soname="libx.so.4")
    (tmp_path / "bin/libx.so").hardlink_to(tmp_path / "bin/libx.so.4")
    nodes = moved(tmp_path).bundle.tree.nodes
    files = {path: node.twin for path, node in nodes.items() if isinstance(node, File)}
    assert files["lib/libx.so.4"] == "lib/libx.so"
    assert isinstance(nodes["bin/libx.so.4"], Symlink)


@pytest.mark.parametrize("folder", ["/usr/lib", "../lib", "bin/x", "bin/x/lib"])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, folder: str) -> None:
    elf(tmp_path / "bin/x", program=True)
    elf(tmp_path / "bin/libx.so.4", soname="libx.so.4")
    with pytest.raises(BundleFixError):
        moved(tmp_path, folder)


def test_a_pack_with_its_libraries_moved_runs_them(tmp_path: Path) -> None:
    pack = tarball(incident(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = bundle_fix("fix", pack, "--move-libraries", "lib")
    assert done.returncode == 0, done.stderr
    assert "bin/libtcmalloc.so: moved to lib/libtcmalloc.so; a symlink remains\n" in done.stderr
    subprocess.run(["tar", "xf", tmp_path / "pack.fixed.tar.gz", "-C", tmp_path], check=True)
    (tmp_path / "pack/bin/libtcmalloc.so").unlink()  # what is loaded is in lib
    program = tmp_path / "pack/bin/server"
    ran = subprocess.run([program], capture_output=True, text=True, check=True)
    assert ran.stdout == "shipped\nmain\n"
    again = bundle_fix("fix", tmp_path / "pack.fixed.tar.gz", "--move-libraries", "lib")
    assert "nothing to fix" in again.stderr
