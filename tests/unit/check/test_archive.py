"""BF601 to BF605: what an archive itself does to who unpacks it."""

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


def findings(path: Path, rule: str) -> list[Finding]:
    with open_artifact(path) as artifact:
        verdict = check_bundle(read_bundle(artifact.tree, str(path)), CheckPolicy())
    return [finding for finding in verdict.findings if finding.rule == rule]


def packed(path: Path, *members: tuple[str, bytes], **fields: object) -> Path:
    """A tarball of files; ``fields`` are those of every member."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_file_that_comes_twice_is_found(tmp_path: Path) -> None:
    once = packed(tmp_path / "once.tar", ("a", b"1"), ("b", b"1"))
    assert findings(once, "BF601") == []
    twice = packed(tmp_path / "twice.tar", ("a", b"1"), ("b", b""), ("a", b"2"))
    (found,) = findings(twice, "BF601")
    assert (found.severity, found.path, found.evidence["same"]) == ("warning", "a", False)
    same = packed(tmp_path / "same.tar", ("p/a", b"1"), ("p/b", b""), ("p/a", b"1"))
    (found,) = findings(same, "BF601")
    assert (found.severity, found.evidence["same"]) == ("note", True)


def test_a_program_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    one = build_elf(tmp_path / "one", program=True).read_bytes()
    path = packed(tmp_path / "x.tar", ("bin/x", b"#!/bin/sh\n"), ("bin/x", one))
    (found,) = findings(path, "BF601")
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
def test_names_that_differ_by_case_or_form_alone_are_noted(
    tmp_path: Path, names: tuple[str, ...], found: list[str]
) -> None:
    path = packed(tmp_path / "x.tar", *((name, b"") for name in names))
    assert [f.path for f in findings(path, "BF602")] == found
    assert all(f.severity == "note" for f in findings(path, "BF602"))


def test_devices_fifos_and_sockets_are_found_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = make_healthy_pack(tmp_path / "pack")
    assert findings(pack, "BF603") == []
    os.mkfifo(pack / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        # The name of a socket may have a hundred bytes.
        monkeypatch.chdir(pack)
        server.bind("server.sock")
    assert [f.path for f in findings(pack, "BF603")] == ["fifo", "server.sock"]
    device = packed(tmp_path / "x.tar", ("dev/null", b""), type=tarfile.CHRTYPE)
    assert [(f.path, f.message) for f in findings(device, "BF603")] == [("null", "is a device")]


@pytest.mark.parametrize("name", ["a\n", "a\x1b[31mb", "caf\udce9", "a\x85b", "a\u202eb"])
def test_names_that_a_terminal_obeys_are_found(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "x.tar", (f"bin/{name}", b""), ("bin/ü ж 漢", b""))
    assert [f.path for f in findings(path, "BF604")] == [f"bin/{name}"]


SORTED = (("p/a", b""), ("p/b", b""), ("p/b.c", b""), ("p/d/x", b""), ("p/e", b""))


def reasons(path: Path) -> list[str]:
    return [reason for finding in findings(path, "BF605") for reason in finding.evidence["reasons"]]


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
def test_what_a_tarball_tells_of_its_build_is_noted(
    tmp_path: Path, fields: dict[str, object], expected: list[str]
) -> None:
    assert reasons(packed(tmp_path / "x.tar", *SORTED, **fields)) == expected


def test_any_order_may_come_again(tmp_path: Path) -> None:
    """Npm has one of its own."""
    assert reasons(packed(tmp_path / "x.tar", *SORTED[::-1])) == []


def test_a_folder_tells_nothing(tmp_path: Path) -> None:
    pack = make_healthy_pack(tmp_path / "pack")
    os.chown(pack / "bin", 1001, 1001) if os.geteuid() == 0 else None
    assert findings(pack, "BF605") == []
