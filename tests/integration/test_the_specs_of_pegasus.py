"""The three specs make the packs of Pegasus's three scripts, except for listed differences.

The expected members are those of the packs that the scripts made from the tree of
`write_pegasus_tree`, for each variant. `DIFFERENCES` lists every difference.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
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
    build_library,
    list_members,
    make_spec_pack,
    write_hadoop_home,
    write_pegasus_tree,
)

pytestmark = pytest.mark.any_program

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
    "bundle-manifest.json": "the manifest that `check` compares with the pack",
    "lib/libhdfs.a": "left out: a static library that a glob of the script matched",
    "lib/librocksdb.so.8.5.3": "the real file, the target of the soname symlink",
    "lib/libtcmalloc_and_profiler.so.4.6.11": "likewise",
    "lib/libprofiler.so.0.5.4": "likewise",
    "lib/libstdc++.so.6.*": "likewise",
    "lib/librocksdb.so": "the development symlink of the build",
    "lib/libtcmalloc_and_profiler.so": "likewise",
    "lib/libjemalloc.so": "likewise",
    "lib/libprofiler.so": "likewise",
    "lib/libPocoNet.so": "likewise",
    "lib/libboost_system.so": "likewise",
    "lib/libsasl2.so": "likewise",
    "lib/libcom_err.so": "likewise",
    "lib/libgcc_s.so.1": "needed by libstdc++.so.6; the scripts leave it to the host",
}
"""Paths in only one of the packs. In addition the server's libraries are in lib/, not bin/."""


def assert_same_members(ours: set[str], theirs: Iterable[str]) -> None:
    """Fail if a pack differs from that of the script in a path that is not in `DIFFERENCES`."""
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
def test_a_pack_has_the_members_of_the_scripts_pack(
    tmp_path: Path, kind: str, servers: str, allocator: str
) -> None:
    programs = {
        "combined": ["pegasus_server"],
        "separate": ["pegasus_meta_server", "pegasus_replica_server"],
    }[servers]
    root = write_pegasus_tree(tmp_path / "a tree", servers=programs, allocator=allocator)
    artifact = make_spec_pack(
        kind, root, "-D", f"servers={servers}", "-D", f"allocator={allocator}"
    )
    directory = "bin" if kind == "server" else "lib"
    libraries = LIBRARIES + (TCMALLOC if allocator == "tcmalloc" else JEMALLOC)
    theirs = [f"bin/{name}" for name in programs] + [f"{directory}/{name}" for name in libraries]
    assert_same_members(
        list_members(artifact), theirs + (SERVER if kind == "server" else TOOLS_PACK)
    )
    assert re.fullmatch(
        rf"pegasus-{kind}-{VERSION}-{COMMIT[:7]}-glibc[\d.]+-release\.tar\.gz", artifact.name
    )


@pytest.mark.parametrize("kind", ["server", "tools", "client"])
def test_a_pack_of_2_5_has_the_members_of_the_scripts_pack(tmp_path: Path, kind: str) -> None:
    root = write_pegasus_tree(tmp_path / "tree", series="2.5")
    artifact = make_spec_pack(f"2.5-{kind}", root)
    assert artifact.name.startswith(f"pegasus-{kind}-")
    libraries = [name for name in LIBRARIES if "rocksdb" not in name] + TCMALLOC
    libraries += ["libPocoNet.so.71", "libboost_system.so.1.69.0"]
    sasl = ["libsasl2.so.3", "libsasl2.so.3.0.0", "libcom_err.so.3", "libcom_err.so.3.0"]
    expected = {
        "server": [*SERVER, "bin/pegasus_server", *(f"bin/{n}" for n in [*libraries, *sasl])],
        "tools": [
            *(path.replace("admin_tools/", "scripts/") for path in TOOLS_PACK),
            "bin/pegasus_server/pegasus_server", "bin/pegasus_server/config.ini",
            *(f"lib/{name}" for name in libraries),
        ],
        "client": [*CLIENT, "lib/libboost_system.so.1.69.0"],
    }[kind]  # fmt: skip
    assert_same_members(list_members(artifact), expected)


def test_a_server_pack_without_jars_must_be_asked_for(tmp_path: Path) -> None:
    root = write_pegasus_tree(tmp_path / "tree")
    (tmp_path / "empty").mkdir()
    spec = SPECS / "pegasus-server.toml"
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, HADOOP_HOME="")
    assert done.returncode == 2
    assert "the environment variable HADOOP_HOME is empty" in done.stderr
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, HADOOP_HOME=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert f"no file matches {tmp_path}/empty/share/hadoop/hdfs/*.jar" in done.stderr


