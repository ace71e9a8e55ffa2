"""Findings about what a run loaded."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.deployment import Deployment
from bundle_fix.loader.hosts.host import EMPTY_ENVIRONMENT, build_adversarial_host
from bundle_fix.run.findings import find_problems
from bundle_fix.run.observation import Load, LoadOrigin, Observer, Prediction
from bundle_fix.run.record.loader_record import LoadCall


def make_load(name: str, path: str = "") -> Load:
    origin = LoadOrigin.PACK if path else LoadOrigin.MISSING
    return Load(
        name, path, origin, "bin/x", LoadCall.DLOPEN, "bin/x", at_start=False,
        prediction=Prediction.UNKNOWN,
    )  # fmt: skip


def list_messages(root: Path, *loads: Load) -> list[str]:
    build_elf(root / "bin/x", program=True)
    bundle = read_bundle(read_directory(root), "pack")
    observer = Observer(Deployment(bundle, build_adversarial_host(), EMPTY_ENVIRONMENT), {})
    return [finding.message for finding in find_problems(observer, loads, ())]


def test_a_path_that_is_tried_before_the_right_one_is_not_missing(tmp_path: Path) -> None:
    tried = make_load("plugins/libplug.so")
    found = make_load("/pack/lib/plugins/libplug.so", "lib/plugins/libplug.so")
    message = "opens plugins/libplug.so, which was not found"
    assert list_messages(tmp_path, tried, found) == []
    assert list_messages(tmp_path, found, tried) == [message]
    assert list_messages(tmp_path, tried) == [message]
