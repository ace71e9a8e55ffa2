"""``fix-tree``: files that a build installed are fixed in place; other files are not changed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.collect.libraries.partial_tree import read_tree_of_members
from bundle_fix.elf.read.parser import read_image_at

CLOSURE = '[bundle]\nname = "x"\n[closure]\nsearch = ["third"]\nbundle = ["libx.so.*"]\n'


def list_members(root: Path, *paths: Path) -> tuple[str, Path]:
    file = root.parent / "members.txt"
    file.write_text("".join(f"{path}\n" for path in paths))
    return "--members", file


def read_runpath(path: Path) -> str | None:
    image = read_image_at(path)
    assert image is not None
    return image.runpath


def install(root: Path) -> tuple[Path, Path]:
    """Install a program and the library that it needs, without the soname symlink."""
    library = build_elf(root / "lib/libx.so.4.6", soname="libx.so.4", tag="x")
    return build_elf(root / "bin/server", program=True, needed=["libx.so.4"]), library


def test_members_are_fixed_and_added_files_are_appended_to_the_list(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = install(root)
    listed = list_members(root, program, library)
    done = run_bundle_fix("fix-tree", root, *listed)
    assert done.returncode == 0, done.stderr
    assert read_runpath(program) == "$ORIGIN/../lib"
    assert sorted(listed[1].read_text().split()) == sorted(
        map(str, (program, library, root / "lib/libx.so.4"))
    )


def test_an_installed_library_is_used_and_not_changed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    theirs = build_elf(root / "lib/libx.so.4", soname="libx.so.4", runpath="/opt/theirs")
    before = theirs.read_bytes()
    program = build_elf(root / "bin/server", program=True, needed=["libx.so.4"])
    assert run_bundle_fix("fix-tree", root, *list_members(root, program)).returncode == 0
    assert read_runpath(program) == "$ORIGIN/../lib"
    assert theirs.read_bytes() == before


def test_files_added_by_an_earlier_run_are_added_again_or_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = build_elf(tmp_path / "third/libx.so.4", soname="libx.so.4", tag="old")
    program = build_elf(root / "bin/server", program=True, needed=["libx.so.4"])
    spec = tmp_path / "bundle.toml"
    spec.write_text(CLOSURE)
    record = tmp_path / "added.txt"

    def run() -> tuple[str, ...]:
        _, listed = list_members(root, program)
        more = ("--spec", spec, "--libdir", "lib", "--added", record)
        done = run_bundle_fix("fix-tree", root, "--members", listed, *more)
        assert done.returncode == 0, done.stderr
        return tuple(Path(line).name for line in listed.read_text().split())

    assert run() == ("server", "libx.so.4")
    build_elf(source, soname="libx.so.4", tag="new")
    assert run() == ("server", "libx.so.4")
    assert (root / "lib/libx.so.4").read_bytes() == source.read_bytes()
    spec.write_text(CLOSURE.replace("bundle =", "host ="))
    assert run() == ("server",)
    assert not (root / "lib/libx.so.4").exists()


def test_added_files_remain_if_the_next_run_fails(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = install(root)
    record = tmp_path / "added.txt"
    listed = list_members(root, program, library)
    assert run_bundle_fix("fix-tree", root, *listed, "--added", record).returncode == 0
    assert record.read_text() == "=lib/libx.so.4\n"
    lost = build_elf(root / "bin/lost", program=True, needed=["libgone.so.1"])
    listed = list_members(root, program, library, lost)
    done = run_bundle_fix("fix-tree", root, *listed, "--added", record)
    assert (done.returncode, record.read_text()) == (1, "=lib/libx.so.4\n")
    assert (root / "lib/libx.so.4").exists()


def test_libraries_of_the_system_at_the_root_belong_to_the_host(tmp_path: Path) -> None:
    program = build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.4"])
    library = build_elf(tmp_path / "lib/libx.so.4", soname="libx.so.4")
    image = read_image_at(program)
    assert image is not None
    assert "libc.so.6" in image.needed
    tree, _ = read_tree_of_members(Path("/"), [program, library], {}, {})
    assert {Path(path).name for path in tree.nodes} == {"server", "libx.so.4"}


def test_a_file_of_another_installation_is_never_replaced(tmp_path: Path) -> None:
    root = tmp_path / "root"
    library = build_elf(root / "lib/libx.so.4.6", soname="libx.so.4")
    theirs = build_elf(root / "lib/libx.so.4", soname="libx.so.4", tag="theirs")
    before = theirs.read_bytes()
    done = run_bundle_fix("fix-tree", root, *list_members(root, library))
    assert (
        done.returncode,
        "the file exists already and belongs to another installation" in done.stderr,
    ) == (2, True)
    assert theirs.read_bytes() == before


def test_nothing_is_changed_if_a_member_cannot_be_fixed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = install(root)
    plugin = build_elf(root / "bin/other", program=True, needed=["libgone.so.1"])
    before = program.read_bytes()
    done = run_bundle_fix("fix-tree", root, *list_members(root, program, library, plugin))
    assert (done.returncode, "BF101" in done.stderr) == (1, True)
    assert program.read_bytes() == before
    assert not (root / "lib/libx.so.4").exists()


def write_install_script(tmp_path: Path, *rules: tuple[str, str, Path]) -> Path:
    """Write CMake's install script: component, directory and file of each rule."""
    script = tmp_path / "cmake_install.cmake"
    script.write_text(
        "".join(
            f'if(CMAKE_INSTALL_COMPONENT STREQUAL "{component}" OR NOT CMAKE_INSTALL_COMPONENT)\n'
            f'  file(INSTALL DESTINATION "${{CMAKE_INSTALL_PREFIX}}/{directory}" TYPE FILE FILES'
            f' "{file}")\nendif()\n'
            for component, directory, file in rules
        )
    )
    return script


