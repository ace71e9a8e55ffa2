"""Root file systems as hosts: their symlinks, caches and loaders; the loader runs in a chroot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builders.elf import Toolchain, build_elf
from builders.loaders import (
    build_single_file_bundle,
    create_small_root,
    list_in_root,
    parse_loader_list,
    run_ldconfig,
)
from builders.pack import make_tarball
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.cpu import detect_cpu
from bundle_fix.loader.hosts.files import DirectoryFiles, HostFiles, TreeFiles
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.rtld import MUSL_PATHS, find_musl_paths
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process


def map_in_root(root: Path, program: str, files: HostFiles | None = None) -> Process:
    """Return the process of ``program`` on the host in ``root``, as a pack of a single file."""
    path = root / program.lstrip("/")
    host = RealHost(files or DirectoryFiles(root), str(Path(program).parent))
    return Deployment(build_single_file_bundle(path), host).map_process(path.name)


def assert_same(root: Path, program: str = "/usr/bin/x") -> list[str]:
    """Assert that the loader in the root and the model load the same paths in the same order."""
    found = [(o.name, o.path) for o in map_in_root(root, program).objects[1:]]
    expected = list_in_root(root, program)
    found.sort(key=lambda loaded: loaded[1] is None)
    expected.sort(key=lambda loaded: loaded[1] is None)
    assert found == expected, f"model: {found}\nloader: {expected}"
    return [path or "" for _, path in expected]


def build_program(root: Path, *needed: str, runpath: str | None = None) -> Path:
    return build_elf(root / "usr/bin/x", program=True, needed=needed, runpath=runpath)


def test_a_root_without_a_cache_is_searched_in_its_default_directories(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1")
    build_program(root, "liba.so.1")
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_the_cache_lists_the_directories_of_ld_so_conf_and_its_includes(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("# first\n/opt/one\ninclude ld.so.conf.d/*.conf\n")
    (root / "etc/ld.so.conf.d").mkdir()
    (root / "etc/ld.so.conf.d/b.conf").write_text("/opt/three\n")
    (root / "etc/ld.so.conf.d/a.conf").write_text("/opt/two  # a comment\ninclude /etc/more.conf\n")
    (root / "etc/more.conf").write_text("hwcap 0 nothing\n/opt/four\n")
    for number, directory in enumerate(("one", "two", "three", "four")):
        for name in range(number + 1):
            build_elf(root / f"opt/{directory}/lib{name}.so.1", soname=f"lib{name}.so.1")
    build_program(root, *[f"lib{n}.so.1" for n in range(4)])
    without = [o.path for o in map_in_root(root, "/usr/bin/x").objects[1:5]]
    run_ldconfig(root)
    listed = assert_same(root)[:4]
    assert listed == [
        f"/opt/{directory}/lib{n}.so.1"
        for n, directory in enumerate(("one", "two", "four", "four"))
    ]
    # A root without a cache that has not been started yet is searched as ldconfig would leave it.
    assert without == listed


def test_absolute_symlinks_stay_in_the_root(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "srv/real/liba.so.1", soname="liba.so.1")
    (root / "opt").mkdir()
    (root / "opt/a").symlink_to("/srv/real")
    (root / "usr/lib/liba.so.1").symlink_to("/opt/a/liba.so.1")
    (root / "usr/lib/libb.so.1").symlink_to("../../../../../../../srv/real/liba.so.1")
    build_program(root, "liba.so.1", "libb.so.1")
    process = map_in_root(root, "/usr/bin/x")
    assert process.objects[1].real_path == "/srv/real/liba.so.1"
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_a_symlink_never_leads_to_a_file_of_this_machine(tmp_path: Path) -> None:
    build_elf(tmp_path / "outside/liba.so.1", soname="liba.so.1")
    root = tmp_path / "root"
    build_elf(root / "usr/bin/x", program=True, needed=["liba.so.1"])
    (root / "lib64").mkdir()
    (root / "lib64/liba.so.1").symlink_to(f"{tmp_path}/outside/liba.so.1")
    (root / "lib64/libc.so.6").symlink_to("../../../../../../../../../../../lib64/libc.so.6")
    origins = {o.name: o.origin for o in map_in_root(root, "/usr/bin/x").objects[1:]}
    assert origins["liba.so.1"] is ObjectOrigin.MISSING
    assert origins["libc.so.6"] is ObjectOrigin.MISSING


def test_the_cache_has_hwcaps_levels(tmp_path: Path) -> None:
    levels = detect_cpu().levels
    if not levels:
        pytest.skip("this machine's processor has no glibc-hwcaps level")
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    for directory in ("", *(f"glibc-hwcaps/{level}/" for level in levels)):
        build_elf(root / f"opt/lib/{directory}liba.so.1", soname="liba.so.1")
    build_program(root, "liba.so.1")
    run_ldconfig(root)
    assert assert_same(root)[0] == f"/opt/lib/glibc-hwcaps/{levels[0]}/liba.so.1"
    oldest = RealHost(DirectoryFiles(root), "/usr/bin", level="baseline")
    process = Deployment(build_single_file_bundle(root / "usr/bin/x"), oldest).map_process("x")
    assert process.objects[1].path == "/opt/lib/liba.so.1"


def test_nodefaultlib_allows_cached_files_outside_the_default_directories(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/libb.so.1", soname="libb.so.1")
    build_elf(
        root / "usr/lib/libuser.so.1", soname="libuser.so.1", needed=["liba.so.1", "libb.so.1"],
        flags=["-Wl,-z,nodefaultlib"],
    )  # fmt: skip
    build_program(root, "libuser.so.1")
    run_ldconfig(root)
    found = assert_same(root)
    assert "/opt/lib/liba.so.1" in found
    assert not any("libb" in path for path in found)


def test_libraries_of_ld_so_preload_come_first(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "usr/lib/libpre.so.1", soname="libpre.so.1")
    build_elf(root / "opt/libtoo.so.1", soname="libtoo.so.1")
    (root / "etc/ld.so.preload").write_text("# of the admin\nlibpre.so.1:/opt/libtoo.so.1\n")
    build_program(root)
    assert assert_same(root)[:2] == ["/lib/libpre.so.1", "/opt/libtoo.so.1"]


def test_a_stale_cache_entry_is_skipped(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1")
    build_program(root, "liba.so.1")
    run_ldconfig(root)
    shutil.rmtree(root / "opt")
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_a_root_in_a_tarball_gives_the_same_as_a_directory(tmp_path: Path) -> None:
    root = create_small_root(tmp_path / "root")
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/libb.so.1", soname="libb.so.1")
    build_program(root, "liba.so.1", "libb.so.1")
    run_ldconfig(root)
    archive = make_tarball(root, tmp_path / "root.tar", ".")
    with read_tar(archive) as tree:
        process = map_in_root(root, "/usr/bin/x", TreeFiles(tree))
        found = [o.path for o in process.objects[1:]]
    assert found == assert_same(root)


def test_a_pack_in_a_root_is_found_by_its_absolute_path(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "opt/pack/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "opt/pack/bin/x", program=True, needed=["liba.so.1"], runpath="/opt/pack/lib")
    pack = root / "opt/pack"
    bundle = read_bundle(read_directory(pack), str(pack))
    process = Deployment(bundle, RealHost(DirectoryFiles(root), "/opt/pack")).map_process("bin/x")
    assert (process.objects[1].origin, process.objects[1].path) == (
        ObjectOrigin.BUNDLE,
        "lib/liba.so.1",
    )


def test_a_missing_interpreter_is_reported(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "pack/x", program=True)
    (tmp_path / "root").mkdir()
    host = RealHost(DirectoryFiles(tmp_path / "root"), "/opt/pack")
    process = Deployment(build_single_file_bundle(path), host).map_process("x")
    interpreter = process.objects[1]
    assert interpreter.origin is ObjectOrigin.MISSING
    assert interpreter.trace[0].verdict == "missing on the host: the program cannot start"


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (b"\0/usr/local/bin:/bin\0/lib:/opt/musl/lib\0", ("/lib", "/opt/musl/lib")),
        (b"\0/nix/musl-1.2/lib:/lib64\0", ("/nix/musl-1.2/lib", "/lib64")),
        (b"\0/usr/local/bin:/bin:/usr/bin\0", MUSL_PATHS),
        (b"", MUSL_PATHS),
    ],
)
def test_the_default_directories_of_musl_are_those_of_its_loader(
    data: bytes, paths: tuple[str, ...]
) -> None:
    assert find_musl_paths(data) == paths


def test_musl_reads_the_path_file_of_its_root(tmp_path: Path) -> None:
    """The path file is in the etc directory beside the directory of the loader."""
    loader = Path("/lib/ld-musl-x86_64.so.1")
    if not loader.exists():
        pytest.skip("musl is not installed")
    root = create_small_root(tmp_path)
    shutil.copy(loader.resolve(), root / "usr/lib/ld-musl-x86_64.so.1")
    (root / "etc/ld-musl-x86_64.path").write_text("/opt/one:/missing\n/opt/two\n")
    musl = Toolchain("musl-gcc")
    build_elf(root / "opt/one/liba.so.1", soname="liba.so.1", toolchain=musl)
    build_elf(root / "opt/two/libb.so.1", soname="libb.so.1", toolchain=musl)
    build_elf(root / "usr/bin/x", program=True, needed=["liba.so.1", "libb.so.1"], toolchain=musl)
    done = subprocess.run(
        ["chroot", root, "/lib/ld-musl-x86_64.so.1", "--list", "/usr/bin/x"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [
        path for name, path in parse_loader_list(done.stdout) if name != "/lib/ld-musl-x86_64.so.1"
    ]
    found = [o.path for o in map_in_root(root, "/usr/bin/x").objects[1:]]
    assert found[:2] == ["/opt/one/liba.so.1", "/opt/two/libb.so.1"]
    assert sorted(map(str, found)) == sorted({str(path) for path in expected})
