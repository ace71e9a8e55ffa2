"""Tarballs of several tools and layouts: reading, and writing back the same bytes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from archive.views import describe_tree, read_data
from archive.writers import write_tree
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.reading import open_artifact
from bundle_fix.archive.tar.reader import read_tar
from bundle_fix.model.content import BytesContent
from bundle_fix.model.patches import Patch, PatchedContent
from bundle_fix.model.tree import Directory, File, Node, Special, Symlink, Tree

LONG = "a-directory-with-quite-a-long-name-of-its-own/" * 3 + "and-a-file-in-it.so"
NOT_UTF8 = os.fsdecode(b"caf\xe9-\xff.txt")
FORMATS = ("ustar", "pax", "gnu", "oldgnu")
COMPRESSIONS = {"": "cat", ".gz": "gzip", ".xz": "xz -0", ".zst": "zstd", ".bz2": "bzip2"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every kind of member that packs contain."""
    top = tmp_path_factory.mktemp("sample") / "server-2.5.0"
    for directory in ("bin", "lib/empty", str(Path(LONG).parent)):
        (top / directory).mkdir(parents=True, exist_ok=True)
    (top / "bin/server").write_bytes(os.urandom(3000))
    (top / "bin/server").chmod(0o750)
    (top / "bin/server-again").hardlink_to(top / "bin/server")
    (top / "lib/libx.so.4.6").write_bytes(bytes(5 * 512))
    (top / "lib/libx.so.4").symlink_to("libx.so.4.6")
    (top / "lib/plugin.so").symlink_to("../" + LONG)
    (top / LONG).write_text("long")
    (top / NOT_UTF8).write_text("not UTF-8")
    (top / "empty file").touch()
    for number, path in enumerate(sorted(top.rglob("*"))):
        os.utime(path, ns=(0, 1_700_000_000_123_456_789 + number), follow_symlinks=False)
    return top


def run_gnu_tar(target: Path, sample: Path, layout: str, form: str) -> Path:
    """Create a tarball with GNU tar in one of the usual layouts."""
    common = ["tar", f"--format={form}", "--sort=name", "-cf", str(target)]
    # The target of this symlink is too long for ustar.
    common += ["--exclude=plugin.so"] if form == "ustar" else []
    inside = ["-C", str(sample)]
    names = [str(path.relative_to(sample)) for path in sorted(sample.rglob("*"))]
    files = [name for name in names if (sample / name).is_symlink() or not (sample / name).is_dir()]
    arguments = {
        "top": ["-C", str(sample.parent), sample.name],
        "dotted top": ["-C", str(sample.parent), f"./{sample.name}"],
        "dot over top": ["-C", str(sample.parent), "."],
        "dot": [*inside, "."],
        "bare": [*inside, "bin", "lib", NOT_UTF8, LONG],
        "without directories": ["--no-recursion", *inside, *files],
    }[layout]
    subprocess.run([*common, *arguments], check=True)
    return target


def is_omitted(sample: dict[str, tuple[Any, ...]], path: str, layout: str, form: str) -> bool:
    if path == "lib/plugin.so":
        return form == "ustar"
    if layout == "bare":
        return path == "empty file" or LONG.startswith(f"{path}/")
    return layout == "without directories" and sample[path][0] == "directory"


def write_back(tree: Tree, target: Path, kind: str = "tar") -> bytes:
    assert write_tree(tree, kind, target)
    return target.read_bytes()


def assert_same_stream(ours: bytes, original: bytes) -> None:
    assert len(ours) == len(original)
    assert ours == original


