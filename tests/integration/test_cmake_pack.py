"""bundle_fix_pack(): the build makes packs, and makes them again only if an input has changed."""

from __future__ import annotations

import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from builders.cmake import (
    CMake,
    Project,
    build_project,
    install_cmake,
    write_demo_project,
    write_project,
)
from builders.elf import build_elf

pytestmark = pytest.mark.xdist_group("cmake")

VARIANTS = [("oldest", "Unix Makefiles"), ("newest", "Ninja Multi-Config")]
PACK = "bundle_fix_pack(pack bundle.toml OPTIONS greeting=hallo)\n"
SPEC = """\
[bundle]
name = "demo-{cmake.CMAKE_PROJECT_VERSION}-{version}"

[variables]
version = { file = "version.txt", pattern = "([0-9]+)" }
channel = { env = "DEMO_CHANNEL", default = "stable" }

[options]
greeting = { choices = ["hallo", "moin"], default = "moin" }

[[files]]
from = "{target.app}"
to   = "bin/"

[[files]]
from = "etc/*.ini"
to   = "etc/"

[[files]]
text = "{greeting} {channel} {cmake.CMAKE_BUILD_TYPE} {source}"
to   = "README"

[[libraries]]
from = "{target.core}"
"""


@pytest.fixture(scope="session", params=VARIANTS, ids="-".join)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    which, generator = request.param
    directory = tmp_path_factory.mktemp("ein Übersetzen")
    files = {"bundle.toml": SPEC, "version.txt": "7", "etc/a.ini": "a", "notes.txt": "not an input"}
    source = write_demo_project(directory / "sö urce", PACK, **files)
    project = build_project(
        install_cmake(which, generator), source, directory / "bü ild", "-DCMAKE_BUILD_TYPE=Release"
    )
    done = project.make("pack")
    assert done.returncode == 0, done.stdout
    return project


def list_packs(project: Project) -> list[Path]:
    return sorted(project.build.rglob("*.tar.gz"), key=lambda path: path.stat().st_mtime_ns)


def is_made_again(project: Project, **environ: str) -> bool:
    before = [path.stat().st_mtime_ns for path in list_packs(project)]
    done = project.make("pack", **environ)
    assert done.returncode == 0, done.stdout
    return [path.stat().st_mtime_ns for path in list_packs(project)] != before


def write_later(path: Path, text: str) -> None:
    time.sleep(0.02)
    path.write_text(text)


def test_the_pack_has_the_built_targets_and_runs(project: Project, tmp_path: Path) -> None:
    with tarfile.open(list_packs(project)[-1]) as archive:
        archive.extractall(tmp_path, filter="tar")
    (directory,) = tmp_path.iterdir()
    assert directory.name.startswith("demo-1.2.3-")
    ran = subprocess.run([directory / "bin/app"], capture_output=True, text=True, check=True)
    assert ran.stdout == "answer 42\n"
    assert (directory / "README").read_text() == f"hallo stable Release {project.source}"
    assert (directory / "lib/libcore.so.1").readlink() == Path("libcore.so.1.2.3")


def test_a_pack_is_made_again_only_if_an_input_has_changed(project: Project) -> None:
    assert not is_made_again(project)
    write_later(project.source / "notes.txt", "still not an input")
    assert not is_made_again(project)
    for name, text in {
        "version.txt": "8",
        "etc/a.ini": "other",
        "etc/new.ini": "found by the glob",
        "core/core.c": "int core_answer(void) { return 42 + 0 * 7; }",
        "bundle.toml": SPEC.replace("{source}", "{source} "),
    }.items():
        write_later(project.source / name, text)
        assert is_made_again(project), name
    assert not is_made_again(project)
    write_later(project.source / "bundle.toml", SPEC)
    assert is_made_again(project)


def test_a_removed_pack_is_made_again(project: Project) -> None:
    for path in list_packs(project):
        path.unlink()
    assert project.make("pack").returncode == 0
    assert list_packs(project)


def test_a_pack_is_made_again_if_an_option_has_changed(project: Project) -> None:
    lists = project.source / "CMakeLists.txt"
    text = lists.read_text()
    write_later(lists, text.replace("greeting=hallo", "greeting=moin"))
    assert is_made_again(project)
    write_later(lists, text)
    assert is_made_again(project)


def test_a_pack_is_made_again_if_an_environment_variable_of_its_spec_has_changed(
    project: Project,
) -> None:
    for environ in ({"DEMO_CHANNEL": "beta"}, {"SOURCE_DATE_EPOCH": "1000000000"}, {}):
        assert is_made_again(project, **environ)
        assert not is_made_again(project, **environ, DEMO_OTHER="not used by the spec")


def test_a_pack_that_does_not_pass_fails_the_build_with_a_report(project: Project) -> None:
    write_later(project.source / "bundle.toml", SPEC[: SPEC.index("[[libraries]]")])
    before = list_packs(project)
    done = project.make("pack")
    assert done.returncode != 0
    assert "libcore.so.1" in done.stdout
    assert list_packs(project) == before
    write_later(project.source / "bundle.toml", SPEC)
    assert project.make("pack").returncode == 0


@pytest.fixture(scope="session")
def newest() -> CMake:
    return install_cmake("newest")


def test_a_directory_pack_is_replaced_but_not_an_unknown_directory(
    tmp_path: Path, newest: CMake
) -> None:
    spec = '[bundle]\nname = "d"\nformat = "dir"\n[[files]]\nfrom = "x"\nto = "x"\n'
    source = write_demo_project(tmp_path / "s", PACK.replace(" OPTIONS greeting=hallo", ""))
    (source / "bundle.toml").write_text(spec)
    (source / "x").write_text("one")
    project = build_project(newest, source, tmp_path / "b")
    (tmp_path / "b/d").mkdir()
    (tmp_path / "b/d/mine").touch()
    assert "not empty" in project.make("pack").stdout
    (tmp_path / "b/d/mine").unlink()
    assert project.make("pack").returncode == 0
    write_later(source / "x", "two")
    assert project.make("pack").returncode == 0
    assert (tmp_path / "b/d/x").read_text() == "two"
    assert [path.name for path in (tmp_path / "b").glob(".*tmp")] == []


