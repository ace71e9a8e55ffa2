"""Packages and container images around a folder, by dpkg-deb, rpmbuild and by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SPEC = """
Name: sample
Version: 1
Release: 1
Summary: a sample
License: none
%%define __os_install_post %%{nil}
%%define _build_id_links none
%%define _binary_payload %(payload)s
%%define _build_name_fmt %%%%{NAME}.rpm
%%description
A sample.
%%install
mkdir -p %%{buildroot}
cp -a %(folder)s/. %%{buildroot}
%%files
/*
"""


def build_deb(folder: Path, target: Path, compression: str = "xz") -> Path:
    """A Debian package of what lies in ``folder``, which gets the control file that it wants."""
    control = folder / "DEBIAN/control"
    control.parent.mkdir(exist_ok=True)
    control.write_text(
        "Package: sample\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
        "Description: a sample\n"
    )
    command = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", folder, target]
    subprocess.run(command, check=True, capture_output=True)
    return target


def build_rpm(folder: Path, target: Path, payload: str = "w3.zstdio") -> Path:
    """An RPM package of what lies in ``folder``."""
    top = target.parent / "rpmbuild"
    top.mkdir(exist_ok=True)
    spec = top / "sample.spec"
    spec.write_text(SPEC % {"folder": folder, "payload": payload})
    command = ["rpmbuild", "-bb", "--define", f"_topdir {top}", "--nodeps", spec]
    subprocess.run([*command, "--define", "_rpmfilename x.rpm"], check=True, capture_output=True)
    (top / "RPMS/x.rpm").replace(target)
    return target


def make_layer(members: Sequence[tuple[str, bytes | Path | None]]) -> bytes:
    """A layer: bytes are a file's, a path is a link's, and None makes a folder."""
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
    """Put a blob into an image layout and describe it."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def add_image_manifest(layout: Path, layers: Sequence[bytes], **more: Any) -> dict[str, Any]:
    """Put an image of these layers into a layout and describe it."""
    config = add_blob(layout, b"{}")
    packed = [gzip.compress(data, mtime=0) for data in layers]
    described = {
        "schemaVersion": 2,
        "config": config,
        "layers": [add_blob(layout, d) for d in packed],
    }
    return add_blob(layout, json.dumps(described).encode()) | more


def write_oci_layout(layout: Path, *manifests: dict[str, Any]) -> Path:
    """An OCI image layout of images that are in its blobs already."""
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": manifests}
    (layout / "index.json").write_text(json.dumps(index))
    return layout


def write_docker_archive(target: Path, *images: Sequence[bytes]) -> Path:
    """What ``docker save`` writes of images of these layers."""
    described = []
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
            described.append({"Config": "config.json", "RepoTags": ["x:1"], "Layers": names})
        add("manifest.json", json.dumps(described).encode())
    return target
