"""bundle_fix_install(): what is installed and packaged is mended, verified, and else stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from builders.cmake import Project, build_project, install_cmake, write_demo_project
from builders.elf import elf
from builders.run import run_bundle_fix
from bundle_fix.elf.read.parser import read_image_at

pytestmark = pytest.mark.xdist_group("cmake")

MORE = """\
option(WITHOUT_CORE "Leave the library out" OFF)
bundle_fix_install()
include(CTest)
bundle_fix_test(NAME installed)
set(CPACK_PACKAGE_CONTACT "nobody")
set(CPACK_PACKAGE_CHECKSUM SHA256)
include(CPack)
"""
SABOTAGED = "install(TARGETS core LIBRARY COMPONENT libs)"
MENDED = "bin/app: no RUNPATH became RUNPATH $ORIGIN/../lib"


@pytest.fixture(
    scope="session",
    params=[("oldest", "Ninja Multi-Config"), ("newest", "Unix Makefiles")],
    ids="-".join,
)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    which, generator = request.param
    directory = tmp_path_factory.mktemp("ein Übersetzen")
    core = "if(NOT WITHOUT_CORE)\n" + SABOTAGED + "\nendif()\n"
    source = write_demo_project(directory / "sö urce", MORE)
    lists = source / "core/CMakeLists.txt"
    lists.write_text(lists.read_text().replace(SABOTAGED, core))
    return build_project(install_cmake(which, generator), source, directory / "bü ild")


@pytest.fixture
def sabotaged(project: Project) -> object:
    """The project with its library left out of the installation, as long as the test lasts."""
    assert project.cmake.run("cmake", "-DWITHOUT_CORE=ON", project.build).returncode == 0
    yield project
    assert project.cmake.run("cmake", "-DWITHOUT_CORE=OFF", project.build).returncode == 0


def unwrapped(text: str) -> str:
    """What CMake says, without the line breaks that it puts into messages."""
    return " ".join(text.split())


def answer(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True, cwd="/").stdout


def test_what_is_installed_runs_and_a_second_time_is_the_same(
    project: Project, tmp_path: Path
) -> None:
    prefix = tmp_path / "prä fix"
    for _ in range(2):
        done = project.install("--prefix", prefix)
        assert (done.returncode, MENDED in done.stdout) == (0, True), done.stdout
        assert answer(prefix / "bin/app") == "answer 42\n"
    assert run_bundle_fix("check", prefix).returncode == 0
    listed = (project.build / "install_manifest.txt").read_text().splitlines()
    there = [str(path) for path in prefix.rglob("*") if not path.is_dir()]
    assert sorted(listed) == sorted(there)


def test_destdir_and_components_one_by_one(project: Project, tmp_path: Path) -> None:
    for component, log in (("run", MENDED), ("libs", "nothing to fix")):
        options = ("--prefix", "/opt/demo", "--component", component)
        done = project.install(*options, DESTDIR=str(tmp_path))
        assert (done.returncode, log in done.stdout) == (0, True), done.stdout
    assert answer(tmp_path / "opt/demo/bin/app") == "answer 42\n"
    manifest = (project.build / "install_manifest_run.txt").read_text()
    assert manifest.split() == ["/opt/demo/bin/app"]


def test_a_prefix_may_be_relative_and_a_build_called_by_another_configuration(
    project: Project, tmp_path: Path
) -> None:
    options = () if project.config else ("--config", "Profile")
    done = project.cmake.run(
        "cmake", "--install", project.build, *project.config, *options, "--prefix", "in/here",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, MENDED in done.stdout) == (0, True), done.stdout
    assert answer(tmp_path / "in/here/bin/app") == "answer 42\n"


@pytest.mark.parametrize(
    ("destdir", "prefix", "expected"),
    [("stage/", "/opt/demo/", "/opt/demo"), ("stage", "/opt/../srv/demo", "/srv/demo")],
)
def test_places_need_not_be_written_in_the_shortest_way(
    project: Project, tmp_path: Path, destdir: str, prefix: str, expected: str
) -> None:
    done = project.cmake.run(
        "cmake", "--install", project.build, *project.config, "--prefix", prefix,
        cwd=tmp_path, DESTDIR=destdir,
    )  # fmt: skip
    assert (done.returncode, MENDED in done.stdout) == (0, True), done.stdout
    manifest = (project.build / "install_manifest.txt").read_text().split("\n")
    assert f"{expected}/bin/app" in manifest
    assert answer(tmp_path / f"stage{expected}/bin/app") == "answer 42\n"


WITH_SPEC = """\
target_link_options(app PRIVATE -no-pie)
bundle_fix_install(SPEC bundle.toml OPTIONS place=bin)
include(CTest)
bundle_fix_test(NAME installed SPEC bundle.toml)
set(CPACK_PACKAGE_CONTACT "nobody")
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


