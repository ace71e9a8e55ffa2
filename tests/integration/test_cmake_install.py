"""bundle_fix_install(): installed and packaged files are fixed and checked."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.cmake import Project, build_project, install_cmake, write_demo_project
from builders.elf import build_elf
from builders.run import run_bundle_fix
from builders.sandbox import require_sandbox
from bundle_fix.elf.read.parser import read_image_at

pytestmark = pytest.mark.xdist_group("cmake")

MORE = """\
option(WITHOUT_CORE "Leave the library out" OFF)
bundle_fix_install()
include(CTest)
bundle_fix_test(NAME installed)
set(CPACK_PACKAGE_CONTACT "team@example.com")
set(CPACK_PACKAGE_CHECKSUM SHA256)
include(CPack)
"""
INSTALL_CORE = "install(TARGETS core LIBRARY COMPONENT libs)"
FIXED = "bin/app: no RUNPATH became RUNPATH $ORIGIN/../lib"


@pytest.fixture(
    scope="session",
    params=[("oldest", "Ninja Multi-Config"), ("newest", "Unix Makefiles")],
    ids="-".join,
)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    which, generator = request.param
    directory = tmp_path_factory.mktemp("ein Übersetzen")
    core = "if(NOT WITHOUT_CORE)\n" + INSTALL_CORE + "\nendif()\n"
    source = write_demo_project(directory / "sö urce", MORE)
    lists = source / "core/CMakeLists.txt"
    lists.write_text(lists.read_text().replace(INSTALL_CORE, core))
    return build_project(install_cmake(which, generator), source, directory / "bü ild")


@pytest.fixture
def without_library(project: Project) -> Iterator[Project]:
    """Configure the project so that it does not install its library, until the end of the test."""
    assert project.cmake.run("cmake", "-DWITHOUT_CORE=ON", project.build).returncode == 0
    yield project
    assert project.cmake.run("cmake", "-DWITHOUT_CORE=OFF", project.build).returncode == 0


def join_lines(text: str) -> str:
    """Return CMake's output without the line breaks that it inserts into messages."""
    return " ".join(text.split())


def run_program(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True, cwd="/").stdout


def test_the_installed_program_runs_also_after_a_second_installation(
    project: Project, tmp_path: Path
) -> None:
    prefix = tmp_path / "prä fix"
    for _ in range(2):
        done = project.install("--prefix", prefix)
        assert (done.returncode, FIXED in done.stdout) == (0, True), done.stdout
        assert run_program(prefix / "bin/app") == "answer 42\n"
    assert run_bundle_fix("check", prefix).returncode == 0
    manifest = (project.build / "install_manifest.txt").read_text().splitlines()
    files = [str(path) for path in prefix.rglob("*") if not path.is_dir()]
    assert sorted(manifest) == sorted(files)


def test_components_can_be_installed_one_by_one_with_destdir(
    project: Project, tmp_path: Path
) -> None:
    for component, log in (("run", FIXED), ("libs", "nothing to fix")):
        options = ("--prefix", "/opt/demo", "--component", component)
        done = project.install(*options, DESTDIR=str(tmp_path))
        assert (done.returncode, log in done.stdout) == (0, True), done.stdout
    assert run_program(tmp_path / "opt/demo/bin/app") == "answer 42\n"
    manifest = (project.build / "install_manifest_run.txt").read_text()
    assert manifest.split() == ["/opt/demo/bin/app"]


def test_the_prefix_may_be_relative_and_the_configuration_another(
    project: Project, tmp_path: Path
) -> None:
    options = () if project.config else ("--config", "Profile")
    done = project.cmake.run(
        "cmake", "--install", project.build, *project.config, *options, "--prefix", "in/here",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, FIXED in done.stdout) == (0, True), done.stdout
    assert run_program(tmp_path / "in/here/bin/app") == "answer 42\n"


@pytest.mark.parametrize(
    ("destdir", "prefix", "expected"),
    [("stage/", "/opt/demo/", "/opt/demo"), ("stage", "/opt/../srv/demo", "/srv/demo")],
)
def test_destdir_and_prefix_are_normalized(
    project: Project, tmp_path: Path, destdir: str, prefix: str, expected: str
) -> None:
    done = project.cmake.run(
        "cmake", "--install", project.build, *project.config, "--prefix", prefix,
        cwd=tmp_path, DESTDIR=destdir,
    )  # fmt: skip
    assert (done.returncode, FIXED in done.stdout) == (0, True), done.stdout
    manifest = (project.build / "install_manifest.txt").read_text().split("\n")
    assert f"{expected}/bin/app" in manifest
    assert run_program(tmp_path / f"stage{expected}/bin/app") == "answer 42\n"


