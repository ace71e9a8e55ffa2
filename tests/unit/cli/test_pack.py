"""``pack``: what is printed when a build makes a pack again."""

from __future__ import annotations

from pathlib import Path

from builders.elf import build_elf
from builders.run import run_bundle_fix

SPEC = """\
[bundle]
name = "demo"
[[files]]
from = "bin/*"
to = "bin/"
[[libraries]]
from = "out/libx.so.4"
"""


def test_a_pack_that_is_made_again_prints_what_changed(tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text(SPEC)
    build_elf(tmp_path / "bin/server", program=True, needed=["libx.so.4"])
    build_elf(tmp_path / "out/libx.so.4", soname="libx.so.4")
    (tmp_path / "bin/old.sh").touch()

    def make_pack(*options: str) -> list[str]:
        stamp, depfile = ("--stamp", tmp_path / "stamp"), ("--depfile", tmp_path / "d")
        done = run_bundle_fix("pack", spec, "-o", tmp_path, *stamp, *depfile, *options)
        assert done.returncode == 0, done.stderr
        assert "out/libx.so.4" in (tmp_path / "d").read_text()
        return done.stderr.splitlines()

    first = make_pack()
    passed = "passed: 0 errors, 0 warnings"
    assert first == ["bin/server: no RUNPATH became RUNPATH $ORIGIN/../lib", passed]
    assert make_pack() == ["demo.tar.gz: made again with the same files", passed]
    build_elf(tmp_path / "out/libx.so.4", soname="libx.so.4", tag="new")
    (tmp_path / "bin/old.sh").rename(tmp_path / "bin/new.sh")
    changes = ["bin/new.sh: added", "bin/old.sh: removed", "lib/libx.so.4: changed"]
    assert make_pack() == [*changes, passed]
    assert make_pack("--verbose")[0].startswith(first[0])
    (tmp_path / "stamp.manifest").write_text("{}")
    assert make_pack() == first
