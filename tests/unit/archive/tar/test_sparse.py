"""Sparse members: read as the unpacked files, written as they are stored."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from archive.views import read_data
from archive.writers import write_tree
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.archive.tar.sparse import Extent, SparseReader
from bundle_fix.model.content import FileReader
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import Patch, PatchedContent
from bundle_fix.model.tree import File, Tree

SIZE = 3 << 20
WRITERS = {
    "old gnu": ["tar", "--format=gnu", "--sparse"],
    "pax 0.0": ["tar", "--format=posix", "--sparse-version=0.0", "--sparse"],
    "pax 0.1": ["tar", "--format=posix", "--sparse-version=0.1", "--sparse"],
    "pax 1.0": ["tar", "--format=posix", "--sparse-version=1.0", "--sparse"],
    "bsdtar": ["bsdtar", "--format=pax"],
}


def make_sparse_files(directory: Path, pieces: int) -> Path:
    """Create a sparse file with many pieces, one that is a single hole, and two plain files."""
    pack = directory / "pack"
    pack.mkdir()
    (pack / "a").write_bytes(b"before" * 200)
    with (pack / "holes").open("wb") as file:
        for number in range(pieces):
            file.seek(number * 64 << 10)
            file.write(b"piece %d" % number * 600)
        file.truncate(SIZE)
    with (pack / "void").open("wb") as file:
        file.truncate(1 << 40 if pieces == 1 else SIZE)
    (pack / "z").write_bytes(b"after" * 200)
    return pack


def make_sparse_tarball(directory: Path, writer: str, pieces: int) -> Path:
    make_sparse_files(directory, pieces)
    names = [f"pack/{name}" for name in ("a", "holes", "void", "z")]
    target = directory / "sparse.tar"
    subprocess.run([*WRITERS[writer], "-cf", target, "-C", directory, *names], check=True)
    return target


def write_back(tree: Tree, target: Path) -> bytes:
    assert write_tree(tree, "tar", target)
    return target.read_bytes()


def get_file(tree: Tree, name: str) -> File:
    node = tree.nodes[name]
    assert isinstance(node, File)
    return node


# Four pieces fit into the old header, 25 into one more block.
@pytest.mark.parametrize("pieces", [0, 1, 4, 5, 26, 48])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_sparse_file_is_read_with_its_holes_and_written_back_unchanged(
    tmp_path: Path, writer: str, pieces: int
) -> None:
    archive = make_sparse_tarball(tmp_path, writer, pieces)
    with read_tar(archive, Limits(max_size=1 << 42, max_ratio=None)) as tree:
        assert list(tree.nodes) == ["a", "holes", "void", "z"] or writer == "bsdtar"
        for name in ("a", "holes", "z"):
            assert (
                read_data(get_file(tree, name).content) == (tmp_path / "pack" / name).read_bytes()
            )
        void = get_file(tree, "void").content
        assert void.size == (tmp_path / "pack/void").stat().st_size
        with void.open() as reader:
            assert reader.pread(void.size - 10, 100) == bytes(10)
        assert write_back(tree, tmp_path / "ours.tar") == archive.read_bytes()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_patch_of_a_stored_piece_changes_only_its_bytes(tmp_path: Path, writer: str) -> None:
    archive = make_sparse_tarball(tmp_path, writer, 6)
    with read_tar(archive) as tree:
        node = get_file(tree, "holes")
        patched = PatchedContent(node.content, (Patch((3 * 64 << 10) + 7, b"#"),))
        nodes = {**tree.nodes, "holes": replace(node, content=patched)}
        ours = write_back(replace(tree, nodes=nodes), tmp_path / "ours.tar")
    original = archive.read_bytes()
    assert len(ours) == len(original)
    assert sum(a != b for a, b in zip(ours, original, strict=True)) == 1
    with read_tar(tmp_path / "ours.tar") as again:
        found = read_data(get_file(again, "holes").content)
    assert found[(3 * 64 << 10) + 6 :][:3] == b"3#i" or found[(3 * 64 << 10) + 7] == ord("#")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_patch_of_a_hole_makes_an_ordinary_file(tmp_path: Path, writer: str) -> None:
    with read_tar(make_sparse_tarball(tmp_path, writer, 6)) as tree:
        node = get_file(tree, "holes")
        patched = PatchedContent(node.content, (Patch(SIZE - 100, b"#"),))
        nodes = {**tree.nodes, "holes": replace(node, content=patched)}
        write_back(replace(tree, nodes=nodes), tmp_path / "ours.tar")
    expected = bytearray((tmp_path / "pack/holes").read_bytes())
    expected[SIZE - 100] = ord("#")
    with tarfile.open(tmp_path / "ours.tar") as archive:
        info = archive.getmember("pack/holes")
        stream = archive.extractfile(info)
        assert stream is not None
        assert (info.issparse(), info.size) == (False, SIZE)
        assert stream.read() == expected
    with read_tar(tmp_path / "ours.tar") as again:
        assert read_data(get_file(again, "z").content) == (tmp_path / "pack/z").read_bytes()


def test_holes_stay_holes_when_a_tarball_is_unpacked_to_a_directory(tmp_path: Path) -> None:
    with read_tar(make_sparse_tarball(tmp_path, "pax 1.0", 3)) as tree:
        assert write_tree(tree, "dir", tmp_path / "copy")
    assert (tmp_path / "copy/holes").read_bytes() == (tmp_path / "pack/holes").read_bytes()
    assert (tmp_path / "copy/void").stat().st_blocks == 0


def test_a_hole_counts_with_its_unpacked_size(tmp_path: Path) -> None:
    archive = make_sparse_tarball(tmp_path, "pax 1.0", 1)
    with pytest.raises(BundleFixError, match="unpacks to more than 32G"), read_tar(archive):
        pass


def make_mapped_member(text: str, size: int = 1000) -> bytes:
    """Return a tarball of one member with a sparse map of version 0.1."""
    info = tarfile.TarInfo("a")
    info.size = 512
    info.pax_headers = {"GNU.sparse.map": text, "GNU.sparse.size": str(size)}
    return info.tobuf(tarfile.PAX_FORMAT) + b"x" * 512 + bytes(10240)


@pytest.mark.parametrize(
    "text",
    ["0,600", "0,10,5,10", "990,20", "0", "0,10,1", "-1,5", "a,b", "0,10,,", f"{10**19},1",
     f"0,{10**18}", "0,10 ,20,5", "²,1"],
)  # fmt: skip
def test_an_invalid_map_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(make_mapped_member(text))
    with pytest.raises(BundleFixError, match=r"damaged at byte 1024: .*sparse"), read_tar(path):
        pass
    path.write_bytes(make_mapped_member("0,10,20,5,900,100"))
    with read_tar(path) as tree:
        assert (
            read_data(get_file(tree, "a").content)[:26] == b"x" * 10 + bytes(10) + b"x" * 5 + b"\0"
        )


def test_a_truncated_or_invalid_map_before_the_data_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5000",
    }  # fmt: skip
    for front in (b"9" * 512, b"1\n" * 256, b"99999999999\n", b"\n", b"-1\n", b"2\n0\n"):
        info.size = len(front)
        raw = info.tobuf(tarfile.PAX_FORMAT) + front.ljust(512, b"\0") + bytes(10240)
        (tmp_path / "a.tar").write_bytes(raw)
        with pytest.raises(BundleFixError, match="sparse"), read_tar(tmp_path / "a.tar"):
            pass


@given(
    pieces=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), max_size=6),
    offset=st.integers(0, 300),
    length=st.integers(0, 300),
)
def test_any_range_of_a_sparse_file_equals_that_of_the_unpacked_file(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[int, int]],
    offset: int,
    length: int,
) -> None:
    whole, stored, extents = bytearray(), b"", []
    for gap, size in pieces:
        whole += bytes(gap)
        extents.append(Extent(len(whole), len(stored), size))
        piece = bytes(1 + (len(stored) + n) % 255 for n in range(size))
        whole, stored = whole + piece, stored + piece
    whole += bytes(20)
    store = tmp_path_factory.getbasetemp() / "store"
    store.write_bytes(stored)
    fd = os.open(store, os.O_RDONLY)
    try:
        reader = SparseReader(FileReader(fd, 0, len(stored)), len(whole), tuple(extents))
        assert reader.pread(offset, length) == whole[offset : offset + length]
    finally:
        os.close(fd)
