"""Sandboxes without user namespaces: bubblewrap's command line, and a chroot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.elf import build_elf
from bundle_fix.pipelines.run import prepare
from bundle_fix.pipelines.run.execute import run_program
from bundle_fix.pipelines.run.request import RunOptions
from bundle_fix.policy.policy import CheckPolicy
from bundle_fix.run.sandbox.bubblewrap import build_bubblewrap_command
from bundle_fix.run.sandbox.command import Command, Isolation, Mount, Sandbox


def test_bubblewrap_gets_the_mounts_the_variables_and_the_command() -> None:
    mounts = (Mount(Path("/packs/x"), "/opt/pack"), Mount(Path("/r"), "/record", writable=True))
    sandbox = Sandbox(Isolation.BUBBLEWRAP, Path("/root"), mounts)
    command = Command(("/opt/pack/x", "--a"), {"A": "b c"}, "/opt/pack", 1.0, 2)
    line = " ".join(build_bubblewrap_command(sandbox, command))
    assert line.startswith("bwrap --unshare-all --die-with-parent ")
    assert "--share-net" not in line
    assert " --ro-bind /packs/x /opt/pack --bind /r /record --setenv A b c " in line
    assert line.endswith(" --chdir /opt/pack -- /opt/pack/x --a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may call chroot(2)")
def test_a_chroot_has_a_copy_of_the_pack_and_the_origin_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "choose_isolation", lambda network: Isolation.CHROOT)
    build_elf(tmp_path / "p/bin/x", program=True, needed=["liba.so.1"], runpath="$ORIGIN/../lib")
    build_elf(tmp_path / "p/lib/liba.so.1", soname="liba.so.1")
    with (tmp_path / "output").open("wb") as output:
        options = RunOptions("bin/x", network=True)
        result = run_program(tmp_path / "p", options, CheckPolicy(), output.fileno())
    assert (result.end.status, result.findings) == (0, ())
    assert (tmp_path / "output").read_text() == "liba.so.1\nmain\n"
