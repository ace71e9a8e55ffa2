"""`bundle-fix init`: the first spec packs the same tree again without changes."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli

from builders.elf import CROSS, build_elf
from builders.pack import make_healthy_pack, make_tarball
from builders.run import run_bundle_fix
from builders.wheel import build_wheel
from bundle_fix.draft.spec import draft_spec
from bundle_fix.draft.text import format_spec
from bundle_fix.report.schemas import build_spec_schema


def write_install_tree(root: Path) -> Path:
    """Write the files that a build installs: a program, libraries with symlinks, headers."""
    make_healthy_pack(root)
    (root / "lib/libtcmalloc.so").symlink_to("libtcmalloc.so.4")
    build_elf(root / "lib/plugins/codec.so", needed=["libtcmalloc.so.4"])
    for name in ("etc/server.ini", "include/server/api.h", "lib/pkgconfig/server.pc", "README"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    (root / "etc/current.ini").symlink_to("server.ini")
    return root


def list_members(root: Path) -> set[str]:
    """Return the paths of all files and symlinks below ``root``."""
    return {
        str(Path(parent, name).relative_to(root))
        for parent, directories, names in os.walk(root)
        for name in (*names, *(d for d in directories if Path(parent, d).is_symlink()))
    }


def list_packed_members(spec: Path, *options: str | Path) -> set[str]:
    """Make a pack from a spec and return its files and symlinks, without the manifest."""
    out = spec.parent.with_name(f"{spec.parent.name}.tar")
    done = run_bundle_fix("pack", spec, "-o", out, *options, cwd=spec.parent)
    assert done.returncode == 0, spec.read_text() + done.stderr
    with tarfile.open(out) as archive:
        found = {m.name.split("/", 1)[1] for m in archive if not m.isdir()}
    return found - {"bundle-manifest.json"}


def draft_and_validate(root: Path, spec: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Write a first spec for ``root``, check it against the schema and parse it."""
    spec = spec or root.parent / "bundle.toml"
    spec.write_text(format_spec(draft_spec(root, spec, root.name)))
    data = tomli.loads(spec.read_text())
    jsonschema.validate(data, build_spec_schema(), cls=jsonschema.Draft202012Validator)
    return spec, data


def test_an_install_tree_is_packed_completely(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "server-2.5.0/install")
    done = run_bundle_fix("init", root, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "bundle.toml\n")
    assert done.stderr == (
        "Review its comments, then make and check the pack: bundle-fix pack bundle.toml\n"
    )
    assert list_packed_members(tmp_path / "bundle.toml") == list_members(root)
    assert "\nbundle = []\n" in (tmp_path / "bundle.toml").read_text()


def test_the_spec_may_be_inside_or_outside_the_tree(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    expected = list_members(root)
    inside, data = draft_and_validate(root, root / "bundle.toml")
    assert data["variables"]["tree"] == {"value": "."}
    draft_and_validate(root, inside)
    assert list_packed_members(inside) == expected
    inside.unlink()
    (tmp_path / "specs").mkdir()
    spec, data = draft_and_validate(root, tmp_path / "specs/s.toml")
    assert data["variables"]["tree"] == {"value": "{here}/../tree"}
    assert list_packed_members(spec, "-C", tmp_path) == expected


def test_an_archive_is_packed_from_the_directory_it_is_unpacked_to(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    archive = make_tarball(root, tmp_path / "server-2.5.0-glibc2.17.tar.gz", "server-2.5.0")
    done = run_bundle_fix("init", archive, cwd=tmp_path)
    assert done.stderr == (
        f"Review its comments and unpack {archive}, then make and check the pack:"
        " bundle-fix pack bundle.toml -C TOP_DIRECTORY\n"
    )
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "xf", archive, "-C", tmp_path / "unpacked"], check=True)
    found = list_packed_members(tmp_path / "bundle.toml", "-C", tmp_path / "unpacked/server-2.5.0")
    assert found == list_members(root)
    data = tomli.loads((tmp_path / "bundle.toml").read_text())
    assert data["bundle"] == {"name": "server-{version}-glibc2.17", "format": "tar.gz"}
    assert data["variables"]["version"] == {"value": "2.5.0"}


def test_the_glibc_version_of_this_machine_in_a_name_becomes_a_variable(tmp_path: Path) -> None:
    glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1]
    root = write_install_tree(tmp_path / f"server-2.5.0-glibc{glibc}-release")
    _, data = draft_and_validate(root)
    assert data["bundle"]["name"] == "server-{version}-glibc{glibc}-release"


def test_a_wheel_is_read_as_a_tree(tmp_path: Path) -> None:
    wheel = build_wheel(
        write_install_tree(tmp_path / "tree"), tmp_path / "native-1.0-py3-none-any.whl"
    )
    done = run_bundle_fix("init", wheel, "-o", "-", cwd=tmp_path)
    assert 'from = "{tree}/lib/*.so*"' in done.stdout
    assert 'format = "tar.gz"' in done.stdout


