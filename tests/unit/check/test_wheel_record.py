"""BF640: the RECORD of a wheel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from builders.wheel import INFO, METADATA

from .conftest import Check
from .packs import write_unpacked_wheel


@pytest.mark.parametrize(("content", "severities"), [("", ["note"]), ("x", ["warning", "note"])])
def test_a_hash_in_hexadecimal_is_compared_with_the_file(
    tmp_path: Path, check: Check, content: str, severities: list[str]
) -> None:
    write_unpacked_wheel(tmp_path, is_correct=True)
    text = METADATA["METADATA"]
    record = tmp_path / INFO / "RECORD"
    lines = [line for line in record.read_text().splitlines() if "METADATA" not in line]
    digest = hashlib.sha256(text.encode() + content.encode()).hexdigest()
    record.write_text("\n".join([f"{INFO}/METADATA,sha256={digest},{len(text)}", *lines]))
    assert [f.severity for f in check("BF640")] == severities
