"""`bundle-fix init`: the first spec packs what it was made of, as it stands."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import jsonschema
import pytest
import tomli

from builders.elf import CROSS, elf
from builders.pack import make_healthy_pack, make_tarball
from builders.run import run_bundle_fix
from builders.wheel import build_wheel
from bundle_fix.draft.spec import first_spec
from bundle_fix.report.schemas import build_spec_schema


def install_tree(root: Path) -> Path:
    """What a build installs: a program, libraries with links, settings and headers."""
    make_healthy_pack(root)
    (root / "lib/libtcmalloc.so").symlink_to("libtcmalloc.so.4")
    elf(root / "lib/plugins/codec.so", needed=["libtcmalloc.so.4"])
    for name in ("etc/server.ini", "include/server/api.h", "lib/pkgconfig/server.pc", "README"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    (root / "etc/current.ini").symlink_to("server.ini")
    return root


def members(root: Path) -> set[str]:
    return {
        str(Path(folder, name).relative_to(root))
        for folder, folders, names in os.walk(root)
        for name in (*names, *(f for f in folders if Path(folder, f).is_symlink()))
    }


def packed(spec: Path, *options: str | Path) -> set[str]:
    """The members of the pack that a spec makes, without what every pack gets."""
    out = spec.parent.with_name(f"{spec.parent.name}.tar")
    done = run_bundle_fix("pack", spec, "-o", out, *options, cwd=spec.parent)
    assert done.returncode == 0, spec.read_text() + done.stderr
    with tarfile.open(out) as archive:
        found = {m.name.split("/", 1)[1] for m in archive if not m.isdir()}
    return found - {"bundle-manifest.json"}


def drafted(root: Path, spec: Path | None = None) -> tuple[Path, dict[str, object]]:
    spec = spec or root.parent / "bundle.toml"
    spec.write_text(first_spec(root, spec, root.name))
    data = tomli.loads(spec.read_text())
    jsonschema.validate(data, build_spec_schema(), cls=jsonschema.Draft202012Validator)
    return spec, data


def test_an_install_tree_is_packed_whole(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "server-2.5.0/install")
    done = run_bundle_fix("init", root, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "bundle.toml\n")
    assert done.stderr == "read its comments; then: bundle-fix pack bundle.toml\n"
    assert packed(tmp_path / "bundle.toml") == members(root)
    assert "\nbundle = []\n" in (tmp_path / "bundle.toml").read_text()


def test_the_spec_may_lie_in_the_tree_and_elsewhere(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    expected = members(root)
    inside, data = drafted(root, root / "bundle.toml")
    assert data["variables"]["tree"] == {"value": "."}  # type: ignore[index]
    drafted(root, inside)
    assert packed(inside) == expected
    inside.unlink()
    (tmp_path / "specs").mkdir()
    spec, data = drafted(root, tmp_path / "specs/s.toml")
    assert data["variables"]["tree"] == {"value": "{here}/../tree"}  # type: ignore[index]
    assert packed(spec, "-C", tmp_path) == expected


def test_an_archive_is_packed_from_where_it_is_unpacked(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    archive = make_tarball(root, tmp_path / "server-2.5.0-glibc2.17.tar.gz", "server-2.5.0")
    done = run_bundle_fix("init", archive, cwd=tmp_path)
    assert "-C DIR   # the directory with the unpacked archive" in done.stderr
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "xf", archive, "-C", tmp_path / "unpacked"], check=True)
    found = packed(tmp_path / "bundle.toml", "-C", tmp_path / "unpacked/server-2.5.0")
    assert found == members(root)
    data = tomli.loads((tmp_path / "bundle.toml").read_text())
    assert data["bundle"] == {"name": "server-{version}-glibc2.17", "format": "tar.gz"}
    assert data["variables"]["version"] == {"value": "2.5.0"}


def test_this_machines_glibc_in_a_name_becomes_a_variable(tmp_path: Path) -> None:
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]  # type: ignore[union-attr]
    root = install_tree(tmp_path / f"server-2.5.0-glibc{glibc}-release")
    _, data = drafted(root)
    assert data["bundle"]["name"] == "server-{version}-glibc{glibc}-release"  # type: ignore[index]


def test_a_wheel_is_taken_as_a_tree(tmp_path: Path) -> None:
    made = build_wheel(install_tree(tmp_path / "tree"), tmp_path / "native-1.0-py3-none-any.whl")
    done = run_bundle_fix("init", made, "-o", "-", cwd=tmp_path)
    assert 'from = "{tree}/lib/*.so*"' in done.stdout
    assert 'format = "tar.gz"' in done.stdout


def test_a_spec_that_is_there_is_written_over_by_force_only(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
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
    ("name", "said"),
    [
        ("gone", "gone: there is no such file"),
        ("empty", "empty: there is nothing in it to pack (build first)"),
        ("tree/bin/server", "tree/bin/server: is a single file, not a tree (name the folder"),
        ("tree/README", "tree/README: "),
    ],
)
def test_what_is_no_tree_is_refused(tmp_path: Path, name: str, said: str) -> None:
    install_tree(tmp_path / "tree")
    (tmp_path / "empty").mkdir()
    done = run_bundle_fix("init", name, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"bundle-fix: error: {said}")
    assert not (tmp_path / "bundle.toml").exists()


def test_what_is_needed_besides_is_bundled_or_left_to_the_host(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    needed = ["libstdc++.so.6", "libjvm.so", "libunheard.so.3", "libX11.so.6"]
    elf(root / "bin/tool", program=True, needed=needed)
    spec, data = drafted(root)
    closure = data["closure"]
    assert closure == {
        "bundle": ["libstdc++.so.6", "libgcc_s.so.1"],
        "host": ["libjvm.so", "libunheard.so.3", "libX11.so.6"],
    }
    assert '"libunheard.so.3",  # not on this machine' in spec.read_text()
    assert {"lib/libstdc++.so.6", "lib/libgcc_s.so.1"} <= packed(spec)


def test_libraries_land_where_the_pack_has_its_own(tmp_path: Path) -> None:
    root = tmp_path / "old"
    elf(root / "bin/libx.so.1", soname="libx.so.1")
    elf(root / "bin/tool", program=True, needed=["libx.so.1", "libstdc++.so.6"], runpath=".")
    spec, data = drafted(root)
    assert data["layout"] == {"lib": "bin/"}
    assert "bin/libstdc++.so.6" in packed(spec)


def test_what_a_glob_would_be_refused_for_gets_entries_of_its_own(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    elf(root / "lib/libx.so.1.0", soname="libx.so.1")
    elf(root / "lib/libx.so.2.0", soname="libx.so.2")
    elf(root / "lib/arm/liby.so.1", soname="liby.so.1", toolchain=CROSS["armhf"])
    (root / "lib/plugins/libc.so").write_text("GROUP ( libc.so.6 )")
    spec, _ = drafted(root)
    links = {"lib/libx.so.1", "lib/libx.so.2", "lib/plugins/codec.so"}
    assert packed(spec) == members(root) | links


@pytest.mark.parametrize("link", ["libx.so.1.9", "libx.so.1.10", None])
def test_of_two_versions_of_a_library_the_one_that_is_loaded_is_packed(
    tmp_path: Path, link: str | None
) -> None:
    root = install_tree(tmp_path / "tree")
    for name in ("libx.so.1.9", "libx.so.1.10"):
        elf(root / "lib" / name, soname="libx.so.1")
    if link is not None:
        (root / "lib/libx.so.1").symlink_to(link)
    other = "libx.so.1.10" if link == "libx.so.1.9" else "libx.so.1.9"
    spec, _ = drafted(root)
    assert f"(an earlier build's?):\n# lib/{other}\n" in spec.read_text()
    links = {"lib/libx.so.1", "lib/plugins/codec.so"}
    assert packed(spec) == (members(root) | links) - {f"lib/{other}"}


def test_variants_of_a_library_that_share_its_soname_are_packed_as_files(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    for name in ("libx.so.1", "libx_avx.so.1"):
        elf(root / "lib" / name, soname="libx.so.1", tag=name)
    spec, _ = drafted(root)
    assert packed(spec) == members(root) | {"lib/plugins/codec.so"}


def test_what_no_pack_can_hold_is_left_out_and_told(tmp_path: Path) -> None:
    root = install_tree(tmp_path / "tree")
    expected = members(root)
    (root / "lib64").symlink_to("lib")
    (root / "etc/gone.ini").symlink_to("/nowhere/gone.ini")
    os.mkfifo(root / "etc/pipe")
    spec, _ = drafted(root)
    assert "# etc/gone.ini, etc/pipe, lib64\n" in spec.read_text()
    assert packed(spec) == expected


def test_odd_names_are_packed_like_others(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    names = ["a b", 'quo"te', "back\\slash", "{brace}", "[set]?*", "ünï", "-dash", "#hash"]
    for name in (*names, "new\nline"):
        elf(root / name / name, program=True)
        elf(
            root / f"lib{name}/x{name}.so",
            soname=f"x{name}.so".replace("\n", "_"),
            source="int odd;",
        )
        (root / f"{name}.txt").write_text(name)
        (root / f"lib{name}/other").write_text(name)
    spec, data = drafted(root)
    assert len(data["libraries"]) == len(names)  # type: ignore[arg-type]
    assert packed(spec) == members(root)


def test_many_programs_are_one_entry_that_names_them(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for number in range(14):
        elf(root / f"bin/tool{number}", program=True)
    spec, data = drafted(root)
    assert [entry["from"] for entry in data["files"]] == ["{tree}/bin"]  # type: ignore[attr-defined]
    assert "# with the programs tool0, tool1, " in spec.read_text()
    assert packed(spec) == members(root)
