"""A source tree with the layout of a built Apache Pegasus, and stubs as its programs."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from builders.elf import build_elf
from builders.run import run_bundle_fix

from .conftest import SAMPLE

SPECS = SAMPLE / "specs"

VERSION, COMMIT = "2.6.0-SNAPSHOT", "0123456789abcdef0123456789abcdef01234567"
TOOLS = {
    "pegasus_shell": "config.ini",
    "pegasus_bench": "config.ini",
    "pegasus_kill_test": "config.ini",
    "pegasus_rproxy": "config.ini",
    "pegasus_pressureclient": "config-pressure.ini",
}
SCRIPTS = ("sendmail.sh", "start_zk.sh", "download_hadoop.sh", "learn_stat.py")
CONFIG_HDFS = """\
# Stands for Pegasus's script, which finds a JDK and downloads Hadoop.
[ -d "${HADOOP_HOME-}" ] || export HADOOP_HOME=$(dirname "${BASH_SOURCE[0]}")/../hadoop-bin
"""
"""The part of config_hdfs.sh that matters for packs."""
TEXTS = (
    "src/server/config.ini", "src/server/config.min.ini", "src/shell/config.ini",
    "src/test/kill_test/config.ini", "src/include/pegasus/client.h",
    "src/include/rrdb/rrdb.client.h",
)  # fmt: skip
JARS = ("common/lib/guava.jar", "common/common.jar", "hdfs/lib/netty.jar", "hdfs/hdfs.jar")


def write_pegasus_tree(
    root: Path,
    *,
    servers: Sequence[str] = ("pegasus_server",),
    allocator: str = "tcmalloc",
    lib: str = "lib",
    needed: Sequence[str] = (),
    build_type: str = "Release",
    series: str = "",
) -> Path:
    """Make the tree at ``root``.

    Args:
        root: the directory to create.
        servers: the server programs that were built.
        allocator: ``tcmalloc`` or ``jemalloc``.
        lib: the directory of the third-party libraries: ``lib`` or ``lib64``.
        needed: more libraries that the programs need.
        build_type: CMAKE_BUILD_TYPE in CMakeCache.txt.
        series: ``2.5`` for the layout of that release, else that of the current tree.
    """
    tools = "scripts" if series else "admin_tools"
    for name in ("run.sh", *(f"{tools}/{name}" for name in SCRIPTS)):
        _write(root / name, "#!/bin/sh\n").chmod(0o755)
    _write(root / tools / "config_hdfs.sh", CONFIG_HDFS).chmod(0o755)
    for name in TEXTS:
        _write(root / name, f"{name}\n")
    _write(root / "src/include/pegasus/version.h", f'#define PEGASUS_VERSION "{VERSION}"\n')
    _write(root / "src/include/pegasus/git_commit.h", f'#define PEGASUS_GIT_COMMIT "{COMMIT}"\n')
    build = root / "build/latest"
    _write(build / "CMakeCache.txt", f"CMAKE_BUILD_TYPE:STRING={build_type}\n")
    _write(build / "output/lib/libpegasus_client_static.a", "!<arch>\n")
    third_party = root / "thirdparty/output" / lib
    allocators = _build_third_party(third_party, allocator)
    more = _build_third_party_of_2_5(third_party) if series else []
    for name in ("meta_server", "replica_server", "utils"):
        build_elf(build / f"output/lib/libdsn_{name}.so", soname=f"libdsn_{name}.so")
    used = ["libdsn_utils.so", *allocators, "libssl.so.3", "libcrypto.so.3", "libstdc++.so.6"]
    for program in (*servers, *TOOLS):
        own = [f"libdsn_{kind}_server.so" for kind in _select_kinds(program)]
        rocksdb = [] if program == "pegasus_meta_server" or series else ["librocksdb.so.8"]
        path = build / "output/bin" / program / program
        build_elf(path, program=True, needed=[*own, *rocksdb, *more, *used, *needed], runpath=".")
        _write(path.parent / TOOLS.get(program, "config.ini"), f"{program}\n")
    return root


def _build_third_party_of_2_5(directory: Path) -> list[str]:
    """Build the libraries of Pegasus 2.5 that later versions lack, and return their sonames."""
    build_library(directory, "libPocoNet.so.71", "libPocoNet.so.71")
    build_library(directory, "libboost_system.so.1.69.0", "libboost_system.so.1.69.0")
    build_library(directory, "libcom_err.so.3.0", "libcom_err.so.3")
    build_library(directory, "libsasl2.so.3.0.0", "libsasl2.so.3", needed=["libcom_err.so.3"])
    return ["libPocoNet.so.71", "libboost_system.so.1.69.0", "libsasl2.so.3"]


def write_hadoop_home(root: Path) -> Path:
    """Write Hadoop's jars with the layout of its distribution."""
    for name in JARS:
        _write(root / "share/hadoop" / name, f"{name}\n")
    _write(root / "share/hadoop/hdfs/hadoop-hdfs-3.3.6.jar", "the jar that is verified\n")
    return root


def build_library(directory: Path, real: str, soname: str, *, needed: Sequence[str] = ()) -> None:
    """Build a library under its real name, with the symlinks that ``make install`` adds."""
    build_elf(directory / real, soname=soname, needed=needed)
    for link in {soname, f"{soname.partition('.so')[0]}.so"} - {real}:
        (directory / link).symlink_to(real)


def make_spec_pack(kind: str, root: Path, *options: str, **environ: str) -> Path:
    """Make the pack of a spec from a tree, and return its path."""
    spec = SPECS / f"pegasus-{kind}.toml"
    # Only the current server packs the jars of Hadoop by default.
    jars = ["-D", "jars=no"] if kind == "server" and "HADOOP_HOME" not in environ else []
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, *jars, *options, **environ)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def list_members(artifact: Path) -> set[str]:
    """Return the files and symlinks of a pack, relative to its top directory."""
    with tarfile.open(artifact) as archive:
        return {m.name.split("/", 1)[1] for m in archive if not m.isdir()}


def _build_third_party(directory: Path, allocator: str) -> list[str]:
    """Build the third-party libraries, and return the sonames of those of the allocator."""
    java = ["libverify.so", "libjava.so", "libjvm.so"]  # needed by its plugin for HDFS
    build_library(
        directory, "librocksdb.so.8.5.3", "librocksdb.so.8", needed=["libhdfs.so.0.0.0", *java]
    )
    build_library(directory, "libhdfs.so.0.0.0", "libhdfs.so.0.0.0", needed=["libjvm.so"])
    _write(directory / "libhdfs.a", "!<arch>\n")
    build_library(directory, "libssl.so.3", "libssl.so.3", needed=["libcrypto.so.3"])
    build_library(directory, "libcrypto.so.3", "libcrypto.so.3")
    if allocator == "tcmalloc":
        build_library(
            directory, "libtcmalloc_and_profiler.so.4.6.11", "libtcmalloc_and_profiler.so.4"
        )
        return ["libtcmalloc_and_profiler.so.4"]
    build_library(directory, "libjemalloc.so.2", "libjemalloc.so.2")
    build_library(directory, "libprofiler.so.0.5.4", "libprofiler.so.0")
    return ["libjemalloc.so.2", "libprofiler.so.0"]


def _select_kinds(program: str) -> tuple[str, ...]:
    one = {"pegasus_meta_server": ("meta",), "pegasus_replica_server": ("replica",)}
    return one.get(program, ("meta", "replica"))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
