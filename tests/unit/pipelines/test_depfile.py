"""The inputs of a pack, written as a rule for make."""

from __future__ import annotations

import subprocess
from pathlib import Path

from builders.elf import build_elf
from builders.run import run_bundle_fix
from bundle_fix.pipelines.depfile import format_make_rule

SPEC = """\
[bundle]
name = "p"

[variables]
version = { file = "version.txt", pattern = "(.+)" }

[[files]]
text = "{version}"
to   = "VERSION"

[[files]]
from = "etc/*/*.ini"
to   = "etc/"

[[files]]
from = "share"
to   = "share/"

[[files]]
from = "perhaps/there.txt"
to   = "there.txt"
optional = true

[[libraries]]
name   = "libx.so.4"
search = ["first", "second"]
"""


def make_pack(directory: Path) -> list[str]:
    """Make a pack in ``directory``, and return the paths of its depfile that are below."""
    out = directory / "out"
    out.mkdir(exist_ok=True)
    done = run_bundle_fix(
        "pack",
        directory / "bundle.toml",
        "-o",
        out,
        "--depfile",
        out / "p.d",
        "--stamp",
        out / "p.st",
    )
    assert done.returncode == 0, done.stderr
    target, _, names = (out / "p.d").read_text().partition(": ")
    assert target == f"{out}/p.st"
    lines = (line.strip().removesuffix(" \\") for line in names.splitlines())
    return [
        line.removeprefix(f"{directory}/") for line in lines if line.startswith(f"{directory}/")
    ]


def write_source_tree(directory: Path) -> Path:
    for name, text in {
        "bundle.toml": SPEC, "version.txt": "7", "etc/a/x.ini": "", "etc/b/readme": "",
        "share/deep/er/file": "", "perhaps/other": "", "notes": "",
    }.items():  # fmt: skip
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / "first").mkdir()
    build_elf(directory / "second/libx.so.4.6", soname="libx.so.4")
    (directory / "second/libx.so.4").symlink_to("libx.so.4.6")
    return directory


def test_the_depfile_has_exactly_the_files_and_directories_that_were_read(
    tmp_path: Path,
) -> None:
    assert sorted(make_pack(write_source_tree(tmp_path))) == [
        "bundle.toml", "etc", "etc/a", "etc/a/x.ini", "etc/b", "first", "out/p.tar.gz", "perhaps",
        "second/libx.so.4", "second/libx.so.4.6", "share", "share/deep", "share/deep/er",
        "share/deep/er/file", "version.txt",
    ]  # fmt: skip


def test_directories_that_every_build_changes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/CMakeCache.txt").touch()
    entry = '[[files]]\nfrom = "{}/*.x"\nto = "x/"\noptional = true\n'
    spec = '[bundle]\nname = "p"\n' + entry.format("out") + entry.format("b")
    (tmp_path / "bundle.toml").write_text(spec)
    assert make_pack(tmp_path) == ["bundle.toml", "out/p.tar.gz"]


def test_make_reads_names_with_special_characters(tmp_path: Path) -> None:
    names = ["with blank", "mit ü", "a$b", "a#b", "plain"]
    paths = [tmp_path / name for name in names]
    for path in paths[1:]:
        path.touch()
    text = format_make_rule(tmp_path / "target of all", paths)
    (tmp_path / "Makefile").write_text(f"{text}\techo made\n")
    run = subprocess.run(
        ["make", "-C", tmp_path, "-n"], capture_output=True, text=True, check=False
    )
    # Make finds all files except the missing one.
    assert f"No rule to make target '{paths[0]}'" in run.stderr
    paths[0].touch()
    run = subprocess.run(["make", "-C", tmp_path, "-n"], capture_output=True, text=True, check=True)
    assert "echo made" in run.stdout
