"""The incident with the real gperftools and RocksDB of this machine, a database and a checkpoint.

Debian: libgoogle-perftools-dev and librocksdb-dev.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.pack import make_tarball
from builders.run import run_bundle_fix

from .conftest import require_program, run_on_decoy_host

pytestmark = [pytest.mark.any_program, pytest.mark.xdist_group("rocksdb")]

SERVER = r"""
#include <dlfcn.h>
#include <gperftools/malloc_extension.h>
#include <rocksdb/db.h>
#include <rocksdb/utilities/checkpoint.h>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

static void must(const rocksdb::Status &status) {
    if (!status.ok()) {
        std::fprintf(stderr, "%s\n", status.ToString().c_str());
        std::exit(1);
    }
}

int main(int, char **argv) {
    const std::string path = argv[1];
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB *opened = nullptr;
    must(rocksdb::DB::Open(options, path, &opened));
    std::unique_ptr<rocksdb::DB> db(opened);
    for (int i = 0; i < 1000; ++i)
        must(db->Put(rocksdb::WriteOptions(), "key" + std::to_string(i), std::string(100, 'v')));
    rocksdb::Checkpoint *created = nullptr;
    must(rocksdb::Checkpoint::Create(db.get(), &created));
    std::unique_ptr<rocksdb::Checkpoint> checkpoint(created);
    must(checkpoint->CreateCheckpoint(path + ".checkpoint"));
    Dl_info info;
    dladdr(reinterpret_cast<void *>(&std::malloc), &info);
    size_t bytes = 0;
    MallocExtension::instance()->GetNumericProperty("generic.current_allocated_bytes", &bytes);
    std::printf("malloc from %s, %s\n", info.dli_fname, bytes ? "used" : "not used");
    return 0;
}
"""
SPEC = """
[bundle]
name = "server"
format = "tar.gz"
[[files]]
from = "server"
to = "bin/"
[[libraries]]
name = "libtcmalloc_and_profiler.so.4"
search = ["libraries"]
[closure]
bundle = ["lib*"]
[check]
allocators = ["libtcmalloc_and_profiler.so.4"]
"""


def find_real_library(name: str) -> Path:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        if line.split()[:1] == [name]:
            return Path(line.split(" => ")[1]).resolve()
    pytest.skip(f"{name} is not installed (Debian: libgoogle-perftools-dev)")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = require_program("c++", "the server is C++")
    directory = tmp_path_factory.mktemp("real")
    tcmalloc = find_real_library("libtcmalloc_and_profiler.so.4")
    (directory / "libraries").mkdir()
    for name in (tcmalloc.name, "libtcmalloc_and_profiler.so.4"):
        target = directory / "libraries" / name
        if name == tcmalloc.name:
            target.write_bytes(tcmalloc.read_bytes())
        else:
            target.symlink_to(tcmalloc.name)
    (directory / "server.cc").write_text(SERVER)
    (directory / "bundle.toml").write_text(SPEC)
    command = [compiler, "-std=c++17", "-g", "-O1", "server.cc", "-o", "server"]
    command += ["-ltcmalloc_and_profiler", "-lrocksdb", "-Wl,-rpath,."]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No such file" in done.stderr:
        pytest.skip("headers are missing (Debian: libgoogle-perftools-dev, librocksdb-dev)")
    assert done.returncode == 0, done.stderr
    return directory


def make_flat_pack(tree: Path, directory: Path) -> Path:
    """Make a pack as the old script did: all in bin/, the allocator under its development name."""
    bin_directory = directory / "bin"
    bin_directory.mkdir(parents=True)
    (bin_directory / "server").write_bytes((tree / "server").read_bytes())
    (bin_directory / "server").chmod(0o755)
    listed = subprocess.run(["ldd", tree / "server"], capture_output=True, text=True, check=True)
    libc = ("libc.so", "libm.so", "libpthread", "libdl.so", "librt.so", "libresolv")
    for line in listed.stdout.splitlines():
        name, _, rest = line.strip().partition(" => ")
        if not rest.startswith("/") or name.startswith(libc):
            continue
        target = name.removesuffix(".4") if "tcmalloc" in name else name
        (bin_directory / target).write_bytes(Path(rest.split()[0]).resolve().read_bytes())
    return make_tarball(directory, directory.with_suffix(".tar.gz"))


def test_a_checkpoint_is_made_with_the_bundled_tcmalloc(tree: Path, tmp_path: Path) -> None:
    done = run_bundle_fix("pack", tree / "bundle.toml", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    ran = run_on_decoy_host(Path(done.stdout.strip()), "bin/server", "/tmp/db")  # noqa: S108
    assert (ran.status, ran.list_errors()) == (0, []), ran.output
    assert ran.output.startswith("malloc from /opt/pack/bin/../lib/libtcmalloc_and_profiler.so.4")
    assert ran.output.endswith(", used\n")
    listed = subprocess.run(["tar", "tf", done.stdout.strip()], capture_output=True, check=True)
    assert b"/librocksdb.so." in listed.stdout
    assert b"/libc.so.6" not in listed.stdout


def test_the_old_pack_uses_the_tcmalloc_of_the_host_and_fix_corrects_it(
    tree: Path, tmp_path: Path
) -> None:
    pack = make_flat_pack(tree, tmp_path / "flat")
    environment = ("--env", "LD_LIBRARY_PATH=/opt/pack/bin")
    broken = run_on_decoy_host(pack, "bin/server", "/tmp/db", options=environment)  # noqa: S108
    assert broken.status != 0
    assert ("BF801", "libtcmalloc_and_profiler.so.4") in broken.list_errors()
    assert run_bundle_fix("check", pack).returncode == 1
    done = run_bundle_fix("fix", pack, "-o", tmp_path / "fixed.tar.gz")
    assert done.returncode == 0, done.stderr
    ran = run_on_decoy_host(tmp_path / "fixed.tar.gz", "bin/server", "/tmp/db")  # noqa: S108
    assert (ran.status, ran.list_errors()) == (0, []), ran.output
    assert ran.output.startswith("malloc from /opt/pack/bin/libtcmalloc_and_profiler.so")
