from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builders.elf import build_elf
from builders.run import run_bundle_fix

SPEC = """
[bundle]
name = "pack-1.0"
format = "tar.gz"
[[files]]
from = "server"
to = "bin/"
[[files]]
from = "conf/*"
to = "etc/"
[[files]]
text = "hello\\n"
to = "VERSION"
[closure]
bundle = ["libx.so.*"]
search = ["third"]
"""

Pack = Callable[..., Path]


def write_source_tree(root: Path) -> Path:
    """Write a build tree with a spec: a program, a library with its symlink, configuration."""
    build_elf(root / "third/libx.so.1.2", soname="libx.so.1", tag="shipped")
    (root / "third/libx.so.1").symlink_to("libx.so.1.2")
    build_elf(root / "server", program=True, needed=["libx.so.1"])
    (root / "conf").mkdir()
    (root / "conf/a.ini").write_text("a = 1\n")
    (root / "conf/b.ini").write_text("b = 1\n")
    (root / "bundle.toml").write_text(SPEC)
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """See `write_source_tree`."""
    return write_source_tree(tmp_path / "tree")


@pytest.fixture
def pack(tree: Path) -> Pack:
    """A function that packs the tree with the given options and returns the artifact."""

    def make_pack(*options: str | Path, **environ: str) -> Path:
        done = run_bundle_fix("pack", "bundle.toml", *options, cwd=tree, **environ)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.splitlines()[-1])

    return make_pack
