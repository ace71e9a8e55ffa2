"""Programs in Go and Rust, whose linkers have their own file layouts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.elf.changes import Changes
from elf.matrix import edit_at, require_tools
from elf.support import read_with_readelf

OLD, NEW = "/opt/old/lib", "$ORIGIN/../lib:/opt/" + "y" * 120
GO = """
package main

// #include <stdlib.h>
import "C"
import "fmt"

func main() { fmt.Println("main", C.abs(-42)) }
"""
RUST = 'fn main() { println!("main {}", std::env::args().count() + 41); }'


def build_go(directory: Path) -> Path:
    """Build a program in Go that calls C, so that it is dynamic."""
    require_tools("go")
    (directory / "main.go").write_text(GO)
    environ = {
        **os.environ, "CGO_ENABLED": "1", "GO111MODULE": "off", "GOFLAGS": "",
        "GOCACHE": str(directory.parent / "go-cache"),
    }  # fmt: skip
    linked = f"-linkmode external -extldflags -Wl,-rpath,{OLD}"
    command = ["go", "build", "-ldflags", linked, "-o", "x", "main.go"]
    subprocess.run(
        command, cwd=directory, env=environ, check=True, capture_output=True, timeout=300
    )
    return directory / "x"


def build_rust(directory: Path) -> Path:
    """Build a program in Rust with debug information."""
    require_tools("rustc")
    (directory / "main.rs").write_text(RUST)
    command = ["rustc", "-g", "-C", f"link-args=-Wl,-rpath,{OLD}", "-o", "x", "main.rs"]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=300)
    return directory / "x"


@pytest.mark.parametrize("build", [build_go, build_rust])
def test_a_program_in_another_language_is_edited_and_runs(
    tmp_path: Path, build: Callable[[Path], Path]
) -> None:
    path = build(tmp_path)
    editor = edit_at(path, Changes(runpath=NEW), "auto", tmp_path)
    assert editor in ("slot", "table", "segment")
    assert read_with_readelf(path).runpath == NEW
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"main 42\n"
    require_tools("strip")
    subprocess.run(["strip", path], check=True)
    assert read_with_readelf(path).runpath == NEW
    assert subprocess.run([path], capture_output=True, check=True).stdout == b"main 42\n"