WITH_SPEC = """\
target_link_options(app PRIVATE -no-pie)
bundle_fix_install(SPEC bundle.toml OPTIONS place=bin)
include(CTest)
bundle_fix_test(NAME installed SPEC bundle.toml)
bundle_fix_test(NAME started SPEC bundle.toml RUN bin/app --opt "a b")
set(CPACK_PACKAGE_CONTACT "team@example.com")
include(CPack)
"""
SPEC_OF_INSTALL = """\
[bundle]
name = "demo"

[variables]
place = { env = "BUNDLE_FIX_NOT_SET" }

[check]
fail-on = "note"
ignore  = [{ rule = "BF505", path = "{place}/app", reason = "not yet" }]
"""


def test_a_spec_applies_to_the_installation_the_test_and_the_packages(tmp_path: Path) -> None:
    require_programs("dpkg-deb")
    source = write_demo_project(tmp_path / "s", WITH_SPEC, **{"bundle.toml": SPEC_OF_INSTALL})
    project = build_project(install_cmake("newest"), source, tmp_path / "b")
    assert project.install("--prefix", tmp_path / "i").returncode == 0
    manifest = (project.build / "install_manifest.txt").read_text()
    done = project.cmake.run("ctest", "-V", "-R", "installed", cwd=project.build)
    assert done.returncode == 0, done.stdout
    assert (project.build / "install_manifest.txt").read_text() == manifest
    done = project.cmake.run("cpack", "-G", "DEB", cwd=project.build)
    assert done.returncode == 0, done.stdout
    require_sandbox()
    done = project.cmake.run("ctest", "-V", "-R", "started", cwd=project.build)
    assert (done.returncode, "/usr/local/bin/app: passed" in done.stdout) == (0, True), done.stdout


def test_other_files_in_a_shared_prefix_are_not_changed(project: Project, tmp_path: Path) -> None:
    foreign = build_elf(
        tmp_path / "bin/foreign", program=True, runpath="/opt/missing", needed=["libq.so"]
    )
    build_elf(tmp_path / "lib/libother.so.1.0", soname="libother.so.1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert project.install("--prefix", tmp_path).returncode == 0
    assert foreign in before
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "lib/libother.so.1").exists()


def test_a_library_with_an_absolute_destination_is_found_from_the_prefix(tmp_path: Path) -> None:
    source = write_demo_project(tmp_path / "s", MORE)
    lists = source / "core/CMakeLists.txt"
    away = tmp_path / "demo/native"
    absolute = INSTALL_CORE.replace("COMPONENT libs", f"DESTINATION {away}")
    lists.write_text(lists.read_text().replace(INSTALL_CORE, absolute))
    project = build_project(install_cmake("oldest"), source, tmp_path / "b")
    for _ in range(2):
        done = project.install("--prefix", "/srv/app", DESTDIR=str(tmp_path / "d"))
        assert done.returncode == 0, done.stdout
        assert run_program(tmp_path / "d/srv/app/bin/app") == "answer 42\n"
    manifest = (project.build / "install_manifest.txt").read_text().split()
    assert {"/srv/app/bin/app", f"{away}/libcore.so.1"} <= set(manifest)
    # Without CPACK_SET_DESTDIR, CPack makes archives without the files that have such a path.
    done = project.cmake.run("cpack", "-G", "TGZ", cwd=project.build)
    message = "libcore.so.1.2.3 has an absolute DESTINATION, so CPack has installed it on"
    assert (done.returncode, message in join_lines(done.stdout)) == (1, True), done.stdout


def test_stripping_goes_before(project: Project, tmp_path: Path) -> None:
    assert project.install("--prefix", tmp_path, "--strip").returncode == 0
    assert run_program(tmp_path / "bin/app") == "answer 42\n"
    headers = subprocess.run(
        ["readelf", "-S", tmp_path / "bin/app"], capture_output=True, text=True, check=True
    )
    assert ".symtab" not in headers.stdout


