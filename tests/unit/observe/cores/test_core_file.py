"""Core files of other machines, incomplete ones, and hostile ones."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.cores import CoreObject, CoreShape, build_core, encode_core
from bundle_fix.archive.compression.codecs import import_zstd
from bundle_fix.model.content import BytesReader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.observe.cores.core_file import TRUNCATED_STREAM, open_core, read_core
from bundle_fix.observe.inspector import inspect_core
from bundle_fix.observe.objects import LoadedObjects, list_objects

SERVER = CoreObject("/opt/pack/bin/server", build_id="aa" * 20, needed=("libheap.so.4",))
LIBRARY = CoreObject(
    "/usr/lib/libheap.so.4.5", "/lib64/libheap.so.4", "libheap.so.4", build_id="bb" * 20
)
MACHINES = {
    "x86_64": CoreShape(64, "little", 62),
    "i386": CoreShape(32, "little", 3),
    "mips": CoreShape(32, "big", 8),
    "s390x": CoreShape(64, "big", 22),
}


def read_objects(data: bytes) -> LoadedObjects:
    return list_objects(read_core(BytesReader(data), "core"))


@pytest.mark.parametrize("machine", MACHINES)
def test_core_files_of_other_machines_are_read(machine: str) -> None:
    snapshot = read_core(BytesReader(encode_core([SERVER, LIBRARY], MACHINES[machine])), "core")
    assert (snapshot.pid, snapshot.signal) == (4711, 6)
    found = list_objects(snapshot)
    assert found.has_link_map
    main, library = found.objects
    assert (main.is_main, main.path, main.build_id) == (True, SERVER.path, "aa" * 20)
    assert (library.name, library.path) == (LIBRARY.name, LIBRARY.path)
    assert (library.soname, library.build_id) == ("libheap.so.4", "bb" * 20)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_environment_is_read_from_the_stack(machine: str) -> None:
    shape = MACHINES[machine]
    variables = ("A=1", "LD_LIBRARY_PATH=/usr/lib", "Z=")
    shape = CoreShape(shape.bits, shape.order, shape.machine, environment=variables)
    snapshot = read_core(BytesReader(encode_core([SERVER], shape)), "core")
    assert snapshot.environment == {"LD_LIBRARY_PATH": "/usr/lib"}


def test_the_link_maps_of_dlmopen_are_read() -> None:
    copy = CoreObject("/usr/lib/libheap.so.4.5", "/lib64/libheap.so.4", namespace=1)
    found = read_objects(encode_core([SERVER, LIBRARY, copy]))
    assert [o.namespace for o in found.objects] == [0, 0, 1]


def test_a_circular_link_map_ends() -> None:
    found = read_objects(encode_core([SERVER, LIBRARY], CoreShape(is_circular=True)))
    assert len(found.objects) == 2


def test_without_pages_the_mapped_files_are_listed() -> None:
    found = read_objects(encode_core([SERVER, LIBRARY], CoreShape(has_pages=False)))
    assert not found.has_link_map
    assert [o.path for o in found.objects] == [SERVER.path, LIBRARY.path]


def test_without_a_list_of_mapped_files_the_link_map_has_the_paths() -> None:
    data = encode_core([SERVER, LIBRARY], CoreShape(has_files=False))
    found = read_objects(data)
    assert [o.path for o in found.objects] == ["/opt/pack/bin/server", "/lib64/libheap.so.4"]
    assert found.objects[1].build_id == "bb" * 20


def test_a_truncated_core_file_lists_the_mapped_files_and_says_so() -> None:
    data = encode_core([SERVER, LIBRARY])
    snapshot = read_core(BytesReader(data[: 2 * 4096]), "core")
    assert snapshot.remarks == (f"the core file is truncated: 8,192 of {len(data):,} bytes",)
    assert [o.path for o in list_objects(snapshot).objects] == [SERVER.path, LIBRARY.path]


def test_compressed_core_files_are_read(tmp_path: Path, scratch: Path) -> None:
    data = encode_core([SERVER, LIBRARY])
    (tmp_path / "core.xz").write_bytes(lzma.compress(data))
    (tmp_path / "core.zst").write_bytes(import_zstd().compress(data))
    if shutil.which("lz4") is None and os.environ.get("BUNDLE_FIX_TOOLCHAINS") == "all":
        pytest.fail("lz4 is not installed; BUNDLE_FIX_TOOLCHAINS=all needs it")
    if shutil.which("lz4") is not None:
        packed = subprocess.run(["lz4", "-c"], input=data, capture_output=True, check=True).stdout
        (tmp_path / "core.lz4").write_bytes(packed)
    for path in sorted(tmp_path.iterdir()):
        with open_core(path) as snapshot:
            assert len(list_objects(snapshot).objects) == 2


def test_without_the_program_lz4_its_core_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "core.lz4").write_bytes(b"\x04\x22\x4d\x18")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BundleFixError, match="no program lz4"), open_core(tmp_path / "core.lz4"):
        pass


def test_a_compressed_core_file_that_is_truncated_is_read_as_far_as_it_goes(
    tmp_path: Path, scratch: Path
) -> None:
    data = encode_core([SERVER, LIBRARY])
    # An incompressible end, so that a cut does not lose the beginning.
    (tmp_path / "core.xz").write_bytes(lzma.compress(data + os.urandom(1 << 16))[: -(1 << 12)])
    with open_core(tmp_path / "core.xz") as snapshot:
        assert snapshot.remarks == (TRUNCATED_STREAM,)
        assert len(list_objects(snapshot).objects) == 2


def test_a_core_file_without_any_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(encode_core([SERVER])[:64])
    with pytest.raises(BundleFixError, match="neither a link map nor a list of mapped files"):
        inspect_core(path)


def test_a_program_is_not_a_core_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encode_core([SERVER]).replace(b"\4\0\x3e\0", b"\2\0\x3e\0", 1))
    with pytest.raises(BundleFixError, match="not a core file"), open_core(path):
        pass


def test_a_sparse_core_file_of_ten_gigabytes_needs_little_memory(tmp_path: Path) -> None:
    path = build_core(tmp_path / "core", [SERVER, LIBRARY])
    with path.open("r+b") as file:
        file.truncate(10 << 30)
    tracemalloc.start()
    with open_core(path) as snapshot:
        assert len(list_objects(snapshot).objects) == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


HEALTHY = encode_core([SERVER, LIBRARY])


@given(
    st.lists(
        st.tuples(st.integers(0, len(HEALTHY) - 8), st.binary(min_size=1, max_size=8)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_a_damaged_core_file_is_read_in_part_or_refused(patches: list[tuple[int, bytes]]) -> None:
    data = bytearray(HEALTHY)
    for offset, new in patches:
        data[offset : offset + len(new)] = new
    try:
        found = read_objects(bytes(data))
    except BundleFixError:
        return
    assert len(found.objects) <= 20_000