def split_members(raw: bytes) -> dict[str, bytes]:
    """Return the bytes of each member: its headers and data."""
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return {
            info.name: raw[info.offset : info.offset_data + (info.size if info.isreg() else 0)]
            for info in archive
        }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "layout", ["top", "dotted top", "dot over top", "dot", "bare", "without directories"]
)
def test_tarballs_by_gnu_tar_are_read_and_written_back(
    tmp_path: Path, sample: Path, layout: str, form: str
) -> None:
    original = run_gnu_tar(tmp_path / "original.tar", sample, layout, form)
    expected = describe_tree(read_directory(sample))
    with read_tar(original) as tree:
        seen = describe_tree(tree)
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), original.read_bytes())
    assert (sample.name in tree.top) == ("top" in layout)
    omitted = {path for path in expected if is_omitted(expected, path, layout, form)}
    assert {path: value for path, value in seen.items() if path} == {
        path: value for path, value in expected.items() if path not in omitted
    }


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_tarballs_are_read_and_written_back(
    tmp_path: Path, sample: Path, suffix: str
) -> None:
    plain = run_gnu_tar(tmp_path / "original.tar", sample, "top", "gnu").read_bytes()
    packed = tmp_path / f"original.tar{suffix}"
    command = COMPRESSIONS[suffix].split()
    packed.write_bytes(subprocess.run(command, input=plain, capture_output=True, check=True).stdout)
    with open_artifact(packed) as artifact:
        assert artifact.format == f"tar{suffix}"
        ours = write_back(artifact.tree, tmp_path / "ours", artifact.format)
    unpack = [*command[:1], *([] if suffix == "" else ["-dc"])]
    assert_same_stream(
        subprocess.run(unpack, input=ours, capture_output=True, check=True).stdout, plain
    )


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_a_tarball_compressed_in_several_members_is_read_completely(
    tmp_path: Path, sample: Path, suffix: str
) -> None:
    plain = run_gnu_tar(tmp_path / "original.tar", sample, "top", "gnu").read_bytes()
    command = COMPRESSIONS[suffix].split()
    packed = b"".join(
        subprocess.run(command, input=part, capture_output=True, check=True).stdout
        for part in (plain[:700], b"", plain[700:5000], plain[5000:])
    )
    (tmp_path / "several").write_bytes(packed)
    with read_tar(tmp_path / "several") as tree:
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), plain)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tarballs_by_python_are_read_and_written_back(
    tmp_path: Path, sample: Path, form: int
) -> None:
    original = tmp_path / "original.tar"
    short = form == tarfile.USTAR_FORMAT
    with tarfile.open(original, "w", format=form) as archive:
        archive.add(
            sample, sample.name, filter=lambda i: None if short and len(i.linkname) > 100 else i
        )
    with read_tar(original) as tree:
        expected = describe_tree(read_directory(sample)).keys() | {""}
        assert describe_tree(tree).keys() == expected - ({"lib/plugin.so"} if short else set())
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), original.read_bytes())


def test_the_commit_in_a_tarball_by_git_is_preserved(tmp_path: Path) -> None:
    """Git stores the commit in a global pax header, which belongs to no member."""
    raw = make_python_tarball([("pack/", tarfile.DIRTYPE, b""), ("pack/a", tarfile.REGTYPE, b"a")])
    header = tarfile.TarInfo.create_pax_global_header({"comment": "0123456789abcdef"})
    middle = tarfile.TarInfo.create_pax_global_header({"comment": "fedcba9876543210"})
    raw = header + raw[:512] + middle + raw[512:]
    (tmp_path / "git.tar").write_bytes(raw)
    with read_tar(tmp_path / "git.tar") as tree:
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), raw)
        nodes = {path: change_mode(node) for path, node in tree.nodes.items()}
        ours = write_back(Tree(nodes, tree.top), tmp_path / "changed.tar")
    assert ours.startswith(header)
    assert middle in ours


def test_devices_and_fifos_are_preserved_and_never_opened(tmp_path: Path) -> None:
    wanted = [("pack/null", tarfile.CHRTYPE, b""), ("pack/pipe", tarfile.FIFOTYPE, b"")]
    (tmp_path / "a.tar").write_bytes(make_python_tarball(wanted))
    with read_tar(tmp_path / "a.tar") as tree:
        assert describe_tree(tree) == {"null": ("special", "device"), "pipe": ("special", "fifo")}
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), make_python_tarball(wanted))


def test_the_later_entry_of_a_directory_wins_as_in_tar(tmp_path: Path) -> None:
    first, again, file = (tarfile.TarInfo(name) for name in ("pack/lib", "pack/lib", "pack/lib/x"))
    first.type = again.type = tarfile.DIRTYPE
    first.mode, again.mode = 0o700, 0o755
    raw = b"".join(info.tobuf() for info in (first, file, again)) + bytes(10240)
    (tmp_path / "a.tar").write_bytes(raw)
    with read_tar(tmp_path / "a.tar") as tree:
        assert tree.nodes["lib"].metadata.mode == 0o755
        assert_same_stream(write_back(tree, tmp_path / "ours.tar"), raw)