def test_a_pack_is_installed_by_its_own_component(tmp_path: Path, newest: CMake) -> None:
    more = "bundle_fix_pack(pack bundle.toml COMPONENT packs DESTINATION share/packs)\n"
    project = build_project(newest, write_demo_project(tmp_path / "s", more), tmp_path / "b")
    done = project.install("--prefix", tmp_path / "i", "--component", "packs")
    assert "build the target pack first" in " ".join(done.stdout.split())
    assert project.make("pack").returncode == 0
    assert project.install("--prefix", tmp_path / "i", "--component", "packs").returncode == 0
    assert (tmp_path / "i/share/packs/demo-1.2.3.tar.gz").is_file()
    assert project.install("--prefix", tmp_path / "all").returncode == 0
    assert not (tmp_path / "all/share/packs").exists()


def test_a_pack_in_a_subdirectory_has_the_targets_that_its_spec_names(
    tmp_path: Path, newest: CMake
) -> None:
    build_elf(tmp_path / "s/vendor/libv.so.2", soname="libv.so.2")
    lists = """
add_library(vendor SHARED IMPORTED)
set_target_properties(vendor PROPERTIES IMPORTED_LOCATION ${CMAKE_SOURCE_DIR}/vendor/libv.so.2)
bundle_fix_pack(NAME pack SPEC bundle.toml TARGETS demo::app)
"""
    spec = SPEC[: SPEC.index("[variables]")].replace("-{version}", "")
    spec += '[[files]]\nfrom = "{target.demo__app}"\nto = "bin/"\n'
    spec += '[[files]]\nfrom = "{target.left_out}"\nto = "bin/"\n'
    spec += "".join(f'[[libraries]]\nfrom = "{{target.{t}}}"\n' for t in ("core", "vendor"))
    more = "add_executable(demo::app ALIAS app)\nadd_subdirectory(packs)\n"
    more += "add_executable(left_out EXCLUDE_FROM_ALL app.c)\n"
    more += "target_link_libraries(left_out PRIVATE core)\n"
    files = {"packs/CMakeLists.txt": lists, "packs/bundle.toml": spec}
    project = build_project(
        newest, write_demo_project(tmp_path / "s", more, **files), tmp_path / "b"
    )
    done = project.make("pack")
    assert done.returncode == 0, done.stdout
    with tarfile.open(tmp_path / "b/packs/demo-1.2.3.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"bin/app", "bin/left_out", "lib/libcore.so.1", "lib/libv.so.2"} <= names
    write_later(tmp_path / "s/packs/bundle.toml", spec.replace("target.left_out", "target.left_ou"))
    done = project.make("pack")
    assert done.returncode != 0
    assert "did you mean `left_out`? The targets are `app`, " in done.stdout


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("bundle_fix_pack(pack gone.toml)", "spec not found"),
        ("bundle_fix_pack(pack)", "missing NAME or SPEC"),
        ("bundle_fix_pack(pack bundle.toml TARGET app)", "unknown arguments: TARGET;app"),
        ("bundle_fix_pack(pack bundle.toml TARGETS ap)", "target not found: ap"),
        ("bundle_fix_install(SPEC gone.toml)", "spec not found"),
        ("bundle_fix_runpath(ap)", "target not found: ap"),
        ("bundle_fix_test(PACK x)", "missing NAME"),
    ],
)
def test_an_invalid_call_stops_the_configuration(
    tmp_path: Path, newest: CMake, call: str, message: str
) -> None:
    lists = f"""cmake_minimum_required(VERSION 3.20)
project(demo LANGUAGES NONE)
find_package(BundleFix CONFIG REQUIRED)
{call}
"""
    source = write_project(tmp_path / "s", {"CMakeLists.txt": lists, "bundle.toml": SPEC})
    done = newest.configure(source, tmp_path / "b")
    assert done.returncode != 0
    assert message in " ".join(done.stdout.split())


STEPS = """\
include(ExternalProject)
ExternalProject_Add(other SOURCE_DIR ${CMAKE_SOURCE_DIR} CONFIGURE_COMMAND "" BUILD_COMMAND ""
  INSTALL_COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/other.txt)
add_custom_target(generated ALL COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/own.txt)
bundle_fix_pack(pack bundle.toml)
add_custom_target(upload ALL COMMAND ${CMAKE_COMMAND} -E touch uploaded.txt DEPENDS pack)
add_custom_target(announce ALL COMMAND ${CMAKE_COMMAND} -E echo)
add_dependencies(announce pack)
"""
SPEC_OF_STEPS = """\
[bundle]
name = "demo"

[[files]]
from = "{build}/*.txt"
to   = "etc/"
"""


def test_a_pack_depends_on_custom_targets_except_those_that_depend_on_it(
    tmp_path: Path, newest: CMake
) -> None:
    source = write_demo_project(tmp_path / "s", STEPS, **{"bundle.toml": SPEC_OF_STEPS})
    assert newest.configure(source, tmp_path / "b").returncode == 0
    done = Project(source, tmp_path / "b", newest).make("pack")
    assert done.returncode == 0, done.stdout
    with tarfile.open(tmp_path / "b/demo.tar.gz") as archive:
        assert {"demo/etc/own.txt", "demo/etc/other.txt"} <= set(archive.getnames())
    assert not list((tmp_path / "b").rglob("uploaded.txt"))
