"""BF601 to BF605: members of an archive that are not unpacked in the same way everywhere."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack
from bundle_fix.archive.reading import open_artifact
from bundle_fix.check.checker import check_bundle
from bundle_fix.check.findings import Finding
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.policy.policy import CheckPolicy


def find_in_artifact(path: Path, rule: str) -> list[Finding]:
    """Check an artifact and return the findings of a rule."""
    with open_artifact(path) as artifact:
        result = check_bundle(read_bundle(artifact.tree, str(path)), CheckPolicy())
    return [finding for finding in result.findings if finding.rule == rule]


def write_tarball(path: Path, *members: tuple[str, bytes], **fields: object) -> Path:
    """Write a tarball of files; ``fields`` are set on every member."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_bf601_reports_a_file_that_occurs_twice(tmp_path: Path) -> None:
    once = write_tarball(tmp_path / "once.tar", ("a", b"1"), ("b", b"1"))
    assert find_in_artifact(once, "BF601") == []
    twice = write_tarball(tmp_path / "twice.tar", ("a", b"1"), ("b", b""), ("a", b"2"))
    (found,) = find_in_artifact(twice, "BF601")
    assert (found.severity, found.path, found.evidence["same"]) == ("warning", "a", False)
    same = write_tarball(tmp_path / "same.tar", ("p/a", b"1"), ("p/b", b""), ("p/a", b"1"))
    (found,) = find_in_artifact(same, "BF601")
    assert (found.severity, found.evidence["same"]) == ("note", True)


def test_bf601_is_an_error_about_a_program(tmp_path: Path) -> None:
    one = build_elf(tmp_path / "one", program=True).read_bytes()
    path = write_tarball(tmp_path / "x.tar", ("bin/x", b"#!/bin/sh\n"), ("bin/x", one))
    (found,) = find_in_artifact(path, "BF601")
    assert (found.severity, found.path) == ("error", "bin/x")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("lib/Xml.so", "lib/xml.so"), ["lib/xml.so"]),
        (("Lib/a", "lib/b"), ["lib"]),
        (("lib/straße", "lib/STRASSE"), ["lib/STRASSE"]),
        (("lib/xml.so", "bin/Xml.so"), []),
        (("lib/\u00e9.so", "lib/e\u0301.so"), ["lib/e\u0301.so"]),
        (("lib/\u00e9.so", "lib/e.so"), []),
        (("lib/xml", "lib/xml2"), []),
    ],
)
def test_bf602_reports_names_that_differ_only_in_case_or_encoding(
    tmp_path: Path, names: tuple[str, ...], found: list[str]
) -> None:
    path = write_tarball(tmp_path / "x.tar", *((name, b"") for name in names))
    assert [f.path for f in find_in_artifact(path, "BF602")] == found
    assert all(f.severity == "note" for f in find_in_artifact(path, "BF602"))


def test_bf603_reports_devices_fifos_and_sockets_without_opening_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_healthy_pack(tmp_path / "pack")
    assert find_in_artifact(pack, "BF603") == []
    os.mkfifo(pack / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket is limited to 107 bytes (unix(7)).
        monkeypatch.chdir(pack)
        server.bind("server.sock")
    assert [f.path for f in find_in_artifact(pack, "BF603")] == ["fifo", "server.sock"]
    device = write_tarball(tmp_path / "x.tar", ("dev/null", b""), type=tarfile.CHRTYPE)
    assert [(f.path, f.message) for f in find_in_artifact(device, "BF603")] == [
        ("null", "is a device")
    ]


@pytest.mark.parametrize("name", ["a\n", "a\x1b[31mb", "caf\udce9", "a\x85b", "a\u202eb"])
def test_bf604_reports_names_with_control_characters_or_invalid_utf_8(
    tmp_path: Path, name: str
) -> None:
    path = write_tarball(tmp_path / "x.tar", (f"bin/{name}", b""), ("bin/ü ж 漢", b""))
    assert [f.path for f in find_in_artifact(path, "BF604")] == [f"bin/{name}"]


SORTED = (("p/a", b""), ("p/b", b""), ("p/b.c", b""), ("p/d/x", b""), ("p/e", b""))


def list_reasons(path: Path) -> list[str]:
    return [
        reason
        for finding in find_in_artifact(path, "BF605")
        for reason in finding.evidence["reasons"]
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"uname": "root", "gname": "root", "mtime": 1_700_000_000.5}, []),
        ({"uid": 1001}, ["members belong to 1001"]),
        ({"uid": 1001, "uname": "jenkins"}, ["members belong to jenkins"]),
        ({"pax_headers": {"atime": "1.5"}}, ["headers contain access or change times"]),
        ({"pax_headers": {"comment": "1.5"}}, []),
    ],
)
def test_bf605_reports_owners_and_times_of_the_build(
    tmp_path: Path, fields: dict[str, object], expected: list[str]
) -> None:
    assert list_reasons(write_tarball(tmp_path / "x.tar", *SORTED, **fields)) == expected


def test_bf605_accepts_any_order_of_members(tmp_path: Path) -> None:
    """A fixed order is reproducible, even if it is not sorted; npm uses one of its own."""
    assert list_reasons(write_tarball(tmp_path / "x.tar", *SORTED[::-1])) == []


def test_bf605_is_silent_about_a_directory(tmp_path: Path) -> None:
    pack = make_healthy_pack(tmp_path / "pack")
    os.chown(pack / "bin", 1001, 1001) if os.geteuid() == 0 else None
    assert find_in_artifact(pack, "BF605") == []
