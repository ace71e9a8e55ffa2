"""Programs of Go and Rust, whose linkers lay files out in their own ways."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bundle_fix.elf.changes import Changes
from elf.matrix import needs
from elf.support import by_readelf
from elf.test_matrix import edited

OLD, NEW = "/opt/old/lib", "$ORIGIN/../lib:/opt/" + "y" * 120
GO = """
package main

// #include <stdlib.h>
import "C"
import "fmt"

func main() { fmt.Println("main", C.abs(-42)) }
"""
RUST = 'fn main() { println!("main {}", std::env::args().count() + 41); }'


def go(folder: Path) -> Path:
    """A program of Go that calls C, so that it is dynamic."""
    needs("go")
    (folder / "main.go").write_text(GO)
    environ = {
        **os.environ, "CGO_ENABLED": "1", "GO111MODULE": "off", "GOFLAGS": "",
        "GOCACHE": str(folder.parent / "go-cache"),
    }  # fmt: skip
    linked = f"-linkmode external -extldflags -Wl,-rpath,{OLD}"
    command = ["go", "build", "-ldflags", linked, "-o", "x", "main.go"]
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True, timeout=300)
    return folder / "x"


def rust(folder: Path) -> Path:
    """A program of Rust with debug information."""
    needs("rustc")
    (folder / "main.rs").write_text(RUST)
    command = ["rustc", "-g", "-C", f"link-args=-Wl,-rpath,{OLD}", "-o", "x", "main.rs"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder / "x"


@pytest.mark.parametrize("build", [go, rust])
def test_a_program_of_another_language_is_edited_and_runs(tmp_path: Path, build: object) -> None:
    assert callable(build)
    path = build(tmp_path)
    by = edited(path, Changes(runpath=NEW), "auto", tmp_path)
    assert by in ("slot", "table", "patchelf")
    assert by_readelf(path).runpath == NEW
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"main 42\n"
    needs("strip")
    subprocess.run(["strip", path], check=True)
    assert by_readelf(path).runpath == NEW
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"main 42\n"
