"""Root file systems with musl and without glibc: the model compared with musl in a chroot."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import HOST, Toolchain, build_elf
from builders.loaders import MUSL_LOADER, create_musl_root, list_with_musl
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process

MUSL = Toolchain("musl-gcc")
PACK = "opt/pack"
LIB = "$ORIGIN/../lib"
NO_LIBC = ("-nostdlib", "-nostartfiles")
DATA = "int bundle_fix_data;"


def map_in_root(root: Path, entry: str, environment: Environment = EMPTY_ENVIRONMENT) -> Process:
    """Return the model's process of a file of the pack in ``root``."""
    bundle = read_bundle(read_directory(root / PACK), "pack")
    host = RealHost(DirectoryFiles(root), f"/{PACK}")
    return Deployment(bundle, host, environment).map_process(entry)


def assert_same(root: Path, entry: str) -> tuple[list[str], list[str]]:
    """Assert that musl and the model load the same files; return those and the missing names."""
    process = map_in_root(root, entry)
    found: list[str] = []
    missing: list[str] = []
    for loaded in process.objects[1:]:
        if loaded.origin is ObjectOrigin.MISSING:
            missing.append(loaded.name)
        elif loaded.path != MUSL_LOADER:
            is_own = loaded.origin is ObjectOrigin.BUNDLE
            found.append(f"/{PACK}/{loaded.path}" if is_own else str(loaded.path))
    expected = list_with_musl(root, f"/{PACK}/{entry}")
    assert ([str(Path(p)) for p in found], missing) == (
        [resolve(p) for p in expected[0]],
        expected[1],
    )
    return found, missing


