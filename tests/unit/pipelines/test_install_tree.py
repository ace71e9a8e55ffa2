"""What a build installs is mended where it lies; what others put there is not."""

from __future__ import annotations

from pathlib import Path

from builders.elf import elf
from builders.run import run_bundle_fix
from bundle_fix.collect.libraries.partial_tree import read_tree_of_members
from bundle_fix.elf.read.parser import read_image_at


def members(root: Path, *paths: Path) -> tuple[str, Path]:
    file = root.parent / "members.txt"
    file.write_text("".join(f"{path}\n" for path in paths))
    return "--members", file


def runpath(path: Path) -> str | None:
    image = read_image_at(path)
    assert image is not None
    return image.runpath


def installed(root: Path) -> tuple[Path, Path]:
    """A program, and the library that it needs without its soname link."""
    library = elf(root / "lib/libx.so.4.6", soname="libx.so.4")
    return elf(root / "bin/server", program=True, needed=["libx.so.4"]), library


def test_members_are_mended_and_the_list_tells_what_was_added(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = installed(root)
    listed = members(root, program, library)
    done = run_bundle_fix("fix-tree", root, *listed)
    assert done.returncode == 0, done.stderr
    assert runpath(program) == "$ORIGIN/../lib"
    assert sorted(listed[1].read_text().split()) == sorted(
        map(str, (program, library, root / "lib/libx.so.4"))
    )


def test_what_members_need_may_lie_there_already_and_stays(tmp_path: Path) -> None:
    root = tmp_path / "root"
    theirs = elf(root / "lib/libx.so.4", soname="libx.so.4", runpath="/opt/theirs")
    before = theirs.read_bytes()
    program = elf(root / "bin/server", program=True, needed=["libx.so.4"])
    assert run_bundle_fix("fix-tree", root, *members(root, program)).returncode == 0
    assert runpath(program) == "$ORIGIN/../lib"
    assert theirs.read_bytes() == before


def test_what_an_earlier_run_added_is_added_anew_or_goes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = elf(tmp_path / "third/libx.so.4", soname="libx.so.4", tag="old")
    program = elf(root / "bin/server", program=True, needed=["libx.so.4"])
    spec = tmp_path / "bundle.toml"
    text = '[bundle]\nname = "x"\n[closure]\nsearch = ["third"]\nbundle = ["libx.so.*"]\n'
    spec.write_text(text)
    record = tmp_path / "added.txt"

    def run() -> tuple[str, ...]:
        _, listed = members(root, program)
        more = ("--spec", spec, "--libdir", "lib", "--added", record)
        done = run_bundle_fix("fix-tree", root, "--members", listed, *more)
        assert done.returncode == 0, done.stderr
        return tuple(Path(line).name for line in listed.read_text().split())

    assert run() == ("server", "libx.so.4")
    elf(source, soname="libx.so.4", tag="new")
    assert run() == ("server", "libx.so.4")
    assert (root / "lib/libx.so.4").read_bytes() == source.read_bytes()
    spec.write_text(text.replace("bundle =", "host ="))
    assert run() == ("server",)
    assert not (root / "lib/libx.so.4").exists()


def test_what_was_added_stays_where_the_next_run_fails(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = installed(root)
    record = tmp_path / "added.txt"
    listed = members(root, program, library)
    assert run_bundle_fix("fix-tree", root, *listed, "--added", record).returncode == 0
    assert record.read_text() == "lib/libx.so.4\n"
    lost = elf(root / "bin/lost", program=True, needed=["libgone.so.1"])
    listed = members(root, program, library, lost)
    done = run_bundle_fix("fix-tree", root, *listed, "--added", record)
    assert (done.returncode, record.read_text()) == (1, "lib/libx.so.4\n")
    assert (root / "lib/libx.so.4").exists()


def test_libraries_of_the_system_that_is_installed_into_are_the_hosts(tmp_path: Path) -> None:
    program = elf(tmp_path / "bin/server", program=True, needed=["libx.so.4"])
    library = elf(tmp_path / "lib/libx.so.4", soname="libx.so.4")
    image = read_image_at(program)
    assert image is not None
    assert "libc.so.6" in image.needed
    tree, _ = read_tree_of_members(Path("/"), [program, library], {}, partial=False)
    assert {Path(path).name for path in tree.nodes} == {"server", "libx.so.4"}


def test_a_file_of_others_is_never_replaced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    library = elf(root / "lib/libx.so.4.6", soname="libx.so.4")
    theirs = elf(root / "lib/libx.so.4", soname="libx.so.4", tag="theirs")
    before = theirs.read_bytes()
    done = run_bundle_fix("fix-tree", root, *members(root, library))
    assert (
        done.returncode,
        "the file exists already and belongs to another installation" in done.stderr,
    ) == (2, True)
    assert theirs.read_bytes() == before


def test_what_cannot_be_mended_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = installed(root)
    plugin = elf(root / "bin/other", program=True, needed=["libgone.so.1"])
    before = program.read_bytes()
    done = run_bundle_fix("fix-tree", root, *members(root, program, library, plugin))
    assert (done.returncode, "BF101" in done.stderr) == (1, True)
    assert program.read_bytes() == before
    assert not (root / "lib/libx.so.4").exists()


def test_a_component_may_count_on_what_is_built_and_comes_later(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program = elf(root / "bin/server", program=True, needed=["libx.so.4"])
    file = elf(tmp_path / "build/libx.so.4.6", soname="libx.so.4")
    (tmp_path / "built").write_text(f"lib64/libx.so.4={file}\n")
    listed = (*members(root, program), "--built", tmp_path / "built", "--host-like-this")
    assert run_bundle_fix("fix-tree", root, *listed).returncode == 1
    assert run_bundle_fix("fix-tree", root, *listed, "--partial").returncode == 0
    assert runpath(program) == "$ORIGIN/../lib64"
    assert not (root / "lib64").exists()


def test_a_wheels_tree_holds_each_library_once_but_for_names_in_python_code(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = installed(root)
    (root / "lib/libx.so.4").symlink_to(library.name)
    (root / "lib/libx.so").symlink_to("libx.so.4")
    source = tmp_path / "source/demo/code.py"
    source.parent.mkdir(parents=True)
    source.write_text('ctypes.CDLL("libx.so")\n')
    assert run_bundle_fix("fix-tree", root, "--for-wheel", "--sources", tmp_path).returncode == 0
    assert sorted(path.name for path in root.glob("lib/*")) == ["libx.so", "libx.so.4"]
    source.unlink()
    assert run_bundle_fix("fix-tree", root, "--for-wheel", "--sources", tmp_path).returncode == 0
    assert [path.name for path in root.glob("lib/*")] == ["libx.so.4"]
    assert not (root / "lib/libx.so.4").is_symlink()
    assert runpath(program) == "$ORIGIN/../lib"


def test_a_program_among_a_wheels_scripts_does_not_find_the_wheels_libraries(
    tmp_path: Path,
) -> None:
    root, scripts = tmp_path / "root", tmp_path / "scripts"
    installed(root)
    elf(scripts / "alone", program=True)
    told = ("--for-wheel", "--elsewhere", scripts)
    assert run_bundle_fix("fix-tree", root, *told).returncode == 0
    elf(scripts / "server", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../root/lib")
    done = run_bundle_fix("fix-tree", root, *told)
    assert (done.returncode, "BF641" in done.stderr) == (1, True)
    assert "scripts/server needs libx.so.4" in done.stderr


def test_what_the_spec_bundles_is_put_into_libdir(tmp_path: Path) -> None:
    root = tmp_path / "root"
    elf(tmp_path / "vendor/libv.so.2.1", soname="libv.so.2")
    (tmp_path / "vendor/libv.so.2").symlink_to("libv.so.2.1")
    program = elf(root / "bin/server", program=True, needed=["libv.so.2"])
    spec = tmp_path / "bundle.toml"
    spec.write_text(
        '[bundle]\nname = "p"\n[closure]\nbundle = ["libv.so.*"]\nsearch = ["{build}/vendor"]\n'
    )
    options = ("--spec", spec, "--libdir", "lib/here", "-D", f"build={tmp_path}")
    done = run_bundle_fix("fix-tree", root, *members(root, program), *options)
    assert done.returncode == 0, done.stderr
    assert (root / "lib/here/libv.so.2").readlink() == Path("libv.so.2.1")
    assert runpath(program) == "$ORIGIN/../lib/here"


def test_with_a_spec_every_name_is_in_the_tree_bundled_or_the_targets(tmp_path: Path) -> None:
    root = tmp_path / "root"
    elf(root / "bin/server", program=True, needed=["libv.so.2"])
    spec = tmp_path / "bundle.toml"
    spec.write_text('[bundle]\nname = "p"\n')
    options = ("--spec", spec, "--libdir", "lib")
    done = run_bundle_fix("fix-tree", root, *options)
    assert done.returncode == 2
    assert "libv.so.2 is needed, but not in the pack" in done.stderr
    assert (
        run_bundle_fix("fix-tree", root, *options, "--host-provides", "libv.so.*").returncode == 0
    )


def test_what_this_machine_has_may_be_left_to_the_target(tmp_path: Path) -> None:
    root = tmp_path / "root"
    elf(root / "bin/server", program=True, needed=["libgone.so.1", "libcrypt.so.1"])
    found = run_bundle_fix("check", root, "--host-like-this")
    assert "libgone.so.1" in found.stdout
    assert "libcrypt.so.1, which is neither" not in found.stdout


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = run_bundle_fix("fix-tree", tmp_path / "gone")
    assert (done.returncode, done.stderr) == (
        2,
        f"bundle-fix: error: {tmp_path}/gone: no such directory\n",
    )
