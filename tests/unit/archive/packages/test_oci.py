"""Container images: their layers are merged into the root file system of a container."""

from __future__ import annotations

import io
import platform
import shutil
import tarfile
from pathlib import Path

import pytest

from archive.views import describe_directory, read_data
from builders.elf import build_elf
from builders.packages import (
    add_blob,
    add_image_manifest,
    add_index,
    make_layer,
    write_docker_archive,
    write_oci_layout,
    write_saved_manifest,
)
from builders.run import run_bundle_fix
from bundle_fix.archive.formats import CONTAINER
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.packages.oci_index import ARCHITECTURES, MAX_DOCUMENTS
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, InstallLocation, Symlink

BASE = make_layer(
    [("usr", None), ("usr/lib", None), ("lib", Path("usr/lib")), ("usr/lib/old", b"1"),
     ("usr/lib/kept", b"2"), ("etc", None), ("etc/a", b"3"), ("etc/d", None), ("etc/d/x", b"4"),
     ("var", None), ("var/x", b"5"), ("file", b"6")]
)  # fmt: skip
TOP = make_layer(
    [("usr/lib/.wh.old", b""), ("lib/new", b"7"), ("etc", None), ("etc/d", b"a file now"),
     ("var", None), ("var/.wh..wh..opq", b""), ("var/y", b"8"), ("file", None), ("file/z", b"9")]
)  # fmt: skip


def merge_image(path: Path) -> dict[str, object]:
    with open_artifact(path) as artifact:
        assert (artifact.format, artifact.tree.location) == (CONTAINER, InstallLocation.ROOT)
        return {
            name: read_data(node.content) if isinstance(node, File)
            else node.target if isinstance(node, Symlink) else None
            for name, node in artifact.tree.nodes.items()
        }  # fmt: skip


MERGED = {
    "usr": None, "usr/lib": None, "lib": "usr/lib", "usr/lib/kept": b"2", "usr/lib/new": b"7",
    "etc": None, "etc/a": b"3", "etc/d": b"a file now", "var": None, "var/y": b"8",
    "file": None, "file/z": b"9",
}  # fmt: skip


def make_layout(directory: Path) -> Path:
    directory.mkdir()
    return write_oci_layout(directory, add_image_manifest(directory, [BASE, TOP]))


def test_the_layers_of_a_layout_are_merged(tmp_path: Path) -> None:
    assert merge_image(make_layout(tmp_path / "image")) == MERGED


def test_a_tarball_of_a_layout_is_an_image(tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "image"), "gztar", make_layout(tmp_path / "image"))
    assert merge_image(tmp_path / "image.tar.gz") == MERGED


def test_the_layers_of_a_docker_archive_are_merged(tmp_path: Path) -> None:
    assert merge_image(write_docker_archive(tmp_path / "x.tar", [BASE, TOP])) == MERGED


