"""The three specs make what Pegasus's three scripts make, and say why where they do not.

What the scripts make is written down here as facts: the members of the packs that they made of the
tree of `pegasus_tree`, one variant at a time. `DIFFERENCES` has every difference.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from builders.run import run_bundle_fix

from .pegasus_tree import (
    COMMIT,
    JARS,
    SPECS,
    TOOLS,
    VERSION,
    hadoop_home,
    library,
    members,
    pack,
    pegasus_tree,
)

TCMALLOC = ["libtcmalloc_and_profiler.so.4"]
JEMALLOC = ["libjemalloc.so.2", "libprofiler.so.0"]
LIBRARIES = [
    "libdsn_meta_server.so", "libdsn_replica_server.so", "libdsn_utils.so", "librocksdb.so.8",
    "libhdfs.so", "libhdfs.so.0.0.0", "libhdfs.a", "libstdc++.so.6", "libcrypto.so.3",
    "libssl.so.3",
]  # fmt: skip
SERVER = ["VERSION", "bin/config.ini", "bin/config.min.ini", "bin/config_hdfs.sh",
          "bin/sendmail.sh"]  # fmt: skip
TOOLS_PACK = [
    "VERSION", "run.sh",
    *(f"bin/{tool}/{name}" for tool, settings in TOOLS.items() for name in (tool, settings)),
    "admin_tools/config_hdfs.sh", "admin_tools/sendmail.sh", "admin_tools/start_zk.sh",
    "admin_tools/download_hadoop.sh", "admin_tools/learn_stat.py",
    "src/server/config.ini", "src/server/config.min.ini", "src/shell/config.ini",
    "src/test/kill_test/config.ini",
]  # fmt: skip
CLIENT = [
    "VERSION", "lib/libpegasus_client_static.a", "include/pegasus/client.h",
    "include/pegasus/version.h", "include/pegasus/git_commit.h", "include/rrdb/rrdb.client.h",
]  # fmt: skip
DIFFERENCES = {
    "bundle-manifest.json": "the pack's own list of its files, by which `check` verifies it",
    "lib/libhdfs.a": "left out: swept in by a glob; no program can load it",
    "lib/librocksdb.so.8.5.3": "the real file, to which the soname is a link",
    "lib/libtcmalloc_and_profiler.so.4.6.11": "likewise",
    "lib/libprofiler.so.0.5.4": "likewise",
    "lib/libstdc++.so.6.*": "likewise",
    "lib/librocksdb.so": "the development link, as the build has it",
    "lib/libtcmalloc_and_profiler.so": "likewise",
    "lib/libjemalloc.so": "likewise",
    "lib/libprofiler.so": "likewise",
    "lib/libgcc_s.so.1": "needed by libstdc++.so.6; the scripts leave it to the host",
}
"""Paths that only one of the packs has. Besides, the server's libraries lie in lib/, not bin/."""


def compare(ours: set[str], theirs: Iterable[str]) -> None:
    """Every difference of a pack from what a script makes is one of the known ones."""
    moved = {re.sub("^bin/lib", "lib/lib", path) for path in theirs}
    for path in ours ^ moved:
        known = re.sub(r"^(lib/libstdc\+\+\.so\.6)\..*", r"\1.*", path)
        assert known in DIFFERENCES, path
        assert (known == "lib/libhdfs.a") == (path in moved), path


@pytest.mark.parametrize(
    ("kind", "servers", "allocator"),
    [
        ("server", "combined", "tcmalloc"),
        ("server", "separate", "jemalloc"),
        ("tools", "combined", "jemalloc"),
        ("tools", "separate", "tcmalloc"),
    ],
)
def test_a_pack_has_what_the_script_puts_there(
    tmp_path: Path, kind: str, servers: str, allocator: str
) -> None:
    programs = {
        "combined": ["pegasus_server"],
        "separate": ["pegasus_meta_server", "pegasus_replica_server"],
    }[servers]
    root = pegasus_tree(tmp_path / "a tree", servers=programs, allocator=allocator)
    made = pack(kind, root, "-D", f"servers={servers}", "-D", f"allocator={allocator}")
    directory = "bin" if kind == "server" else "lib"
    libraries = LIBRARIES + (TCMALLOC if allocator == "tcmalloc" else JEMALLOC)
    theirs = [f"bin/{name}" for name in programs] + [f"{folder}/{name}" for name in libraries]
    compare(members(made), theirs + (SERVER if kind == "server" else TOOLS_PACK))
    assert re.fullmatch(
        rf"pegasus-{kind}-{VERSION}-{COMMIT[:7]}-glibc[\d.]+-release\.tar\.gz", made.name
    )


