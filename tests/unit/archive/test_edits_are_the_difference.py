"""The members that `fix_artifact` changes are those of the actions that it reports."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Set
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.elf import build_elf
from builders.pack import make_incident_pack
from bundle_fix.archive.limits import DEFAULT_LIMITS
from bundle_fix.archive.tar.headers import read_members
from bundle_fix.archive.zip.central_directory import read_central_directory
from bundle_fix.model.content import FileReader
from bundle_fix.pipelines.fix import Options, fix_artifact

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
SPARSE = 200_000


def split_tar(path: Path) -> tuple[list[str], dict[str, bytes], bytes]:
    """Return the names in order, all bytes of each member, and the bytes after the last."""
    raw = path.read_bytes()
    with path.open("rb") as file:
        members = list(read_members(FileReader(file.fileno(), 0, len(raw)), path))
    names = [os.path.normpath(m.name) for m in members]
    pieces = {name: raw[m.offset : m.end] for name, m in zip(names, members, strict=True)}
    return names, pieces, raw[members[-1].end :]


def split_zip(path: Path) -> tuple[list[str], dict[str, bytes], bytes]:
    """Return the same of a zip archive, without the offsets of the members."""
    raw = path.read_bytes()
    with path.open("rb") as file:
        entries, comment, _ = read_central_directory(file.fileno(), path, DEFAULT_LIMITS)
    names = [os.path.normpath(e.name.decode()) for e in entries]
    pieces = {
        name: raw[e.start : e.end] + e.raw[:42] + e.raw[46:]
        for name, e in zip(names, entries, strict=True)
    }
    return names, pieces, comment


def assert_only_edits_differ(
    before: Path, after: Path, top: str, new: Set[str] = frozenset()
) -> set[str]:
    """Repair an artifact, compare it member by member, and return the paths that differ.

    ``new`` are the new names of renamed members, which are reported under their old names.
    """
    result = fix_artifact(before, after, Options(force=True))
    reported = {f"{top}{action.path}" for action in result.applied.actions}
    split = split_zip if before.suffix in (".zip", ".whl") else split_tar
    (was_names, was, was_end), (now_names, now, now_end) = split(before), split(after)
    differing = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    assert differing == reported | new
    assert [n for n in now_names if n in was] == [n for n in was_names if n in now]
    assert len(was.keys() - now.keys()) == len(new)
    if sum(map(len, now.values())) == sum(map(len, was.values())):
        assert now_end == was_end
    return differing


def make_pack(directory: Path) -> Path:
    """Create the pack of the incident among files of all kinds."""
    top = directory / "pack"
    make_incident_pack(top)
    (top / "etc").mkdir()
    (top / "etc/conf").write_text("text\n")
    (top / "etc/link").symlink_to("conf")
    (top / "etc/hard").hardlink_to(top / "etc/conf")
    (top / ("long-name-" * 20)).write_text("long\n")
    with (top / "holes").open("wb") as file:
        file.truncate(SPARSE)
        file.write(b"end")
    return top


TOOLS = {
    "gnu": ["tar", "--format=gnu", "-cf"], "oldgnu": ["tar", "--format=oldgnu", "-cf"],
    "posix": ["tar", "--format=posix", "-cf"], "sparse": ["tar", "--sparse", "-cf"],
    "sparse posix": ["tar", "--sparse", "--format=posix", "-cf"],
    "blocks": ["tar", "-b1", "-cf"],
    "bsdtar": ["bsdtar", "--format=pax", "-cf"], "bsdtar gnu": ["bsdtar", "--format=gnutar", "-cf"],
}  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tarball_of_a_tool_changes_only_by_the_edits(tmp_path: Path, tool: str) -> None:
    make_pack(tmp_path)
    before = tmp_path / "before.tar"
    subprocess.run([*TOOLS[tool], before, "pack"], cwd=tmp_path, check=True)
    differing = assert_only_edits_differ(before, tmp_path / "after.tar", "pack/")
    assert "pack/bin/server" in differing


@pytest.mark.parametrize(
    "tool", [["zip", "-qry"], ["zip", "-qry0"], ["bsdtar", "--format=zip", "-cf"]]
)
def test_a_zip_archive_of_a_tool_changes_only_by_the_edits(tmp_path: Path, tool: list[str]) -> None:
    make_pack(tmp_path)
    before = tmp_path / "before.zip"
    subprocess.run([*tool, before, "pack"], cwd=tmp_path, check=True)
    renamed = "pack/bin/libtcmalloc.so.4"
    differing = assert_only_edits_differ(before, tmp_path / "after.zip", "pack/", {renamed})
    assert "pack/bin/server" in differing


names = st.one_of(
    st.sampled_from(["z", "a", "x" * 99, "y" * 160, "café", "line\nbreak", "bin2"]),
    st.binary(min_size=1, max_size=10).map(os.fsdecode),
).filter(
    lambda name: name not in (".", "..", "bin", "lib") and "/" not in name and "\0" not in name
)
KINDS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


@st.composite
def draw_other_members(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Draw members that need no repair."""
    found = {}
    for name in draw(st.lists(names, max_size=6, unique=True)):
        info = tarfile.TarInfo(f"pack/{name}")
        info.type = draw(st.sampled_from(KINDS))
        content = draw(st.binary(max_size=1500)) if info.type == tarfile.REGTYPE else b""
        info.size, info.mode = len(content), draw(st.integers(0, 0o7777))
        info.linkname = "somewhere" if info.type == tarfile.SYMTYPE else ""
        info.uid, info.gid = draw(st.sampled_from([0, 7, 2**20])), draw(st.sampled_from([0, 99]))
        info.uname, info.gname = draw(st.sampled_from(["", "root", "bär"])), "group"
        info.mtime = draw(st.sampled_from([0, 1, 1_700_000_000]))
        if draw(st.booleans()):
            info.pax_headers = {
                "SCHILY.xattr.user.x": "v",
                "comment": draw(st.text("ab ", max_size=9)),
            }
        found[name] = info, content
    return list(found.values())


@settings(max_examples=60, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMATS)), more=draw_other_members(), at=st.integers(0, 6),
    end=st.sampled_from([b"", bytes(512), bytes(5000), b"after the end"]),
)  # fmt: skip
def test_an_archive_of_any_members_changes_only_by_the_edits(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    more: list[tuple[tarfile.TarInfo, bytes]],
    at: int,
    end: bytes,
) -> None:
    directory = tmp_path_factory.getbasetemp() / "any"
    directory.mkdir(exist_ok=True)
    library = build_elf(directory / "l", soname="libtcmalloc.so.4", tag="shipped").read_bytes()
    server = build_elf(
        directory / "s", program=True, needed=["libtcmalloc.so.4"], runpath="."
    ).read_bytes()
    ours = []
    for name, content in (("bin/libtcmalloc.so", library), ("bin/server", server)):
        info = tarfile.TarInfo(f"pack/{name}")
        info.size, info.mode, info.mtime = len(content), 0o755, 1_600_000_000
        ours.append((info, content))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=FORMATS[form], encoding="utf-8") as archive:
        for info, content in [*more[:at], *ours, *more[at:]]:
            if form == "ustar" and len(info.name) > 100:
                continue
            archive.addfile(info, io.BytesIO(content))
    before, after = directory / "before.tar", directory / "after.tar"
    before.write_bytes(stream.getvalue() + end)
    differing = assert_only_edits_differ(before, after, "pack/")
    assert {"pack/bin/server", "pack/bin/libtcmalloc.so.4"} <= differing
