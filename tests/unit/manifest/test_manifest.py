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
from bundle_fix.manifest.builder import make_manifest
from bundle_fix.manifest.model import MAX_SIZE, NAME, encode, path_of, written
from bundle_fix.model.content import BytesContent
from bundle_fix.model.tree import File, Metadata, Tree
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.schemas import build_manifest_schema

from .conftest import Pack


def unpacked(artifact: Path, folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(artifact) as archive:
        archive.extractall(folder, filter="tar")
    return folder / "pack-1.0"


def manifest_of(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / NAME).read_bytes())
    return loaded


def found(artifact: Path, *options: str) -> dict[str, str]:
    """The findings about the manifest: path to rule."""
    done = run_bundle_fix("check", artifact, "--format", "json", *options)
    return {
        f["path"]: f["rule"]
        for f in json.loads(done.stdout)["findings"]
        if f["rule"].startswith("BF62")
    }


@pytest.fixture
def folder(pack: Pack, tmp_path: Path) -> Path:
    """The pack, unpacked."""
    return unpacked(pack(), tmp_path / "unpacked")


def test_what_needs_nothing_says_nothing_of_it_with_any_python(tmp_path: Path) -> None:
    content = build_elf(tmp_path / "libx.so", flags=["-nostdlib"]).read_bytes()
    bundle = read_bundle(Tree({"libx.so": File(BytesContent(content), Metadata(0o644))}), "x")
    assert b'"needed"' not in encode(make_manifest(bundle, "x", {}))


def test_every_file_and_link_is_listed_as_it_is_in_the_pack(folder: Path) -> None:
    manifest = manifest_of(folder)
    jsonschema.validate(manifest, build_manifest_schema())
    listed = {record["path"]: record for record in manifest["files"]}
    there = {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != NAME
    }
    assert listed.keys() == there.keys()
    for name, path in there.items():
        record = listed[name]
        assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert record["size"] == path.stat().st_size
        assert int(record["mode"], 8) == path.stat().st_mode & 0o7777
    assert manifest["links"] == [{"path": "lib/libx.so.1", "target": "libx.so.1.2"}]


def test_elf_files_are_listed_with_what_the_loader_reads_of_them(folder: Path) -> None:
    listed = {record["path"]: record for record in manifest_of(folder)["files"]}
    server, library = listed["bin/server"]["elf"], listed["lib/libx.so.1.2"]["elf"]
    assert (server["needed"], server["runpath"]) == (["libx.so.1", "libc.so.6"], "$ORIGIN/../lib")
    assert library["soname"] == "libx.so.1"
    notes = subprocess.run(
        ["readelf", "-n", folder / "bin/server"], capture_output=True, text=True, check=True
    ).stdout
    assert f"Build ID: {server['build_id']}" in notes
    assert "elf" not in listed["etc/a.ini"]


def test_origins_do_not_tell_the_folders_of_the_build(tree: Path, folder: Path) -> None:
    origins = {record["path"]: record.get("origin") for record in manifest_of(folder)["files"]}
    assert origins == {
        "VERSION": None, "bin/server": "server", "etc/a.ini": "conf/a.ini",
        "etc/b.ini": "conf/b.ini", "lib/libx.so.1.2": "third/libx.so.1.2",
    }  # fmt: skip
    assert str(tree) not in (folder / NAME).read_text()


def test_a_pack_as_it_was_made_passes(folder: Path) -> None:
    done = run_bundle_fix("check", folder, "--fail-on", "note", "--ignore", "BF508=old compilers")
    assert "BF62" not in done.stdout


def test_what_was_changed_lost_or_added_is_found(folder: Path) -> None:
    (folder / "etc/a.ini").write_text("a = 2\n")
    (folder / "etc/b.ini").unlink()
    (folder / "etc/c.ini").write_text("c = 1\n")
    (folder / "VERSION").write_text("longer than it was\n")
    (folder / "bin/server").chmod(0o700)
    (folder / "lib/libx.so.1").unlink()
    (folder / "lib/libx.so.1").symlink_to("./libx.so.1.2")
    assert found(folder) == {
        "VERSION": "BF622", "bin/server": "BF625", "etc/a.ini": "BF622", "etc/b.ini": "BF623",
        "etc/c.ini": "BF624", "lib/libx.so.1": "BF622",
    }  # fmt: skip


def test_a_link_that_became_a_file_and_a_file_that_became_a_link_are_found(folder: Path) -> None:
    data = (folder / "lib/libx.so.1.2").read_bytes()
    (folder / "lib/libx.so.1").unlink()
    (folder / "lib/libx.so.1").write_bytes(data)
    (folder / "etc/a.ini").unlink()
    (folder / "etc/a.ini").symlink_to("b.ini")
    assert found(folder) == {"etc/a.ini": "BF622", "lib/libx.so.1": "BF622"}