def test_a_spec_holds_for_the_installation_its_test_and_its_packages(tmp_path: Path) -> None:
    need("dpkg-deb")
    source = write_demo_project(tmp_path / "s", WITH_SPEC, **{"bundle.toml": SPEC_OF_INSTALL})
    project = build_project(install_cmake("newest"), source, tmp_path / "b")
    assert project.install("--prefix", tmp_path / "i").returncode == 0
    manifest = (project.build / "install_manifest.txt").read_text()
    done = project.cmake.run("ctest", "-V", cwd=project.build)
    assert done.returncode == 0, done.stdout
    assert (project.build / "install_manifest.txt").read_text() == manifest
    done = project.cmake.run("cpack", "-G", "DEB", cwd=project.build)
    assert done.returncode == 0, done.stdout


def test_nothing_else_in_a_shared_prefix_is_touched(project: Project, tmp_path: Path) -> None:
    foreign = elf(
        tmp_path / "bin/foreign", program=True, runpath="/opt/nowhere", needed=["libq.so"]
    )
    elf(tmp_path / "lib/libother.so.1.0", soname="libother.so.1")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert project.install("--prefix", tmp_path).returncode == 0
    assert foreign in before
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "lib/libother.so.1").exists()


def test_what_has_an_absolute_destination_is_found_from_the_prefix(tmp_path: Path) -> None:
    source = write_demo_project(tmp_path / "s")
    lists = source / "core/CMakeLists.txt"
    place = SABOTAGED.replace("COMPONENT libs", "DESTINATION /srv/demo/native")
    lists.write_text(lists.read_text().replace(SABOTAGED, place))
    project = build_project(install_cmake("oldest"), source, tmp_path / "b")
    for _ in range(2):
        done = project.install("--prefix", "/srv/app", DESTDIR=str(tmp_path / "d"))
        assert done.returncode == 0, done.stdout
        assert answer(tmp_path / "d/srv/app/bin/app") == "answer 42\n"
    manifest = (project.build / "install_manifest.txt").read_text().split()
    assert {"/srv/app/bin/app", "/srv/demo/native/libcore.so.1"} <= set(manifest)


def test_stripping_goes_before(project: Project, tmp_path: Path) -> None:
    assert project.install("--prefix", tmp_path, "--strip").returncode == 0
    assert answer(tmp_path / "bin/app") == "answer 42\n"
    headers = subprocess.run(
        ["readelf", "-S", tmp_path / "bin/app"], capture_output=True, text=True, check=True
    )
    assert ".symtab" not in headers.stdout


def test_a_missing_library_stops_the_installation_with_the_report(
    sabotaged: Project, tmp_path: Path
) -> None:
    done = sabotaged.install("--prefix", tmp_path)
    assert done.returncode != 0
    assert "BF101" in done.stdout
    assert "the files installed in" in unwrapped(done.stdout)


def test_an_installation_that_keeps_going_mends_what_it_can(tmp_path: Path) -> None:
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
    assert "will not run everywhere" in unwrapped(done.stdout)
    assert answer(tmp_path / "i/bin/app") == "answer 42\n"


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


def cpack(project: Project, kind: str, *more: str) -> subprocess.CompletedProcess[str]:
    options, _ = PACKAGES[kind]
    generator = kind if kind in ("TGZ", "DEB") else "TGZ"
    config = ("-C", "Release") if project.config else ()
    return project.cmake.run("cpack", "-G", generator, *options, *config, *more, cwd=project.build)


def packages(project: Project) -> list[str]:
    """The packages and their checksums; they are removed."""
    found = sorted(path for path in project.build.glob("demo-*"))
    for path in found:
        path.unlink()
    return [path.name for path in found]


@pytest.mark.parametrize("kind", PACKAGES)
def test_packages_are_made_where_they_pass(project: Project, kind: str) -> None:
    done = cpack(project, kind)
    assert done.returncode == 0, done.stdout
    names = PACKAGES[kind][1]
    assert packages(project) == sorted([*names, *(f"{name}.sha256" for name in names)])


def test_what_must_not_be_packaged_is_not(sabotaged: Project) -> None:
    done = cpack(sabotaged, "TGZ")
    assert (done.returncode != 0, "BF101" in done.stdout, packages(sabotaged)) == (True, True, [])


