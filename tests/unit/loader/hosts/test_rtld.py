"""Loaders of other machines, run by qemu in their own roots: compiled-in directories and tokens."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf, require_toolchain
from builders.loaders import build_single_file_bundle, parse_loader_list
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.real_host import RealHost

TRIPLETS = {
    "aarch64": "aarch64-linux-gnu",
    "armhf": "arm-linux-gnueabihf",
    "i386": "i686-linux-gnu",
    "ppc64le": "powerpc64le-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "s390x": "s390x-linux-gnu",
}
EMULATORS = {"armhf": "qemu-arm"}


def copy_cross_root(machine: str, root: Path) -> Path:
    """Copy the C library of a cross compiler to a root file system, and return its directory."""
    library = Path("/usr", TRIPLETS[machine], "lib")
    if not library.is_dir():
        pytest.skip(f"{library} is not installed")
    ignored = shutil.ignore_patterns("*.a", "*.o", "gcc*")
    shutil.copytree(library, root / "lib", symlinks=True, ignore=ignored)
    return root


@pytest.mark.parametrize("machine", TRIPLETS)
def test_the_model_loads_the_same_as_the_loader_of_another_machine(
    machine: str, tmp_path: Path
) -> None:
    require_toolchain(CROSS[machine])
    emulator = shutil.which(EMULATORS.get(machine, f"qemu-{machine}"))
    if emulator is None:
        pytest.skip(f"qemu-user is not installed for {machine}")
    root = copy_cross_root(machine, tmp_path)
    needed = ["liba.so.1", "libb.so.1", "libresolv.so.2"]
    runpath = "$ORIGIN/../opt/$LIB"
    path = build_elf(
        root / "usr/bin/x", program=True, needed=needed, runpath=runpath, toolchain=CROSS[machine]
    )
    image = read_image_at(path)
    assert image is not None
    assert image.interpreter is not None
    interpreter = root / image.interpreter.lstrip("/")
    if not interpreter.exists():
        interpreter.parent.mkdir(exist_ok=True)
        interpreter.symlink_to(f"../lib/{interpreter.name}")
    build_elf(root / "lib/liba.so.1", soname="liba.so.1", toolchain=CROSS[machine])
    deployment = Deployment(
        build_single_file_bundle(path), RealHost(DirectoryFiles(root), "/usr/bin")
    )
    lib = deployment.host.find_loader(deployment.view, image).lib
    build_elf(root / f"usr/opt/{lib}/libb.so.1", soname="libb.so.1", toolchain=CROSS[machine])
    done = subprocess.run(
        [emulator, "-E", "LD_TRACE_LOADED_OBJECTS=1", "-L", str(root), interpreter, path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = [
        (name, p and p.replace(str(root), "")) for name, p in parse_loader_list(done.stdout)
    ]
    found = [(o.name, o.path) for o in deployment.map_process("x").objects[1:]]
    assert found == expected, f"model: {found}\nloader: {expected}"
    assert found[1][1] == f"/usr/bin/../opt/{lib}/libb.so.1"
