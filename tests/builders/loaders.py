"""The lists of objects that real loaders load, and those of the model, to compare them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bundle_fix.archive.directory import read_directory
from bundle_fix.elf.read.parser import read_image_at
from bundle_fix.loader.bundle import Bundle, build_bundle, read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.files import DirectoryFiles
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, Environment
from bundle_fix.loader.hosts.real_host import RealHost
from bundle_fix.loader.hosts.rtld import Loader
from bundle_fix.loader.objects import ObjectOrigin
from bundle_fix.loader.process import Process
from bundle_fix.model.content import PathContent
from bundle_fix.model.tree import File, Metadata, Tree

LoadedFiles = list[tuple[str, str | None]]
"""Name and path of each object, in load order; the path is None if the object is missing."""
LINE = re.compile(r"\s+(\S.*?)(?: => (.*?))?(?: \(0x[0-9a-f]+\))?$")
X86_64_LOADER = "/lib64/ld-linux-x86-64.so.2"
MUSL_LOADER = "/lib/ld-musl-x86_64.so.1"
LDCONFIG = shutil.which("ldconfig", path="/sbin:/usr/sbin:/bin:/usr/bin")


def parse_loader_list(text: str) -> LoadedFiles:
    """Parse the list that a loader prints, without the kernel's object (linux-vdso).

    A missing object is returned once: glibc lists it for each object that needs it.
    """
    found: LoadedFiles = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None or "linux-vdso" in line or "statically linked" in line:
            continue
        name, path = match[1], match[2] or match[1]
        entry = (name, None if path == "not found" else path)
        if entry[1] is not None or entry not in found:
            found.append(entry)
    return found


def list_with_real_loader(
    program: Path, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> LoadedFiles:
    """Return the objects that the program's own loader loads for it (see ld.so(8))."""
    done = subprocess.run(
        [program],
        env={"LD_TRACE_LOADED_OBJECTS": "1", **(environ or {})},
        cwd=cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return parse_loader_list(done.stdout)


def get_loader_error(program: Path) -> str:
    """Return the error message of the loader for a program that it cannot start."""
    done = subprocess.run([program], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    return done.stderr


def map_process_here(
    root: Path, entry: str, environment: Environment = EMPTY_ENVIRONMENT
) -> Process:
    """Return the model's process of a program in the directory ``root`` of this machine."""
    return deploy_here(root, environment).map_process(entry)


def deploy_here(root: Path, environment: Environment = EMPTY_ENVIRONMENT) -> Deployment:
    """Return a directory of this machine as a pack that is unpacked on this machine."""
    host = RealHost(DirectoryFiles(Path("/")), str(root.resolve()), running=True)
    return Deployment(read_bundle(read_directory(root), str(root)), host, environment)


def find_loader_here(program: Path) -> Loader:
    """Return the model's loader of a program on this machine."""
    deployment, image = deploy_here(program.parent), read_image_at(program)
    assert image is not None
    return deployment.host.find_loader(deployment.view, image)


def list_process_files(process: Process, root: Path) -> LoadedFiles:
    """Return the objects of a process without the program; ``root`` is the pack's directory."""
    return [
        (o.name, f"{root.resolve()}/{o.path}" if o.origin is ObjectOrigin.BUNDLE else o.path)
        for o in process.objects[1:]
    ]


def resolve_paths(loaded: LoadedFiles, cwd: Path | None = None) -> LoadedFiles:
    """Return ``loaded`` with symlinks resolved; relative paths start at ``cwd``."""
    start = str(cwd or "/")
    return [(n, p and os.path.realpath(os.path.join(start, p))) for n, p in loaded]  # noqa: PTH118


def assert_same(
    root: Path, entry: str = "bin/x", environment: Environment = EMPTY_ENVIRONMENT
) -> list[str]:
    """Assert that the real loader and the model load the same files in the same order.

    Returns:
        The real paths of the files below ``root``, relative to it.
    """
    process = map_process_here(root, entry, environment)
    cwd = Path(environment.working_directory) if environment.working_directory else None
    variables = {"LD_LIBRARY_PATH": environment.library_path, "LD_PRELOAD": environment.preload}
    known = {name: value for name, value in variables.items() if value}
    expected = resolve_paths(list_with_real_loader(root / entry, cwd, known), cwd)
    found = resolve_paths(list_process_files(process, root))
    # glibc lists missing objects after the interpreter (dl-deps.c leaves them out of the lookup
    # order, into which the interpreter is put).
    expected.sort(key=lambda loaded: loaded[1] is None)
    found.sort(key=lambda loaded: loaded[1] is None)
    assert found == expected, f"model: {found}\nloader: {expected}"
    start = f"{root.resolve()}/"
    return [path.removeprefix(start) for _, path in expected if path and path.startswith(start)]


def build_single_file_bundle(path: Path) -> Bundle:
    """Return a bundle with one ELF file."""
    image = read_image_at(path)
    assert image is not None
    file = File(PathContent(path.resolve(), path.stat().st_size), Metadata(0o755))
    return build_bundle(Tree({path.name: file}), {path.name: image})


def create_small_root(root: Path, *copied: str) -> Path:
    """Create a root file system with this machine's C library and loader, and return ``root``.

    ``/lib`` and ``/lib64`` are symlinks into ``/usr``, as in a file system with merged /usr.

    Args:
        root: its directory.
        copied: absolute paths of other files of this machine to copy.
    """
    if os.geteuid() != 0 or LDCONFIG is None:
        pytest.skip("only root can chroot into a root file system, and ldconfig must be installed")
    if not Path(X86_64_LOADER).exists():
        pytest.skip(f"this machine has no {X86_64_LOADER}")
    for name in ("lib", "lib64", "bin"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc").mkdir()
    for _, path in list_with_real_loader(Path("/bin/true")):
        copy_into(root, path or "")
    for path in copied:
        copy_into(root, path)
    return root


def create_musl_root(root: Path) -> Path:
    """Create a root file system like Alpine's, with this machine's musl, and return ``root``."""
    if os.geteuid() != 0:
        pytest.skip("only root can chroot into a root file system")
    if not Path(MUSL_LOADER).exists():
        if os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
            pytest.fail(f"BUNDLE_FIX_TOOLCHAINS=all needs {MUSL_LOADER}")
        pytest.skip(f"this machine has no {MUSL_LOADER}")
    for name in ("lib", "etc", "usr/lib"):
        (root / name).mkdir(parents=True)
    copy_into(root, MUSL_LOADER)
    (root / "lib/libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    return root


def list_with_musl(root: Path, path: str) -> tuple[list[str], list[str]]:
    """Return what musl in a root file system loads for a program or library, and what it misses.

    The paths of the loaded files are in load order, without the file itself and without musl.
    """
    done = subprocess.run(
        [MUSL_LOADER, "--list", path],
        env={}, capture_output=True, text=True, check=False, cwd="/",
        preexec_fn=lambda: os.chroot(root),
    )  # fmt: skip
    loaded = [p for _, p in parse_loader_list(done.stdout) if p and p != MUSL_LOADER]
    missing = re.findall(r"Error loading shared library (\S+):", done.stderr)
    return loaded, list(dict.fromkeys(missing))


def copy_into(root: Path, path: str) -> None:
    """Copy a file of this machine to the same path in a root file system."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def run_ldconfig(root: Path) -> None:
    """Write the cache of a root file system."""
    subprocess.run([str(LDCONFIG), "-r", str(root)], check=True, capture_output=True)


def list_in_root(root: Path, program: str, loader: str = X86_64_LOADER) -> LoadedFiles:
    """Return the objects that the loader of a root file system loads for a program in it."""
    done = subprocess.run(
        [loader, program],
        env={"LD_TRACE_LOADED_OBJECTS": "1"}, capture_output=True, text=True, check=True,
        cwd="/", preexec_fn=lambda: os.chroot(root),
    )  # fmt: skip
    return parse_loader_list(done.stdout)
