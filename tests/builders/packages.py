"""Packages made of a directory by dpkg-deb and rpmbuild, and container images made by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.elf import build_elf

GZIP_MAGIC = b"\x1f\x8b\x08"
EMPTY: Mapping[str, str] = {}
SPEC = """
Name: sample
Version: 1
Release: 1
Summary: a sample
License: none
AutoReqProv: no
%(tags)s
%%define __os_install_post %%{nil}
%%define _build_id_links none
%%define _binary_payload %(payload)s
%%define _build_name_fmt %%%%{NAME}.rpm
%%description
A sample.
%%install
mkdir -p %%{buildroot}
cp -a %(directory)s/. %%{buildroot}
%%files
%(files)s
"""


def build_deb(directory: Path, target: Path, compression: str = "xz", fields: str = "") -> Path:
    """Build a Debian package of ``directory``; a control file is written into the directory.

    ``fields`` are more lines of the control file, each with a line feed.
    """
    control = directory / "DEBIAN/control"
    control.parent.mkdir(exist_ok=True)
    control.write_text(
        "Package: sample\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
        f"{fields}Description: a sample\n"
    )
    options = [f"-Z{compression}", "--root-owner-group"]
    command = ["dpkg-deb", *options, "--build", str(directory), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def build_rpm(
    directory: Path,
    target: Path,
    payload: str = "w3.zstdio",
    *,
    tags: str = "",
    files: str = "/*",
) -> Path:
    """Build an RPM package of ``directory``.

    Args:
        directory: the root of the package.
        target: the package.
        payload: the compression of the package's files.
        tags: more lines of the spec file.
        files: the files of the package, as the spec file lists them.
    """
    top = target.parent / "rpmbuild"
    top.mkdir(exist_ok=True)
    spec = top / "sample.spec"
    values = {"directory": directory, "payload": payload, "tags": tags, "files": files}
    spec.write_text(SPEC % values)
    command = ["rpmbuild", "-bb", "--define", f"_topdir {top}", "--nodeps", str(spec)]
    subprocess.run([*command, "--define", "_rpmfilename x.rpm"], check=True, capture_output=True)
    (top / "RPMS/x.rpm").replace(target)
    return target


def replace_in_payload(package: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in the payload of an RPM package, which is compressed with gzip."""
    whole = package.read_bytes()
    start = whole.index(GZIP_MAGIC)
    payload = gzip.decompress(whole[start:])
    assert old in payload
    package.write_bytes(whole[:start] + gzip.compress(payload.replace(old, new), 1))


def strip_payload(package: Path) -> Path:
    """Give an RPM package with a gzip payload the stripped headers of rpm 6, and return it.

    A header has the number of the file in the list that rpm prints.
    """
    listed = subprocess.run(
        ["rpm", "-qlp", "--nosignature", str(package)], capture_output=True, text=True, check=True
    )
    numbers = {name: number for number, name in enumerate(listed.stdout.splitlines())}
    whole = package.read_bytes()
    start = whole.index(GZIP_MAGIC)
    payload, at, stripped = gzip.decompress(whole[start:]), 0, b""
    while True:
        size, length = (int(payload[at + n : at + n + 8], 16) for n in (54, 94))
        name = payload[at + 110 : at + 110 + length - 1].decode()
        data = at + 110 + length
        data += -data % 4
        if name == "TRAILER!!!":
            break
        content = payload[data : data + size]
        stripped += b"07070X%08x\0\0" % numbers[name.removeprefix(".")]
        stripped += content + bytes(-size % 4)
        at = data + size + -size % 4
    package.write_bytes(whole[:start] + gzip.compress(stripped + payload[at:], 1))
    return package


def make_layer(members: Sequence[tuple[str, bytes | Path | None]]) -> bytes:
    """Return a layer; a member is a file (bytes), a symlink (its target) or a directory (None)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, Path):
                info.type, info.linkname = tarfile.SYMTYPE, str(content)
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return stream.getvalue()


def add_blob(layout: Path, data: bytes) -> dict[str, Any]:
    """Add a blob to an image layout and return its descriptor."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def add_image_manifest(
    layout: Path, layers: Sequence[bytes], configuration: Mapping[str, str] = EMPTY, **extra: Any
) -> dict[str, Any]:
    """Add an image with these layers to a layout and return its descriptor, with ``extra`` keys."""
    config = add_blob(layout, json.dumps(configuration).encode())
    packed = [gzip.compress(data, mtime=0) for data in layers]
    manifest = {
        "schemaVersion": 2,
        "config": config,
        "layers": [add_blob(layout, d) for d in packed],
    }
    return add_blob(layout, json.dumps(manifest).encode()) | extra


def write_oci_layout(layout: Path, *manifests: dict[str, Any]) -> Path:
    """Write the index of an OCI image layout whose blobs contain the images."""
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": manifests}
    (layout / "index.json").write_text(json.dumps(index))
    return layout


def add_index(layout: Path, *manifests: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """Add an index of images to a layout and return its descriptor, with ``extra`` keys."""
    index = {"schemaVersion": 2, "manifests": manifests}
    return add_blob(layout, json.dumps(index).encode()) | extra


def write_saved_manifest(layout: Path, *layers: dict[str, Any]) -> Path:
    """Write the manifest.json that Docker 25 adds to a layout, of the blobs ``layers``."""
    names = [f"blobs/{layer['digest'].replace(':', '/')}" for layer in layers]
    entry = {"Config": "config.json", "RepoTags": None, "Layers": names}
    (layout / "manifest.json").write_text(json.dumps([entry]))
    return layout


def write_docker_archive(target: Path, *images: Sequence[bytes]) -> Path:
    """Write an archive like ``docker save``, of images with these layers."""
    entries = []
    with tarfile.open(target, "w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for layers in images:
            names = [f"{hashlib.sha256(data).hexdigest()}/layer.tar" for data in layers]
            for name, data in zip(names, layers, strict=True):
                add(name, data)
            add("config.json", b"{}")
            entries.append({"Config": "config.json", "RepoTags": ["x:1"], "Layers": names})
        add("manifest.json", json.dumps(entries).encode())
    return target


def build_squashfs(directory: Path, target: Path, compression: str = "gzip") -> Path:
    """Build a squashfs image of ``directory``."""
    command = ["mksquashfs", str(directory), str(target), "-comp", compression, "-all-root"]
    subprocess.run([*command, "-noappend", "-no-xattrs"], check=True, capture_output=True)
    return target


def build_appimage(directory: Path, target: Path, compression: str = "gzip") -> Path:
    """Build an AppImage of type 2: a small program, marked as its specification says."""
    runtime = bytearray(build_elf(target.parent / "runtime", program=True).read_bytes())
    runtime[8:11] = b"AI\2"
    image = build_squashfs(directory, target.parent / "image", compression)
    target.write_bytes(runtime + image.read_bytes())
    image.unlink()
    return target


def build_conda(prefix: Path, target: Path, parts: Sequence[str] = ("info", "pkg")) -> Path:
    """Build a ``.conda`` package of a prefix with the directory ``info``.

    ``parts`` are its tarballs; a part that occurs twice gets two names.
    """
    others = sorted(path.name for path in prefix.iterdir() if path.name != "info")
    members = {"info": ["info"], "pkg": others}
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for number, part in enumerate(parts):
            name = f"{part}-{target.stem}{'' if number < 2 else number}.tar.zst"
            tarball = target.parent / name
            command = ["tar", "--zstd", "-cf", str(tarball), "-C", str(prefix)]
            subprocess.run([*command, *members[part]], check=True)
            archive.write(tarball, name)
            tarball.unlink()
    return target
