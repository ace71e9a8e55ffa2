from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.parsing.problems import SpecErrors
from bundle_fix.spec.table_types import (
    BundleTable,
    CheckTable,
    ClosureTable,
    FilesEntry,
    IgnoreEntry,
    LayoutTable,
    LibrariesEntry,
    Option,
    RunpathTable,
    Variable,
)

Load = Callable[[str], Spec]
GetError = Callable[[str], str]

BUNDLE = '[bundle]\nname = "x"\n'


def test_the_example_spec_loads(load: Load, example: str) -> None:
    spec = load(example)

    assert spec.bundle == BundleTable(
        name="pegasus-server-{version}-{commit:.7}-glibc{glibc}-{build_type}", format="tar.gz"
    )
    assert list(spec.variables) == [
        "build", "thirdparty", "version", "commit", "build_type", "glibc", "hadoop"
    ]  # fmt: skip
    assert spec.variables["version"] == Variable(
        file="src/include/pegasus/version.h", pattern='VERSION "([^"]+)"'
    )
    assert spec.variables["build_type"] == Variable(
        cmake_cache="CMAKE_BUILD_TYPE",
        cache_directory="{build}",
        map={"Debug": "debug"},
        default="release",
    )
    assert spec.options == {
        "allocator": Option(choices=("tcmalloc", "jemalloc"), default="tcmalloc")
    }
    assert spec.files[0] == FilesEntry(
        source="{build}/output/bin/pegasus_server/pegasus_server", to="bin/", mode="755"
    )
    assert spec.files[2].when == {"hadoop": True}
    assert spec.libraries == (
        LibrariesEntry(source="{build}/output/lib/libdsn_*.so"),
        LibrariesEntry(
            name="libtcmalloc_and_profiler.so.4",
            search=("{thirdparty}/output/lib",),
            pin=True,
            when={"allocator": "tcmalloc"},
        ),
    )
    assert spec.closure == ClosureTable(
        bundle=("libstdc++.so.6", "libgcc_s.so.1", "libssl.so.*", "libcrypto.so.*"),
        host=("libjvm.so",),
        dlopen=("libjvm.so",),
    )
    assert spec.layout == LayoutTable(lib="lib")
    assert spec.check == CheckTable(
        glibc="2.17",
        allocators=("libtcmalloc_and_profiler.so.4",),
        fail_on="error",
        ignore=(IgnoreEntry(rule="BF403", path="bin/legacy_*", reason="non-PIE until 2.6"),),
    )


def test_a_missing_key_has_its_default(load: Load) -> None:
    spec = load(BUNDLE)

    assert spec == Spec(path=spec.path, toml=spec.toml, bundle=BundleTable(name="x"))
    assert spec.bundle.format == "tar.gz"
    assert spec.layout.lib == "lib"
    assert spec.runpath == RunpathTable(editor="auto")
    assert spec.check.fail_on == "error"


def test_a_loaded_spec_locates_its_values(load: Load, example: str) -> None:
    spec = load(example)

    assert spec.locate_key("files", 2, "from") == "bundle.toml:27:8"
    assert spec.locate_key("libraries", 1, "search", 0) == "bundle.toml:36:11"
    assert spec.locate_key("variables", "build_type", "in") == "bundle.toml:10:55"
    assert spec.locate_key("libraries", 0, "mode") == "bundle.toml:31:3"


def test_a_byte_order_mark_and_crlf_line_ends_are_accepted(load: Load, example: str) -> None:
    spec = load("\ufeff" + example.replace("\n", "\r\n"))

    assert spec.files[1].text == "Pegasus Server {version} ({commit}) {build_type}\n"
    assert spec.locate_key("files", 2, "from") == "bundle.toml:27:8"


def test_all_errors_are_reported_in_file_order(load: Load, example: str) -> None:
    text = (
        example.replace('"tar.gz" ', '"tar.gx" ')
        .replace('env = "HADOOP_HOME"', 'evn = "HADOOP_HOME"')
        .replace("Server {version}", "Server {verion}")
        .replace('to   = "hadoop/"', 'to   = "../hadoop/"')
        .replace('mode = "755"', "mode = 755")
        .replace("hadoop = true", "hadop = true")
    )

    with pytest.raises(SpecErrors) as caught:
        load(text)

    assert [str(error) for error in caught.value.errors] == str(caught.value).splitlines()
    assert str(caught.value).splitlines() == [
        'bundle.toml:3:10: invalid `format`: "tar.gx" (did you mean `tar.gz`?)',
        "bundle.toml:12:16: unknown key `evn` in `variables.hadoop` (did you mean `env`?)",
        "bundle.toml:20:8: `mode` must be a string, not an integer (put it in quotes)",
        "bundle.toml:23:8: undefined variable `verion` (did you mean `version`?)",
        'bundle.toml:28:8: invalid path in the pack "../hadoop/": it contains `..` '
        "(write a path relative to the pack's root)",
        "bundle.toml:29:10: unknown variable `hadop` in `when` (did you mean `hadoop`?)",
    ]