def rules_of(data: bytes) -> list[tuple[str, str]]:
    """Rule and severity of what is found of a manifest."""
    tree = Tree({NAME: File(BytesContent(data), Metadata(0o644))})
    verdict = check_bundle(read_bundle(tree, "x"), CheckPolicy())
    return [(f.rule, f.severity) for f in verdict.findings]


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
        (b" " * (MAX_SIZE + 1), [("BF620", "error")]),
    ],
    ids=range(19),
)  # fmt: skip
def test_a_manifest_that_is_none_is_a_finding_and_no_traceback(
    data: bytes, rules: list[tuple[str, str]]
) -> None:
    assert sorted(rules_of(data)) == sorted(rules)


def test_a_manifest_of_very_many_files_is_told_in_a_few_lines() -> None:
    records = [{**RECORD, "path": f"f{n}"} for n in range(20_000)]
    assert len(rules_of(json.dumps({**GOOD, "files": records}).encode())) == 201


@pytest.mark.parametrize("name", ["a", "é", "bytes:a", "a\udcffb", "bytes:\udcff", "%41", "a\nb"])
def test_every_name_comes_back_as_it_was(name: str) -> None:
    assert path_of(written(name)) == name
    written(name).encode()


def test_a_pack_with_odd_names_passes_its_own_check(tree: Path, pack: Pack) -> None:
    for name in (b"\xff\xfe.ini", "é x.ini".encode(), b"bytes:%41.ini"):
        (tree / "conf" / Path(str(name, "utf-8", "surrogateescape"))).write_text("x")
    assert found(pack()) == {}


def test_fix_renews_the_records_of_what_it_changed(folder: Path, tmp_path: Path) -> None:
    (folder / "bin/server").chmod(0o644)
    mended = tmp_path / "mended"
    done = run_bundle_fix("fix", folder, "-o", mended)
    assert done.returncode == 0, done.stderr
    assert found(mended) == {}
    before, after = manifest_of(folder), manifest_of(mended)
    assert before["inputs"]
    assert "inputs" not in after
    del before["inputs"]
    assert after == before


def test_fix_does_not_cover_up_what_others_changed(folder: Path, tmp_path: Path) -> None:
    (folder / "bin/server").chmod(0o644)
    (folder / "etc/a.ini").write_text("a = 2\n")
    done = run_bundle_fix("fix", folder, "-o", tmp_path / "mended", "--force")
    assert done.returncode == 1, done.stderr
    assert found(tmp_path / "mended") == {"etc/a.ini": "BF622"}


def test_fix_records_edits_and_new_links(folder: Path, tmp_path: Path) -> None:
    library = folder / "lib/libx.so.1.2"
    (folder / "lib/libx.so.1").unlink()
    build_elf(folder / "bin/server", program=True, needed=["libx.so.1"], runpath="/build/lib")
    done = run_bundle_fix("fix", folder, "-o", tmp_path / "mended")
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "mended") == {}
    listed = {r["path"]: r for r in manifest_of(tmp_path / "mended")["files"]}
    assert listed["bin/server"]["elf"]["runpath"] == "$ORIGIN/../lib"
    assert listed["bin/server"]["origin"] == "server"
    assert listed["lib/libx.so.1.2"]["size"] == library.stat().st_size


def test_a_library_of_the_system_is_listed_with_its_package(tree: Path, pack: Pack) -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("dpkg-query is not installed: this machine has no packages of dpkg's")
    build_elf(tree / "server", program=True, needed=["libx.so.1", "libz.so.1"])
    text = (tree / "bundle.toml").read_text().replace('"libx.so.*"', '"libx.so.*", "libz.so.*"')
    (tree / "bundle.toml").write_text(text)
    folder = unpacked(pack(), tree.parent / "with libz")
    (record,) = [r for r in manifest_of(folder)["files"] if r["path"].startswith("lib/libz.so.1.")]
    assert record["origin"].startswith("/usr/lib/")
    assert (record["package"]["type"], record["package"]["name"]) == ("deb", "zlib1g")
    assert record["package"]["version"]


def test_a_library_that_moves_keeps_its_origin(folder: Path, tmp_path: Path) -> None:
    (folder / "bin/libx.so.1.2").write_bytes((folder / "lib/libx.so.1.2").read_bytes())
    (folder / "lib/libx.so.1.2").unlink()
    (folder / "lib/libx.so.1").unlink()
    (folder / "bin/libx.so.1").symlink_to("libx.so.1.2")
    manifest = (folder / NAME).read_text().replace('"lib/libx', '"bin/libx')
    (folder / NAME).write_text(manifest)
    done = run_bundle_fix("fix", folder, "-o", tmp_path / "mended", "--move-libraries", "lib")
    assert done.returncode == 0, done.stderr
    assert found(tmp_path / "mended") == {}
    origins = {r["path"]: r["origin"] for r in manifest_of(tmp_path / "mended")["files"][1:]}
    assert origins["lib/libx.so.1.2"] == "third/libx.so.1.2"


def test_a_file_of_the_manifests_name_is_refused(tree: Path) -> None:
    text = (tree / "bundle.toml").read_text()
    (tree / "bundle.toml").write_text(f'{text}[[files]]\ntext = "x"\nto = "{NAME}"\n')
    done = run_bundle_fix("pack", "bundle.toml", cwd=tree)
    assert done.returncode == 2
    assert "bundle-manifest.json is reserved for the manifest of the pack" in done.stderr
