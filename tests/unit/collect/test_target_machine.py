from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.collect.collector import collect_pack
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.target_machine import resolve_target
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import Values, resolve_variables

SPEC = """\
[bundle]
name = "p-{arch}-{glibc}"

[variables]
arch  = { builtin = "arch" }
glibc = { builtin = "glibc" }

[[files]]
from = "data/{arch}/*"
to   = "data/"

[[files]]
from = "bin/*"
to   = "bin/"
"""


def resolve(root: Path, *directories: Path, sysroot: Path | None = None, **defines: str) -> Values:
    path = root / "bundle.toml"
    path.write_text(SPEC)
    values = resolve_variables(load_spec(path), root, defines, {})
    return resolve_target(values, LibrarySources(directories, sysroot))


def write_glibc(path: Path, version: str, machine: str) -> None:
    build_elf(path, soname="libc.so.6", toolchain=CROSS[machine])
    with path.open("ab") as file:
        file.write(f"GNU C Library (Debian) stable release version {version}.\0".encode())


def test_the_architecture_and_the_glibc_are_those_of_the_collected_files(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, toolchain=CROSS["ppc64le"])
    write_glibc(tmp_path / "deps/libc.so.6", "2.28", "ppc64le")
    values = resolve(tmp_path, tmp_path / "deps")
    assert (values["arch"], values["glibc"]) == ("ppc64le", "2.28")
    write_glibc(tmp_path / "sysroot/lib64/libc.so.6", "2.31", "ppc64le")
    values = resolve(tmp_path, tmp_path / "deps", sysroot=tmp_path / "sysroot")
    assert (values["arch"], values["glibc"]) == ("ppc64le", "2.31")


def test_a_missing_glibc_of_another_machine_is_an_error(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/server", program=True, toolchain=CROSS["ppc64le"])
    (tmp_path / "sysroot").mkdir()
    values = resolve(tmp_path, sysroot=tmp_path / "sysroot")
    with pytest.raises(BundleFixError, match=r"/sysroot has no libc\.so\.6 for ppc64le"):
        values["glibc"]


def test_without_elf_files_the_values_are_those_of_this_machine(tmp_path: Path) -> None:
    assert resolve(tmp_path)["arch"] == os.uname().machine


def test_files_of_two_machines_are_an_error_unless_the_variable_is_defined(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/a", program=True, toolchain=CROSS["aarch64"])
    build_elf(tmp_path / "bin/b", program=True, toolchain=CROSS["riscv64"])
    (tmp_path / "data/aarch64").mkdir(parents=True)
    (tmp_path / "data/aarch64/x").touch()
    values = resolve(tmp_path)
    with pytest.raises(BundleFixError) as caught:
        collect_pack(values.spec, values, tmp_path)
    assert "bin/b is for riscv64, but `arch` describes aarch64" in str(caught.value)
    values = resolve(tmp_path, arch="aarch64", glibc="2.36")
    assert "bin/b" in collect_pack(values.spec, values, tmp_path).bundle.images
