"""The names of C libraries, compared with the files of this machine's glibc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.elf.symbols.definitions import read_exports
from bundle_fix.loader.hosts.host import build_adversarial_host
from bundle_fix.loader.hosts.libc import (
    Libc,
    is_installed_with_libc,
    is_part_of_libc,
    read_musl_exports,
)
from bundle_fix.model.content import PathContent


@pytest.mark.parametrize(
    "name",
    ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-armhf.so.3", "ld64.so.1",
     "ld-linux.so.2", "ld-musl-x86_64.so.1", "libc.musl-x86_64.so.1", "linux-vdso.so.1"],
)  # fmt: skip
def test_the_c_library_and_its_loader_are_part_of_libc(name: str) -> None:
    assert is_part_of_libc(name)


@pytest.mark.parametrize("name", ["libc.so.7", "libcrypto.so.3", "libmd.so.0", "libgcc_s.so.1"])
def test_other_libraries_are_not_installed_with_libc(name: str) -> None:
    assert not is_installed_with_libc(name, Libc.GLIBC)


@pytest.mark.parametrize(("name", "is_part"), [("libcrypt.so.1", False), ("libnsl.so.1", True)])
def test_former_parts_of_glibc_are_common_but_not_expected(name: str, is_part: bool) -> None:
    host, libc = build_adversarial_host(), Libc.GLIBC
    assert (host.is_expected(name, libc), host.is_common(name, libc)) == (False, True)
    assert is_part_of_libc(name) == is_part


def test_the_shared_objects_of_this_machines_glibc_are_known() -> None:
    listed = subprocess.run(["dpkg", "-L", "libc6"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this machine's C library is not a Debian package")
    paths = [Path(line) for line in listed.stdout.splitlines() if "/gconv/" not in line]
    names = {p.name for p in paths if ".so." in p.name and not p.name.endswith(".conf")}
    unknown = {n for n in names if not is_part_of_libc(n)} - {"ld.so.8.gz", "ld.so.conf.d"}
    # libc_malloc_debug, libmemusage and libpcprofile are for LD_PRELOAD: no object needs them.
    assert {
        n for n in unknown if not n.startswith(("libc_malloc", "libmemusage", "libpcp"))
    } == set()


@pytest.mark.parametrize(
    ("name", "glibc", "musl"),
    [
        ("libc.musl-x86_64.so.1", False, True),
        ("ld-musl-x86_64.so.1", False, True),
        ("libc.so.6", True, True),
        ("libpthread.so.0", True, True),
        ("libxnet.so.1", False, True),
        ("libresolv.so.2", True, False),
        ("libmvec.so.1", True, False),
        ("libnsl.so.1", False, False),
        ("ld-linux-x86-64.so.2", True, False),
    ],
)
def test_each_c_library_provides_its_own_names(name: str, glibc: bool, musl: bool) -> None:
    assert is_installed_with_libc(name, Libc.GLIBC) is glibc
    assert is_installed_with_libc(name, Libc.MUSL) is musl


def test_the_exports_of_this_machines_musl_are_known() -> None:
    loader = Path("/lib/ld-musl-x86_64.so.1")
    if not loader.exists():
        pytest.skip("musl is not installed")
    image = read_image_at(loader)
    assert image is not None
    with PathContent(loader.resolve(), loader.stat().st_size).open() as reader:
        exported = read_exports(reader, image).names
    # Debian adds the fts functions, which other builds of musl lack.
    assert {n for n in exported if not n.startswith(b"fts_")} <= read_musl_exports()
    assert not {b"__printf_chk", b"fts_open", b"gnu_get_libc_version"} & read_musl_exports()