def test_a_missing_library_stops_the_installation_with_a_report(
    without_library: Project, tmp_path: Path
) -> None:
    done = without_library.install("--prefix", tmp_path)
    assert done.returncode != 0
    assert "BF101" in done.stdout
    assert "do not pass the check (see above)" in join_lines(done.stdout)


def test_an_installation_with_keep_going_fixes_the_rest(tmp_path: Path) -> None:
    more = """
bundle_fix_install(KEEP_GOING)
add_library(gone SHARED core/core.c)
add_executable(lost app.c)
target_link_options(lost PRIVATE -Wl,--no-as-needed)
target_link_libraries(lost PRIVATE core gone)
install(TARGETS lost RUNTIME)
"""
    project = build_project(
        install_cmake("newest"), write_demo_project(tmp_path / "s", more), tmp_path / "b"
    )
    done = project.install("--prefix", tmp_path / "i")
    assert done.returncode == 0
    assert "BF101" in done.stdout
    assert "do not pass the check (see above)" in join_lines(done.stdout)
    assert run_program(tmp_path / "i/bin/app") == "answer 42\n"


PACKAGES = {
    "TGZ": ((), ["demo-1.2.3-Linux.tar.gz"]),
    "DEB": ((), ["demo-1.2.3-Linux.deb"]),
    "components": (
        ("-D", "CPACK_ARCHIVE_COMPONENT_INSTALL=ON"),
        ["demo-1.2.3-Linux-libs.tar.gz", "demo-1.2.3-Linux-run.tar.gz"],
    ),
    "components in one": (
        (
            *("-D", "CPACK_ARCHIVE_COMPONENT_INSTALL=ON"),
            *("-D", "CPACK_COMPONENTS_GROUPING=ALL_COMPONENTS_IN_ONE"),
        ),
        ["demo-1.2.3-Linux.tar.gz"],
    ),
}


def run_cpack(project: Project, kind: str, *more: str) -> subprocess.CompletedProcess[str]:
    options, _ = PACKAGES[kind]
    generator = kind if kind in ("TGZ", "DEB") else "TGZ"
    config = ("-C", "Release") if project.config else ()
    return project.cmake.run("cpack", "-G", generator, *options, *config, *more, cwd=project.build)


def remove_packages(project: Project) -> list[str]:
    """Remove the packages and their checksums, and return their names."""
    found = sorted(path for path in project.build.glob("demo-*"))
    for path in found:
        path.unlink()
    return [path.name for path in found]


@pytest.mark.parametrize("kind", PACKAGES)
def test_packages_that_pass_are_made(project: Project, kind: str) -> None:
    done = run_cpack(project, kind)
    assert done.returncode == 0, done.stdout
    names = PACKAGES[kind][1]
    assert remove_packages(project) == sorted([*names, *(f"{name}.sha256" for name in names)])


def test_staged_files_that_do_not_pass_are_not_packaged(without_library: Project) -> None:
    done = run_cpack(without_library, "TGZ")
    assert (done.returncode != 0, "BF101" in done.stdout, remove_packages(without_library)) == (
        True,
        True,
        [],
    )


def test_components_are_checked_together_before_packaging(project: Project) -> None:
    done = run_cpack(project, "components", "-D", "CPACK_COMPONENTS_ALL=run")
    assert "the files to be packaged do not pass the check" in join_lines(done.stdout)
    assert (done.returncode != 0, remove_packages(project)) == (True, [])


def remove_staged_libraries(project: Project) -> str:
    """Add a CPack script that removes staged libraries after our check; return the old config."""
    script = project.build / "remove.cmake"
    script.write_text(
        'file(GLOB_RECURSE f "${CPACK_TEMPORARY_DIRECTORY}/*.so*")\nfile(REMOVE ${f})\n'
    )
    config = project.build / "CPackConfig.cmake"
    text = config.read_text()
    config.write_text(f'{text}\nlist(APPEND CPACK_PRE_BUILD_SCRIPTS "{script}")\n')
    return text


def test_a_package_that_does_not_pass_is_removed_with_its_checksum(project: Project) -> None:
    text = remove_staged_libraries(project)
    try:
        done = run_cpack(project, "TGZ")
    finally:
        (project.build / "CPackConfig.cmake").write_text(text)
    assert "do not pass the check (see above); removed" in join_lines(done.stdout)
    assert (done.returncode != 0, remove_packages(project)) == (True, [])


