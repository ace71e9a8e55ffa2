"""Trees of processes, and searches, as text."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.explain import explain_name
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, build_adversarial_host
from bundle_fix.report.render.process import render_tree
from bundle_fix.report.render.why import render_explanations

LIB = "$ORIGIN/../a/long/path/to/the/libraries"


def paint(text: str, _: str) -> str:
    return text


def deploy(root: Path) -> Deployment:
    bundle = read_bundle(read_directory(root), "pack")
    return Deployment(bundle, build_adversarial_host(), EMPTY_ENVIRONMENT)


def build_pack(root: Path) -> Path:
    for name, needed in (("liba.so.1", ["libb.so.1"]), ("libb.so.1", ["liba.so.1"])):
        build_elf(root / "a/long/path/to/the/libraries" / name, soname=name, needed=needed)
    for name in ("one", "two"):
        needed = ["liba.so.1", "libb.so.1"]
        build_elf(root / "bin" / name, program=True, needed=needed, rpath=LIB)
    return root


def test_a_tree_fits_the_width_and_keeps_the_ends_of_paths(tmp_path: Path) -> None:
    process = deploy(build_pack(tmp_path)).map_process("bin/one")
    lines = render_tree([process], paint, fold=True, width=44).splitlines()
    assert all(len(line) <= 44 for line in lines[:-1])
    assert lines[1].endswith("/liba.so.1")


def test_names_that_are_loaded_already_share_a_line(tmp_path: Path) -> None:
    process = deploy(build_pack(tmp_path)).map_process("bin/one")
    folded = render_tree([process], paint, fold=True, width=None)
    assert "│   └── loaded already: libb.so.1, libc.so.6\n" in folded
    whole = render_tree([process], paint, fold=False, width=None)
    assert whole.count("(loaded already)") == 4


def test_searches_with_the_same_conclusion_are_printed_once(tmp_path: Path) -> None:
    found = explain_name(deploy(build_pack(tmp_path)), "liba.so.1")
    short = render_explanations(found, paint, verbose=False)
    assert short.count("bin/one needs liba.so.1\n") == 1
    assert "the same for bin/two" in short
    assert "bin/two needs liba.so.1\n" in render_explanations(found, paint, verbose=True)
