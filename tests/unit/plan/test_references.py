"""A library keeps every name that something may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.dlopen import make_dlopen_source
from builders.elf import build_elf
from bundle_fix.archive.directory import read_directory
from bundle_fix.loader.bundle import read_bundle
from bundle_fix.plan.naming.references import find_references

LIBRARY, VERSIONED = "lib/libacme.so", "lib/libacme.so.2.6.3"


def find(root: Path, path: str = LIBRARY) -> str:
    """Return what asks for the name of the library at ``path``."""
    build_elf(root / path, soname="libacme.so.2", tag="shipped")
    build_elf(root / "bin/x", program=True, needed=["libacme.so.2"])
    bundle = read_bundle(read_directory(root), "pack")
    return find_references(bundle, [path]).get(path, "")


def test_a_needed_soname_is_not_a_reference_to_another_name(tmp_path: Path) -> None:
    assert find(tmp_path / "a") == ""
    assert find(tmp_path / "b", VERSIONED) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("share/README", "The library is libacme.so."),
        ("etc/plugins", "module = ../lib/libacme.so\n"),
        ("lib/pkgconfig/acme.pc", "Libs: -L${libdir} -lacme\n"),
        ("lib/libacme.la", "library_names='libacme.so.2.6.3 libacme.so.2 libacme.so'\n"),
        ("lib/cmake/acme.cmake", "set(L ${prefix}/lib/${P}acme${S})\n"),
        ("pkg/__init__.py", "def get_libraries():\n    return ['acme']\n"),
        ("pkg/load.py", "ctypes.CDLL(os.path.join(here, 'libacme' + suffix))\n"),
        ("pkg/scan.py", "for name in os.listdir(here):\n    if name.endswith('.so'): load(name)\n"),
        ("pkg/glob.rb", "Dir['plugins/*.so'].each { |f| load f }\n"),
        ("bin/run", 'exec env LD_PRELOAD="$here/$name.so" "$@"\n'),
    ],
)
def test_a_text_file_of_any_kind_is_searched(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(text)
    assert find(tmp_path) == f"name kept: {name} contains it"


@pytest.mark.parametrize(
    "text", ["libacme.so.2.6.3", "glob('libacme.so.*')", '"libacme.so." + version', "libacme.so.%d"]
)
def test_a_pattern_asks_for_a_name_with_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes").write_text(text)
    assert find(tmp_path, VERSIONED) == "name kept: notes contains it"


@pytest.mark.parametrize("text", ["libacme.so.2", "libacme_extra.so", "acme", "x.so.1 and y.so.2"])
def test_another_name_is_not_a_reference(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes").write_text(text)
    assert find(tmp_path) == ""


@pytest.mark.parametrize("text", ["libacme.so", "lib%s.so", "plugins/*.so"])
def test_a_string_of_a_program_is_a_reference(tmp_path: Path, text: str) -> None:
    source = make_dlopen_source(text) + "int main() {}"
    build_elf(tmp_path / "bin/opener", program=True, source=source)
    assert find(tmp_path) == "name kept: bin/opener contains it"


def test_a_name_across_the_border_of_two_chunks_is_found(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("a" * ((1 << 20) - 4) + " libacme.so.2.6.3\n")
    assert find(tmp_path, VERSIONED) == "name kept: notes contains it"


def test_a_list_of_installed_files_is_not_a_reference(tmp_path: Path) -> None:
    (tmp_path / "acme-1.0.dist-info").mkdir()
    (tmp_path / "acme-1.0.dist-info/RECORD").write_text("lib/libacme.so,,\n")
    assert find(tmp_path) == ""


def test_a_directory_of_plugins_may_be_scanned(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libother.so", soname="libother.so", tag="o")
    build_elf(tmp_path / "lib/libplug.so", soname="libplug.so.1", tag="p")
    references = find_references(read_bundle(read_directory(tmp_path), "pack"), ["lib/libplug.so"])
    assert "may scan its directory for plugins such as lib/lib" in references["lib/libplug.so"]


def test_a_scan_for_plugins_does_not_look_for_a_dependency(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/libother.so", soname="libother.so", tag="o")
    assert find(tmp_path) == ""


def test_an_extension_module_of_python_is_not_a_plugin_that_is_scanned_for(tmp_path: Path) -> None:
    build_elf(tmp_path / "lib/_m.so", source="int PyInit__m(void) { return 0; }")
    assert find(tmp_path) == ""


def test_a_module_keeps_its_name(tmp_path: Path) -> None:
    assert find(tmp_path, "lib/acme.so") == "name kept: plugins are opened by their file names"


def test_a_signed_library_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libacme.chk").write_bytes(b"\0")
    assert find(tmp_path) == "name kept: lib/libacme.chk belongs to it"


def test_a_symlink_to_a_library_keeps_it_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(LIBRARY)
    assert find(tmp_path) == "name kept: alias is a link to it"