def test_of_the_images_for_several_machines_the_one_for_this_machine_is_read(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "image"
    directory.mkdir()
    here = ARCHITECTURES.get(platform.machine(), platform.machine())
    images = [
        add_image_manifest(
            directory, [BASE], platform={"architecture": "unknown", "os": "unknown"}
        ),
        add_image_manifest(directory, [TOP], platform={"architecture": "sparc", "os": "linux"}),
        add_image_manifest(directory, [BASE, TOP], platform={"architecture": here, "os": "linux"}),
    ]
    assert merge_image(write_oci_layout(directory, *images)) == MERGED


HERE = ARCHITECTURES.get(platform.machine(), platform.machine())


def test_an_image_saved_by_its_id_has_no_manifest_in_the_index(tmp_path: Path) -> None:
    """Docker 25 writes ``"manifests": null`` then."""
    write_oci_layout(tmp_path)
    for text in ('{"manifests": null}', '{"manifests": []}'):
        (tmp_path / "index.json").write_text(text)
        write_saved_manifest(tmp_path, add_blob(tmp_path, BASE), add_blob(tmp_path, TOP))
        assert merge_image(tmp_path) == MERGED


def test_an_image_without_layers_is_empty(tmp_path: Path) -> None:
    write_oci_layout(tmp_path)
    (tmp_path / "manifest.json").write_text('[{"Config": "c", "Layers": null}]')
    assert merge_image(tmp_path) == {}


@pytest.mark.parametrize("depth", [1, 6])
def test_indexes_may_be_nested(tmp_path: Path, depth: int) -> None:
    found = add_image_manifest(tmp_path, [BASE, TOP])
    for _ in range(depth):
        found = add_index(tmp_path, found)
    assert merge_image(write_oci_layout(tmp_path, found, found)) == MERGED


def test_images_in_different_nested_indexes_are_chosen_by_platform(tmp_path: Path) -> None:
    here = add_image_manifest(tmp_path, [BASE, TOP], platform={"architecture": HERE, "os": "linux"})
    other = add_image_manifest(tmp_path, [TOP], platform={"architecture": HERE, "os": "windows"})
    third = add_image_manifest(tmp_path, [BASE], platform={"architecture": "vax", "os": "linux"})
    indexes = add_index(tmp_path, other, third), add_index(tmp_path, here)
    assert merge_image(write_oci_layout(tmp_path, *indexes)) == MERGED


def test_without_a_platform_in_the_index_the_configuration_has_it(tmp_path: Path) -> None:
    images = [
        add_image_manifest(tmp_path, layers, {"architecture": architecture, "os": "linux"})
        for layers, architecture in (([BASE], "vax"), ([BASE, TOP], HERE))
    ]
    assert merge_image(write_oci_layout(tmp_path, *images)) == MERGED


def test_images_of_other_platforms_may_be_missing(tmp_path: Path) -> None:
    image = add_image_manifest(tmp_path, [BASE, TOP])
    absent = {"digest": "sha256:" + "0" * 64, "platform": {"architecture": "vax", "os": "linux"}}
    assert merge_image(write_oci_layout(tmp_path, absent, image)) == MERGED
    with pytest.raises(BundleFixError, match="0000 is missing from the image"), open_artifact(
        write_oci_layout(tmp_path, absent)
    ):  # fmt: skip
        pass


def test_provenance_of_buildkit_is_not_an_image(tmp_path: Path) -> None:
    image = add_image_manifest(tmp_path, [BASE, TOP])
    kind = {"vnd.docker.reference.type": "attestation-manifest"}
    provenance = add_image_manifest(tmp_path, [BASE], annotations=kind)
    assert merge_image(write_oci_layout(tmp_path, add_index(tmp_path, image, provenance))) == MERGED


def test_two_manifests_that_disagree_are_refused(tmp_path: Path) -> None:
    """``docker load`` reads manifest.json; containerd, skopeo and podman read the index."""
    write_oci_layout(tmp_path, add_image_manifest(tmp_path, [BASE, TOP]))
    write_saved_manifest(tmp_path, add_blob(tmp_path, BASE))
    with pytest.raises(BundleFixError, match="list different layers"), open_artifact(tmp_path):
        pass


def test_too_many_manifests_are_refused(tmp_path: Path) -> None:
    images = [add_blob(tmp_path, b"{}" + b" " * n) for n in range(MAX_DOCUMENTS + 1)]
    write_oci_layout(tmp_path, *images)
    with pytest.raises(BundleFixError, match="more than 200 indexes"), open_artifact(tmp_path):
        pass


def test_several_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    both = [
        add_image_manifest(tmp_path / "image", [BASE]),
        add_image_manifest(tmp_path / "image", [TOP]),
    ]
    for path in (
        write_oci_layout(tmp_path / "image", *both),
        write_docker_archive(tmp_path / "x.tar", [BASE], [TOP]),
    ):
        with pytest.raises(BundleFixError, match="it contains 2 images"), open_artifact(path):
            pass


def test_a_pack_with_its_own_manifest_json_is_not_an_image(tmp_path: Path) -> None:
    for text in (b"{}", b"[]x", b'[{"name": "x"}]', b"\xff"):
        (tmp_path / "x.tar").write_bytes(make_layer([("manifest.json", text), ("bin", None)]))
        with open_artifact(tmp_path / "x.tar") as artifact:
            assert artifact.format == "tar"


def test_fix_refuses_images_and_leaves_them_unchanged(tmp_path: Path) -> None:
    path = make_layout(tmp_path / "image")
    was = describe_directory(tmp_path)
    for more in ([], ["--in-place"]):
        ran = run_bundle_fix("fix", path, *more)
        assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
        assert "bundle-fix reads container images but does not write them" in ran.stderr
    assert describe_directory(tmp_path) == was


def test_an_image_is_checked_against_its_own_root_file_system(tmp_path: Path) -> None:
    """Its default directories and absolute paths are those of the image, not of this machine."""
    root = tmp_path / "root"
    build_elf(root / "opt/lib/libown.so", soname="libown.so")
    build_elf(root / "usr/lib/libx.so.1", soname="libx.so.1")
    loader = Path("/lib64/ld-linux-x86-64.so.2").resolve()
    libc = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve()
    needed = ["libx.so.1", "libown.so"]
    good = build_elf(root / "good", program=True, needed=needed, runpath="/opt/lib")
    lost = build_elf(root / "lost", program=True, needed=needed)
    members = [
        ("usr/bin/tool", good.read_bytes()), ("opt/lib/libown.so", None),
        ("lib64/ld-linux-x86-64.so.2", loader.read_bytes()),
        ("lib/x86_64-linux-gnu/libc.so.6", libc.read_bytes()),
        ("usr/lib/libx.so.1", (root / "usr/lib/libx.so.1").read_bytes()),
    ]  # fmt: skip
    members[1] = ("opt/lib/libown.so", (root / "opt/lib/libown.so").read_bytes())
    ran = run_bundle_fix("check", write_docker_archive(tmp_path / "x.tar", [make_layer(members)]))
    assert (ran.returncode, ran.stderr) == (0, "")
    hotfix = make_layer([("usr/bin/tool", lost.read_bytes())])
    ran = run_bundle_fix(
        "check", write_docker_archive(tmp_path / "x.tar", [make_layer(members), hotfix])
    )
    assert ran.returncode == 1
    assert "usr/bin/tool needs libown.so" in ran.stdout
    assert "libx.so.1" not in ran.stdout


def damage_index(tmp_path: Path, text: str) -> Path:
    directory = tmp_path / "image"
    if not directory.exists():
        make_layout(directory)
    (directory / "index.json").write_text(text)
    return directory


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "nonsense", '{"manifests": []}', '{"manifests": [3]}', "[" * 100_000,
     '{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}', '{"manifests": [{"digest": 7}]}',
     '{"manifests": [{"digest": "sha256:00"}]}', '{"manifests": {"digest": "sha256:00"}}'],
)  # fmt: skip
def test_an_invalid_index_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BundleFixError), open_artifact(damage_index(tmp_path, text)):
        pass


