"""Overviews of artifacts: graphs of the loader's model, sizes, and files that are there twice."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from builders.pack import make_incident_pack
from bundle_fix.pipelines.target import Target, open_on_target
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.report.graphs.choice import choose_graphs
from bundle_fix.report.graphs.drawn_report import Overview
from bundle_fix.report.graphs.load_graph import GraphObject, LoadGraph, Side
from bundle_fix.report.graphs.measure import MAX_FILES
from bundle_fix.report.graphs.overview import make_overview

OPENER = """
#include <dlfcn.h>
int main(void) { return dlopen("libplugin.so", RTLD_NOW) == 0; }
"""


def survey(path: Path) -> Overview:
    with open_on_target(path, Target()) as artifact:
        return make_overview(artifact, CheckPolicy(), {})


def find_object(graph: LoadGraph, label: str) -> GraphObject:
    return next(o for o in graph.objects if o.label == label)


def test_a_copy_of_the_host_is_notable_and_named_with_that_of_the_pack(tmp_path: Path) -> None:
    graph = survey(make_incident_pack(tmp_path)).graphs[0]
    copy = find_object(graph, "/lib64/libtcmalloc.so.4")
    assert (copy.side, copy.is_notable) == (Side.HOST, True)
    assert copy.note == "instead of the pack's bin/libtcmalloc.so"
    libc = find_object(graph, "/lib64/libc.so.6")
    assert (libc.side, libc.is_notable, libc.note) == (Side.HOST, False, "")


def test_a_library_that_a_program_opens_at_run_time_is_in_its_graph(tmp_path: Path) -> None:
    build_elf(tmp_path / "bin/x", program=True, source=OPENER, runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "lib/libplugin.so", soname="libplugin.so")
    graph = next(g for g in survey(tmp_path).graphs if g.entry == "bin/x")
    plugin = find_object(graph, "lib/libplugin.so")
    assert (plugin.side, plugin.at_run_time) == (Side.PACK, True)
    assert any(graph.objects[edge.end] is plugin and edge.start == 0 for edge in graph.edges)


def test_copies_are_found_by_their_bytes_and_other_files_by_their_soname(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_elf(tmp_path / f"{name}/libz.so.1", soname="libz.so.1", tag="same")
    build_elf(tmp_path / "c/libz.so.1", soname="libz.so.1", tag="other", flags=["-g"])
    sizes = survey(tmp_path).sizes
    same, soname = sizes.copies
    assert (same.paths, same.soname) == (("a/libz.so.1", "b/libz.so.1"), "")
    assert same.wasted == same.size
    assert (soname.paths, soname.soname) == (("a/libz.so.1", "c/libz.so.1"), "libz.so.1")
    assert sizes.total == sum(file.size for file in sizes.files)


def test_a_single_small_file_of_a_directory_keeps_its_path(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for n in range(MAX_FILES):
        (tmp_path / f"lib/{n}").write_bytes(b"xx")
    (tmp_path / "lib/small").write_bytes(b"x")
    (tmp_path / "small").write_bytes(b"x")
    build_elf(tmp_path / "lib/libx.so")
    (tmp_path / "lib/0").unlink()
    files = survey(tmp_path).sizes.files
    assert {(f.path, f.count) for f in files[-2:]} == {("lib/small", 1), ("small", 1)}


def test_a_graph_above_the_limit_does_not_keep_smaller_ones_out() -> None:
    sources = [("small", False, 3), ("huge", True, 11), ("notable", True, 4), ("last", False, 4)]
    assert choose_graphs(sources, 10) == ["notable", "small"]
    assert choose_graphs(sources, 11) == ["huge"]