def run_wrapper(root: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run run_pack.sh in another directory, with the program under test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [root / "build_tools/run_pack.sh", *options],
        cwd=root.parent, env={**os.environ, "PATH": path, **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_wrapper_has_the_options_of_run_sh(tmp_path: Path) -> None:
    root = write_pegasus_tree(
        tmp_path / "tree", servers=["pegasus_meta_server", "pegasus_replica_server"],
        allocator="jemalloc",
    )  # fmt: skip
    shutil.copytree(SPECS, root / "build_tools")
    (root / "thirdparty").rename(tmp_path / "third party")
    third_party = {"PEGASUS_THIRDPARTY_ROOT": str(tmp_path / "third party")}
    done = run_wrapper(root, "pack_server", "-s", "-j", **third_party)
    assert done.returncode != 0
    assert "/hadoop-bin/share/hadoop/hdfs/*.jar" in done.stderr
    template = tmp_path / "pegasus.yaml"
    template.write_text("version: old\n")
    options = ("-s", "-j", "-D", "jars=no", "-p", str(template))
    done = run_wrapper(root, "pack_server", *options, **third_party)
    assert done.returncode == 0, done.stderr
    name = (root / "PACKAGE").read_text().strip()
    members = list_members(root / f"{name}.tar.gz")
    assert {"bin/pegasus_meta_server", "lib/libjemalloc.so.2"} <= members
    assert template.read_text() == f'version: "{name.removeprefix("pegasus-")}"\n'
    assert 'unknown option "-x"' in run_wrapper(root, "pack_tools", "-x").stderr


def test_the_client_pack_has_the_members_of_the_scripts_pack(tmp_path: Path) -> None:
    artifact = make_spec_pack("client", write_pegasus_tree(tmp_path, build_type="Debug"))
    assert_same_members(list_members(artifact), CLIENT)
    assert artifact.name.endswith("-debug.tar.gz")
    with tarfile.open(artifact) as archive:
        version = archive.extractfile(f"{artifact.name.removesuffix('.tar.gz')}/VERSION")
        assert version is not None
        assert version.read().decode() == f"Pegasus Client {VERSION} ({COMMIT}) debug\n"


def test_a_pack_of_separate_servers_from_a_combined_build_names_the_missing_files(
    tmp_path: Path,
) -> None:
    root = write_pegasus_tree(tmp_path)
    spec = SPECS / "pegasus-server.toml"
    options = ("-D", "servers=separate", "-D", "jars=no")
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, *options)
    assert done.returncode == 2
    lines = [line.split(": ", 3)[2:] for line in done.stderr.splitlines()]
    assert [re.sub(r" in /.*", "", rest) for (_, rest) in lines] == [
        "no file matches build/latest/output/bin/pegasus_meta_server/pegasus_meta_server",
        "no file matches build/latest/output/bin/pegasus_replica_server/pegasus_replica_server",
    ]


def test_third_party_libraries_are_also_found_in_lib64(tmp_path: Path) -> None:
    root = write_pegasus_tree(tmp_path, lib="lib64")
    found = list_members(make_spec_pack("server", root))
    assert {"lib/librocksdb.so.8", "lib/libhdfs.so", "lib/libssl.so.3"} <= found


def test_icu_is_packed_only_if_it_is_needed(tmp_path: Path) -> None:
    without = list_members(make_spec_pack("server", write_pegasus_tree(tmp_path / "1")))
    root = write_pegasus_tree(tmp_path / "2", needed=["libicuuc.so.66"])
    third_party = root / "thirdparty/output/lib"
    build_library(third_party, "libicudata.so.66.1", "libicudata.so.66")
    build_library(third_party, "libicuuc.so.66.1", "libicuuc.so.66", needed=["libicudata.so.66"])
    with_it = list_members(make_spec_pack("server", root))
    assert {path for path in with_it - without if "icu" in path} == {
        "lib/libicudata.so.66", "lib/libicudata.so.66.1", "lib/libicuuc.so.66",
        "lib/libicuuc.so.66.1",
    }  # fmt: skip
    assert not any("icu" in path for path in without)


def test_the_runtime_of_a_custom_gcc_is_packed(tmp_path: Path) -> None:
    root = write_pegasus_tree(tmp_path / "tree")
    with (root / "build/latest/CMakeCache.txt").open("a") as cache:
        cache.write(f"CMAKE_CXX_COMPILER:STRING={tmp_path}/gcc/bin/g++\n")
    build_library(
        tmp_path / "gcc/lib64", "libstdc++.so.6.0.99", "libstdc++.so.6", needed=["libgcc_s.so.1"]
    )
    build_library(tmp_path / "gcc/lib64", "libgcc_s.so.1", "libgcc_s.so.1")
    found = list_members(make_spec_pack("server", root, "-D", "custom_gcc=yes"))
    assert {path for path in found if "libstdc++" in path} == {
        "lib/libstdc++.so", "lib/libstdc++.so.6", "lib/libstdc++.so.6.0.99",
    }  # fmt: skip


def test_the_jars_of_hadoop_are_packed_and_a_checksum_is_verified(tmp_path: Path) -> None:
    root = write_pegasus_tree(tmp_path / "tree")
    hadoop = write_hadoop_home(tmp_path / "hadoop")
    spec = SPECS / "pegasus-server.toml"
    done = run_bundle_fix("pack", spec, "-C", root, "-o", root, HADOOP_HOME=str(hadoop))
    jar = hadoop / "share/hadoop/hdfs/hadoop-hdfs-3.3.6.jar"
    digest = hashlib.md5(jar.read_bytes()).hexdigest()  # noqa: S324
    machine = os.uname().machine
    expected = re.search(rf'{machine} = "(md5:\w+)"', spec.read_text())
    assert expected is not None
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        rf"bundle-fix: error: {re.escape(str(spec))}:\d+:12: {re.escape(str(jar))}: "
        rf"checksum mismatch: md5:{digest} instead of {expected[1]} for {machine} \(.*\)\n",
        done.stderr,
    )
    right = tmp_path / "right.toml"
    right.write_text(spec.read_text().replace(expected[1], f"md5:{digest}"))
    done = run_bundle_fix("pack", right, "-C", root, "-o", root, HADOOP_HOME=str(hadoop))
    assert done.returncode == 0, done.stderr
    found = {path for path in list_members(Path(done.stdout.strip())) if path.startswith("hadoop/")}
    names = [*(Path(name).name for name in JARS), jar.name]
    assert found == {f"hadoop/{name}" for name in names}
