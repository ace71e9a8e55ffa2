"""Set-uid bits and file capabilities, from directories, tarballs and packages."""

from __future__ import annotations

import base64
import os
import tarfile
from pathlib import Path

import pytest

from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import File, Metadata, Tree
from bundle_fix.storage.privileges import (
    ATTRIBUTE_RECORD,
    LIBARCHIVE_RECORD,
    TEXT_RECORD,
    Privilege,
    add_capabilities,
    find_privileges,
    has_file_capabilities,
)

NET_BIND = bytes.fromhex("0100000200040000000000000000000000000000")
"""The value after ``setcap cap_net_bind_service=ep``."""
INHERITABLE = bytes.fromhex("0000000200000000000400000000000000000000")
PERMITTED = bytes.fromhex("0000000200040000000000000000000000000000")
HIGH = bytes.fromhex("0000000200000000000000000001000000000000")
"""A permitted capability above the first 32."""
IN_NAMESPACE = bytes.fromhex("010000030004000000000000000000000000000010270000")
EMPTY = bytes.fromhex("0000000200000000000000000000000000000000")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NET_BIND, True), (PERMITTED, True), (HIGH, True), (IN_NAMESPACE, True),
        (INHERITABLE, False), (EMPTY, False), (NET_BIND[:-1], False), (b"", False),
    ],
)  # fmt: skip
def test_effective_and_permitted_capabilities_count(value: bytes, expected: bool) -> None:
    text = base64.b64encode(value).decode().rstrip("=")
    for extra in ({ATTRIBUTE_RECORD: os.fsdecode(value)}, {LIBARCHIVE_RECORD: text}):
        assert has_file_capabilities(Metadata(0o755, extra=extra)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cap_net_raw=ep", True), ("cap_net_raw,cap_net_admin+eip", True), ("=p", True),
        ("cap_net_raw=i", False), ("cap_net_raw=", False), ("", False),
    ],
)  # fmt: skip
def test_capabilities_of_a_package_are_text(text: str, expected: bool) -> None:
    assert has_file_capabilities(Metadata(0o755, extra={TEXT_RECORD: text})) is expected


def test_invalid_base64_grants_nothing() -> None:
    assert not has_file_capabilities(Metadata(0o755, extra={LIBARCHIVE_RECORD: "é"}))


def test_a_file_has_its_privileges_under_all_its_names() -> None:
    extra = {ATTRIBUTE_RECORD: os.fsdecode(NET_BIND)}
    first = File(BytesContent(b""), Metadata(0o6755, extra=extra))
    second = File(BytesContent(b""), Metadata(0o755), hardlink="a")
    tree = Tree({"a": first, "b": second})
    expected = (Privilege.SET_UID, Privilege.SET_GID, Privilege.CAPABILITIES)
    assert find_privileges(tree, "a") == find_privileges(tree, "b") == expected
    assert find_privileges(tree, "c") == ()


def test_capabilities_are_added_to_files_only() -> None:
    tree = Tree({"a/b": File(BytesContent(b""), Metadata(0o755))})
    added = add_capabilities(tree, {"a/b": "cap_chown=ep", "gone": "cap_chown=ep"})
    assert find_privileges(added, "a/b") == (Privilege.CAPABILITIES,)
    assert list(added.nodes) == ["a/b"]


@pytest.mark.parametrize(
    "records",
    [
        {ATTRIBUTE_RECORD: os.fsdecode(NET_BIND)},
        {LIBARCHIVE_RECORD: base64.b64encode(NET_BIND).decode()},
    ],
)
def test_a_tarball_has_capabilities_in_pax_records(tmp_path: Path, records: dict[str, str]) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("bin/x")
        member.pax_headers = records
        tar.addfile(member)
    with open_artifact(tmp_path / "x.tar") as artifact:
        (path,) = (path for path, _ in artifact.tree.iter_files())
        assert find_privileges(artifact.tree, path) == (Privilege.CAPABILITIES,)


def test_a_directory_has_capabilities_in_attributes(tmp_path: Path) -> None:
    program = tmp_path / "x"
    program.write_bytes(b"")
    try:
        os.setxattr(program, "security.capability", NET_BIND)
    except OSError:
        pytest.skip("the user or the file system does not allow file capabilities")
    with open_artifact(tmp_path) as artifact:
        assert find_privileges(artifact.tree, "x") == (Privilege.CAPABILITIES,)
