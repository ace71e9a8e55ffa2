#!/usr/bin/env python3
"""Runs a program of a pack on a hostile host.

The host is a chroot that holds this machine's C library and, in every directory that the loader
searches by default, a decoy of each library of the pack: whatever the loader takes from the host
instead of from the pack shows at once. A decoy says its name and exits with 97; the one given by
--decoy-tcmalloc is an older allocator that works.

    hostile_host.py --decoy-tcmalloc build/latest/host/libtcmalloc_and_profiler.so.4 \
        --pack pegasus-server.tar.gz -- bin/pegasus_server --demo /tmp/db

The pack lies at /opt/pack; the program's path is relative to that. It starts with an empty
environment, in /opt/pack. Exit status: the program's, 128 + N if signal N killed it, 3 if this
machine allows no chroot, 2 if the request makes no sense.
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

# From <sched.h> and <sys/mount.h>: os.unshare is newer than the oldest Python that runs this, and
# there is no os.mount.
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


def default_directories() -> list[Path]:
    """The directories that a loader of this machine searches by default, links resolved."""
    known = [Path(name) for name in ("/lib64", "/usr/lib64", "/lib", "/usr/lib")]
    known += [path for parent in known[2:] for path in parent.glob("*-linux-gnu*")]
    return list(dict.fromkeys(path.resolve() for path in known if path.is_dir()))


def make_host(root: Path) -> list[Path]:
    """Fill root with the C library; return the default directories inside root."""
    for name in ("lib", "lib64", "usr/lib64"):
        original = Path("/", name)
        if original.is_symlink():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).symlink_to(original.readlink())
    directories = []
    for original in default_directories():
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


def unpack(tarball: Path, target: Path) -> None:
    """Unpack tarball at target, without the one top folder that packs usually have."""
    aside = target.with_name("unpacked")
    aside.mkdir(parents=True)
    with tarfile.open(tarball) as tar:
        members = tar.getmembers()
        for member in members:  # everything belongs to whoever runs this
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        if hasattr(tarfile, "tar_filter"):
            tar.extractall(aside, members, filter="tar")
        else:  # an early 3.10 or 3.11; the packs are our own
            tar.extractall(aside, members)  # noqa: S202
    found = list(aside.iterdir())
    if len(found) == 1 and found[0].is_dir() and found[0].name != "bin":
        found[0].rename(target)
        aside.rmdir()
    else:
        aside.rename(target)


def names_in(pack: Path) -> set[str]:
    """Every name by which a library of the pack could be asked for: file names and sonames."""
    names = set()
    for path in pack.rglob("*"):
        if LIBRARY.fullmatch(path.name) and path.is_file():
            names.add(path.name)
            readelf = ["env", "LC_ALL=C", "readelf", "-d", str(path)]
            dynamic = subprocess.run(readelf, capture_output=True, text=True, check=False).stdout
            names.update(re.findall(r"\(SONAME\).*\[(.*)\]", dynamic))
    return {name for name in names if not C_LIBRARY.fullmatch(name)}


def place_decoys(names: set[str], tcmalloc: Path | None, directories: list[Path]) -> None:
    """Put a decoy of each name, and the older tcmalloc under its own, into each directory."""
    with tempfile.TemporaryDirectory() as folder:
        decoys = [] if tcmalloc is None else [tcmalloc]
        for name in sorted(names - {decoy.name for decoy in decoys}):
            decoy = Path(folder, name)
            cc = ["cc", "-shared", "-fPIC", f'-DNAME="{name}"', f"-Wl,-soname,{name}", "-o"]
            subprocess.run([*cc, str(decoy), "-x", "c", "-"], input=DECOY, text=True, check=True)
            decoys.append(decoy)
        for directory in directories:
            for decoy in decoys:
                shutil.copy(decoy, directory)


def checked(status: int) -> None:
    """Raise the OSError of a C function that has failed."""
    if status != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(root: Path, program: Path) -> None:
    """Make root this process's root directory, by a user namespace if need be."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        checked(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if os.geteuid() != 0 else 0)))
        checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        for name in ("dev/null", "proc"):
            inside = bytes(root / name)
            checked(libc.mount(f"/{name}".encode(), inside, None, MS_REC | MS_BIND, None))
    except OSError:
        # In a container even root may not mount. The loader takes $ORIGIN from this one link, so
        # without it no RUNPATH of a program would work.
        (root / "proc/self").mkdir()
        (root / "proc/self/exe").symlink_to(program)
    os.chroot(root)


def taken_from_host(argv: list[str | Path], env: dict[str, str]) -> list[str]:
    """The loader's own words on each library that it takes from outside the pack."""
    trace = {**env, "LD_TRACE_LOADED_OBJECTS": "1"}
    done = subprocess.run(argv, env=trace, capture_output=True, text=True, check=False)
    lines = [line.strip() for line in done.stdout.splitlines() if " => /" in line]
    foreign = [line for line in lines if f" => {PACK}/" not in line]
    return [line for line in foreign if not C_LIBRARY.fullmatch(line.split()[0])]


def run(root: Path, cwd: str, command: list[str], env: dict[str, str]) -> int:
    """Run the command in root, in this process and its children only; return the exit status."""
    argv: list[str | Path] = [PACK / command[0], *command[1:]]
    try:
        enter(root, PACK / command[0])
    except OSError as error:
        say(f"this machine allows no chroot: {error.strerror}")
        return 3
    try:
        os.chdir(PACK / cwd)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = subprocess.run(argv, env=env, check=False).returncode
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")
        return 2
    if status != 0:
        for line in taken_from_host(argv, env):
            say(f"taken from the host: {line}")
    if status < 0:
        say(f"{command[0]} died by signal {-status} ({signal.Signals(-status).name})")
        return 128 - status
    return status


def say(text: str) -> None:
    """Write one line to stderr, where the program's own output does not go."""
    sys.stderr.write(f"hostile_host: {text}\n")
    sys.stderr.flush()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--pack", type=Path, required=True, metavar="TARBALL")
    add("--decoy-tcmalloc", type=Path, metavar="FILE", help="put there under its file's name")
    add("--decoys", nargs="*", metavar="NAME", help="instead of every library name in the pack")
    add("--cwd", default=".", metavar="DIR", help="start there, relative to /opt/pack")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="may be given again")
    add("--keep", type=Path, metavar="DIR", help="build the host in DIR, and leave it there")
    add("command", nargs="+", metavar="COMMAND")
    return parser.parse_args()


def build(root: Path, options: argparse.Namespace) -> None:
    """Make root the hostile host with the pack on it."""
    directories = make_host(root)
    pack = root / PACK.relative_to("/")
    unpack(options.pack, pack)
    names = names_in(pack) if options.decoys is None else set(options.decoys)
    place_decoys(names, options.decoy_tcmalloc, directories)


def main() -> int:
    """Build the host, run the command on it, take it away again."""
    options = arguments()
    env = {name: value for name, _, value in (pair.partition("=") for pair in options.env)}
    with contextlib.ExitStack() as stack:
        try:
            if options.keep is None:
                root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile.")))
                root.chmod(0o755)
            else:
                root = options.keep.resolve()
                root.mkdir(parents=True)
            build(root, options)
        except tarfile.TarError:
            say(f"{options.pack} is not a whole tarball")
            return 2
        except (OSError, subprocess.CalledProcessError) as error:
            say(str(error))
            return 2
        child = os.fork()
        if child == 0:  # a process that has entered a chroot cannot leave it
            os._exit(run(root, options.cwd, options.command, env))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