def test_a_single_error_has_position_and_hint_as_fields(load: Load) -> None:
    with pytest.raises(BundleFixError) as caught:
        load(BUNDLE + 'nmae = "y"')

    assert caught.value.where == "bundle.toml:3:1"
    assert caught.value.message == "unknown key `nmae` in `bundle`"
    assert caught.value.hint == "use one of `name`, `format`, `epoch`, `licenses`"


def test_invalid_toml_is_reported_with_line_and_column(get_error: GetError) -> None:
    assert get_error(BUNDLE + "mode = 755a") == (
        "bundle.toml:3:11: invalid TOML: Expected newline or end of document after a statement "
        "(start a new line for each key)"
    )
    assert get_error('[bundle]\nname = "x\n') == (
        "bundle.toml:2:10: invalid TOML: Illegal character '\\n' "
        "(close the string on the same line, or use three quotes)"
    )
    assert get_error(f"{BUNDLE}x = {'9' * 5000}") == (
        "bundle.toml:3:5: a number has more than 4300 digits (put quotes around a text)"
    )
    assert get_error(f"{BUNDLE}x = {'[' * 1000}") == (
        "bundle.toml:3:103: too many nested levels (a spec has at most four)"
    )


def test_a_duplicate_key_is_reported_with_both_lines(get_error: GetError) -> None:
    assert get_error('[bundle]\nname = "x"\nformat = "tar"\nname = ["y",\n"z"]\n') == (
        "bundle.toml:4:1: duplicate key `name` (it is first set in line 2: remove one of "
        "them, or add the missing [table] header between them)"
    )
    assert get_error(BUNDLE + "[layout]\n[bundle]\n") == (
        "bundle.toml:4:2: duplicate key `bundle`"
        " (it is first defined in line 1: merge the two tables)"
    )
    assert get_error(BUNDLE + "[files]\n[files]\n") == (
        "bundle.toml:4:2: duplicate key `files` (write [[files]] for each entry)"
    )
    assert get_error(BUNDLE + "[[files]]\n[files]\n") == (
        "bundle.toml:4:2: duplicate key `files` (write [[files]] for each entry)"
    )
    assert get_error(BUNDLE + "[files]\n[[files]]\n") == (
        "bundle.toml:4:8: invalid TOML: Cannot overwrite a value "
        "(give a key only one of a value, a [table] and [[entries]])"
    )


def test_a_missing_spec_suggests_a_similar_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bundle.toml").write_text(BUNDLE)

    with pytest.raises(BundleFixError) as caught:
        load_spec(Path("bundel.toml"))

    assert str(caught.value) == ("bundel.toml: no such file (did you mean `bundle.toml`?)")


def test_a_directory_is_rejected_with_the_spec_in_it_as_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/bundle.toml").write_text(BUNDLE)

    with pytest.raises(BundleFixError) as empty:
        load_spec(Path("empty"))
    with pytest.raises(BundleFixError) as full:
        load_spec(Path("full"))

    assert str(empty.value) == "empty: is a directory, not a spec (pass the path of the spec file)"
    assert str(full.value) == (
        "full: is a directory, not a spec (did you mean `full/bundle.toml`?)"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 300, "File name too long"), ("x\0y", "embedded null byte"), ("f/x", "Not a directory")],
)
def test_an_unreadable_spec_is_reported_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").touch()

    with pytest.raises(BundleFixError) as caught:
        load_spec(Path(name))

    assert str(caught.value) == f"{name}: cannot read the spec: {reason}"


def test_a_byte_that_is_not_utf_8_is_reported_with_its_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bundle.toml").write_bytes("# \u00e4\nname = 'B\u00e4r' # B".encode() + b"\xe4r\n")

    with pytest.raises(BundleFixError) as caught:
        load_spec(Path("bundle.toml"))

    assert str(caught.value) == (
        "bundle.toml:2:17: the byte 0xe4 is not UTF-8 (save the file as UTF-8)"
    )