def resolve(path: str) -> str:
    """Return a path of musl's list without ``..``; the tests have no symlinks to directories."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


@pytest.mark.parametrize("toolchain", [MUSL, HOST], ids=["musl", "glibc"])
def test_libraries_without_a_program_are_loaded_by_the_only_loader(
    tmp_path: Path, toolchain: Toolchain
) -> None:
    root = create_musl_root(tmp_path)
    build_elf(root / PACK / "lib/libb.so.1", soname="libb.so.1", toolchain=toolchain)
    build_elf(
        root / PACK / "lib/liba.so.1", soname="liba.so.1", toolchain=toolchain,
        needed=["libb.so.1", "libpthread.so.0", "libz.so.1"], runpath="$ORIGIN",
    )  # fmt: skip
    build_elf(root / "usr/lib/libz.so.1", soname="libz.so.1", toolchain=MUSL)
    assert assert_same(root, "lib/liba.so.1")[0] == [
        "/opt/pack/lib/libb.so.1",
        "/usr/lib/libz.so.1",
    ]


def test_a_library_that_needs_no_c_library_is_searched_as_musl_does(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    build_elf(root / PACK / "lib/libc1.so.1", source=DATA, flags=NO_LIBC)
    build_elf(
        root / PACK / "lib/libb.so.1", source=DATA, flags=NO_LIBC, needed=["libc1.so.1"],
    )  # fmt: skip
    build_elf(
        root / PACK / "lib/liba.so.1", source=DATA, flags=NO_LIBC, needed=["libb.so.1"],
        runpath="$ORIGIN",
    )  # fmt: skip
    # libb.so.1 inherits the RUNPATH, which glibc's loader would not allow.
    assert assert_same(root, "lib/liba.so.1")[1] == []


def test_a_root_with_both_loaders_uses_that_of_the_library(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    (root / "lib64").mkdir()
    (root / "lib64/ld-linux-x86-64.so.2").write_bytes(
        Path("/lib64/ld-linux-x86-64.so.2").read_bytes()
    )
    for toolchain, name in ((MUSL, "libm.so.6"), (HOST, "libm.so.6")):
        build_elf(root / PACK / "lib/liba.so.1", toolchain=toolchain, needed=[name])
        origins = {o.name: o.origin for o in map_in_root(root, "lib/liba.so.1").objects[1:]}
        missing = [n for n, origin in origins.items() if origin is ObjectOrigin.MISSING]
        assert missing == ([] if toolchain is MUSL else ["libm.so.6", "libc.so.6"])


def test_musl_provides_some_names_of_glibcs_libraries(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    own = ["libc.so.6", "libpthread.so.0", "librt.so.1", "libdl.so.2", "libm.so.6", "libutil.so.1",
           "libxnet.so.1"]  # fmt: skip
    others = ["libresolv.so.2", "libmvec.so.1", "libnsl.so.1", "libanl.so.1", "libcrypt.so.1",
              "ld-linux-x86-64.so.2"]  # fmt: skip
    build_elf(root / PACK / "bin/x", program=True, needed=[*own, *others], toolchain=MUSL)
    assert assert_same(root, "bin/x") == ([], others)


def test_copies_of_musls_names_are_not_loaded(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    for name in ("libpthread.so.0", "libc.musl-x86_64.so.1", "libresolv.so.2"):
        build_elf(root / PACK / "lib" / name, soname=name, toolchain=MUSL)
    needed = ["libpthread.so.0", "libc.musl-x86_64.so.1", "libresolv.so.2"]
    build_elf(root / PACK / "lib/liba.so.1", needed=needed, toolchain=MUSL, runpath="$ORIGIN")
    assert assert_same(root, "lib/liba.so.1") == (["/opt/pack/lib/libresolv.so.2"], [])


@pytest.mark.parametrize(
    ("text", "found"),
    [(b"/opt/one\n", True), (b"", False), (b"/lib", False), (b"/opt/one\0:/x", True),
     (b":\n/lib::/opt/one", True)],
)  # fmt: skip
def test_the_path_file_replaces_the_default_directories(
    tmp_path: Path, text: bytes, found: bool
) -> None:
    root = create_musl_root(tmp_path)
    (root / "etc/ld-musl-x86_64.path").write_bytes(text)
    build_elf(root / "opt/one/liba.so.1", soname="liba.so.1", toolchain=MUSL)
    build_elf(root / PACK / "lib/libuser.so.1", needed=["liba.so.1"], toolchain=MUSL)
    assert assert_same(root, "lib/libuser.so.1")[1] == ([] if found else ["liba.so.1"])


@pytest.mark.parametrize("place", ["file", "directory"])
def test_a_symlink_loop_ends_the_search(tmp_path: Path, place: str) -> None:
    root = create_musl_root(tmp_path)
    build_elf(root / "usr/lib/liba.so.1", soname="liba.so.1", toolchain=MUSL)
    loop = root / PACK / ("lib/liba.so.1" if place == "file" else "lib")
    loop.parent.mkdir(parents=True)
    loop.symlink_to(loop.name)
    build_elf(
        root / PACK / "bin/x", program=True, needed=["liba.so.1"], toolchain=MUSL, runpath=LIB
    )
    assert assert_same(root, "bin/x") == ([], ["liba.so.1"])


def test_an_object_is_known_by_one_name_only(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    build_elf(root / "srv/liba.so.1", soname="liba.so.1", toolchain=MUSL)
    (root / "srv/liba.so").symlink_to("liba.so.1")
    build_elf(root / "usr/lib/libc2.so.1", needed=["liba.so", "liba.so.1"], toolchain=MUSL)
    build_elf(
        root / "usr/lib/libb.so.1", needed=["liba.so.1", "liba.so"], toolchain=MUSL, runpath="/srv"
    )
    build_elf(
        root / PACK / "bin/x", program=True, needed=["libb.so.1", "libc2.so.1"], toolchain=MUSL
    )
    # libb.so.1 finds the file under both names; libc2.so.1 only by the first one.
    assert assert_same(root, "bin/x")[1] == ["liba.so"]


def test_the_search_path_of_the_program_does_not_serve_preloaded_libraries(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    build_elf(root / PACK / "lib/libpre.so.1", soname="libpre.so.1", toolchain=MUSL)
    build_elf(root / PACK / "bin/x", program=True, toolchain=MUSL, runpath=LIB)
    process = map_in_root(root, "bin/x", Environment(preload="libpre.so.1"))
    assert process.remarks == ("preloaded library libpre.so.1 is missing and is ignored",)
    done = subprocess.run(
        ["chroot", root, f"/{PACK}/bin/x"],
        env={"LD_PRELOAD": "libpre.so.1", "PATH": "/usr/sbin:/usr/bin"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "main\n"


# As an interpreter it can use no C library: gcompat's own is a static PIE.
GCOMPAT = """
static const char *const words[] = {
    "/lib/ld-musl-x86_64.so.1", "--preload", "/lib/libgcompat.so.0", "/opt/pack/bin/x", 0,
};
void _start(void) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(59L), "D"(words[0]), "S"(words), "d"(0L)
                     : "rcx", "r11", "memory");
    for (;;) ;
}
"""


def test_gcompat_starts_musl_with_its_own_library(tmp_path: Path) -> None:
    root = create_musl_root(tmp_path)
    build_elf(
        root / "lib64/ld-linux-x86-64.so.2", program=True, source=GCOMPAT,
        flags=["-nostdlib", "-static", "-no-pie"],
    )  # fmt: skip
    build_elf(root / "lib/libgcompat.so.0", soname="libgcompat.so.0", toolchain=MUSL)
    build_elf(root / PACK / "lib/libb.so.1", soname="libb.so.1")
    build_elf(root / PACK / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"])
    build_elf(root / PACK / "bin/x", program=True, needed=["liba.so.1"], runpath=LIB)
    done = subprocess.run(
        ["chroot", root, f"/{PACK}/bin/x"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["libgcompat.so.0", "libb.so.1", "liba.so.1", "main"]
    names = [o.name for o in map_in_root(root, "bin/x").objects[1:]]
    assert names == ["/lib/libgcompat.so.0", "liba.so.1", MUSL_LOADER, "libb.so.1"]