def require_programs(*programs: str) -> None:
    """Skip the test with the reason if a program is not installed; fail if this is CI."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
                pytest.fail(f"{program} is not installed, but CI must install it")
            pytest.skip(f"{program} is not installed: this kind of package cannot be made")


@pytest.mark.parametrize("generator", ["DEB", "RPM", "STGZ", "7Z"])
def test_other_packages_are_unpacked_and_checked(tmp_path: Path, generator: str) -> None:
    # rpmbuild does not support spaces in paths.
    require_programs(
        *{"DEB": ["dpkg-deb"], "RPM": ["rpmbuild", "rpm2cpio", "cpio"]}.get(generator, [])
    )
    project = build_project(
        install_cmake("newest"), write_demo_project(tmp_path / "s", MORE), tmp_path / "b"
    )
    done = project.cmake.run("cpack", "-G", generator, cwd=project.build)
    assert (done.returncode, len(remove_packages(project))) == (0, 2), done.stdout
    remove_staged_libraries(project)
    done = project.cmake.run("cpack", "-G", generator, cwd=project.build)
    assert "do not pass the check (see above); removed" in join_lines(done.stdout)
    assert (done.returncode != 0, remove_packages(project)) == (True, [])


def test_the_report_of_a_ctest_check_is_in_junit(project: Project) -> None:
    config = ("-C", "Release") if project.config else ()
    more = () if "oldest" in str(project.cmake.bin) else ("--output-junit", "junit.xml")
    done = project.cmake.run("ctest", "-V", *config, *more, cwd=project.build)
    assert (done.returncode, "passed: no findings" in done.stdout) == (0, True), done.stdout
    if more:
        case = ET.parse(project.build / "junit.xml").find("testcase")  # noqa: S314 (CTest's own)
        assert case is not None
        assert (case.get("name"), case.get("status")) == ("installed", "run")
        report = case.findtext("system-out") or ""
        assert ("CTEST_FULL_OUTPUT" in report, "passed: no findings" in report) == (True, True)


def test_a_failed_check_is_a_failed_ctest(without_library: Project) -> None:
    config = ("-C", "Release") if without_library.config else ()
    done = without_library.cmake.run("ctest", "-V", *config, cwd=without_library.build)
    assert (done.returncode != 0, "BF101" in done.stdout) == (True, True)


def test_targets_of_bundle_fix_runpath_are_not_changed(tmp_path: Path) -> None:
    more = "bundle_fix_runpath(app core)\nbundle_fix_install()\n"
    project = build_project(
        install_cmake("newest"), write_demo_project(tmp_path / "s", more), tmp_path / "b"
    )
    done = project.install("--prefix", tmp_path / "i")
    assert "nothing to fix" in done.stdout
    image = read_image_at(tmp_path / "i/bin/app")
    assert image is not None
    assert (image.runpath, image.rpath) == ("$ORIGIN/../lib", None)
    before = (tmp_path / "i/bin/app").read_bytes()
    assert run_bundle_fix("fix", "--in-place", tmp_path / "i").returncode == 0
    assert (tmp_path / "i/bin/app").read_bytes() == before
    in_build = read_image_at(tmp_path / "b/app")
    assert in_build is not None
    assert str(tmp_path) not in (in_build.runpath or "")
    assert run_program(tmp_path / "b/app") == "answer 42\n"


def test_the_check_runs_after_the_rules_of_later_subdirectories(tmp_path: Path) -> None:
    source = write_demo_project(tmp_path / "s", "")
    lists = source / "CMakeLists.txt"
    text = lists.read_text().replace("VERSION 3.20", "VERSION 3.12")  # CMP0082 is not set
    first, last = text.split("add_subdirectory(core)\n")
    lists.write_text(f"{first}bundle_fix_install()\n{last}add_subdirectory(core)\n")
    project = build_project(install_cmake("oldest"), source, tmp_path / "b")
    assert project.install("--prefix", tmp_path / "i").returncode == 0
    assert run_program(tmp_path / "i/bin/app") == "answer 42\n"
    assert (tmp_path / "i/lib/libcore.so.1").readlink() == Path("libcore.so.1.2.3")
