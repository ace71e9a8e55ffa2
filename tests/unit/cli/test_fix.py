"""``bundle-fix fix``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.pack import make_healthy_pack, make_incident_pack, make_tarball
from builders.run import run_bundle_fix

PINNED = """
[bundle]
name = "p"
[[libraries]]
name = "{}"
search = ["lib"]
pin = true
"""


def compute_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(archive: Path, directory: Path) -> Path:
    directory.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", directory], check=True)
    return directory / "pack"


def run_program(program: Path) -> str:
    """Run a program of a pack in an unrelated directory, and return its output."""
    return subprocess.run([program], cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "tar.bz2", "tar.zst"])
def test_a_broken_tarball_of_every_kind_is_fixed_next_to_the_original(
    tmp_path: Path, suffix: str
) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar")
    if suffix != "tar":
        tool = {"tar.gz": "gzip", "tar.xz": "xz", "tar.bz2": "bzip2", "tar.zst": "zstd"}[suffix]
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
        subprocess.run([tool, "-q", pack], check=True)
        pack = tmp_path / f"pack.{suffix}"
    before = compute_digest(pack)
    done = run_bundle_fix(pack)
    fixed = tmp_path / f"pack.fixed.{suffix}"
    assert (done.returncode, done.stdout) == (0, f"{fixed}\n")
    assert compute_digest(pack) == before
    assert run_program(unpack(fixed, tmp_path / "u") / "bin/server") == "shipped\nmain\n"
    assert run_bundle_fix("check", fixed).returncode == 0


def test_the_changes_are_printed(tmp_path: Path) -> None:
    done = run_bundle_fix(
        "fix", "p", "-v", "-o", "out", cwd=make_incident_pack(tmp_path / "p").parent
    )
    lines = done.stderr.splitlines()
    assert "errors 2 -> 0, warnings 1 -> 0" in lines
    assert lines[:4] == [
        "BF102 host-wins:",
        "  bin/libtcmalloc.so.4: symlink to libtcmalloc.so added",
        "BF102 host-wins, BF203 relative-runpath:",
        "  bin/server: RUNPATH . became RUNPATH $ORIGIN [table]",
    ]


def test_fixing_a_fixed_pack_changes_no_byte(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    run_bundle_fix("fix", pack, "-o", tmp_path / "once.tar.gz")
    run_bundle_fix("fix", tmp_path / "once.tar.gz", "-o", tmp_path / "twice.tar.gz")
    assert compute_digest(tmp_path / "once.tar.gz") == compute_digest(tmp_path / "twice.tar.gz")


def test_members_that_need_no_fix_are_not_changed(tmp_path: Path) -> None:
    directory = make_incident_pack(tmp_path / "p")
    (directory / "etc").mkdir()
    (directory / "etc/config.ini").write_text("port = 34801\n")
    os.utime(directory / "etc/config.ini", (1, 1))
    pack = make_tarball(directory, tmp_path / "pack.tar")
    run_bundle_fix("fix", pack)
    with tarfile.open(pack) as old, tarfile.open(tmp_path / "pack.fixed.tar") as new:
        before = {m.name: m.get_info() for m in old}
        after = {m.name: m.get_info() for m in new}
        added = set(after) - set(before)
        changed = {n for n in before if {**before[n], "chksum": 0} != {**after[n], "chksum": 0}}
        order = [n for n in after if n in before]
    assert added == {"pack/bin/libtcmalloc.so.4"}
    assert changed == set()
    assert order == list(before)


def test_in_place_replaces_a_tarball_and_keeps_its_mode(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    pack.chmod(0o600)
    done = run_bundle_fix("fix", "--in-place", pack)
    assert (done.returncode, done.stdout) == (0, f"{pack}\n")
    assert pack.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]
    assert run_bundle_fix("check", pack).returncode == 0


def test_in_place_fixes_a_directory(tmp_path: Path) -> None:
    directory = make_incident_pack(tmp_path / "p")
    assert run_bundle_fix("fix", "--in-place", directory).returncode == 0
    assert sorted(p.name for p in (directory / "bin").iterdir()) == [
        "libtcmalloc.so",
        "libtcmalloc.so.4",
        "server",
    ]
    assert run_program(directory / "bin/server") == "shipped\nmain\n"
    assert run_bundle_fix("fix", "--in-place", directory).stderr == f"{directory}: nothing to fix\n"


def test_a_pack_that_cannot_be_fixed_is_reported_and_not_written(tmp_path: Path) -> None:
    directory = make_incident_pack(tmp_path / "p")
    build_elf(directory / "bin/other", program=True, needed=["libgone.so.1"])
    pack = make_tarball(directory, tmp_path / "pack.tar.gz")
    done = run_bundle_fix("fix", pack)
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs libgone.so.1, which is neither in the pack nor expected" in done.stderr
    assert done.stderr.endswith(
        "no output was written; use --force to write it despite the findings\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]


def test_force_writes_the_pack_despite_findings_and_exits_with_1(tmp_path: Path) -> None:
    directory = make_incident_pack(tmp_path / "p")
    build_elf(directory / "bin/other", program=True, needed=["libgone.so.1"])
    done = run_bundle_fix("fix", "--force", directory, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert run_program(tmp_path / "out/bin/server") == "shipped\nmain\n"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = run_bundle_fix("fix", "--dry-run", pack)
    assert (done.returncode, done.stdout) == (0, "")
    assert "bin/libtcmalloc.so.4: symlink to libtcmalloc.so added" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    done = run_bundle_fix("fix", pack, "-o", pack)
    assert (done.returncode, "use --in-place to replace it" in done.stderr) == (2, True)


def test_copies_of_one_library_keep_their_names(tmp_path: Path) -> None:
    directory = tmp_path / "p"
    for name in ("libx.so", "libx.so.4", "libx.so.4.6.11"):
        build_elf(directory / "lib" / name, soname="libx.so.4", tag="x")
    build_elf(directory / "bin/x", program=True, needed=["libx.so.4"])
    run_bundle_fix("fix", "--in-place", directory)
    assert not any(path.is_symlink() for path in (directory / "lib").iterdir())
    assert run_program(directory / "bin/x") == "x\nmain\n"


def test_a_pinned_library_precedes_ld_library_path(tmp_path: Path) -> None:
    directory = make_healthy_pack(tmp_path / "p")
    build_elf(tmp_path / "decoys/libtcmalloc.so.4", soname="libtcmalloc.so.4", tag="decoy")
    decoys = {"LD_LIBRARY_PATH": str(tmp_path / "decoys")}
    server = directory / "bin/server"
    assert subprocess.run([server], env=decoys, capture_output=True, check=True).stdout == (
        b"decoy\nmain\n"
    )
    spec = tmp_path / "bundle.toml"
    spec.write_text(PINNED.format("libtcmalloc.so.4"))
    done = run_bundle_fix("fix", "--in-place", directory, "--spec", spec)
    assert done.stderr.splitlines() == [
        "bin/server: needs $ORIGIN/../lib/libtcmalloc.so.4",
        "bin/server: no longer needs libtcmalloc.so.4",
    ]
    assert subprocess.run([server], env=decoys, capture_output=True, check=True).stdout == (
        b"shipped\nmain\n"
    )


def test_a_pinned_library_still_provides_its_symbol_versions(tmp_path: Path) -> None:
    versions = tmp_path / "map"
    versions.write_text("V_1 { global: from_libver; };\n")
    library = build_elf(
        tmp_path / "p/lib/libver.so.1",
        soname="libver.so.1",
        tag="shipped",
        flags=[f"-Wl,--version-script={versions}"],
    )
    build_elf(
        tmp_path / "p/bin/x",
        program=True,
        runpath="$ORIGIN/../lib",
        source="int from_libver(void); int main(void) { return from_libver() - 1; }",
        flags=["-Wl,--no-as-needed", str(library)],
    )
    spec = tmp_path / "bundle.toml"
    spec.write_text(PINNED.format("libver.so.1"))
    assert run_bundle_fix("fix", "--in-place", tmp_path / "p", "--spec", spec).returncode == 0
    assert run_program(tmp_path / "p/bin/x") == "shipped\n"


def test_a_file_that_no_editor_can_change_is_reported_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    directory = make_incident_pack(tmp_path / "p")
    # LIEF's result is longer: it moves data after the ELF file away from the file's end.
    with (directory / "bin/server").open("ab") as server:
        server.write(b"a payload")
    pack = make_tarball(directory, tmp_path / "pack.tar.gz")
    done = run_bundle_fix("fix", "--editor", "lief", pack)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bundle-fix: error: bin/server: every editor failed: lief " in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p", "pack.tar.gz"]
    forced = run_bundle_fix(
        "fix", "--editor", "lief", "--force", pack, "-o", tmp_path / "out.tar.gz"
    )
    assert (forced.returncode, forced.stdout) == (1, f"{tmp_path}/out.tar.gz\n")


def test_hard_links_in_two_directories_find_their_libraries_from_both(tmp_path: Path) -> None:
    directory = tmp_path / "p"
    build_elf(directory / "lib/libb.so.1", soname="libb.so.1", tag="b")
    build_elf(directory / "lib/liba.so.1", soname="liba.so.1", needed=["libb.so.1"], tag="a")
    (directory / "lib/deep/er").mkdir(parents=True)
    (directory / "lib/deep/er/liba.so.1").hardlink_to(directory / "lib/liba.so.1")
    build_elf(
        directory / "bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib/deep/er"
    )
    pack = make_tarball(directory, tmp_path / "pack.tar")
    done = run_bundle_fix("fix", pack, "-o", tmp_path / "fixed.tar")
    assert done.returncode == 0, done.stderr
    assert run_program(unpack(tmp_path / "fixed.tar", tmp_path / "u") / "bin/x") == "b\na\nmain\n"


def test_the_suffix_of_the_output_selects_the_format(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    assert run_bundle_fix("fix", pack, "-o", tmp_path / "out.tar.xz").returncode == 0
    assert (tmp_path / "out.tar.xz").read_bytes().startswith(b"\xfd7zXZ")
    assert (
        run_bundle_fix("fix", tmp_path / "out.tar.xz", "-o", tmp_path / "again.tar").returncode == 0
    )
    assert tarfile.is_tarfile(tmp_path / "again.tar")
    assert run_bundle_fix("fix", pack, "-o", tmp_path / "out.zip").returncode == 0
    assert zipfile.is_zipfile(tmp_path / "out.zip")
    refused = run_bundle_fix("fix", pack, "-o", tmp_path / "out.7z")
    assert (refused.returncode, "cannot write the format .7z" in refused.stderr) == (2, True)
    refused = run_bundle_fix("fix", pack, "-o", tmp_path / "out.whl")
    assert (refused.returncode, "only a wheel" in refused.stderr) == (2, True)


def test_an_existing_output_directory_receives_the_artifact_under_its_name(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    (tmp_path / "out").mkdir()
    done = run_bundle_fix("fix", pack, "-o", tmp_path / "out")
    assert done.stdout == f"{tmp_path}/out/pack.tar.gz\n"
    done = run_bundle_fix("fix", tmp_path / "p", "-o", tmp_path / "out")
    assert done.stdout == f"{tmp_path}/out/p\n"
    assert run_program(tmp_path / "out/p/bin/server") == "shipped\nmain\n"


def test_a_missing_output_directory_is_refused(tmp_path: Path) -> None:
    pack = make_tarball(make_incident_pack(tmp_path / "p"), tmp_path / "pack.tar.gz")
    refused = run_bundle_fix("fix", pack, "-o", f"{tmp_path}/out/")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{tmp_path}/out/: no such directory" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_an_ambiguous_provider_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    for side in ("a", "b"):
        build_elf(tmp_path / f"p/lib/{side}/libx.so.1", soname="libx.so.1", tag=side)
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1"])
    done = run_bundle_fix("fix", tmp_path / "p")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "bin/x: libx.so.1: not changed, because the choice is ambiguous:"
        " lib/a/libx.so.1, lib/b/libx.so.1 differ\n"
    ) in done.stderr
    assert not (tmp_path / "p.fixed").exists()


def test_a_bundled_part_of_the_c_library_is_reported_and_nothing_is_written(tmp_path: Path) -> None:
    build_elf(tmp_path / "p/lib/libm.so.6", soname="libm.so.6")
    build_elf(tmp_path / "p/lib/libx.so.1", soname="libx.so.1")
    build_elf(tmp_path / "p/bin/x", program=True, needed=["libx.so.1", "libm.so.6"])
    done = run_bundle_fix("fix", tmp_path / "p")
    assert (done.returncode, done.stdout) == (1, "")
    assert "lib/libm.so.6 is loaded instead of the host's libm.so.6" in done.stderr.replace(
        "\n", " "
    )


def test_an_artifact_without_programs_is_reported_as_unchecked(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/README").write_text("text")
    done = run_bundle_fix("fix", tmp_path / "p", "--dry-run")
    assert (done.returncode, "nothing was checked" in done.stderr) == (0, True)
