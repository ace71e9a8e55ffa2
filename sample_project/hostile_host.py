#!/usr/bin/env python3
"""Run a program of a pack on a hostile host.

The host is a chroot with this machine's C library. Each default directory of the loader contains a
decoy of every library of the pack. A decoy prints its name and exits with 97, so a library that is
loaded from the host is noticed at once. The file of --decoy-tcmalloc is an older allocator that
works.

    hostile_host.py --decoy-tcmalloc build/latest/host/libtcmalloc_and_profiler.so.4 \
        --pack pegasus-server.tar.gz -- bin/pegasus_server --demo /tmp/db

The pack is in /opt/pack; the path of the program is relative to it. The program starts in /opt/pack
with an empty environment.

Exit code: that of the program, 128 + N if signal N killed it, 2 for an invalid request, 3 if this
machine does not permit chroot(2).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

C_LIBRARY = re.compile(
    r"(ld-linux.*|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl)|libnss_(files|dns))\.so\.\d+"
)
LIBRARY = re.compile(r"lib.*\.so(\.\d+)*")
PACK = Path("/opt/pack")

# From <sched.h> and <sys/mount.h>: os.unshare requires Python 3.12, and os.mount does not exist.
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000

DECOY = """
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) {
    static const char text[] = "decoy " NAME " loaded\\n";
    if (write(2, text, strlen(text)) >= 0) _exit(97);
}
"""


def find_default_directories() -> list[Path]:
    """Return the default directories of this machine's loader, with symlinks resolved."""
    known = [Path(name) for name in ("/lib64", "/usr/lib64", "/lib", "/usr/lib")]
    known += [path for parent in known[2:] for path in parent.glob("*-linux-gnu*")]
    return list(dict.fromkeys(path.resolve() for path in known if path.is_dir()))


def make_host(root: Path) -> list[Path]:
    """Copy the C library into root; return the default directories inside root."""
    for name in ("lib", "lib64", "usr/lib64"):
        original = Path("/", name)
        if original.is_symlink():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).symlink_to(original.readlink())
    directories = []
    for original in find_default_directories():
        copy = root / original.relative_to("/")
        copy.mkdir(parents=True, exist_ok=True)
        directories.append(copy)
        for library in original.iterdir():
            if C_LIBRARY.fullmatch(library.name) and library.is_file():
                shutil.copy(library, copy)
    for name in ("tmp", "dev", "proc"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "dev/null").touch()
    return directories


def unpack_tarball(tarball: Path, target: Path) -> None:
    """Unpack tarball to target, without the single top directory that most packs have."""
    staging = target.with_name("unpacked")
    staging.mkdir(parents=True)
    with tarfile.open(tarball) as tar:
        members = tar.getmembers()
        for member in members:  # chown(2) to the owners in the archive requires root
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        if hasattr(tarfile, "tar_filter"):
            tar.extractall(staging, members, filter="tar")
        else:  # early releases of Python 3.10 and 3.11 lack filters; the packs are trusted
            tar.extractall(staging, members)  # noqa: S202
    top = list(staging.iterdir())
    if len(top) == 1 and top[0].is_dir() and top[0].name != "bin":
        top[0].rename(target)
        staging.rmdir()
    else:
        staging.rename(target)


def find_library_names(pack: Path) -> set[str]:
    """Return the file names and sonames of all libraries of the pack, except the C library."""
    names = set()
    for path in pack.rglob("*"):
        if LIBRARY.fullmatch(path.name) and path.is_file():
            names.add(path.name)
            readelf = ["env", "LC_ALL=C", "readelf", "-d", str(path)]
            dynamic = subprocess.run(readelf, capture_output=True, text=True, check=False).stdout
            names.update(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic))
    return {name for name in names if not C_LIBRARY.fullmatch(name)}


def place_decoys(names: set[str], tcmalloc: Path | None, directories: list[Path]) -> None:
    """Put a decoy for each name, and the older tcmalloc, into each directory."""
    with tempfile.TemporaryDirectory() as scratch:
        decoys = [] if tcmalloc is None else [tcmalloc]
        for name in sorted(names - {decoy.name for decoy in decoys}):
            decoy = Path(scratch, name)
            cc = ["cc", "-shared", "-fPIC", f'-DNAME="{name}"', f"-Wl,-soname,{name}", "-o"]
            subprocess.run([*cc, str(decoy), "-x", "c", "-"], input=DECOY, text=True, check=True)
            decoys.append(decoy)
        for directory in directories:
            for decoy in decoys:
                shutil.copy(decoy, directory)