def test_an_existing_spec_is_overwritten_only_with_force(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    (tmp_path / "bundle.toml").write_text("mine")
    done = run_bundle_fix("init", root, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "bundle-fix: error: bundle.toml: the spec already exists (use --force to overwrite it)\n",
    )
    assert (tmp_path / "bundle.toml").read_text() == "mine"
    assert run_bundle_fix("init", root, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "bundle.toml").read_text().startswith("# A first spec")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "gone: no such file or directory"),
        ("empty", "empty: contains no files to pack (build and install first)"),
        ("tree/bin/server", "tree/bin/server: is a single file, not a tree (pass the directory"),
        ("tree/README", "tree/README: "),
    ],
)
def test_an_artifact_that_is_not_a_tree_is_refused(tmp_path: Path, name: str, message: str) -> None:
    write_install_tree(tmp_path / "tree")
    (tmp_path / "empty").mkdir()
    done = run_bundle_fix("init", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bundle-fix: error: {message}")
    assert not (tmp_path / "bundle.toml").exists()


def test_other_needed_libraries_are_bundled_or_left_to_the_host(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    needed = ["libstdc++.so.6", "libjvm.so", "libmissing.so.3", "libX11.so.6"]
    build_elf(root / "bin/tool", program=True, needed=needed)
    spec, data = draft_and_validate(root)
    closure = data["closure"]
    assert closure == {
        "bundle": ["libstdc++.so.6", "libgcc_s.so.1"],
        "host": ["libjvm.so", "libmissing.so.3", "libX11.so.6"],
    }
    assert '"libmissing.so.3",  # not found on this machine' in spec.read_text()
    assert {"lib/libstdc++.so.6", "lib/libgcc_s.so.1"} <= list_packed_members(spec)


def test_bundled_libraries_go_to_the_directory_of_the_other_libraries(tmp_path: Path) -> None:
    root = tmp_path / "old"
    build_elf(root / "bin/libx.so.1", soname="libx.so.1")
    build_elf(root / "bin/tool", program=True, needed=["libx.so.1", "libstdc++.so.6"], runpath=".")
    spec, data = draft_and_validate(root)
    assert data["layout"] == {"lib": "bin/"}
    assert "bin/libstdc++.so.6" in list_packed_members(spec)


def test_libraries_that_a_glob_cannot_pack_get_an_entry_each(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    build_elf(root / "lib/libx.so.1.0", soname="libx.so.1")
    build_elf(root / "lib/libx.so.2.0", soname="libx.so.2")
    build_elf(root / "lib/arm/liby.so.1", soname="liby.so.1", toolchain=CROSS["armhf"])
    (root / "lib/plugins/libc.so").write_text("GROUP ( libc.so.6 )")
    spec, _ = draft_and_validate(root)
    links = {"lib/libx.so.1", "lib/libx.so.2", "lib/plugins/codec.so"}
    assert list_packed_members(spec) == list_members(root) | links


@pytest.mark.parametrize("link", ["libx.so.1.9", "libx.so.1.10", None])
def test_only_the_loaded_version_of_a_library_is_packed(tmp_path: Path, link: str | None) -> None:
    root = write_install_tree(tmp_path / "tree")
    for name in ("libx.so.1.9", "libx.so.1.10"):
        build_elf(root / "lib" / name, soname="libx.so.1")
    if link is not None:
        (root / "lib/libx.so.1").symlink_to(link)
    other = "libx.so.1.10" if link == "libx.so.1.9" else "libx.so.1.9"
    spec, _ = draft_and_validate(root)
    assert f"another version has the same soname:\n# lib/{other}\n" in spec.read_text()
    links = {"lib/libx.so.1", "lib/plugins/codec.so"}
    assert list_packed_members(spec) == (list_members(root) | links) - {f"lib/{other}"}


def test_variants_of_a_library_that_share_its_soname_are_packed_as_files(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    for name in ("libx.so.1", "libx_avx.so.1"):
        build_elf(root / "lib" / name, soname="libx.so.1", tag=name)
    spec, _ = draft_and_validate(root)
    assert list_packed_members(spec) == list_members(root) | {"lib/plugins/codec.so"}


def test_members_that_no_pack_can_contain_are_left_out_and_listed(tmp_path: Path) -> None:
    root = write_install_tree(tmp_path / "tree")
    expected = list_members(root)
    (root / "lib64").symlink_to("lib")
    (root / "etc/gone.ini").symlink_to("/missing/gone.ini")
    os.mkfifo(root / "etc/pipe")
    spec, _ = draft_and_validate(root)
    assert "# etc/gone.ini, etc/pipe, lib64\n" in spec.read_text()
    assert list_packed_members(spec) == expected


def test_files_with_unusual_names_are_packed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    names = ["a b", 'quo"te', "back\\slash", "{brace}", "[set]?*", "ünï", "-dash", "#hash"]
    for name in (*names, "new\nline"):
        build_elf(root / name / name, program=True)
        build_elf(
            root / f"lib{name}/x{name}.so",
            soname=f"x{name}.so".replace("\n", "_"),
            source="int odd;",
        )
        (root / f"{name}.txt").write_text(name)
        (root / f"lib{name}/other").write_text(name)
    spec, data = draft_and_validate(root)
    assert len(data["libraries"]) == len(names)
    assert list_packed_members(spec) == list_members(root)


def test_many_programs_share_one_entry_that_lists_them(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for number in range(14):
        build_elf(root / f"bin/tool{number}", program=True)
    spec, data = draft_and_validate(root)
    assert [entry["from"] for entry in data["files"]] == ["{tree}/bin"]
    assert "# with the programs tool0, tool1, " in spec.read_text()
    assert list_packed_members(spec) == list_members(root)
