"""What a second process reads ahead is what the rules would have read themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.elf import elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.check.checker import check_context
from bundle_fix.check.context import Context
from bundle_fix.check.facts import prefetch as ahead
from bundle_fix.check.facts.prefetch import read_ahead
from bundle_fix.check.facts.symbols import Symbols
from bundle_fix.elf.scan.build_paths import list_build_paths
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.loader.dlopen import find_library_name_strings, imports_dlopen
from bundle_fix.loader.hosts.host import AdversarialHost
from bundle_fix.model.errors import BundleFixError
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.subprocesses import forks

OPENER = """
#include <dlfcn.h>
const char *made_at = "/home/ci/build/etc/server.conf";
int main(void) { return dlopen("liblate.so.1", RTLD_NOW | RTLD_DEEPBIND) != 0; }
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    elf(tmp_path / "bin/opener", program=True, source=OPENER)
    elf(tmp_path / "lib/liblate.so.1", soname="liblate.so.1")
    return tmp_path


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "WORTH_FORKING", 0)
    monkeypatch.setattr(forks, "count_cores", lambda: 2)


def context_of(pack: Path) -> Context:
    bundle = read_bundle(read_directory(pack), str(pack))
    return Context(bundle, CheckPolicy(), AdversarialHost())


def test_what_was_told_is_not_read_again(pack: Path) -> None:
    symbols = context_of(pack).symbols
    with read_ahead(symbols, ["bin/opener"]):
        assert symbols.read("bin/opener", imports_dlopen)
        (pack / "bin/opener").unlink()
        assert symbols.read("bin/opener", find_library_name_strings) == {"liblate.so.1"}
        assert symbols.read("bin/opener", list_build_paths) == ("/home/ci/build/etc/server.conf",)


def test_the_findings_are_the_same(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = check_context(context_of(pack))
    monkeypatch.setattr(forks, "count_cores", lambda: 1)
    assert told == check_context(context_of(pack))
    assert {"BF308", "BF509"} <= {finding.rule for finding in told.findings}


def test_a_process_that_dies_costs_no_finding(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = check_context(context_of(pack))
    real, here = ahead._read, os.getpid()

    def die_elsewhere(symbols: Symbols, paths: list[str]) -> object:
        return real(symbols, paths) if os.getpid() == here else os._exit(1)

    monkeypatch.setattr(ahead, "_read", die_elsewhere)
    assert check_context(context_of(pack)) == alone


def test_a_file_that_changed_is_told_of_by_who_asks(pack: Path) -> None:
    symbols = context_of(pack).symbols
    (pack / "bin/opener").write_bytes(b"\x7fELF")
    with (
        read_ahead(symbols, ["bin/opener", "lib/liblate.so.1"]),
        pytest.raises(BundleFixError, match="changed while it was read"),
    ):
        symbols.read("bin/opener", imports_dlopen)


def test_no_process_outlives_the_context(pack: Path) -> None:
    with read_ahead(context_of(pack).symbols, ["bin/opener"]):
        pass
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
