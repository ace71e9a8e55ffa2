"""Wheels, packed as build backends pack them: with metadata, a console entry point and RECORD."""

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
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}"


def read_wheel(path: Path) -> dict[str, bytes]:
    """What is in a wheel, by name; the archive must be sound."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def build_wheel(folder: Path, target: Path, **more: str) -> Path:
    """A wheel of what is in ``folder``, links followed; ``more`` are files of its metadata."""
    members: list[tuple[str, bytes, int]] = [
        (str(path.relative_to(folder)), path.read_bytes(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    for name, text in {**METADATA, **more}.items():
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
