"""Zip archives that are written, compared with those of Python and Info-ZIP."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from archive.views import describe_tree, read_data
from archive.zip.archives import (
    make_zip,
    rewrite_zip,
    run_zip_tool,
)
from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.archive.zip.writer import write_zip
from bundle_fix.model.content import BytesContent
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.patches import Patch, PatchedContent
from bundle_fix.model.tree import Directory, File, Metadata, Node, Special, Symlink, Tree
from bundle_fix.plan.planner import set_modes

WHEN = 1_600_000_000
OPTIONS = (["-y"], ["-y0"], ["-y9"], ["-yZ", "bzip2"], ["-yX"])


def test_a_written_tree_is_read_back_unchanged(tmp_path: Path) -> None:
    nodes: dict[str, Node] = {
        "bin": Directory(Metadata(0o755, mtime=WHEN)),
        "bin/x": File(BytesContent(b"x" * 100_000), Metadata(0o4755, mtime=WHEN)),
        "lib/ü.so": File(BytesContent(b""), Metadata(0o644, mtime=WHEN)),
        "lib/l.so": Symlink("ü.so", Metadata(0o777, mtime=WHEN)),
    }
    with (tmp_path / "x.zip").open("w+b") as file:
        write_zip(Tree(nodes, "top"), file)
    with read_zip(tmp_path / "x.zip") as tree:
        assert (tree.top, describe_tree(tree)) == ("top", describe_tree(Tree(nodes)))


def test_other_tools_read_a_large_member(tmp_path: Path) -> None:
    # Several chunks of different kinds: text, code and incompressible data.
    content = b"of 1.2.3\n" * 300_000 + Path("/proc/self/exe").read_bytes()[: 1 << 20]
    content += os.urandom(2 << 20)
    nodes: dict[str, Node] = {"x": File(BytesContent(content), Metadata(0o644, mtime=WHEN))}
    with (tmp_path / "x.zip").open("w+b") as file:
        write_zip(Tree(nodes), file)
    with zipfile.ZipFile(tmp_path / "x.zip") as written:
        assert written.read("x") == content
        assert written.getinfo("x").compress_size < len(content)
    unzip = subprocess.run(["unzip", "-p", tmp_path / "x.zip"], capture_output=True, check=True)
    assert unzip.stdout == content


def test_headers_of_unchanged_members_are_kept(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name, method in (("b", zipfile.ZIP_STORED), ("a", zipfile.ZIP_BZIP2)):
            info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
            info.comment, info.compress_type, info.create_system = b"said", method, 0
            info.extra = struct.pack("<HHI", 0xCAFE, 4, 7)
            file.writestr(info, b"content")
        file.comment = b"of all"
    with read_zip(tmp_path / "x.zip") as tree, (tmp_path / "y.zip").open("w+b") as out:
        write_zip(tree, out)
    headers = []
    for name in ("x.zip", "y.zip"):
        with zipfile.ZipFile(tmp_path / name) as file:
            headers.append(
                (
                    file.comment,
                    [
                        (i.filename, i.date_time, i.comment, i.compress_type, i.extra, i.CRC)
                        for i in file.infolist()
                    ],
                )
            )
    assert headers[0] == headers[1]


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_changed_mode_keeps_the_extra_fields(tmp_path: Path, *, is_edited: bool) -> None:
    path = run_zip_tool(tmp_path, "-y")
    with read_zip(path) as tree, (tmp_path / "y.zip").open("w+b") as out:
        node = tree.nodes["bin/x"]
        assert isinstance(node, File)
        content = PatchedContent(node.content, (Patch(7, b"#"),)) if is_edited else node.content
        changed = replace(tree, nodes={**tree.nodes, "bin/x": replace(node, content=content)})
        write_zip(set_modes(changed, {"bin/x": 0o4710, "l": 0o700}), out)
    subprocess.run(["unzip", "-qo", "y.zip", "-d", "out"], cwd=tmp_path, check=True)
    status = (tmp_path / "out/pack/bin/x").stat()
    assert stat.filemode(status.st_mode) == "-rwx--x---"
    assert status.st_mtime == int((tmp_path / "pack/bin/x").stat().st_mtime)
    assert (tmp_path / "out/pack/l").is_symlink()
    was, now = (read_extra_fields(tmp_path / name) for name in ("x.zip", "y.zip"))
    assert was == now


def read_extra_fields(path: Path) -> list[tuple[bytes, bytes]]:
    """Return the extra fields of each member: of the entry and of the local header."""
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        found = []
        for info in archive.infolist():
            name, extra = struct.unpack_from("<HH", raw, info.header_offset + 26)
            start = info.header_offset + 30 + name
            found.append((info.extra, raw[start : start + extra]))
    return found


def test_a_device_cannot_be_written(tmp_path: Path) -> None:
    changed = Tree({"fifo": Special("fifo", Metadata(0o644))})
    with (
        (tmp_path / "y.zip").open("w+b") as out,
        pytest.raises(BundleFixError, match="cannot contain a device"),
    ):
        write_zip(changed, out)


@pytest.mark.parametrize("options", OPTIONS)
def test_archives_by_info_zip_are_rewritten_byte_for_byte(
    tmp_path: Path, options: list[str]
) -> None:
    path = run_zip_tool(tmp_path, *options)
    with read_zip(path) as tree:
        assert tree.top == "pack"
        assert isinstance(tree.nodes["l"], Symlink)
        node = tree.nodes["bin/x"]
        assert isinstance(node, File)
        assert (read_data(node.content), node.metadata.mode) == (b"x" * 5000, 0o755)
    assert rewrite_zip(path) == path.read_bytes()


def test_archives_by_bsdtar_are_rewritten_byte_for_byte(tmp_path: Path) -> None:
    run_zip_tool(tmp_path, "-y")
    subprocess.run(["bsdtar", "--format=zip", "-cf", "y.zip", "pack"], cwd=tmp_path, check=True)
    assert rewrite_zip(tmp_path / "y.zip") == (tmp_path / "y.zip").read_bytes()


def test_bytes_before_the_first_member_are_kept(tmp_path: Path) -> None:
    """A self-extracting archive is a program followed by an archive."""
    path = make_zip(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"2"))
    path.write_bytes(b"#!/usr/bin/env python3\n" + path.read_bytes())
    ours = rewrite_zip(path)
    assert ours.startswith(b"#!/usr/bin/env python3\nPK")
    with zipfile.ZipFile(tmp_path / "ours.zip") as file:
        assert (file.testzip(), file.namelist()) == (None, ["a", "b"])
    (tmp_path / "ours.zip").replace(path)
    assert rewrite_zip(path) == ours


def test_zip64_is_read_and_rewritten_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("a", "w", force_zip64=True) as stream:
            stream.write(b"content" * 100)
        for number in range(1 << 16):
            file.writestr(f"d/{number}", b"")
    with read_zip(path) as tree, (tmp_path / "y.zip").open("w+b") as out:
        assert len(tree.nodes) == (1 << 16) + 1
        write_zip(tree, out)
    assert (tmp_path / "y.zip").read_bytes() == path.read_bytes()


def test_one_changed_member_leaves_the_bytes_of_the_others(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", ("a", b"1" * 999), ("b", b"2" * 50), ("c", b"3" * 99))
    with read_zip(path) as tree, (tmp_path / "y.zip").open("w+b") as out:
        node = tree.nodes["b"]
        assert isinstance(node, File)
        changed = replace(node, content=PatchedContent(node.content, (Patch(7, b"#"),)))
        write_zip(replace(tree, nodes={**tree.nodes, "b": changed}), out)
    with zipfile.ZipFile(path) as was, zipfile.ZipFile(tmp_path / "y.zip") as now:
        assert now.testzip() is None
        assert now.read("b") == b"2" * 7 + b"#" + b"2" * 42
        for one, other in zip(was.infolist(), now.infolist(), strict=True):
            assert (one.date_time, one.external_attr, one.extra, one.compress_type) == (
                other.date_time, other.external_attr, other.extra, other.compress_type)  # fmt: skip
    original, ours = path.read_bytes(), (tmp_path / "y.zip").read_bytes()
    assert ours.startswith(original[: original.index(b"PK\3\4", 4)])
    third = original[original.rindex(b"PK\3\4") : original.index(b"PK\1\2")]
    assert third in ours
