"""Matches of an entry, its exclusions and its errors."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.collect.collector import collect_pack
from bundle_fix.collect.pack_builder import CollectedPack
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import resolve_variables

BUNDLE = '[bundle]\nname = "p"\n'
SERVER = '[[files]]\nfrom = "server"\nto = "bin/"\n'


def collect_spec(root: Path, text: str, **defines: str) -> CollectedPack:
    (root / "bundle.toml").write_text(BUNDLE + text)
    spec = load_spec(root / "bundle.toml")
    return collect_pack(spec, resolve_variables(spec, root, defines, {}), root)


def list_files(result: CollectedPack) -> list[str]:
    return [path for path, _ in result.bundle.tree.iter_files()]


def get_error(root: Path, text: str, **defines: str) -> str:
    """Return the error of a spec with this text, without its directory."""
    with pytest.raises(BundleFixError) as caught:
        collect_spec(root, text, **defines)
    return str(caught.value).replace(f"{root}/", "").replace(str(root), ".")


def write_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def test_exclude_matches_names_at_any_depth_and_paths_from_the_root(tmp_path: Path) -> None:
    write_files(
        tmp_path, "src/a.h", "src/a.in", "src/d/b.in", "src/d/b.h", "src/test/c.h", "src/d/test/e"
    )
    text = '[[files]]\nfrom = "src"\nto = "./"\nexclude = ["*.in", "src/test/*"]\n'
    assert list_files(collect_spec(tmp_path, text)) == ["src/a.h", "src/d/b.h", "src/d/test/e"]


@pytest.mark.parametrize("pattern", ["**", "**/.", "./**/./", "src/../**", "**//./*"])
def test_a_file_in_a_matched_directory_is_added_once(tmp_path: Path, pattern: str) -> None:
    write_files(tmp_path / "tree", "src/a", "src/d/b")
    text = f'[[files]]\nfrom = "tree/{pattern}"\nto = "./"\n'
    found = list_files(collect_spec(tmp_path, text))
    assert len(found) == 2, found


def test_exclude_of_libraries_may_contain_variables(tmp_path: Path) -> None:
    build_elf(tmp_path / "out/liba.so", soname="liba.so")
    build_elf(tmp_path / "out/libold.so", soname="libold.so")
    text = (
        '[[libraries]]\nfrom = "out/*.so"\nexclude = ["{build}/libold.so"]\n'
        '[variables]\nbuild = { value = "out" }\n'
    )
    assert list_files(collect_spec(tmp_path, text)) == ["lib/liba.so"]


def test_an_entry_that_excludes_all_its_matches_is_an_error(tmp_path: Path) -> None:
    write_files(tmp_path, "a.ini")
    text = '[[files]]\nfrom = "*.ini"\nto = "etc/"\nexclude = ["a.*"]\n'
    assert get_error(tmp_path, text).startswith("bundle.toml:4:8: no file matches *.ini in .")


def test_the_checksum_for_this_machine_is_compared(tmp_path: Path) -> None:
    write_files(tmp_path, "a.jar")
    right = f"sha256:{hashlib.sha256(b'a.jar').hexdigest()}"
    wrong = f"md5:{'0' * 32}"
    machine = os.uname().machine
    text = (
        f'[[files]]\nfrom = "*.jar"\nto = "x/"\nchecksum = {{ m68k = "{wrong}", %s = "{right}" }}\n'
    )
    assert list_files(collect_spec(tmp_path, text % machine)) == ["x/a.jar"]
    assert get_error(tmp_path, text % "vax") == (
        f"bundle.toml:6:12: missing checksum for the machine {machine} (add it to `m68k`, `vax`)"
    )
    arch = '[variables]\narch = { builtin = "arch" }\n'
    assert get_error(tmp_path, text % machine + arch, arch="m68k") == (
        "bundle.toml:6:12: a.jar: checksum mismatch: md5:75e7ad4ba5b24f13d87b990eb77d22cc instead"
        " of "
        f"{wrong} for m68k (use the right file, or correct the checksum)"
    )


def test_a_checksum_requires_a_single_file(tmp_path: Path) -> None:
    write_files(tmp_path, "a.jar", "b.jar")
    text = f'[[files]]\nfrom = "*.jar"\nto = "x/"\nchecksum = "md5:{"0" * 32}"\n'
    assert get_error(tmp_path, text) == (
        "bundle.toml:6:12: `checksum` requires one file, but `from` matches 2 files or a directory "
        "(write a separate entry for the file)"
    )


def test_a_search_by_soname_skips_libraries_for_another_machine(tmp_path: Path) -> None:
    build_elf(tmp_path / "server", program=True, needed=["libz.so.1"])
    build_elf(tmp_path / "lib32/libz.so.1", soname="libz.so.1", toolchain=CROSS["i386"])
    build_elf(tmp_path / "lib64/libz.so.1.2", soname="libz.so.1")
    text = SERVER + '[[libraries]]\nname = "libz.so.1"\nsearch = ["lib32", "lib64", "gone"]\n'
    assert "lib/libz.so.1.2" in list_files(collect_spec(tmp_path, text))
    (tmp_path / "lib64/libz.so.1.2").unlink()
    assert get_error(tmp_path, text) == (
        "bundle.toml:7:8: no library with the soname libz.so.1 in lib32, lib64, gone; "
        "lib32/libz.so.1 is for i386 (build it, or add its directory to `search`)"
    )


def test_a_glob_that_matches_a_library_for_another_machine_is_an_error(tmp_path: Path) -> None:
    build_elf(tmp_path / "server", program=True, needed=["libz.so.1"])
    build_elf(tmp_path / "out/libz.so.1", soname="libz.so.1", toolchain=CROSS["aarch64"])
    text = SERVER + '[[libraries]]\nfrom = "out/*.so*"\n'
    assert get_error(tmp_path, text) == (
        "bundle.toml:7:8: out/libz.so.1 is for aarch64, but the pack's programs are for x86_64 "
        "(use the directory for the right machine)"
    )


@pytest.mark.parametrize("soname", ["libx.so.3", "libx.so.4"])
def test_a_glob_that_matches_two_versions_of_a_library_is_an_error(
    tmp_path: Path, soname: str
) -> None:
    build_elf(tmp_path / "out/libx.so.4.1", soname="libx.so.4")
    build_elf(tmp_path / "out/libx.so.3.9", soname=soname, tag="stale")
    assert "out/libx.so.3.9 and out/libx.so.4.1 are two versions of one library" in get_error(
        tmp_path, '[[libraries]]\nfrom = "out/libx.so*"\n'
    )
    text = '[[libraries]]\nfrom = "out/libx.so*"\nexclude = ["libx.so.3*"]\n'
    assert "lib/libx.so.4.1" in list_files(collect_spec(tmp_path, text))


def test_copies_of_a_library_become_symlinks(tmp_path: Path) -> None:
    for name in ("libx.so", "libx.so.4", "libx.so.4.1"):
        build_elf(tmp_path / "out" / name, soname="libx.so.4", tag="one")
    result = collect_spec(tmp_path, '[[libraries]]\nfrom = "out/libx.so*"\n')
    assert list_files(result) == ["lib/libx.so.4.1"]
    assert {"lib/libx.so", "lib/libx.so.4"} <= result.bundle.tree.nodes.keys()


def test_all_entries_without_a_match_are_reported_in_order(tmp_path: Path) -> None:
    text = (
        '[[libraries]]\nname = "libx.so.1"\nsearch = ["out"]\n'
        '[[files]]\nfrom = "gone/*"\nto = "bin/"\n'
        '[[files]]\ntext = "x"\nto = "fine"\n'
        '[[libraries]]\nfrom = "gone.so"\n'
    )
    assert [line.split(" in ")[0] for line in get_error(tmp_path, text).splitlines()] == [
        "bundle.toml:4:8: no library with the soname libx.so.1",
        "bundle.toml:7:8: no file matches gone/*",
        "bundle.toml:13:8: no file matches gone.so",
    ]


def test_a_damaged_library_is_reported_at_its_entry(tmp_path: Path) -> None:
    whole = build_elf(tmp_path / "out/libx.so", soname="libx.so")
    whole.write_bytes(whole.read_bytes()[:70])
    message = get_error(tmp_path, '[[libraries]]\nfrom = "out/libx.so"\n')
    assert message.startswith("bundle.toml:4:8: out/libx.so: the ELF file is damaged: ")


def test_a_pattern_captures_part_of_an_environment_variable(tmp_path: Path) -> None:
    write_files(tmp_path, "CMakeCache.txt")
    (tmp_path / "CMakeCache.txt").write_text("CMAKE_CXX_COMPILER:STRING=/opt/gcc-12/bin/g++\n")
    text = BUNDLE + (
        '[variables]\ngcc = { cmake-cache = "CMAKE_CXX_COMPILER", pattern = "^(.*)/bin/" }\n'
        'user = { env = "WHO", pattern = "^([a-z]+)@" }\ndirectory = { builtin = "here" }\n'
    )
    (tmp_path / "bundle.toml").write_text(text)
    spec = load_spec(tmp_path / "bundle.toml")
    values = resolve_variables(spec, tmp_path, {}, {"WHO": "me@here"})
    assert (values["gcc"], values["user"]) == ("/opt/gcc-12", "me")
    assert values["directory"] == str(tmp_path)
    with pytest.raises(BundleFixError, match=r"the pattern '\^\(\[a-z\]\+\)@' does not match"):
        resolve_variables(spec, tmp_path, {}, {"WHO": "42"})["user"]


def test_two_files_with_the_searched_soname_are_an_error(tmp_path: Path) -> None:
    build_elf(tmp_path / "out/liba.so.1.5", soname="liba.so.1", tag="from an earlier build")
    build_elf(tmp_path / "out/liba.so.1.6", soname="liba.so.1")
    text = '[[libraries]]\nname = "liba.so.1"\nsearch = ["out"]\n'
    assert get_error(tmp_path, text) == (
        "bundle.toml:4:8: out/liba.so.1.5 and out/liba.so.1.6 are different files with the soname "
        "liba.so.1 (remove the one from an earlier build, or make liba.so.1 a symlink to the right"
        " one)"
    )
    (tmp_path / "out/liba.so.1").symlink_to("liba.so.1.6")
    assert list_files(collect_spec(tmp_path, text)) == ["lib/liba.so.1.6"]
    (tmp_path / "out/liba.so.1").unlink()
    build_elf(tmp_path / "out/liba.so.1.5", soname="liba.so.1", tag="liba.so.1.6")
    assert list_files(collect_spec(tmp_path, text)) == ["lib/liba.so.1.5"]