def make_python_tarball(members: Sequence[tuple[str, bytes, bytes]], target: str = "") -> bytes:
    """Return a tarball of names, types and data."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), target
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def change_mode(node: Node, mode: int = 0o700) -> Node:
    return replace(node, metadata=replace(node.metadata, mode=mode), header=None)


member_names = st.one_of(
    st.sampled_from(["lib", "bin", "x" * 99, "y" * 160, "café", "name\nof lines"]),
    st.binary(min_size=1, max_size=12).map(os.fsdecode),
).filter(lambda name: name not in (".", "..") and "/" not in name and "\0" not in name)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Tarballs that a program may write: any order, owners, times and pax records."""
    form = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    prefix = draw(st.sampled_from(["", "./", "pack/", "./pack/", "lib/"]))
    directories = {""}
    taken: set[str] = set()
    files: list[str] = []
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form, encoding="utf-8") as archive:
        for _ in range(draw(st.integers(0, 8))):
            name = draw(st.sampled_from(sorted(directories))) + draw(member_names)
            if name in taken:
                continue
            taken.add(name)
            info = tarfile.TarInfo(prefix + name)
            info.mode = draw(st.integers(0, 0o7777))
            info.uid = draw(st.sampled_from([0, 1000, 2**21, 2**31]))
            info.uname = draw(st.sampled_from(["", "root", "bär"]))
            info.mtime = draw(st.sampled_from([0, 1_700_000_000, 1_700_000_000.5, -1, 2**34]))
            info.pax_headers = draw(st.sampled_from([{}, {"comment": "made by hand"}]))
            kinds = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
            info.type = draw(st.sampled_from([*kinds, *([tarfile.LNKTYPE] if files else [])]))
            content = draw(st.binary(max_size=1100)) if info.type == tarfile.REGTYPE else b""
            info.size = len(content)
            if info.type == tarfile.SYMTYPE:
                info.linkname = draw(member_names)
            elif info.type == tarfile.LNKTYPE:
                info.linkname = prefix + draw(st.sampled_from(files))
            elif info.type == tarfile.DIRTYPE:
                directories.add(f"{name}/")
            if info.isreg():
                files.append(name)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(raw=archives())
def test_any_archive_is_written_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    directory = tmp_path_factory.getbasetemp()
    (directory / "any.tar").write_bytes(raw)
    with read_tar(directory / "any.tar") as tree:
        assert_same_stream(write_back(tree, directory / "ours.tar"), raw)


@settings(max_examples=100, deadline=None)
@given(raw=archives(), which=st.integers(0, 20))
def test_a_changed_member_leaves_the_others_unchanged(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, which: int
) -> None:
    directory = tmp_path_factory.getbasetemp()
    (directory / "any.tar").write_bytes(raw)
    with read_tar(directory / "any.tar") as tree:
        kept = [path for path, node in tree.nodes.items() if not isinstance(node, Special)]
        if not kept:
            return
        changed = kept[which % len(kept)]
        nodes = {**tree.nodes, changed: change_mode(tree.nodes[changed], 0o1751)}
        ours = write_back(Tree(nodes, tree.top), directory / "ours.tar")
        before, after = describe_tree(tree), split_members(ours)
    with read_tar(directory / "ours.tar") as again:
        seen, metadata = describe_tree(again), again.nodes[changed].metadata
        assert again.top == tree.top
    assert metadata.mode == 0o1751
    assert (metadata.mtime, metadata.uid, metadata.owner) == get_time_and_owner(tree.nodes[changed])
    assert {p: v for p, v in seen.items() if p != changed} == {
        p: v for p, v in before.items() if p != changed
    }
    differing = [name for name, piece in split_members(raw).items() if after.get(name) != piece]
    assert len(after) == len(split_members(raw))
    assert len(differing) <= 1


def get_time_and_owner(node: Node) -> tuple[float, int, str]:
    return node.metadata.mtime, node.metadata.uid, node.metadata.owner


@pytest.mark.parametrize("form", FORMATS)
def test_gnu_tar_unpacks_members_with_new_bytes(tmp_path: Path, sample: Path, form: str) -> None:
    original = run_gnu_tar(tmp_path / "original.tar", sample, "top", form)
    with read_tar(original) as tree:
        nodes: dict[str, Node] = dict(tree.nodes)
        for path, node in tree.nodes.items():
            if isinstance(node, File) and node.hardlink is None:
                content = BytesContent(b"new " + os.fsencode(path))
                nodes[path] = replace(node, content=content, header=None)
            elif isinstance(node, Symlink | Directory):
                nodes[path] = replace(node, header=None)
        write_back(Tree(nodes, tree.top), tmp_path / "ours.tar")
    subprocess.run(["tar", "-xpf", tmp_path / "ours.tar", "-C", tmp_path], check=True)
    for path, node in tree.nodes.items():
        unpacked = tmp_path / sample.name / path
        assert int(unpacked.lstat().st_mtime) == int(node.metadata.mtime)
        if isinstance(node, File):
            assert unpacked.read_bytes() == b"new " + os.fsencode(node.hardlink or path)
            assert unpacked.stat().st_mode & 0o7777 == node.metadata.mode
    if form == "pax":
        status = (tmp_path / sample.name / "bin/server").stat()
        assert status.st_mtime_ns == (sample / "bin/server").stat().st_mtime_ns


