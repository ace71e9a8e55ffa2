"""Debian and RPM packages: read and checked as they are installed, never written."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from archive.views import describe_directory, describe_tree
from builders.elf import build_elf
from builders.packages import build_deb, build_rpm, replace_in_payload, strip_payload
from builders.run import run_bundle_fix
from bundle_fix.archive.directory import read_directory
from bundle_fix.archive.limits import Limits
from bundle_fix.archive.packages.rpm_header import HEADER_MAGIC, find_header, read_files
from bundle_fix.archive.reading import open_artifact
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import InstallLocation
from bundle_fix.storage.privileges import Privilege, find_privileges

PRIVATE = "usr/lib/sample"
MULTIARCH = "usr/lib/x86_64-linux-gnu"


def make_root(directory: Path) -> Path:
    """Fill the root of a package with a program, a public and a private library."""
    build_elf(directory / MULTIARCH / "libeach.so.1.2", soname="libeach.so.1", tag="each")
    (directory / MULTIARCH / "libeach.so.1").symlink_to("libeach.so.1.2")
    (directory / "usr/lib/again").symlink_to(f"/{MULTIARCH}")
    build_elf(directory / PRIVATE / "libown.so", soname="libown.so", tag="own")
    needed = ["libeach.so.1", "libown.so", "libfrom-elsewhere.so.3"]
    build_elf(directory / "usr/bin/tool", program=True, needed=needed, runpath=f"/{PRIVATE}")
    (directory / "usr/bin/same").hardlink_to(directory / "usr/bin/tool")
    (directory / "etc").mkdir()
    (directory / "etc/sample.conf").write_text("a file\n")
    return directory


def make_package(tmp_path: Path, kind: str, how: str) -> Path:
    root, target = make_root(tmp_path / "root"), tmp_path / f"x.{kind}"
    return build_deb(root, target, how) if kind == "deb" else build_rpm(root, target, how)


KINDS = [
    *(("deb", how) for how in ("none", "gzip", "xz", "zstd")),
    *(("rpm", f"w3.{how}dio") for how in ("gz", "bz", "zst", "lz")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "how"), KINDS)
def test_the_tree_of_a_package_is_what_it_installs(tmp_path: Path, kind: str, how: str) -> None:
    path = make_package(tmp_path, kind, how)
    with open_artifact(path) as artifact:
        assert artifact.format == kind
        assert artifact.tree.location is InstallLocation.BESIDE_OTHERS
        found = describe_tree(artifact.tree)
    expected = describe_tree(read_directory(tmp_path / "root"))
    for name, value in expected.items():
        if not name.startswith("DEBIAN") and value[0] != "directory":
            # Which of two hard links is the first depends on the packager.
            assert found[name][1] == value[1]
    twins = {name for name in found if found[name][0] == "file" and found[name][2]}
    assert len(twins) == 1


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_package_is_checked_as_it_is_installed(tmp_path: Path, kind: str) -> None:
    path = make_package(tmp_path, kind, {"deb": "xz", "rpm": "w3.zstdio"}[kind])
    ran = run_bundle_fix("check", path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{path}: passed: no findings (2 programs, 2 libraries, " in ran.stdout
    tree = run_bundle_fix("tree", path, "usr/bin/tool").stdout
    assert f"{MULTIARCH}/libeach.so.1" in tree
    assert f"{PRIVATE}/libown.so" in tree
    assert run_bundle_fix("why", path, "libown.so").returncode == 0


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_library_that_the_loader_does_not_find_is_reported(tmp_path: Path, kind: str) -> None:
    """The same package, but the program has no RUNPATH."""
    root = make_root(tmp_path / "root")
    (root / "usr/bin/same").unlink()
    build_elf(root / "usr/bin/tool", program=True, needed=["libeach.so.1", "libown.so"])
    target = tmp_path / f"x.{kind}"
    path = build_deb(root, target) if kind == "deb" else build_rpm(root, target)
    ran = run_bundle_fix("check", path)
    assert ran.returncode == 1
    assert "BF101" in ran.stdout
    assert "usr/bin/tool needs libown.so" in ran.stdout
    assert "libeach" not in ran.stdout


def test_directories_in_the_packages_own_ld_so_conf_are_searched(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / "usr/bin/same").unlink()
    build_elf(root / "usr/bin/tool", program=True, needed=["libown.so"])
    (root / "etc/ld.so.conf.d").mkdir()
    (root / "etc/ld.so.conf.d/sample.conf").write_text(f"/{PRIVATE}\n")
    assert run_bundle_fix("check", build_deb(root, tmp_path / "x.deb")).returncode == 0


@pytest.mark.parametrize(("kind", "name"), [("deb", "Debian"), ("rpm", "RPM")])
def test_fix_refuses_packages_and_leaves_them_unchanged(
    tmp_path: Path, kind: str, name: str
) -> None:
    make_package(tmp_path, kind, {"deb": "xz", "rpm": "w3.zstdio"}[kind])
    was = describe_directory(tmp_path)
    for more in ([], ["--in-place"], ["--dry-run"], ["-o", tmp_path / "y.tar.gz"]):
        ran = run_bundle_fix("fix", tmp_path / f"x.{kind}", *more)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
        assert f"bundle-fix reads {name} packages but does not write them" in ran.stderr
    assert describe_directory(tmp_path) == was


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_package_truncated_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    path = make_package(tmp_path, kind, {"deb": "gzip", "rpm": "w1.gzdio"}[kind])
    whole = path.read_bytes()
    for length in range(8, len(whole), max(1, len(whole) // 30)):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleFixError) as error, open_artifact(path):
            pass
        assert str(error.value).startswith(f"{path}")
        assert "/proc/" not in str(error.value)


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_the_limits_apply_to_packages(tmp_path: Path, kind: str) -> None:
    path = make_package(tmp_path, kind, {"deb": "xz", "rpm": "w3.zstdio"}[kind])
    for limits, text in ((Limits(max_members=3), "more than 3"), (Limits(max_size=9999), "9.8K")):
        with pytest.raises(BundleFixError, match=text), open_artifact(path, limits):
            pass


def test_a_static_library_is_not_a_package(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    subprocess.run(["ar", "rc", tmp_path / "x.a", tmp_path / "x"], check=True)
    with (
        pytest.raises(BundleFixError, match="not a Debian package"),
        open_artifact(tmp_path / "x.a"),
    ):
        pass


def test_a_tarball_with_a_pkginfo_file_is_a_package(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / ".PKGINFO").write_text("pkgname = sample\n")
    command: list[str | Path] = ["tar", "-C", root, "-caf", tmp_path / "x.pkg.tar.zst"]
    subprocess.run([*command, ".PKGINFO", "usr", "etc"], check=True)
    assert run_bundle_fix("check", tmp_path / "x.pkg.tar.zst").returncode == 0
    assert (
        "this is a distribution package; fix changes only relocatable packs"
        in run_bundle_fix("fix", tmp_path / "x.pkg.tar.zst").stderr
    )


@pytest.mark.parametrize("number", [b"-0000001", b"0x000001", b"0_000001", b" 0000001"])
def test_numbers_that_only_python_accepts_are_refused(tmp_path: Path, number: bytes) -> None:
    path = make_package(tmp_path, "rpm", "w1.gzdio")
    whole = path.read_bytes()
    start = whole.index(b"\x1f\x8b\x08")
    cpio = gzip.decompress(whole[start:])
    path.write_bytes(whole[:start] + gzip.compress(cpio[:54] + number + cpio[62:]))
    with pytest.raises(BundleFixError, match="truncated or damaged"), open_artifact(path):
        pass


def make_stripped_rpm(tmp_path: Path) -> Path:
    """Build a package whose payload has stripped headers, as rpm 6 writes it."""
    return strip_payload(make_package(tmp_path, "rpm", "w1.gzdio"))


def test_files_with_stripped_headers_are_those_of_the_package_header(tmp_path: Path) -> None:
    whole = build_rpm(make_root(tmp_path / "root"), tmp_path / "x.rpm", "w1.gzdio")
    with open_artifact(whole) as artifact:
        expected = describe_tree(artifact.tree)
    with open_artifact(strip_payload(whole)) as artifact:
        assert describe_tree(artifact.tree) == expected


def test_sizes_beyond_4_gib_are_in_a_list_of_their_own(tmp_path: Path) -> None:
    lists: dict[int, tuple[int, bytes]] = {
        1118: (8, b"/opt/\0"), 1117: (8, b"large\0"), 1036: (8, b"\0"),
        1116: (4, bytes(4)), 1034: (4, bytes(4)), 1037: (4, bytes(4)), 1095: (4, bytes(4)),
        1096: (4, bytes(4)), 1030: (3, struct.pack(">H", 0o100644)),
        5008: (5, struct.pack(">Q", 5 << 30)),
    }  # fmt: skip
    index, store = b"", b""
    for tag, (kind, data) in lists.items():
        index += struct.pack(">4I", tag, kind, len(store), 1)
        store += data
    start = HEADER_MAGIC + bytes(4) + struct.pack(">2I", len(lists), len(store))
    path = tmp_path / "header"
    path.write_bytes(start + index + store)
    with path.open("rb") as file:
        (found,) = read_files(find_header(file.fileno(), 0, path))
    assert (found.name, found.size, found.mode) == ("/opt/large", 5 << 30, 0o100644)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"07070X00000001", b"07070Xffffffff"), (b"07070X00000001", b"07070X0000000g"),
     (b"07070X00000001", b"07070X-0000001"), (b"07070X00000001", b"07070X00000002")],
)  # fmt: skip
def test_an_invalid_stripped_header_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = make_stripped_rpm(tmp_path)
    replace_in_payload(path, old, new)
    with pytest.raises(BundleFixError), open_artifact(path):
        pass


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"./etc/sample.conf", b"./etc/zample.conf"), (b"/usr/lib/x86", b"/usr/lib/y86")],
)
def test_a_member_that_the_header_describes_differently_is_refused(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    """Rpm follows the header; rpm2cpio and cpio follow the archive."""
    path = make_package(tmp_path, "rpm", "w1.gzdio")
    replace_in_payload(path, old, new)
    with pytest.raises(BundleFixError, match="does not match the"), open_artifact(path):
        pass


@pytest.mark.parametrize("kind", ["deb", "rpm"])
def test_a_package_with_any_bytes_changed_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    path = make_package(tmp_path, kind, {"deb": "none", "rpm": "w1.gzdio"}[kind])
    whole = path.read_bytes()
    for at in range(0, min(len(whole), 20000), 197):
        path.write_bytes(whole[:at] + os.urandom(8) + whole[at + 8 :])
        with suppress(BundleFixError), open_artifact(path) as artifact:
            assert not any(".." in name.split("/") for name in artifact.tree.nodes)


def test_a_deb_gives_capabilities_in_its_script(tmp_path: Path) -> None:
    script = make_root(tmp_path / "root") / "DEBIAN/postinst"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nif setcap 'cap_net_raw=ep' /usr/bin/tool; then exit 0; fi\n")
    script.chmod(0o755)
    with open_artifact(build_deb(tmp_path / "root", tmp_path / "x.deb")) as artifact:
        assert find_privileges(artifact.tree, "usr/bin/tool") == (Privilege.CAPABILITIES,)
        assert find_privileges(artifact.tree, f"{PRIVATE}/libown.so") == ()


def test_an_rpm_lists_capabilities_in_its_header(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / "usr/bin/same").unlink()
    files = "%caps(cap_net_raw=ep) /usr/bin/tool\n/etc\n/usr/lib"
    package = build_rpm(root, tmp_path / "x.rpm", files=files)
    with open_artifact(package) as artifact:
        assert find_privileges(artifact.tree, "usr/bin/tool") == (Privilege.CAPABILITIES,)
