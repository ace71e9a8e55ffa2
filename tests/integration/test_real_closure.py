"""The closure of a library with many dependencies: the RocksDB of this machine."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix

pytestmark = pytest.mark.any_program

SPEC = """
[bundle]
name = "pack"
[[files]]
from = "server"
to = "bin/"
[closure]
bundle = [{names}]
"""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """A program that needs the librocksdb of this machine by its soname."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if "=>" in line]
    found = [name for name in names if name.startswith("librocksdb.so.")]
    if not found:
        pytest.skip("librocksdb is not installed (Debian: librocksdb-dev)")
    return build_elf(tmp_path / "server", program=True, needed=[found[0]])


def list_needed(path: Path) -> list[str]:
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if "=>" in line]


def test_every_missing_indirect_dependency_is_reported_with_its_chain(server: Path) -> None:
    root = server.parent
    (root / "bundle.toml").write_text(SPEC.format(names='"librocksdb*", "libstdc++*", "libgcc*"'))
    done = run_bundle_fix("pack", "bundle.toml", cwd=root)
    assert done.returncode == 2
    lacking = [
        line for line in done.stderr.splitlines() if "is needed, but not in the pack" in line
    ]
    for name in ("libsnappy.so.1", "libz.so.1", "libzstd.so.1", "liblz4.so.1"):
        (line,) = [line for line in lacking if f" {name} is needed" in line]
        assert "bin/server → lib/librocksdb.so." in line
        assert line.partition(" (")[0].endswith(f" → {name}")


def test_the_whole_closure_is_packed_and_found_in_the_pack(server: Path) -> None:
    root = server.parent
    (root / "bundle.toml").write_text(SPEC.format(names='"lib*"'))
    done = run_bundle_fix("pack", "bundle.toml", cwd=root)
    assert done.returncode == 0, done.stderr
    with tarfile.open(root / "pack.tar.gz") as archive:
        archive.extractall(root, filter="tar")
    listed = subprocess.run(
        ["ldd", root / "pack/bin/server"], capture_output=True, text=True, check=True
    ).stdout
    outside = [line.split()[0] for line in listed.splitlines() if "=> /lib" in line]
    assert set(outside) <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
    for name in set(list_needed(server)) - set(outside):
        assert f"{name} => {root}/pack/" in listed
        assert f"lib/{name}" in done.stderr