def describe_component(tmp_path: Path, name: str, owner: str = "") -> tuple[str, Path]:
    """Write the description of a component that is installed to the prefix ``root``."""
    file = tmp_path / name
    file.write_text(
        f"component={name}\nowner={owner}\nprefix={tmp_path}/root\nlibdir={tmp_path}/root/lib/demo\n"
        f"config=\nscript={tmp_path}/cmake_install.cmake\n"
    )
    return "--component", file


def test_a_component_may_need_a_library_that_another_component_installs(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program = build_elf(root / "bin/server", program=True, needed=["libx.so.4"])
    file = build_elf(tmp_path / "build/libx.so.4", soname="libx.so.4")
    lost = build_elf(tmp_path / "build/lost", program=True, needed=["libgone.so.1"])
    listed = (*list_members(root, program), "--host-like-this")
    assert run_bundle_fix("fix-tree", root, *listed).returncode == 1
    write_install_script(tmp_path, ("libs", "lib64", file), ("more", "bin", lost))
    done = run_bundle_fix("fix-tree", root, *listed, *describe_component(tmp_path, "app"))
    assert done.returncode == 0, done.stderr
    assert "component app needs component libs: bin/server needs lib64/libx.so.4" in done.stderr
    assert (tmp_path / "app.requires").read_text() == "libs\n"
    assert read_runpath(program) == "$ORIGIN/../lib64"
    assert not (root / "lib64").exists()


def test_a_library_of_the_closure_belongs_to_one_component_in_any_order(tmp_path: Path) -> None:
    root = tmp_path / "root"
    build_elf(tmp_path / "third/liby.so.1", soname="liby.so.1")
    build_elf(tmp_path / "third/libx.so.4", soname="libx.so.4", needed=["liby.so.1"])
    (tmp_path / "bundle.toml").write_text(CLOSURE.replace('"]\n', '", "liby.so.1"]\n'))
    spec = ("--spec", tmp_path / "bundle.toml", "--libdir", "lib/demo")
    built = {
        name: build_elf(tmp_path / f"build/{name}", program=True, needed=["libx.so.4"])
        for name in ("one", "two")
    }
    write_install_script(tmp_path, *((name, "bin", file) for name, file in built.items()))

    def install_component(name: str, owner: str = "") -> list[str]:
        (root / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(built[name], root / "bin")
        listed = (*list_members(root, root / "bin" / name), "--added", tmp_path / "added.txt")
        component = describe_component(tmp_path, name, owner)
        done = run_bundle_fix("fix-tree", root, *listed, *spec, *component)
        assert done.returncode == 0, done.stderr
        assert read_runpath(root / "bin" / name) == "$ORIGIN/../lib/demo"
        return sorted(path.name for path in root.glob("lib/demo/*"))

    assert install_component("two") == []
    assert (tmp_path / "two.requires").read_text() == "one\n"
    for name in ("one", "two"):
        assert install_component(name) == ["libx.so.4", "liby.so.1"]
    assert (tmp_path / "added.txt").read_text() == (
        "one=lib/demo/libx.so.4\none=lib/demo/liby.so.1\n"
    )
    shutil.rmtree(root)
    assert install_component("one", owner="two") == []
    assert (tmp_path / "one.requires").read_text() == "two\n"
    assert install_component("two", owner="two") == ["libx.so.4", "liby.so.1"]


def test_a_wheel_has_each_library_once_except_for_names_in_python_code(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, library = install(root)
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
    assert read_runpath(program) == "$ORIGIN/../lib"


def test_a_program_in_the_scripts_of_a_wheel_does_not_find_its_libraries(
    tmp_path: Path,
) -> None:
    root, scripts = tmp_path / "root", tmp_path / "scripts"
    install(root)
    build_elf(scripts / "alone", program=True)
    options = ("--for-wheel", "--elsewhere", scripts)
    assert run_bundle_fix("fix-tree", root, *options).returncode == 0
    build_elf(scripts / "server", program=True, needed=["libx.so.4"], runpath="$ORIGIN/../root/lib")
    done = run_bundle_fix("fix-tree", root, *options)
    assert (done.returncode, "BF641" in done.stderr) == (1, True)
    assert "scripts/server needs libx.so.4" in done.stderr


def test_libraries_bundled_by_the_spec_are_installed_in_libdir(tmp_path: Path) -> None:
    root = tmp_path / "root"
    build_elf(tmp_path / "vendor/libv.so.2.1", soname="libv.so.2")
    (tmp_path / "vendor/libv.so.2").symlink_to("libv.so.2.1")
    program = build_elf(root / "bin/server", program=True, needed=["libv.so.2"])
    spec = tmp_path / "bundle.toml"
    spec.write_text(
        '[bundle]\nname = "p"\n[closure]\nbundle = ["libv.so.*"]\nsearch = ["{build}/vendor"]\n'
    )
    options = ("--spec", spec, "--libdir", "lib/here", "-D", f"build={tmp_path}")
    done = run_bundle_fix("fix-tree", root, *list_members(root, program), *options)
    assert done.returncode == 0, done.stderr
    assert (root / "lib/here/libv.so.2").readlink() == Path("libv.so.2.1")
    assert read_runpath(program) == "$ORIGIN/../lib/here"


def test_added_libraries_are_dated_as_their_source_or_the_build_but_not_before_1980(
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    source = build_elf(tmp_path / "third/libx.so.4.6", soname="libx.so.4")
    os.utime(source, (1_600_000_000, 1_600_000_000))
    program = build_elf(root / "bin/server", program=True, needed=["libx.so.4"])
    (tmp_path / "bundle.toml").write_text(CLOSURE)
    dates = []
    for epoch in ("", "1700000000", "5"):
        options = ("--spec", tmp_path / "bundle.toml", "--libdir", "lib/demo")
        state = ("--added", tmp_path / "added.txt")
        done = run_bundle_fix(
            "fix-tree", root, *list_members(root, program), *options, *state,
            SOURCE_DATE_EPOCH=epoch,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        dates.append({int(path.lstat().st_mtime) for path in root.glob("lib/demo/*")})
    assert dates == [{1_600_000_000}, {1_700_000_000}, {315_532_800}]


def test_a_default_directory_of_the_target_is_refused_for_private_libraries(tmp_path: Path) -> None:
    root = tmp_path / "usr"
    program = build_elf(root / "bin/server", program=True)
    (tmp_path / "bundle.toml").write_text(CLOSURE)
    options = (*list_members(root, program), "--spec", tmp_path / "bundle.toml", "--libdir", "lib")
    done = run_bundle_fix("fix-tree", root, *options, "--destdir", tmp_path)
    assert (done.returncode, "/usr/lib: the loader searches this directory" in done.stderr) == (
        2,
        True,
    )
    assert run_bundle_fix("fix-tree", root, *options).returncode == 0


def test_with_a_spec_every_needed_name_must_be_installed_bundled_or_provided(
    tmp_path: Path,
) -> None:
    root = tmp_path / "root"
    build_elf(root / "bin/server", program=True, needed=["libv.so.2"])
    spec = tmp_path / "bundle.toml"
    spec.write_text('[bundle]\nname = "p"\n')
    options = ("--all", "--spec", spec, "--libdir", "lib")
    done = run_bundle_fix("fix-tree", root, *options)
    assert done.returncode == 2
    assert "libv.so.2 is needed, but not in the pack" in done.stderr
    assert (
        run_bundle_fix("fix-tree", root, *options, "--host-provides", "libv.so.*").returncode == 0
    )


def test_libraries_of_this_machine_may_be_expected_on_the_target(tmp_path: Path) -> None:
    root = tmp_path / "root"
    build_elf(root / "bin/server", program=True, needed=["libgone.so.1", "libcrypt.so.1"])
    found = run_bundle_fix("check", root, "--host-like-this")
    assert "libgone.so.1" in found.stdout
    assert "libcrypt.so.1, which is neither" not in found.stdout


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    done = run_bundle_fix("fix-tree", tmp_path / "gone", "--all")
    assert (done.returncode, done.stderr) == (
        2,
        f"bundle-fix: error: {tmp_path}/gone: no such directory\n",
    )


def fix_wheel_tree(tmp_path: Path, more: str = "") -> list[str]:
    """Fix a wheel whose module needs a library of this machine; return the paths of libraries."""
    root, spec = tmp_path / "wheel", tmp_path / "bundle.toml"
    build_elf(tmp_path / "third/libdep.so.1.2", soname="libdep.so.1", tag="dep")
    (tmp_path / "third/libdep.so.1").symlink_to("libdep.so.1.2")
    build_elf(root / "demo/ext.so", needed=["libdep.so.1"])
    text = '[bundle]\nname = "x"\n[closure]\nsearch = ["third"]\nbundle = ["libdep.so.1"]\n'
    spec.write_text(text + more)
    libdir = ("--libdir", "demo.libs")
    done = run_bundle_fix("fix-tree", root, "--for-wheel", "--spec", spec, *libdir)
    assert done.returncode == 0, done.stderr
    assert read_runpath(root / "demo/ext.so") == "$ORIGIN/../demo.libs"
    return sorted(path.name for path in root.glob("demo.libs/*"))


def test_a_library_that_the_closure_adds_to_a_wheel_has_a_name_of_its_own(tmp_path: Path) -> None:
    (name,) = fix_wheel_tree(tmp_path)
    assert re.fullmatch(r"libdep-[0-9a-f]{8}\.so\.1", name)
    ext = read_image_at(tmp_path / "wheel/demo/ext.so")
    library = read_image_at(tmp_path / "wheel/demo.libs" / name)
    assert ext is not None
    assert library is not None
    assert (ext.needed[0], library.soname) == (name, name)


def test_the_spec_keeps_the_name_of_a_library_in_a_wheel(tmp_path: Path) -> None:
    assert fix_wheel_tree(tmp_path, "unique = false\n") == ["libdep.so.1"]


def test_a_signed_library_is_not_changed_and_a_checksum_is_renewed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    program, _ = install(root)
    build_elf(root / "lib/libsoft.so.3", soname="libsoft.so.3", needed=["libx.so.4"])
    (root / "lib/libsoft.chk").touch()
    signed = (root / "lib/libsoft.so.3").read_bytes()
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    (root / "SHA256SUMS").write_text(f"{digest}  bin/server\n")
    done = run_bundle_fix("fix-tree", root, "--all", "--force")
    assert "lib/libsoft.so.3: not changed: lib/libsoft.chk signs its content" in done.stderr
    assert (root / "lib/libsoft.so.3").read_bytes() == signed
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    assert (root / "SHA256SUMS").read_text() == f"{digest}  bin/server\n"


def test_without_a_list_no_file_is_changed_unless_all_are_selected(tmp_path: Path) -> None:
    program = build_elf(tmp_path / "bin/server", program=True, runpath="/build/lib")
    for root in ("/", "/usr", "/usr/local", str(tmp_path)):
        done = run_bundle_fix("fix-tree", root)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{root}: it may contain files of other packages" in done.stderr
    assert read_runpath(program) == "/build/lib"
    assert run_bundle_fix("fix-tree", tmp_path, "--all").returncode == 0
    assert read_runpath(program) is None
