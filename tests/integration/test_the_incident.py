"""Pegasus's incident, reproduced with the old pack of the sample; prevented by pack and fix."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from builders.run import run_bundle_fix

from .conftest import run_on_decoy_host

pytestmark = [pytest.mark.any_program, pytest.mark.xdist_group("sample")]

SERVER = ("bin/pegasus_server", "--demo", "/tmp/db")  # noqa: S108 (in the sandbox)
OLDER = "libtcmalloc_and_profiler 4.4.5"
SHIPPED = "libtcmalloc_and_profiler 4.6.11"


def select_older_tcmalloc(sample: Path) -> tuple[str, str]:
    host = sample / "build/latest/host/libtcmalloc_and_profiler.so.4"
    return ("--decoy", str(host))


@pytest.fixture(scope="session")
def packed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed")
    done = run_bundle_fix("pack", sample / "bundle.toml", "-o", out)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def fixed(old_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fixed") / "fixed.tar.gz"
    done = run_bundle_fix("fix", old_pack, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_old_pack_aborts_in_free_during_a_checkpoint(sample: Path, old_pack: Path) -> None:
    environment = ("--env", "LD_LIBRARY_PATH=/opt/pack/bin")
    ran = run_on_decoy_host(
        old_pack, *SERVER, options=(*select_older_tcmalloc(sample), *environment)
    )
    assert f"allocator: {OLDER}" in ran.output
    assert "Attempt to free invalid pointer" in ran.output
    assert ran.status == -6
    assert ("BF801", "libtcmalloc_and_profiler.so.4") in ran.list_errors()


def test_check_finds_the_incident_in_the_old_pack(old_pack: Path) -> None:
    ran = run_bundle_fix("check", "--format", "json", old_pack)
    found = [f for f in json.loads(ran.stdout)["findings"] if f["rule"] == "BF102"]
    ours = next(f for f in found if f["evidence"]["needed"] == "libtcmalloc_and_profiler.so.4")
    assert ours["evidence"]["provided"] == ["bin/libtcmalloc_and_profiler.so"]
    assert ours["evidence"]["trace"][-1]["place"] == "/lib64/libtcmalloc_and_profiler.so.4"
    assert ran.returncode == 1


@pytest.mark.parametrize("pack", ["packed", "fixed"])
def test_the_server_of_a_correct_pack_uses_the_bundled_allocator(
    sample: Path, pack: str, request: pytest.FixtureRequest
) -> None:
    artifact = request.getfixturevalue(pack)
    ran = run_on_decoy_host(artifact, *SERVER, options=select_older_tcmalloc(sample))
    assert (ran.status, f"allocator: {SHIPPED}" in ran.output) == (0, True), ran.output
    assert ran.list_errors() == []
    assert run_bundle_fix("check", artifact).returncode == 0


def test_a_pack_has_every_library_under_its_soname(packed: Path) -> None:
    with tarfile.open(packed) as archive:
        links = {m.name.split("/", 1)[1]: m.linkname for m in archive if m.issym()}
        files = {m.name.partition("/")[2] for m in archive if m.isfile()}
        top = {m.name.split("/")[0] for m in archive}
    assert links["lib/libtcmalloc_and_profiler.so.4"] == "libtcmalloc_and_profiler.so.4.6.11"
    assert links["lib/libtcmalloc_and_profiler.so"] == "libtcmalloc_and_profiler.so.4.6.11"
    assert links["lib/librocksdb.so.8"] == "librocksdb.so.8.5.3"
    assert {"VERSION", "bin/config.ini", "bin/pegasus_server", "lib/libdsn_utils.so"} <= files
    (name,) = top
    assert re.fullmatch(r"pegasus-server-2\.5\.0-[0-9a-f]{7}-glibc[\d.]+-release", name)
    assert packed.name == f"{name}.tar.gz"


def test_two_packs_of_one_tree_are_identical(sample: Path, packed: Path, tmp_path: Path) -> None:
    run_bundle_fix("pack", sample / "bundle.toml", "-o", tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == packed.read_bytes()


def test_libraries_added_by_the_closure_are_printed_with_their_origin(
    sample: Path, tmp_path: Path
) -> None:
    done = run_bundle_fix("pack", sample / "bundle.toml", "-o", tmp_path)
    assert re.search(
        r"^lib/libstdc\+\+\.so\.6\.\S+: from /\S+(, package \S+ \S+)?, needed by \S+$",
        done.stderr,
        re.MULTILINE,
    )


def test_fixing_a_fixed_pack_changes_no_byte(fixed: Path, tmp_path: Path) -> None:
    run_bundle_fix("fix", fixed, "-o", tmp_path / "twice.tar.gz")
    assert (tmp_path / "twice.tar.gz").read_bytes() == fixed.read_bytes()


def test_readelf_accepts_the_edited_server(packed: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "xf", packed, "-C", tmp_path, "--strip-components=1"], check=True)
    listed = subprocess.run(
        ["readelf", "-d", tmp_path / "bin/pegasus_server"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Library runpath: [$ORIGIN/../lib]" in listed.stdout
    assert listed.stderr == ""


def test_a_library_missing_from_the_spec_stops_the_pack(sample: Path, tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    text = (sample / "bundle.toml").read_text()
    start = text.index('[[libraries]]\nname   = "librocksdb.so.8"')
    spec.write_text(text[:start] + text[text.index("[[libraries]]", start + 5) :])
    done = run_bundle_fix("pack", spec, "-C", sample, "-o", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "librocksdb.so.8 is needed, but not in the pack and not listed in `host`:"
        " bin/pegasus_server → "
    ) in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle.toml"]
