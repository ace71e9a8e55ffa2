"""Build variables: names that the CMake build defines."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import resolve_variables, substitute_variables

TEXT = """\
[bundle]
name = "p-{cmake.CMAKE_BUILD_TYPE}"

[[files]]
from = "{target.ns__app}"
to   = "bin/"
"""


def write_spec(directory: Path, text: str = TEXT) -> Spec:
    path = directory / "bundle.toml"
    path.write_text(text)
    return load_spec(path)


def test_the_build_defines_the_values_of_build_variables(tmp_path: Path) -> None:
    defines = {"target.ns__app": "/b/app", "build": "/b", "source": "/s"}
    values = resolve_variables(write_spec(tmp_path), tmp_path, defines, {})
    assert substitute_variables("{target.ns__app} {build} {source}", values) == "/b/app /b /s"


def test_an_entry_of_cmakes_cache_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    cache = "CMAKE_BUILD_TYPE:STRING=\nCMAKE_PROJECT_VERSION:STATIC=1.2\n"
    (tmp_path / "b/CMakeCache.txt").write_text(cache)
    values = resolve_variables(write_spec(tmp_path), tmp_path, {"build": "b"}, {})
    text = "<{cmake.CMAKE_BUILD_TYPE}> {cmake.CMAKE_PROJECT_VERSION}"
    assert substitute_variables(text, values) == "<> 1.2"
    assert list(values.consulted) == [tmp_path / "b/CMakeCache.txt"]


def test_a_build_variable_without_a_build_is_an_error(tmp_path: Path) -> None:
    values = resolve_variables(write_spec(tmp_path), tmp_path, {}, {})
    with pytest.raises(BundleFixError) as refused:
        values["target.ns__app"]
    assert str(refused.value) == (
        f"{tmp_path}/bundle.toml:5:8: the variable `target.ns__app` has no value: only the CMake"
        " build defines it"
        " (make the pack with bundle_fix_pack() in CMake, or pass -D target.ns__app=…)"
    )


def test_an_unknown_target_of_a_build_lists_the_targets_with_a_suggestion(tmp_path: Path) -> None:
    defines = {"build": "/b", "target.ns__apps": "/b/app", "target.core": "/b/libcore.so"}
    values = resolve_variables(write_spec(tmp_path), tmp_path, defines, {})
    with pytest.raises(BundleFixError) as refused:
        values["target.ns__app"]
    assert str(refused.value) == (
        f"{tmp_path}/bundle.toml:5:8: the variable `target.ns__app` has no value: the build has no"
        " program or library `ns__app` (did you mean `ns__apps`? The targets are `core`,"
        " `ns__apps`)"
    )


def test_a_misspelt_cache_entry_has_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "CMakeCache.txt").write_text("CMAKE_BUILD_TYP:STRING=x\nCMAKE_AR:FILEPATH=ar\n")
    values = resolve_variables(write_spec(tmp_path), tmp_path, {"build": str(tmp_path)}, {})
    with pytest.raises(BundleFixError, match=r"has no entry .*did you mean `CMAKE_BUILD_TYP`"):
        values["cmake.CMAKE_BUILD_TYPE"]


def test_a_target_of_a_namespace_is_written_with_underscores(tmp_path: Path) -> None:
    with pytest.raises(BundleFixError, match=r"write \{target\.ns__app\} for the target of CMake"):
        write_spec(tmp_path, TEXT.replace("ns__app", "ns::app"))


def test_a_definition_in_the_spec_overrides_a_build_variable(tmp_path: Path) -> None:
    text = f'{TEXT}[variables]\nbuild = {{ value = "mine" }}\n'
    assert resolve_variables(write_spec(tmp_path, text), tmp_path, {}, {})["build"] == "mine"


@pytest.mark.parametrize("name", ["targets.app", "target.", "Build", "cmake"])
def test_other_names_must_be_defined_in_the_spec(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleFixError):
        resolve_variables(write_spec(tmp_path), tmp_path, {name: "x"}, {})
    with pytest.raises(BundleFixError):
        write_spec(tmp_path, TEXT.replace("{target.ns__app}", f"{{{name}}}"))
