"""Wheels like those of build backends: with metadata, a console entry point and RECORD."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

NAME = "demo-1.0-py3-none-linux_x86_64.whl"
INFO = "demo-1.0.dist-info"
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n"
    "Tag: py3-none-linux_x86_64\n",
    "entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
}
MAIN = """
import pathlib, subprocess, sys

def main():
    server = pathlib.Path(__file__).parent / "bin" / "server"
    sys.exit(subprocess.run([server]).returncode)
"""


def format_record_line(name: str, content: bytes) -> str:
    """Return the line of a member in RECORD (PEP 376)."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}"


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return the members of a wheel by name, and check their checksums."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def build_wheel(directory: Path, target: Path, **extra: str) -> Path:
    """Write a wheel of ``directory``, with symlinks followed; ``extra`` adds metadata files."""
    members: list[tuple[str, bytes, int]] = [
        (str(path.relative_to(directory)), path.read_bytes(), path.stat().st_mode)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    ]
    for name, text in {**METADATA, **extra}.items():
        members.append((f"{INFO}/{name}", text.encode(), 0o100644))
    lines = [format_record_line(name, content) for name, content, _ in members]
    record = "\n".join([*lines, f"{INFO}/RECORD,,", ""])
    members.append((f"{INFO}/RECORD", record.encode(), 0o100644))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.external_attr, info.create_system = mode << 16, 3
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return target