def test_components_that_lack_a_library_together_are_not_packaged(project: Project) -> None:
    done = cpack(project, "components", "-D", "CPACK_COMPONENTS_ALL=run")
    assert "the files to be packaged do not pass the check" in unwrapped(done.stdout)
    assert (done.returncode != 0, packages(project)) == (True, [])


def spoil(project: Project) -> str:
    """Have a script of the user's spoil what is staged, after ours; what the configuration was."""
    script = project.build / "spoil.cmake"
    script.write_text(
        'file(GLOB_RECURSE f "${CPACK_TEMPORARY_DIRECTORY}/*.so*")\nfile(REMOVE ${f})\n'
    )
    config = project.build / "CPackConfig.cmake"
    text = config.read_text()
    config.write_text(f'{text}\nlist(APPEND CPACK_PRE_BUILD_SCRIPTS "{script}")\n')
    return text


def test_a_package_that_is_bad_as_written_is_removed_with_its_checksum(project: Project) -> None:
    text = spoil(project)
    try:
        done = cpack(project, "TGZ")
    finally:
        (project.build / "CPackConfig.cmake").write_text(text)
    assert "it was removed" in unwrapped(done.stdout)
    assert (done.returncode != 0, packages(project)) == (True, [])


def need(*programs: str) -> None:
    """Skip the test, saying why, where a program is not installed; in CI it must be."""
    for program in programs:
        if shutil.which(program) is None:
            if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
                pytest.fail(f"{program} is not installed, but CI has installed it")
            pytest.skip(f"{program} is not installed: no such package can be made")


@pytest.mark.parametrize("generator", ["DEB", "RPM", "STGZ", "7Z"])
def test_other_packages_are_unpacked_and_checked(tmp_path: Path, generator: str) -> None:
    # rpmbuild takes no blanks in paths.
    need(*{"DEB": ["dpkg-deb"], "RPM": ["rpmbuild", "rpm2cpio", "cpio"]}.get(generator, []))
    project = build_project(
        install_cmake("newest"), write_demo_project(tmp_path / "s", MORE), tmp_path / "b"
    )
    done = project.cmake.run("cpack", "-G", generator, cwd=project.build)
    assert (done.returncode, len(packages(project))) == (0, 2), done.stdout
    spoil(project)
    done = project.cmake.run("cpack", "-G", generator, cwd=project.build)
    assert "it was removed" in unwrapped(done.stdout)
    assert (done.returncode != 0, packages(project)) == (True, [])


def test_a_check_is_a_test_with_its_report_in_junit(project: Project) -> None:
    config = ("-C", "Release") if project.config else ()
    more = () if "oldest" in str(project.cmake.bin) else ("--output-junit", "junit.xml")
    done = project.cmake.run("ctest", "-V", *config, *more, cwd=project.build)
    assert (done.returncode, "passed: no findings" in done.stdout) == (0, True), done.stdout
    if more:
        case = ET.parse(project.build / "junit.xml").find("testcase")  # noqa: S314 (CTest's own)
        assert case is not None
        assert (case.get("name"), case.get("status")) == ("installed", "run")
        assert "passed: no findings" in (case.findtext("system-out") or "")


def test_a_check_that_fails_is_a_test_that_fails(sabotaged: Project) -> None:
    config = ("-C", "Release") if sabotaged.config else ()
    done = sabotaged.cmake.run("ctest", "-V", *config, cwd=sabotaged.build)
    assert (done.returncode != 0, "BF101" in done.stdout) == (True, True)


def test_targets_with_a_runpath_of_their_own_are_left_bit_for_bit(tmp_path: Path) -> None:
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
    assert answer(tmp_path / "b/app") == "answer 42\n"


def test_the_hook_runs_after_the_rules_of_subdirectories_that_come_later(tmp_path: Path) -> None:
    source = write_demo_project(tmp_path / "s", "")
    lists = source / "CMakeLists.txt"
    text = lists.read_text().replace("VERSION 3.20", "VERSION 3.12")  # CMP0082 is not set
    first, last = text.split("add_subdirectory(core)\n")
    lists.write_text(f"{first}bundle_fix_install()\n{last}add_subdirectory(core)\n")
    project = build_project(install_cmake("oldest"), source, tmp_path / "b")
    assert project.install("--prefix", tmp_path / "i").returncode == 0
    assert answer(tmp_path / "i/bin/app") == "answer 42\n"
    assert (tmp_path / "i/lib/libcore.so.1").readlink() == Path("libcore.so.1.2.3")