def test_an_index_that_contains_itself_is_refused(tmp_path: Path) -> None:
    directory = make_layout(tmp_path / "image")
    blobs = directory / "blobs/sha256"
    (blobs / "aa").write_text('{"manifests": [{"digest": "sha256:aa"}]}')
    text = '{"manifests": [{"digest": "sha256:aa"}]}'
    with pytest.raises(BundleFixError), open_artifact(damage_index(tmp_path, text)):
        pass


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b"])
def test_a_layer_with_a_name_outside_the_root_is_refused(tmp_path: Path, name: str) -> None:
    path = write_docker_archive(tmp_path / "x.tar", [make_layer([(name, b"")])])
    with pytest.raises(BundleFixError, match="outside the target directory"), open_artifact(path):
        pass


def test_symlinks_of_lower_layers_cannot_move_members_out_of_the_image(tmp_path: Path) -> None:
    below = make_layer(
        [("up", Path("../../../etc")), ("loop", Path("loop")), ("away", Path("/srv"))]
    )
    above = make_layer([("up/a", b"1"), ("loop/b", b"2"), ("away/c", b"3")])
    found = merge_image(write_docker_archive(tmp_path / "x.tar", [below, above]))
    assert not any(".." in name.split("/") or name.startswith("/") for name in found)


def test_the_limits_apply_to_all_layers_together(tmp_path: Path) -> None:
    half = make_layer([(f"{n}", b"x" * 40_000) for n in range(5)])
    other = make_layer([(f"{n}", b"y" * 40_000) for n in range(5)])
    (tmp_path / "image").mkdir()
    path = write_oci_layout(
        tmp_path / "image", add_image_manifest(tmp_path / "image", [half, other])
    )
    with open_artifact(path, Limits(max_members=20, max_size=450_000)):
        pass
    for limits in (Limits(max_members=9), Limits(max_size=350_000)):
        with pytest.raises(BundleFixError, match="more than"), open_artifact(path, limits):
            pass


def test_a_root_file_system_in_a_tarball_is_its_own_host(tmp_path: Path) -> None:
    """``docker export`` writes such tarballs, and distributions publish them."""
    lost = build_elf(tmp_path / "lost", program=True, needed=["libx.so.1"])
    library = build_elf(tmp_path / "libx", soname="libx.so.1")
    members = [
        ("etc/os-release", b"ID=sample\n"),
        ("lib64/ld-linux-x86-64.so.2", Path("/lib64/ld-linux-x86-64.so.2").read_bytes()),
        ("lib/x86_64-linux-gnu/libc.so.6", Path("/lib/x86_64-linux-gnu/libc.so.6").read_bytes()),
        ("usr/bin/tool", lost.read_bytes()), ("usr/lib/libx.so.1", library.read_bytes()),
    ]  # fmt: skip
    (tmp_path / "root.tar").write_bytes(make_layer(members))
    ran = run_bundle_fix("check", tmp_path / "root.tar")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "this is a root file system; fix changes only relocatable packs" in run_bundle_fix(
        "fix", tmp_path / "root.tar"
    ).stderr  # fmt: skip
    (tmp_path / "pack.tar").write_bytes(make_layer(members[3:]))
    assert run_bundle_fix("check", tmp_path / "pack.tar").returncode == 1


def test_devices_in_an_image_are_not_reported(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("dev/null")
        info.type = tarfile.CHRTYPE
        archive.addfile(info)
    image = write_docker_archive(tmp_path / "x.tar", [stream.getvalue()])
    ran = run_bundle_fix("check", "--allow-empty", image)
    assert (ran.returncode, "BF603" in ran.stdout) == (0, False)
