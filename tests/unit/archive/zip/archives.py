"""Zip archives for tests, and what reading or rewriting them gives."""

from __future__ import annotations

import os
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from bundle_fix.archive.zip.reader import read_zip
from bundle_fix.archive.zip.writer import write_zip
from bundle_fix.model.errors import BundleFixError


def make_zip(path: Path, *members: tuple[str, bytes], mode: int = 0o100644) -> Path:
    """Write an archive of deflated members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            info = zipfile.ZipInfo(name, (2020, 9, 13, 12, 26, 40))
            info.external_attr, info.create_system = mode << 16, 3
            file.writestr(info, content)
    return path


def read_refused(path: Path) -> str:
    """Return the message of the error that reading an archive raises."""
    with pytest.raises(BundleFixError) as error, read_zip(path):
        pass
    return error.value.message


def run_zip_tool(directory: Path, *options: str) -> Path:
    """Write an archive of files and a symlink with Info-ZIP's zip."""
    pack = directory / "pack"
    if not pack.exists():
        (pack / "bin").mkdir(parents=True)
        (pack / "bin/x").write_bytes(b"x" * 5000)
        (pack / "bin/x").chmod(0o755)
        (pack / "l").symlink_to("bin/x")
        (pack / "ü").write_bytes(os.urandom(2000))
    command = ["zip", "-q", "-r", *options, "x.zip", "pack"]
    subprocess.run(command, cwd=directory, capture_output=True, check=True)
    return directory / "x.zip"


def rewrite_zip(path: Path) -> bytes:
    """Read an archive, write it again and return the bytes."""
    with read_zip(path) as tree, path.with_name("ours.zip").open("w+b") as out:
        write_zip(tree, out)
    return path.with_name("ours.zip").read_bytes()


def make_member_of_method(path: Path, packed: bytes, content: bytes, method: int) -> Path:
    """Write an archive of one member with compressed bytes of any method."""
    make_zip(path, ("a", packed))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", packed)
    raw = bytearray(path.read_bytes())
    entry = raw.rindex(b"PK\1\2")
    for at, crc, size in ((8, 14, 22), (entry + 10, entry + 16, entry + 24)):
        raw[at : at + 2] = method.to_bytes(2, "little")
        raw[crc : crc + 4] = zlib.crc32(content).to_bytes(4, "little")
        raw[size : size + 4] = len(content).to_bytes(4, "little")
    path.write_bytes(raw)
    return path
