"""Programs that a shell script of the pack starts with LD_LIBRARY_PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Check
from .packs import build_library, build_server

HERE = 'D="$( cd "$( dirname "${BASH_SOURCE[0]}" )" >/dev/null && pwd )"\n'


def write_pack(root: Path, at: str, script: str, name: str = "liba.so.1") -> None:
    build_server(root, "liba.so.1", runpath=None)
    build_library(root, "liba.so.1", at=f"lib/{name}")
    build_library(root, "libb.so.1", at="lib/libb.so.1", needed=["liba.so.1"])
    (root / at).write_text(script)
    (root / at).chmod(0o755)


@pytest.mark.parametrize(
    ("at", "script"),
    [
        ("server.sh", HERE + "export LD_LIBRARY_PATH=$D/lib:$LD_LIBRARY_PATH\ncd $D\n./bin/server"),
        ("bin/run", 'LD_LIBRARY_PATH="$(dirname "$0")/../lib" exec "$(dirname "$0")/server"'),
        ("bin/run", "R=${0%/*}/..\nL=$R/lib\nexport X=1 LD_LIBRARY_PATH=${L}\n$R/bin/server $@"),
        ("bin/run", "LD_LIBRARY_PATH=`dirname $0`/../lib; export LD_LIBRARY_PATH\n./server"),
    ],
)
def test_bf102_and_bf201_are_notes_if_a_script_leads_to_the_library(
    tmp_path: Path, check: Check, at: str, script: str
) -> None:
    write_pack(tmp_path, at, f"#!/bin/bash\n{script}\n")
    findings = [*check("BF102"), *check("BF201")]
    assert {f.severity for f in findings if f.path == "bin/server"} == {"note"}


def test_bf102_names_the_script(tmp_path: Path, check: Check) -> None:
    write_pack(tmp_path, "run.sh", f"#!/bin/sh\n{HERE}LD_LIBRARY_PATH=$D/lib $D/bin/server\n")
    (message,) = [f.message for f in check("BF102") if f.path == "bin/server"]
    assert message.endswith("is loaded unless run.sh starts the program")


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("#!/bin/sh\nLD_LIBRARY_PATH=$(dirname $0)/lib ./bin/server\n", "liba.so"),
        ("#!/bin/sh\nLD_LIBRARY_PATH=$(dirname $0)/lib ./bin/server-tool\n", "liba.so.1"),
        ("#!/bin/sh\nLD_LIBRARY_PATH=$(dirname $0)/other ./bin/server\n", "liba.so.1"),
        ("#!/bin/sh\nLD_LIBRARY_PATH=/opt/lib:$HOME/lib ./bin/server\n", "liba.so.1"),
        ("#!/bin/sh\n# LD_LIBRARY_PATH=$(dirname $0)/lib\n./bin/server\n", "liba.so.1"),
        ("LD_LIBRARY_PATH=$(dirname $0)/lib ./bin/server\n", "liba.so.1"),
    ],
    ids=["name", "program", "directory", "outside", "comment", "no script"],
)
def test_bf102_or_its_cause_is_an_error_if_no_script_leads_to_the_library(
    tmp_path: Path, check: Check, script: str, name: str
) -> None:
    write_pack(tmp_path, "run.sh", script, name)
    findings = [*check("BF102"), *check("BF103"), *check("BF201")]
    assert "error" in {f.severity for f in findings}