def raise_on_failure(status: int) -> None:
    """Raise OSError with the current errno if a C function returned a status other than 0."""
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter_root(root: Path, program: Path) -> None:
    """Change the root directory of this process to root; use a user namespace if not root."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        raise_on_failure(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if os.geteuid() != 0 else 0)))
        raise_on_failure(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        for name in ("dev/null", "proc"):
            inside = bytes(root / name)
            raise_on_failure(libc.mount(f"/{name}".encode(), inside, None, MS_REC | MS_BIND, None))
    except OSError:
        # A container may forbid mount(2) even to root. The loader reads the $ORIGIN of a program
        # from this symlink (glibc, sysdeps/unix/sysv/linux/dl-origin.c), so RUNPATH needs it.
        (root / "proc/self").mkdir()
        (root / "proc/self/exe").symlink_to(program)
    os.chroot(root)


def list_host_libraries(argv: list[str | Path], env: dict[str, str]) -> list[str]:
    """Return the loader's trace line of each library that it loads from outside the pack."""
    trace = {**env, "LD_TRACE_LOADED_OBJECTS": "1"}
    traced = subprocess.run(argv, env=trace, capture_output=True, text=True, check=False)
    lines = [line.strip() for line in traced.stdout.splitlines() if " => /" in line]
    foreign = [line for line in lines if f" => {PACK}/" not in line]
    return [line for line in foreign if not C_LIBRARY.fullmatch(line.split()[0])]


def run_command(root: Path, cwd: str, command: list[str], env: dict[str, str]) -> int:
    """Change the root of this process, run the command and return its exit code."""
    argv: list[str | Path] = [PACK / command[0], *command[1:]]
    try:
        enter_root(root, PACK / command[0])
    except OSError as error:
        print_line(f"this machine does not permit chroot: {error.strerror}")
        return 3
    try:
        os.chdir(PACK / cwd)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = subprocess.run(argv, env=env, check=False).returncode
    except OSError as error:
        print_line(f"{error.filename}: {error.strerror}")
        return 2
    if status != 0:
        for line in list_host_libraries(argv, env):
            print_line(f"loaded from the host: {line}")
    if status < 0:
        print_line(f"{command[0]} died by signal {-status} ({signal.Signals(-status).name})")
        return 128 - status
    return status


def print_line(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"hostile_host: {text}\n")
    sys.stderr.flush()


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pack", type=Path, required=True, metavar="TARBALL")
    add("--decoy-tcmalloc", type=Path, metavar="FILE", help="use FILE as the decoy of its name")
    add(
        "--decoys", nargs="*", metavar="NAME", help="make decoys of these names only (default: all)"
    )
    add("--cwd", default=".", metavar="DIR", help="start the program in DIR, relative to /opt/pack")
    add(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variable; repeatable",
    )
    add("--keep", type=Path, metavar="DIR", help="create the host in DIR and keep it")
    add("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def build_host(root: Path, options: argparse.Namespace) -> None:
    """Create the hostile host with the pack in root."""
    directories = make_host(root)
    pack = root / PACK.relative_to("/")
    unpack_tarball(options.pack, pack)
    names = find_library_names(pack) if options.decoys is None else set(options.decoys)
    place_decoys(names, options.decoy_tcmalloc, directories)


def main() -> int:
    """Build the host, run the command on it and remove the host."""
    options = parse_arguments()
    env = {name: value for name, _, value in (pair.partition("=") for pair in options.env)}
    with contextlib.ExitStack() as stack:
        try:
            if options.keep is None:
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile.")))
                root.chmod(0o755)
            else:
                root = options.keep.resolve()
                root.mkdir(parents=True)
            build_host(root, options)
        except tarfile.TarError:
            print_line(f"{options.pack}: the tarball is damaged or truncated; make the pack again")
            return 2
        except (OSError, subprocess.CalledProcessError) as error:
            print_line(str(error))
            return 2
        child = os.fork()
        if child == 0:  # a process cannot leave a chroot
            os._exit(run_command(root, options.cwd, options.command, env))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
