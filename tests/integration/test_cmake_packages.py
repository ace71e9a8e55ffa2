"""Private libraries and components in installations and in the packages of CPack."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builders.cmake import Project, build_project, install_cmake
from integration.test_cmake_install import join_lines, require_programs, run_program

pytestmark = pytest.mark.xdist_group("cmake")

LISTS = """\
cmake_minimum_required(VERSION 3.20)
project(Demo VERSION 1.2 LANGUAGES C)
set(MORE "" CACHE STRING "More arguments of bundle_fix_install()")
add_library(third SHARED third.c)
set_target_properties(third PROPERTIES
  VERSION 3.1 SOVERSION 3 LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/third")
add_library(inner SHARED inner.c)
add_library(api SHARED api.c)
set_target_properties(api PROPERTIES SOVERSION 2)
target_link_libraries(inner PRIVATE third)
add_executable(one main.c)
add_executable(two main.c)
foreach(program one two)
  target_link_libraries(${program} PRIVATE inner api third)
  target_link_options(${program} PRIVATE -Wl,--no-as-needed)
  install(TARGETS ${program} COMPONENT ${program})
endforeach()
install(TARGETS api inner LIBRARY COMPONENT libs)
find_package(BundleFix CONFIG REQUIRED)
bundle_fix_install(SPEC bundle.toml PRIVATE inner ${MORE})
foreach(kind DEB RPM ARCHIVE)
  set(CPACK_${kind}_COMPONENT_INSTALL ON)
endforeach()
set(CPACK_PACKAGE_CONTACT "team@example.com")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_ONE_PACKAGE_DEPENDS "libc6")
include(CPack)
"""
FILES = {
    "CMakeLists.txt": LISTS,
    "third.c": "int third(void) { return 3; }\n",
    "inner.c": "int third(void); int inner(void) { return third() + 1; }\n",
    "api.c": "int api(void) { return 2; }\n",
    "main.c": "#include <stdio.h>\nint inner(void); int api(void);\n"
    'int main(void) { printf("%d\\n", inner() + api()); return 0; }\n',
    "bundle.toml": '[bundle]\nname = "demo"\n[closure]\nbundle = ["libthird.so.*"]\n'
    'search = ["{build}/third"]\n',
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    # rpmbuild does not support spaces in paths.
    directory = tmp_path_factory.mktemp("packages")
    (directory / "source").mkdir()
    for name, text in FILES.items():
        (directory / "source" / name).write_text(text)
    return build_project(install_cmake("newest"), directory / "source", directory / "build")


def make_packages(project: Project, generator: str, suffix: str) -> Mapping[str, Path]:
    """Return the package of each component."""
    done = project.cmake.run("cpack", "-G", generator, cwd=project.build)
    assert done.returncode == 0, done.stdout
    found = project.build.glob(f"Demo-1.2-Linux-*{suffix}")
    return {path.name.removesuffix(suffix).rpartition("-")[2]: path for path in found}


def read_output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def list_names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_private_libraries_are_not_where_the_loader_looks(project: Project, tmp_path: Path) -> None:
    for component, line in {"two": "two needs component one", "one": "", "libs": ""}.items():
        done = project.install("--component", component, DESTDIR=str(tmp_path))
        assert (done.returncode, line in done.stdout) == (0, True), done.stdout
    prefix = tmp_path / "usr/local"
    assert list_names(prefix / "lib") == ["Demo", "libapi.so", "libapi.so.2"]
    private = ["libinner.so", "libthird.so.3", "libthird.so.3.1"]
    assert list_names(prefix / "lib/Demo") == private
    assert [run_program(prefix / "bin" / name) for name in ("one", "two")] == ["6\n", "6\n"]
    # An installation of everything replaces the components.
    done = project.install(DESTDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert run_program(prefix / "bin/one") == "6\n"


def test_a_directory_that_the_loader_searches_is_refused(project: Project, tmp_path: Path) -> None:
    assert project.cmake.run("cmake", "-DMORE=LIBDIR;lib", project.build).returncode == 0
    try:
        refused = project.install("--prefix", "/usr", DESTDIR=str(tmp_path))
        elsewhere = project.install("--prefix", "/opt/demo", DESTDIR=str(tmp_path))
    finally:
        assert project.cmake.run("cmake", "-DMORE=", project.build).returncode == 0
    assert refused.returncode != 0
    assert "/usr/lib: the loader searches this directory by default" in join_lines(refused.stdout)
    assert elsewhere.returncode == 0, elsewhere.stdout
    assert run_program(tmp_path / "opt/demo/bin/two") == "6\n"


def test_archives_of_components_make_one_installation(project: Project, tmp_path: Path) -> None:
    packages = make_packages(project, "TGZ", ".tar.gz")
    assert packages.keys() == {"libs", "one", "two"}
    for package in packages.values():
        subprocess.run(["tar", "xf", package, "-C", tmp_path], check=True)
    assert [run_program(path) for path in sorted(tmp_path.rglob("bin/*"))] == ["6\n", "6\n"]


def test_debian_packages_of_components_depend_on_each_other(project: Project) -> None:
    require_programs("dpkg-deb", "readelf")
    packages = make_packages(project, "DEB", ".deb")
    depends = {name: read_output("dpkg-deb", "-f", p, "Depends") for name, p in packages.items()}
    assert depends == {
        "libs": "demo-one (= 1.2)\n",
        "one": "libc6, demo-libs (= 1.2)\n",
        "two": "demo-libs (= 1.2), demo-one (= 1.2)\n",
    }
    listed = [read_output("dpkg-deb", "-c", package) for package in packages.values()]
    assert sum("libthird.so.3.1\n" in text for text in listed) == 1
    control = read_output("dpkg-deb", "-I", packages["libs"], "shlibs")
    assert control == "libapi 2 demo-libs (= 1.2)\n"


def test_rpm_packages_provide_no_private_sonames(project: Project) -> None:
    require_programs("rpmbuild", "rpm2cpio", "cpio")
    packages = make_packages(project, "RPM", ".rpm")
    provided = read_output("rpm", "-qp", "--provides", *packages.values())
    required = {n: read_output("rpm", "-qp", "--requires", p) for n, p in packages.items()}
    assert "libapi.so.2()" in provided
    assert "demo-one = 1.2\n" in required["two"]
    assert "demo-libs = 1.2\n" in required["one"]
    for name in ("libthird.so", "libinner.so"):
        assert name not in provided + "".join(required.values())
