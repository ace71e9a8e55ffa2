from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.check.checker import check_bundle
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.manifest.builder import build_manifest
from bundle_fix.manifest.model import (
    MAX_MANIFEST_SIZE,
    decode_path,
    encode_manifest,
    encode_path,
)
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import MANIFEST_NAME, File, Metadata, Tree
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.schemas import build_manifest_schema

from .conftest import Pack


def unpack_to(artifact: Path, directory: Path) -> Path:
    directory.mkdir()
    with tarfile.open(artifact) as archive:
        archive.extractall(directory, filter="tar")
    return directory / "pack-1.0"


def load_manifest(pack: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((pack / MANIFEST_NAME).read_bytes())
    return loaded


def find_manifest_rules(artifact: Path, *options: str) -> dict[str, str]:
    """Check an artifact and return the rules of the findings about its manifest, by path."""
    done = run_bundle_fix("check", artifact, "--format", "json", *options)
    return {
        f["path"]: f["rule"]
        for f in json.loads(done.stdout)["findings"]
        if f["rule"].startswith("BF62")
    }


@pytest.fixture
def unpacked(pack: Pack, tmp_path: Path) -> Path:
    """The unpacked pack."""
    return unpack_to(pack(), tmp_path / "unpacked")


def test_an_empty_list_of_needed_names_is_omitted_with_every_python(tmp_path: Path) -> None:
    content = build_elf(tmp_path / "libx.so", flags=["-nostdlib"]).read_bytes()
    bundle = read_bundle(Tree({"libx.so": File(BytesContent(content), Metadata(0o644))}), "x")
    assert b'"needed"' not in encode_manifest(build_manifest(bundle, "x", {}))


def test_every_file_and_symlink_of_the_pack_is_listed(unpacked: Path) -> None:
    manifest = load_manifest(unpacked)
    jsonschema.validate(manifest, build_manifest_schema())
    listed = {record["path"]: record for record in manifest["files"]}
    paths = {
        str(path.relative_to(unpacked)): path
        for path in unpacked.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != MANIFEST_NAME
    }
    assert listed.keys() == paths.keys()
    for name, path in paths.items():
        record = listed[name]
        assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record["size"] == path.stat().st_size
        assert int(record["mode"], 8) == path.stat().st_mode & 0o7777
    assert manifest["links"] == [{"path": "lib/libx.so.1", "target": "libx.so.1.2"}]


def test_elf_files_are_listed_with_their_dynamic_section(unpacked: Path) -> None:
    listed = {record["path"]: record for record in load_manifest(unpacked)["files"]}
    server, library = listed["bin/server"]["elf"], listed["lib/libx.so.1.2"]["elf"]
    assert (server["needed"], server["runpath"]) == (["libx.so.1", "libc.so.6"], "$ORIGIN/../lib")
    assert library["soname"] == "libx.so.1"
    notes = subprocess.run(
        ["readelf", "-n", unpacked / "bin/server"], capture_output=True, text=True, check=True
    ).stdout
    assert f"Build ID: {server['build_id']}" in notes
    assert "elf" not in listed["etc/a.ini"]


def test_origins_do_not_contain_the_directories_of_the_build(tree: Path, unpacked: Path) -> None:
    origins = {record["path"]: record.get("origin") for record in load_manifest(unpacked)["files"]}
    assert origins == {
        "VERSION": None, "bin/server": "server", "etc/a.ini": "conf/a.ini",
        "etc/b.ini": "conf/b.ini", "lib/libx.so.1.2": "third/libx.so.1.2",
    }  # fmt: skip
    assert str(tree) not in (unpacked / MANIFEST_NAME).read_text()


def test_an_unchanged_pack_passes(unpacked: Path) -> None:
    done = run_bundle_fix("check", unpacked, "--fail-on", "note", "--ignore", "BF508=old compilers")
    assert "BF62" not in done.stdout


def test_changed_missing_and_added_members_are_found(unpacked: Path) -> None:
    (unpacked / "etc/a.ini").write_text("a = 2\n")
    (unpacked / "etc/b.ini").unlink()
    (unpacked / "etc/c.ini").write_text("c = 1\n")
    (unpacked / "VERSION").write_text("longer than it was\n")
    (unpacked / "bin/server").chmod(0o700)
    (unpacked / "lib/libx.so.1").unlink()
    (unpacked / "lib/libx.so.1").symlink_to("./libx.so.1.2")
    assert find_manifest_rules(unpacked) == {
        "VERSION": "BF622", "bin/server": "BF625", "etc/a.ini": "BF622", "etc/b.ini": "BF623",
        "etc/c.ini": "BF624", "lib/libx.so.1": "BF622",
    }  # fmt: skip


def test_a_symlink_replaced_by_a_file_and_a_file_replaced_by_a_symlink_are_found(
    unpacked: Path,
) -> None:
    data = (unpacked / "lib/libx.so.1.2").read_bytes()
    (unpacked / "lib/libx.so.1").unlink()
    (unpacked / "lib/libx.so.1").write_bytes(data)
    (unpacked / "etc/a.ini").unlink()
    (unpacked / "etc/a.ini").symlink_to("b.ini")
    assert find_manifest_rules(unpacked) == {"etc/a.ini": "BF622", "lib/libx.so.1": "BF622"}


def check_manifest(data: bytes) -> list[tuple[str, str]]:
    """Check a tree that contains only this manifest; return rule and severity of the findings."""
    tree = Tree({MANIFEST_NAME: File(BytesContent(data), Metadata(0o644))})
    verdict = check_bundle(read_bundle(tree, "x"), CheckPolicy())
    # A tree without ELF files also has the note BF002.
    return [(f.rule, f.severity) for f in verdict.findings if f.rule != "BF002"]


GOOD = {"schema": 1, "tool": {"name": "bundle-fix", "version": "1"}, "name": "x"}
RECORD = {"path": "a", "sha256": "0" * 64, "size": 1, "mode": "0644"}


@pytest.mark.parametrize(
    ("data", "rules"),
    [
        (json.dumps(GOOD).encode(), []),
        (b"", [("BF620", "error")]),
        (b"\xff\xfe", [("BF620", "error")]),
        (b"{", [("BF620", "error")]),
        (b"[" * 2_000_000, [("BF620", "warning")]),
        (b'{"x":' * 200_000, [("BF620", "error")]),
        (b"[]", [("BF620", "warning")]),
        (b'{"name": "another tool"}', [("BF620", "warning")]),
        (json.dumps({**GOOD, "tool": {"name": "webpack"}}).encode(), [("BF620", "warning")]),
        (json.dumps({**GOOD, "schema": 2, "files": 7}).encode(), [("BF621", "warning")]),
        (json.dumps({**GOOD, "schema": 0}).encode(), [("BF620", "error")]),
        (json.dumps({**GOOD, "schema": 10**400}).encode(), [("BF621", "warning")]),
        (json.dumps({**GOOD, "files": 7}).encode(), [("BF620", "error")]),
        (json.dumps({**GOOD, "files": [{**RECORD, "size": "1"}]}).encode(), [("BF620", "error")]),
        (json.dumps({**GOOD, "files": [{**RECORD, "path": None}]}).encode(), [("BF620", "error")]),
        (json.dumps({**GOOD, "files": [RECORD]}).encode(), [("BF623", "error")]),
        (json.dumps({**GOOD, "files": [{**RECORD, "path": "/a"}]}).encode(), [("BF623", "error")]),
        (
            json.dumps({**GOOD, "files": [RECORD, RECORD]}).encode(),
            [("BF623", "error"), ("BF620", "error")],
        ),
        (b" " * (MAX_MANIFEST_SIZE + 1), [("BF620", "error")]),
    ],
    ids=range(19),
)  # fmt: skip
def test_an_invalid_manifest_is_a_finding_not_a_traceback(
    data: bytes, rules: list[tuple[str, str]]
) -> None:
    assert sorted(check_manifest(data)) == sorted(rules)


def test_the_number_of_findings_about_a_manifest_is_limited() -> None:
    records = [{**RECORD, "path": f"f{n}"} for n in range(20_000)]
    assert len(check_manifest(json.dumps({**GOOD, "files": records}).encode())) == 201


@pytest.mark.parametrize("name", ["a", "é", "bytes:a", "a\udcffb", "bytes:\udcff", "%41", "a\nb"])
def test_every_name_is_decoded_to_the_same_name(name: str) -> None:
    assert decode_path(encode_path(name)) == name
    encode_path(name).encode()


def test_a_pack_with_unusual_names_passes_its_check(tree: Path, pack: Pack) -> None:
    for name in (b"\xff\xfe.ini", "é x.ini".encode(), b"bytes:%41.ini"):
        (tree / "conf" / Path(str(name, "utf-8", "surrogateescape"))).write_text("x")
    assert find_manifest_rules(pack()) == {}


def test_fix_updates_the_records_of_files_that_it_changed(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "bin/server").chmod(0o644)
    fixed = tmp_path / "fixed"
    done = run_bundle_fix("fix", unpacked, "-o", fixed)
    assert done.returncode == 0, done.stderr
    assert find_manifest_rules(fixed) == {}
    before, after = load_manifest(unpacked), load_manifest(fixed)
    assert before["inputs"]
    assert "inputs" not in after
    del before["inputs"]
    assert after == before


def test_fix_does_not_hide_changes_that_others_made(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "bin/server").chmod(0o644)
    (unpacked / "etc/a.ini").write_text("a = 2\n")
    done = run_bundle_fix("fix", unpacked, "-o", tmp_path / "fixed", "--force")
    assert done.returncode == 1, done.stderr
    assert find_manifest_rules(tmp_path / "fixed") == {"etc/a.ini": "BF622"}


def test_fix_records_edits_and_new_symlinks(unpacked: Path, tmp_path: Path) -> None:
    library = unpacked / "lib/libx.so.1.2"
    (unpacked / "lib/libx.so.1").unlink()
    build_elf(unpacked / "bin/server", program=True, needed=["libx.so.1"], runpath="/build/lib")
    done = run_bundle_fix("fix", unpacked, "-o", tmp_path / "fixed")
    assert done.returncode == 0, done.stderr
    assert find_manifest_rules(tmp_path / "fixed") == {}
    listed = {r["path"]: r for r in load_manifest(tmp_path / "fixed")["files"]}
    assert listed["bin/server"]["elf"]["runpath"] == "$ORIGIN/../lib"
    assert listed["bin/server"]["origin"] == "server"
    assert listed["lib/libx.so.1.2"]["size"] == library.stat().st_size


def test_a_library_of_the_system_is_listed_with_its_package(tree: Path, pack: Pack) -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("dpkg-query is not installed, so no file belongs to a package")
    build_elf(tree / "server", program=True, needed=["libx.so.1", "libz.so.1"])
    text = (tree / "bundle.toml").read_text().replace('"libx.so.*"', '"libx.so.*", "libz.so.*"')
    (tree / "bundle.toml").write_text(text)
    unpacked = unpack_to(pack(), tree.parent / "with libz")
    (record,) = [
        r for r in load_manifest(unpacked)["files"] if r["path"].startswith("lib/libz.so.1.")
    ]
    assert record["origin"].startswith("/usr/lib/")
    assert (record["package"]["type"], record["package"]["name"]) == ("deb", "zlib1g")
    assert record["package"]["version"]


def test_a_moved_library_keeps_its_origin(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / "bin/libx.so.1.2").write_bytes((unpacked / "lib/libx.so.1.2").read_bytes())
    (unpacked / "lib/libx.so.1.2").unlink()
    (unpacked / "lib/libx.so.1").unlink()
    (unpacked / "bin/libx.so.1").symlink_to("libx.so.1.2")
    manifest = (unpacked / MANIFEST_NAME).read_text().replace('"lib/libx', '"bin/libx')
    (unpacked / MANIFEST_NAME).write_text(manifest)
    done = run_bundle_fix("fix", unpacked, "-o", tmp_path / "fixed", "--move-libraries", "lib")
    assert done.returncode == 0, done.stderr
    assert find_manifest_rules(tmp_path / "fixed") == {}
    origins = {r["path"]: r["origin"] for r in load_manifest(tmp_path / "fixed")["files"][1:]}
    assert origins["lib/libx.so.1.2"] == "third/libx.so.1.2"


def test_a_file_with_the_name_of_the_manifest_is_refused(tree: Path) -> None:
    text = (tree / "bundle.toml").read_text()
    (tree / "bundle.toml").write_text(f'{text}[[files]]\ntext = "x"\nto = "{MANIFEST_NAME}"\n')
    done = run_bundle_fix("pack", "bundle.toml", cwd=tree)
    assert done.returncode == 2
    assert "bundle-manifest.json is reserved for the manifest of the pack" in done.stderr
