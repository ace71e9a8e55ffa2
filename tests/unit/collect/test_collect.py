from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builders.elf import CROSS, build_elf
from bundle_fix.collect.collector import collect_pack
from bundle_fix.collect.libraries.build_machine import LibrarySources
from bundle_fix.collect.pack_builder import CollectedPack
from bundle_fix.model.errors import BundleFixError
from bundle_fix.model.tree import File, Symlink
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import resolve_variables


def collect_spec(
    root: Path, text: str, sources: LibrarySources | None = None, **defines: str
) -> CollectedPack:
    spec_file = root / "bundle.toml"
    spec_file.write_text(f'[bundle]\nname = "p"\n{text}')
    spec = load_spec(spec_file)
    values = resolve_variables(spec, root, defines, {})
    return collect_pack(spec, values, root, sources=sources or LibrarySources())


def list_members(result: CollectedPack) -> dict[str, str]:
    """Map each file to its mode, and each symlink to its target."""
    nodes = result.bundle.tree.nodes
    return {
        path: node.target if isinstance(node, Symlink) else f"{node.metadata.mode:o}"
        for path, node in nodes.items()
        if isinstance(node, File | Symlink)
    }


def build_library(directory: Path, real: str, soname: str, *links: str, tag: str = "") -> None:
    build_elf(directory / real, soname=soname, tag=tag)
    for link in links:
        (directory / link).symlink_to(real)


