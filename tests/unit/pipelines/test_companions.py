"""Signatures and checksums of files that `fix` edits."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.wheel import INFO, format_record_line
from bundle_fix.pipelines.fix import FixResult, Options, fix_artifact

LIBRARY = "lib/libsoft.so.3"


def build_pack(root: Path) -> Path:
    """Build a program whose library has an entry of the build machine in its RUNPATH."""
    build_elf(root / "lib/libx.so.1", soname="libx.so.1")
    build_elf(
        root / LIBRARY, soname="libsoft.so.3", needed=["libx.so.1"], runpath="$ORIGIN:/opt/build"
    )
    build_elf(root / "bin/x", program=True, needed=["libsoft.so.3"], runpath="$ORIGIN/../lib")
    return root / LIBRARY


def fix(root: Path) -> FixResult:
    result = fix_artifact(root, root.with_name("out"), Options(force=True))
    assert result.written
    return result


def compute_hex(path: Path, name: str) -> str:
    return hashlib.new(name, path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lib/libsoft.chk", ""),
        ("lib/.libsoft.so.3.hmac", "ab"),
        ("lib/fipscheck/libsoft.so.3.hmac", "ab"),
        ("lib/.all.hmac", "[libsoft.so.3]\nhmac=ab\n"),
        ("lib/libsoft.so.3.asc", "-----BEGIN PGP SIGNATURE-----"),
    ],
)
def test_a_signed_file_is_not_changed(tmp_path: Path, name: str, text: str) -> None:
    library = build_pack(tmp_path / "p")
    (tmp_path / "p" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "p" / name).write_text(text)
    result = fix(tmp_path / "p")
    assert (tmp_path / "out" / LIBRARY).read_bytes() == library.read_bytes()
    assert any(f"{LIBRARY}: not changed: {name} signs" in r for r in result.applied.remarks)


def test_the_fips_module_of_openssl_is_not_changed(tmp_path: Path) -> None:
    build_pack(tmp_path / "p").rename(tmp_path / "p/lib/fips.so")
    (tmp_path / "p/ssl").mkdir()
    (tmp_path / "p/ssl/fipsmodule.cnf").write_text("module-mac = AB:CD\n")
    fix(tmp_path / "p")
    fixed = tmp_path / "out/lib/fips.so"
    assert fixed.read_bytes() == (tmp_path / "p/lib/fips.so").read_bytes()


def test_a_file_with_an_appended_signature_is_not_changed(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    library.write_bytes(library.read_bytes() + b"x" * 40 + b"~Module signature appended~\n")
    fix(tmp_path / "p")
    assert (tmp_path / "out" / LIBRARY).read_bytes() == library.read_bytes()


def test_an_unrelated_signature_does_not_stop_the_repair(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    (tmp_path / "p/lib/.libx.so.1.hmac").write_text("ab")
    fix(tmp_path / "p")
    assert (tmp_path / "out" / LIBRARY).read_bytes() != library.read_bytes()


def test_lists_of_checksums_are_renewed(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    sha256, md5 = compute_hex(library, "sha256"), compute_hex(library, "md5")
    other = compute_hex(tmp_path / "p/lib/libx.so.1", "sha256")
    sri = base64.b64encode(hashlib.sha512(library.read_bytes()).digest()).decode()
    files = {
        "SHA256SUMS": f"{other} *lib/libx.so.1\n{sha256} *{LIBRARY}\n",
        f"{LIBRARY}.md5": f"{md5.upper()}\n",
        "paths.json": f'{{"{LIBRARY}": "sha512-{sri}"}}\n',
    }
    for name, text in files.items():
        (tmp_path / "p" / name).write_text(text)
    list_digest = compute_hex(tmp_path / "p/SHA256SUMS", "sha256")
    (tmp_path / "p/SHA256SUMS.sha256").write_text(f"{list_digest}  SHA256SUMS\n")
    fix(tmp_path / "p")
    out = tmp_path / "out"
    new = out / LIBRARY
    lines = (out / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{other} *lib/libx.so.1", f"{compute_hex(new, 'sha256')} *{LIBRARY}"]
    assert (out / f"{LIBRARY}.md5").read_text() == f"{compute_hex(new, 'md5').upper()}\n"
    assert (
        base64.b64encode(hashlib.sha512(new.read_bytes()).digest()).decode()
        in (out / "paths.json").read_text()
    )
    assert compute_hex(out / "SHA256SUMS", "sha256") in (out / "SHA256SUMS.sha256").read_text()


def test_a_signature_of_a_renewed_list_is_reported(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    (tmp_path / "p/SHA256SUMS").write_text(f"{compute_hex(library, 'sha256')}  {LIBRARY}\n")
    (tmp_path / "p/SHA256SUMS.asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    remarks = fix(tmp_path / "p").applied.remarks
    assert "SHA256SUMS.asc: it signs the old SHA256SUMS; sign it again" in remarks


def test_the_records_of_an_environment_are_renewed(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    for info in (INFO, "other-1.0.dist-info"):
        (tmp_path / "p" / info).mkdir()
        lines = f"bin/y,,\n{format_record_line(LIBRARY, library.read_bytes())}\n{info}/RECORD,,\n"
        (tmp_path / "p" / info / "RECORD").write_text(lines)
    fix(tmp_path / "p")
    line = format_record_line(LIBRARY, (tmp_path / "out" / LIBRARY).read_bytes())
    assert line in (tmp_path / "out" / INFO / "RECORD").read_text().splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set security attributes")
def test_a_file_with_a_signature_for_the_kernel_is_not_changed(tmp_path: Path) -> None:
    library = build_pack(tmp_path / "p")
    try:
        os.setxattr(library, "security.ima", b"\3signature")
    except OSError:
        pytest.skip("the file system has no security attributes")
    fix(tmp_path / "p")
    assert (tmp_path / "out" / LIBRARY).read_bytes() == library.read_bytes()