def test_the_clients_pack_is_the_scripts(tmp_path: Path) -> None:
    made = pack("client", pegasus_tree(tmp_path, build_type="Debug"))
    compare(members(made), CLIENT)
    assert made.name.endswith("-debug.tar.gz")
    with tarfile.open(made) as archive:
        version = archive.extractfile(f"{made.name.removesuffix('.tar.gz')}/VERSION")
        assert version is not None
        assert version.read().decode() == f"Pegasus Client {VERSION} ({COMMIT}) debug\n"


def test_a_separate_pack_asked_of_a_combined_build_names_what_is_not_there(tmp_path: Path) -> None:
    root = pegasus_tree(tmp_path)
    spec = SPECS / "pegasus-server.toml"
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, "-D", "servers=separate")
    assert done.returncode == 2
    lines = [line.split(": ", 3)[2:] for line in done.stderr.splitlines()]
    assert [re.sub(r" in /.*", "", rest) for (_, rest) in lines] == [
        "no file matches build/latest/output/bin/pegasus_meta_server/pegasus_meta_server",
        "no file matches build/latest/output/bin/pegasus_replica_server/pegasus_replica_server",
    ]


def test_third_party_libraries_are_found_in_lib64_as_well(tmp_path: Path) -> None:
    root = pegasus_tree(tmp_path, lib="lib64")
    found = members(pack("server", root))
    assert {"lib/librocksdb.so.8", "lib/libhdfs.so", "lib/libssl.so.3"} <= found


def test_icu_is_there_where_something_needs_it(tmp_path: Path) -> None:
    without = members(pack("server", pegasus_tree(tmp_path / "1")))
    root = pegasus_tree(tmp_path / "2", needed=["libicuuc.so.66"])
    third_party = root / "thirdparty/output/lib"
    library(third_party, "libicudata.so.66.1", "libicudata.so.66")
    library(third_party, "libicuuc.so.66.1", "libicuuc.so.66", needed=["libicudata.so.66"])
    with_it = members(pack("server", root))
    assert {path for path in with_it - without if "icu" in path} == {
        "lib/libicudata.so.66", "lib/libicudata.so.66.1", "lib/libicuuc.so.66",
        "lib/libicuuc.so.66.1",
    }  # fmt: skip
    assert not any("icu" in path for path in without)


def test_the_runtime_of_a_custom_gcc_is_taken_from_there(tmp_path: Path) -> None:
    root = pegasus_tree(tmp_path / "tree")
    with (root / "build/latest/CMakeCache.txt").open("a") as cache:
        cache.write(f"CMAKE_CXX_COMPILER:STRING={tmp_path}/gcc/bin/g++\n")
    library(
        tmp_path / "gcc/lib64", "libstdc++.so.6.0.99", "libstdc++.so.6", needed=["libgcc_s.so.1"]
    )
    library(tmp_path / "gcc/lib64", "libgcc_s.so.1", "libgcc_s.so.1")
    found = members(pack("server", root, "-D", "custom_gcc=yes"))
    assert {path for path in found if "libstdc++" in path} == {
        "lib/libstdc++.so", "lib/libstdc++.so.6", "lib/libstdc++.so.6.0.99",
    }  # fmt: skip


def test_hadoops_jars_are_packed_and_the_one_with_a_checksum_verified(tmp_path: Path) -> None:
    root = pegasus_tree(tmp_path / "tree")
    hadoop = hadoop_home(tmp_path / "hadoop")
    spec = SPECS / "pegasus-server.toml"
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, HADOOP_HOME=str(hadoop))
    jar = hadoop / "share/hadoop/hdfs/hadoop-hdfs-3.3.6.jar"
    digest = hashlib.md5(jar.read_bytes()).hexdigest()  # noqa: S324
    machine = os.uname().machine
    expected = re.search(rf'{machine} = "(md5:\w+)"', spec.read_text())
    assert expected is not None
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"bundle-fix: error: {re.escape(str(spec))}:\d+:12: {re.escape(str(jar))} has the "
        rf"checksum md5:{digest}, not {expected[1]} as for {machine} \(.*\)\n",
        done.stderr,
    )
    right = tmp_path / "right.toml"
    right.write_text(spec.read_text().replace(expected[1], f"md5:{digest}"))
    done = run_bundle_fix("pack", right, "-C", root, "-o", root, HADOOP_HOME=str(hadoop))
    assert done.returncode == 0, done.stderr
    found = {path for path in members(Path(done.stdout.strip())) if path.startswith("hadoop/")}
    names = [*(Path(name).name for name in JARS), jar.name]
    assert found == {f"hadoop/{name}" for name in names}