def test_a_library_gets_symlinks_for_its_soname_and_the_linker(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so.4.6.11", "libx.so.4", "libx.so.4", "libx.so")
    result = collect_spec(tmp_path, '[[libraries]]\nname = "libx.so.4"\nsearch = ["out"]\n')
    assert list_members(result) == {
        "lib/libx.so": "libx.so.4.6.11",
        "lib/libx.so.4": "libx.so.4.6.11",
        "lib/libx.so.4.6.11": "755",
    }


def test_a_library_is_found_by_soname_under_another_file_name(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so", "libx.so.4")
    result = collect_spec(tmp_path, '[[libraries]]\nname = "libx.so.4"\nsearch = ["gone", "out"]\n')
    assert list_members(result) == {"lib/libx.so": "755", "lib/libx.so.4": "libx.so"}


def test_a_glob_over_symlinks_and_files_adds_each_file_once(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so.4.6", "libx.so.4", "libx.so.4", "libx.so")
    result = collect_spec(tmp_path, '[[libraries]]\nfrom = "out/libx.so*"\nto = "bin/"\n')
    assert list_members(result) == {
        "bin/libx.so": "libx.so.4.6",
        "bin/libx.so.4": "libx.so.4.6",
        "bin/libx.so.4.6": "755",
    }


def test_a_symlink_to_another_directory_becomes_one_in_the_same_directory(tmp_path: Path) -> None:
    build_library(tmp_path / "store", "libx.so.4.6", "libx.so.4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/libx.so.4").symlink_to(tmp_path / "store/libx.so.4.6")
    result = collect_spec(tmp_path, '[[libraries]]\nfrom = "out/libx.so.4"\n')
    assert list_members(result) == {"lib/libx.so.4": "libx.so.4.6", "lib/libx.so.4.6": "755"}


def test_files_texts_directories_and_modes(tmp_path: Path) -> None:
    (tmp_path / "conf/sub").mkdir(parents=True)
    (tmp_path / "conf/a.ini").write_text("a")
    (tmp_path / "conf/sub/b.ini").write_text("b")
    (tmp_path / "conf/sub/link.ini").symlink_to("../a.ini")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    result = collect_spec(
        tmp_path,
        """
        [[files]]
        from = "conf"
        to = "etc/"
        [[files]]
        from = "run.sh"
        to = "bin/start"
        mode = "0750"
        [[files]]
        text = "Pegasus {version}\\n"
        to = "VERSION"
        [variables]
        version = { value = "2.5.0" }
        """,
    )
    assert list_members(result) == {
        "VERSION": "644",
        "bin/start": "750",
        "etc/conf/a.ini": "644",
        "etc/conf/sub/b.ini": "644",
        "etc/conf/sub/link.ini": "../a.ini",
    }
    node = result.bundle.tree.nodes["VERSION"]
    assert isinstance(node, File)
    with node.content.open() as reader:
        assert reader.pread(0, 100) == b"Pegasus 2.5.0\n"


def test_an_entry_is_used_only_if_its_condition_holds(tmp_path: Path) -> None:
    for name in ("tcmalloc", "jemalloc"):
        build_library(tmp_path / "out", f"lib{name}.so", f"lib{name}.so.1")
    text = "".join(
        f'[[libraries]]\nfrom = "out/lib{n}.so"\nwhen = {{ allocator = "{n}" }}\n'
        for n in ("tcmalloc", "jemalloc")
    )
    text += '[options]\nallocator = { choices = ["tcmalloc", "jemalloc"], default = "tcmalloc" }\n'
    assert "lib/libtcmalloc.so" in list_members(collect_spec(tmp_path, text))
    assert list(list_members(collect_spec(tmp_path, text, allocator="jemalloc"))) == [
        "lib/libjemalloc.so",
        "lib/libjemalloc.so.1",
    ]


def test_the_closure_follows_the_runpaths_of_the_build_machine(tmp_path: Path) -> None:
    deep = tmp_path / "third party/deep"
    build_library(deep, "libdeep.so.2.1", "libdeep.so.2", "libdeep.so.2")
    build_elf(
        tmp_path / "third party/libmid.so.1",
        soname="libmid.so.1",
        needed=["libdeep.so.2"],
        runpath="$ORIGIN/deep",
    )
    build_elf(
        tmp_path / "out/server",
        program=True,
        needed=["libmid.so.1"],
        runpath=f"{tmp_path}/third party",
    )
    result = collect_spec(
        tmp_path,
        '[[files]]\nfrom = "out/server"\nto = "bin/"\n[closure]\nbundle = ["lib*"]\n',
    )
    assert list(list_members(result)) == [
        "bin/server",
        "lib/libdeep.so.2",
        "lib/libdeep.so.2.1",
        "lib/libmid.so.1",
    ]
    origin = result.origins["lib/libdeep.so.2.1"]
    assert (origin.source, origin.requested_by) == (deep / "libdeep.so.2.1", "lib/libmid.so.1")


def test_the_closure_searches_its_own_directories_first(tmp_path: Path) -> None:
    build_library(tmp_path / "ours", "libz.so.1", "libz.so.1", tag="ours")
    build_elf(tmp_path / "server", program=True, needed=["libz.so.1"])
    result = collect_spec(
        tmp_path,
        '[[files]]\nfrom = "server"\nto = "bin/"\n'
        '[closure]\nbundle = ["libz.so.1"]\nsearch = ["ours"]\n',
    )
    assert result.origins["lib/libz.so.1"].source == tmp_path / "ours/libz.so.1"


def test_the_closure_adds_the_library_that_ldd_prints(tmp_path: Path) -> None:
    server = build_elf(tmp_path / "server", program=True, needed=["libstdc++.so.6"])
    result = collect_spec(
        tmp_path,
        '[[files]]\nfrom = "server"\nto = "bin/"\n[closure]\n'
        'bundle = ["libstdc++.so.6", "libgcc_s.so.*"]\n',
    )
    listed = subprocess.run(["ldd", server], capture_output=True, text=True, check=True).stdout
    (path,) = [line.split()[2] for line in listed.splitlines() if "libstdc++.so.6 =>" in line]
    real = Path(path).resolve()
    assert result.origins[f"lib/{real.name}"].source == real


def test_the_closure_skips_libraries_for_another_machine(tmp_path: Path) -> None:
    build_elf(tmp_path / "wrong/liba.so.1", soname="liba.so.1", toolchain=CROSS["i386"])
    build_library(tmp_path / "right", "liba.so.1", "liba.so.1")
    build_elf(tmp_path / "server", program=True, needed=["liba.so.1"])
    result = collect_spec(
        tmp_path,
        '[[files]]\nfrom = "server"\nto = "bin/"\n'
        '[closure]\nbundle = ["liba.so.1"]\nsearch = ["wrong", "right"]\n',
    )
    assert result.origins["lib/liba.so.1"].source == tmp_path / "right/liba.so.1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[files]]\nfrom = "gone/*"\nto = "bin/"\n', "no file matches gone/* in "),
        ('[[libraries]]\nfrom = "gone.so"\n', "no file matches gone.so in "),
        (
            '[[libraries]]\nname = "libx.so.1"\nsearch = ["a", "b"]\n',
            "no library with the soname libx.so.1 in ",
        ),
        ('[[libraries]]\nfrom = "bundle.toml"\n', "is not a shared library"),
        (
            '[[files]]\nfrom = "*.toml"\nto = "x"\n[[files]]\ntext = "y"\nto = "x"\n',
            "two different files have the path x in the pack",
        ),
        (
            '[[files]]\ntext = "a"\nto = "bin"\n[[files]]\ntext = "b"\nto = "bin/x"\n',
            "bin/x would be below bin, which is a file",
        ),
        (
            '[[files]]\ntext = "a"\nto = "bin"\n[[files]]\ntext = "b"\nto = "bin/x/y"\n',
            "bin/x/y would be below bin, which is a file",
        ),
        ('[[files]]\nfrom = "/dev/null"\nto = "x"\n', "/dev/null is not a regular file"),
        ('[closure]\nbundle = ["libc.so.6"]\n', "libc.so.6 is part of the target's C library"),
    ],
)
def test_an_error_contains_the_position_of_its_entry(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(BundleFixError) as caught:
        collect_spec(tmp_path, text)
    assert message in caught.value.message
    assert caught.value.where.startswith(f"{tmp_path}/bundle.toml:")


def test_an_unresolved_library_is_reported_with_the_searched_directories(tmp_path: Path) -> None:
    build_elf(tmp_path / "server", program=True, needed=["libunknown.so.1"], runpath="/missing")
    text = '[[files]]\nfrom = "server"\nto = "bin/"\n[closure]\nbundle = ["libunknown.so.*"]\n'
    with pytest.raises(BundleFixError) as caught:
        collect_spec(tmp_path, text)
    assert caught.value.message.startswith(
        "libunknown.so.1 is not found on this machine: bin/server → libunknown.so.1"
        " (searched /missing, /lib"
    )


def test_an_optional_entry_may_match_no_file(tmp_path: Path) -> None:
    text = '[[files]]\nfrom = "gone"\nto = "x"\noptional = true\n'
    text += '[[libraries]]\nfrom = "libgone.so"\noptional = true\n'
    assert list_members(collect_spec(tmp_path, text)) == {}


def test_two_entries_may_add_the_same_file(tmp_path: Path) -> None:
    build_library(tmp_path / "out", "libx.so.4", "libx.so.4")
    text = '[[libraries]]\nfrom = "out/libx.so.4"\n' * 2
    assert list_members(collect_spec(tmp_path, text)) == {"lib/libx.so.4": "755"}


def test_modes_do_not_depend_on_the_umask_of_the_build(tmp_path: Path) -> None:
    for name, mode in (("a", 0o600), ("b", 0o700), ("c", 0o664)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    result = collect_spec(tmp_path, '[[files]]\nfrom = "[abc]"\nto = "x/"\n')
    assert list_members(result) == {"x/a": "644", "x/b": "755", "x/c": "644"}


def test_everything_below_a_directory_is_added_once_with_its_directories(tmp_path: Path) -> None:
    for name in ("src/d/a.txt", "src/d/inner/b.txt", "src/d/inner/deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    result = collect_spec(tmp_path, '[[files]]\nfrom = "src/d/**"\nto = "out/"\n')
    files = [path for path, _ in result.bundle.tree.iter_files()]
    assert files == ["out/a.txt", "out/inner/b.txt", "out/inner/deep/c.txt"]


def test_a_path_below_another_match_is_not_added_separately(tmp_path: Path) -> None:
    for name in ("src/x1/x2/a.txt", "src/y/x3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    result = collect_spec(tmp_path, '[[files]]\nfrom = "src/**/x*"\nto = "out/"\n')
    assert [path for path, _ in result.bundle.tree.iter_files()] == [
        "out/x1/x2/a.txt",
        "out/x3.txt",
    ]
