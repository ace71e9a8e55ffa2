"""Root file systems: their own links, caches and loaders; the real loader runs in a chroot."""

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
from bundle_fix.loader.process import Process


def process_in(root: Path, program: str, files: HostFiles | None = None) -> Process:
    path = root / program.lstrip("/")
    at = str(Path(program).parent)
    return Deployment(
        build_single_file_bundle(path), RealHost(files or DirectoryFiles(root), at)
    ).map_process(path.name)


def assert_same(root: Path, program: str = "/usr/bin/x") -> list[str]:
    """The loader in the root and the model load the same, by the same paths, in the same order."""
    found = [(o.name, o.path) for o in process_in(root, program).objects[1:]]
    expected = list_in_root(root, program)
    found.sort(key=lambda loaded: loaded[1] is None)
    expected.sort(key=lambda loaded: loaded[1] is None)
    assert found == expected, f"model: {found}\nloader: {expected}"
    return [path or "" for _, path in expected]


def program(root: Path, *needed: str, runpath: str | None = None) -> Path:
    return build_elf(root / "usr/bin/x", program=True, needed=needed, runpath=runpath)


def test_a_root_without_a_cache_has_its_default_directories(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1")
    program(root, "liba.so.1")
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_the_cache_lists_what_ld_so_conf_and_its_includes_name(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("# first\n/opt/one\ninclude ld.so.conf.d/*.conf\n")
    (root / "etc/ld.so.conf.d").mkdir()
    (root / "etc/ld.so.conf.d/b.conf").write_text("/opt/three\n")
    (root / "etc/ld.so.conf.d/a.conf").write_text("/opt/two  # a comment\ninclude /etc/more.conf\n")
    (root / "etc/more.conf").write_text("hwcap 0 nothing\n/opt/four\n")
    for number, folder in enumerate(("one", "two", "three", "four")):
        for name in range(number + 1):
            build_elf(root / f"opt/{folder}/lib{name}.so.1", soname=f"lib{name}.so.1")
    program(root, *[f"lib{n}.so.1" for n in range(4)])
    without = [o.path for o in process_in(root, "/usr/bin/x").objects[1:5]]
    run_ldconfig(root)
    listed = assert_same(root)[:4]
    assert listed == [
        f"/opt/{folder}/lib{n}.so.1" for n, folder in enumerate(("one", "two", "four", "four"))
    ]
    # A root that nothing has started yet: taken as ldconfig would leave it.
    assert without == listed


def test_absolute_links_stay_in_the_root(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "srv/real/liba.so.1", soname="liba.so.1")
    (root / "opt").mkdir()
    (root / "opt/a").symlink_to("/srv/real")
    (root / "usr/lib/liba.so.1").symlink_to("/opt/a/liba.so.1")
    (root / "usr/lib/libb.so.1").symlink_to("../../../../../../../srv/real/liba.so.1")
    program(root, "liba.so.1", "libb.so.1")
    process = process_in(root, "/usr/bin/x")
    assert process.objects[1].real_path == "/srv/real/liba.so.1"
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_a_link_never_leads_to_this_machines_own_file(tmp_path: Path) -> None:
    build_elf(tmp_path / "outside/liba.so.1", soname="liba.so.1")
    root = tmp_path / "root"
    build_elf(root / "usr/bin/x", program=True, needed=["liba.so.1"])
    (root / "lib64").mkdir()
    (root / "lib64/liba.so.1").symlink_to(f"{tmp_path}/outside/liba.so.1")
    (root / "lib64/libc.so.6").symlink_to("../../../../../../../../../../../lib64/libc.so.6")
    origins = {o.name: o.origin for o in process_in(root, "/usr/bin/x").objects[1:]}
    assert origins["liba.so.1"] == "missing"
    assert origins["libc.so.6"] == "missing"


def test_levels_of_hwcaps_in_the_cache(tmp_path: Path) -> None:
    levels = detect_cpu().levels
    if not levels:
        pytest.skip("this machine's processor has no level of glibc-hwcaps")
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    for folder in ("", *(f"glibc-hwcaps/{level}/" for level in levels)):
        build_elf(root / f"opt/lib/{folder}liba.so.1", soname="liba.so.1")
    program(root, "liba.so.1")
    run_ldconfig(root)
    assert assert_same(root)[0] == f"/opt/lib/glibc-hwcaps/{levels[0]}/liba.so.1"
    oldest = RealHost(DirectoryFiles(root), "/usr/bin", level="baseline")
    process = Deployment(build_single_file_bundle(root / "usr/bin/x"), oldest).map_process("x")
    assert process.objects[1].path == "/opt/lib/liba.so.1"


def test_nodefaultlib_heeds_the_cache_outside_the_default_directories(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/libb.so.1", soname="libb.so.1")
    build_elf(
        root / "usr/lib/libuser.so.1", soname="libuser.so.1", needed=["liba.so.1", "libb.so.1"],
        flags=["-Wl,-z,nodefaultlib"],
    )  # fmt: skip
    program(root, "libuser.so.1")
    run_ldconfig(root)
    found = assert_same(root)
    assert "/opt/lib/liba.so.1" in found
    assert not any("libb" in path for path in found)


def test_ld_so_preload(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "usr/lib/libpre.so.1", soname="libpre.so.1")
    build_elf(root / "opt/libtoo.so.1", soname="libtoo.so.1")
    (root / "etc/ld.so.preload").write_text("# of the admin\nlibpre.so.1:/opt/libtoo.so.1\n")
    program(root)
    assert assert_same(root)[:2] == ["/lib/libpre.so.1", "/opt/libtoo.so.1"]


def test_a_stale_cache_entry_is_passed_over(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1")
    program(root, "liba.so.1")
    run_ldconfig(root)
    shutil.rmtree(root / "opt")
    assert assert_same(root)[0] == "/lib/liba.so.1"


def test_a_root_in_a_tarball_is_as_the_folder(tmp_path: Path) -> None:
    root = create_small_root(tmp_path / "root")
    (root / "etc/ld.so.conf").write_text("/opt/lib\n")
    build_elf(root / "opt/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "usr/lib/libb.so.1", soname="libb.so.1")
    program(root, "liba.so.1", "libb.so.1")
    run_ldconfig(root)
    archive = make_tarball(root, tmp_path / "root.tar", ".")
    with read_tar(archive) as tree:
        process = process_in(root, "/usr/bin/x", TreeFiles(tree))
        found = [o.path for o in process.objects[1:]]
    assert found == assert_same(root)


def test_a_pack_inside_the_root_is_found_by_its_absolute_path(tmp_path: Path) -> None:
    root = create_small_root(tmp_path)
    build_elf(root / "opt/pack/lib/liba.so.1", soname="liba.so.1")
    build_elf(root / "opt/pack/bin/x", program=True, needed=["liba.so.1"], runpath="/opt/pack/lib")
    pack = root / "opt/pack"
    bundle = read_bundle(read_directory(pack), str(pack))
    process = Deployment(bundle, RealHost(DirectoryFiles(root), "/opt/pack")).map_process("bin/x")
    assert (process.objects[1].origin, process.objects[1].path) == ("bundle", "lib/liba.so.1")


def test_a_host_that_lacks_the_interpreter_starts_nothing(tmp_path: Path) -> None:
    path = build_elf(tmp_path / "pack/x", program=True)
    (tmp_path / "root").mkdir()
    host = RealHost(DirectoryFiles(tmp_path / "root"), "/opt/pack")
    process = Deployment(build_single_file_bundle(path), host).map_process("x")
    lost = process.objects[1]
    assert lost.origin == "missing"
    assert lost.trace[0].verdict == "the host has no such interpreter: nothing starts"


def test_musl_in_a_root_of_its_own(tmp_path: Path) -> None:
    """The path file is beside the folder of its loader; here it is the root's own."""
    loader = Path("/lib/ld-musl-x86_64.so.1")
    if not loader.exists():
        pytest.skip("musl is not installed")
    root = create_small_root(tmp_path)
    shutil.copy(loader.resolve(), root / "usr/lib/ld-musl-x86_64.so.1")
    (root / "etc/ld-musl-x86_64.path").write_text("/opt/one:/nowhere\n/opt/two\n")
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
    found = [o.path for o in process_in(root, "/usr/bin/x").objects[1:]]
    assert found[:2] == ["/opt/one/liba.so.1", "/opt/two/libb.so.1"]
    assert sorted(map(str, found)) == sorted({str(path) for path in expected})