def test_a_hard_link_to_an_edited_file_has_the_new_bytes(tmp_path: Path, sample: Path) -> None:
    original = run_gnu_tar(tmp_path / "original.tar", sample, "top", "gnu")
    with read_tar(original) as tree:
        node = tree.nodes["bin/server"]
        assert isinstance(node, File)
        edited = replace(node, content=PatchedContent(node.content, (Patch(7, b"edited"),)))
        ours = write_back(
            Tree({**tree.nodes, "bin/server": edited}, tree.top), tmp_path / "ours.tar"
        )
    with read_tar(tmp_path / "ours.tar") as again:
        twin = again.nodes["bin/server-again"]
        assert isinstance(twin, File)
        assert twin.hardlink == "bin/server"
        assert read_data(twin.content)[7:13] == b"edited"
    was, now = split_members(original.read_bytes()), split_members(ours)
    name = f"{sample.name}/bin/server"
    assert was.pop(name)[:512] == now.pop(name)[:512]
    assert was == now


def test_a_hard_link_keeps_its_bytes_when_its_target_becomes_a_symlink(
    tmp_path: Path, sample: Path
) -> None:
    original = run_gnu_tar(tmp_path / "original.tar", sample, "top", "gnu")
    with read_tar(original) as tree:
        metadata = tree.nodes["bin/server"].metadata
        nodes = {**tree.nodes, "bin/server": Symlink("server-again", metadata)}
        write_back(Tree(nodes, tree.top), tmp_path / "ours.tar")
    subprocess.run(["tar", "-xf", tmp_path / "ours.tar", "-C", tmp_path], check=True)
    again = tmp_path / sample.name / "bin/server-again"
    assert again.read_bytes() == (sample / "bin/server").read_bytes()
    assert not again.is_symlink()


def test_a_hard_link_to_a_symlink_is_the_same_symlink(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a").symlink_to("target")
    os.link(tmp_path / "p/a", tmp_path / "p/b", follow_symlinks=False)
    command = ["tar", "--sort=name", "-cf", "original.tar", "p"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with read_tar(tmp_path / "original.tar") as tree:
        nodes = [tree.nodes[name] for name in "ab"]
        assert [node.target for node in nodes if isinstance(node, Symlink)] == ["target"] * 2
        assert write_back(tree, tmp_path / "ours.tar") == (tmp_path / "original.tar").read_bytes()
        changed = {**tree.nodes, "a": Symlink("other", nodes[0].metadata)}
        write_back(replace(tree, nodes=changed), tmp_path / "ours.tar")
    subprocess.run(["tar", "-xf", tmp_path / "ours.tar", "-C", tmp_path], check=True)
    assert [str((tmp_path / "p" / name).readlink()) for name in "ab"] == ["other", "target"]


def test_a_new_member_is_in_the_top_directory_like_the_others(tmp_path: Path, sample: Path) -> None:
    for layout in ("top", "dotted top", "dot", "bare"):
        with read_tar(run_gnu_tar(tmp_path / "original.tar", sample, layout, "gnu")) as tree:
            new = Symlink("libx.so.4.6", tree.nodes["lib/libx.so.4.6"].metadata)
            write_back(Tree({**tree.nodes, "lib/libx.so": new}, tree.top), tmp_path / "ours.tar")
        listed = subprocess.run(
            ["tar", "-tf", tmp_path / "ours.tar"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        others = [name for name in listed if name.endswith("/libx.so.4.6")]
        assert [name for name in listed if name.endswith("/libx.so")] == [others[0][:-4]]


def test_a_root_that_is_a_member_keeps_its_name(tmp_path: Path) -> None:
    raw = make_python_tarball([("./", tarfile.DIRTYPE, b""), ("bin/x", tarfile.REGTYPE, b"")])
    (tmp_path / "a.tar").write_bytes(raw)
    with read_tar(tmp_path / "a.tar") as tree:
        nodes = {path: change_mode(node) for path, node in tree.nodes.items()}
        write_back(Tree(nodes, tree.top), tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as archive:
        assert [(info.name, info.mode) for info in archive] == [(".", 0o700), ("bin/x", 0o700)]


def test_owners_are_preserved_by_name_and_number(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pack/x")
    info.uid, info.gid, info.uname, info.gname = 2**31, 77, "pegasus", "wheel"
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with read_tar(tmp_path / "a.tar") as tree:
        nodes = {path: change_mode(node) for path, node in tree.nodes.items()}
        write_back(Tree(nodes, tree.top), tmp_path / "ours.tar")
    with tarfile.open(tmp_path / "ours.tar") as archive:
        found = archive.getmember("pack/x")
    assert (found.uid, found.gid, found.uname, found.gname) == (2**31, 77, "pegasus", "wheel")


def test_the_tools_for_these_tests_are_installed() -> None:
    """Without them these tests would silently test less."""
    missing = [name for name in ("tar", "gzip", "xz", "zstd", "bzip2") if not shutil.which(name)]
    assert missing == []
