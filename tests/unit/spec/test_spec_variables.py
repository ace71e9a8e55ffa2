from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.variables import Values, evaluate_when, require_values, resolve_variables

Load = Callable[[str], Spec]

BUNDLE = '[bundle]\nname = "x"\n'


@pytest.fixture
def resolve(load: Load) -> Callable[..., Values]:
    """Return a function that resolves lines of [variables] in the directory of the spec."""

    def resolve_lines(
        lines: str, *, environ: Mapping[str, str] | None = None, **defines: str
    ) -> Values:
        spec = load(f"{BUNDLE}[variables]\n{lines}\n")
        return resolve_variables(spec, Path(), defines, environ or {})

    return resolve_lines


def get_error(action: Callable[[], object]) -> str:
    with pytest.raises(BundleFixError) as caught:
        action()
    return str(caught.value)


def test_a_variable_is_read_from_the_environment(resolve: Callable[..., Values]) -> None:
    values = resolve('v = { env = "V" }', environ={"V": "{not} touched"})

    assert values["v"] == "{not} touched"


def test_an_empty_environment_variable_counts_as_unset(resolve: Callable[..., Values]) -> None:
    values = resolve('v = { env = "V", default = "d" }\nw = { env = "V" }', environ={"V": ""})

    assert values["v"] == "d"
    assert get_error(lambda: values["w"]) == (
        "bundle.toml:5:5: the variable `w` has no value: the environment variable V is empty "
        "(add a `default`, or pass -D w=…)"
    )


def test_a_variable_is_read_from_a_file(resolve: Callable[..., Values]) -> None:
    values = resolve(
        "v = { file = '{src}/version.h', pattern = '^#define V \"([^\"]+)\"$' }\n"
        "src = { value = 'inc' }"
    )
    Path("inc").mkdir()
    Path("inc/version.h").write_bytes(b'// V\r\n#define V "2.5.0"\r\n#define V "9"\r\n')

    assert values["v"] == "2.5.0"


def test_a_file_that_is_not_utf_8_is_read_as_bytes(resolve: Callable[..., Values]) -> None:
    values = resolve("v = { file = 'v', pattern = 'by (.+)' }")
    Path("v").write_bytes(b"\xff\nby M\xfcller\n")

    assert os.fsencode(values["v"]) == b"M\xfcller"


def test_a_file_without_the_value_is_reported_with_the_pattern(
    resolve: Callable[..., Values],
) -> None:
    values = resolve("v = { file = 'v.h', pattern = 'V(ERSION)?' }")

    def message() -> str:
        return (
            get_error(lambda: values["v"])
            .removesuffix(" (add a `default`, or pass -D v=…)")
            .removeprefix("bundle.toml:4:5: the variable `v` has no value: ")
        )

    assert message() == "cannot read v.h: No such file or directory"
    Path("v.h").touch()
    assert message() == "the pattern 'V(ERSION)?' does not match v.h"
    Path("v.h").write_text("V")
    assert message() == "the pattern 'V(ERSION)?' captures an empty text in v.h"
    Path("v.h").write_bytes(b"V\0")
    assert message() == "v.h is not a text file"
    Path("v.h").unlink()
    os.mkfifo("v.h")
    assert message() == "v.h is not a regular file"


def test_a_variable_is_read_from_cmakes_cache(resolve: Callable[..., Values]) -> None:
    values = resolve(
        'a = { cmake-cache = "CMAKE_BUILD_TYPE", in = "{build}" }\n'
        'b = { cmake-cache = "a b" }\n'
        'c = { cmake-cache = "EMPTY", in = "build", default = "none" }\n'
        'd = { cmake-cache = "TYPE", in = "build" }\n'
        'build = { value = "build" }\n'
    )
    Path("build").mkdir()
    Path("build/CMakeCache.txt").write_text(
        "// CMAKE_BUILD_TYPE:STRING=no\n#CMAKE_BUILD_TYPE:STRING=no\n"
        "CMAKE_BUILD_TYPE:STRING=A=B \nEMPTY:STRING=\n"
    )
    Path("CMakeCache.txt").write_text('"a b":STRING=c\n')

    assert values["a"] == "A=B"
    assert values["b"] == "c"
    assert values["c"] == "none"
    assert get_error(lambda: values["d"]) == (
        "bundle.toml:7:5: the variable `d` has no value: build/CMakeCache.txt has no entry TYPE "
        "(add a `default`, or pass -D d=…)"
    )


def test_a_missing_cmake_cache_is_reported(resolve: Callable[..., Values]) -> None:
    values = resolve('a = { cmake-cache = "A", in = "build" }')

    assert get_error(lambda: values["a"]) == (
        "bundle.toml:4:5: the variable `a` has no value: cannot read build/CMakeCache.txt: "
        "No such file or directory (add a `default`, or pass -D a=…)"
    )


def test_a_map_replaces_listed_values_and_the_default_all_others(
    resolve: Callable[..., Values],
) -> None:
    lines = (
        'a = { env = "T", map = { Debug = "{d}" }, default = "release" }\n'
        'b = { env = "T", map = { Debug = "{d}" } }\n'
        'd = { value = "debug" }'
    )

    assert resolve(lines, environ={"T": "Debug"})["a"] == "debug"
    assert resolve(lines, environ={"T": "Other"})["a"] == "release"
    assert resolve(lines)["a"] == "release"
    assert resolve(lines, environ={"T": "Debug"})["b"] == "debug"
    assert resolve(lines, environ={"T": "Other"})["b"] == "Other"


def test_an_empty_value_is_a_value(resolve: Callable[..., Values]) -> None:
    values = resolve('a = { value = "" }\nb = { env = "B", default = "" }')

    assert values["a"] == values["b"] == ""


def test_builtins_return_the_glibc_version_and_the_architecture(
    resolve: Callable[..., Values],
) -> None:
    values = resolve('g = { builtin = "glibc" }\na = { builtin = "arch" }')

    assert re.fullmatch(r"2\.\d+", values["g"])
    assert values["a"] == os.uname().machine


def test_the_glibc_builtin_requires_a_default_without_glibc(
    resolve: Callable[..., Values], monkeypatch: pytest.MonkeyPatch
) -> None:
    def confstr(_: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", confstr)

    assert get_error(lambda: resolve('g = { builtin = "glibc" }')["g"]) == (
        "bundle.toml:4:5: the variable `g` has no value: this machine has no glibc "
        "(add a `default`, or pass -D g=…)"
    )


def test_the_epoch_comes_from_the_environment_or_is_fixed(resolve: Callable[..., Values]) -> None:
    lines = 'e = { builtin = "epoch" }\nd = { builtin = "epoch", default = "7" }'

    assert resolve(lines, environ={"SOURCE_DATE_EPOCH": "1700000000"})["d"] == "1700000000"
    assert resolve(lines)["e"] == "0"
    assert resolve(lines)["d"] == "7"
    assert get_error(lambda: resolve(lines, environ={"SOURCE_DATE_EPOCH": "now"})["d"]) == (
        'bundle.toml:5:5: invalid environment variable SOURCE_DATE_EPOCH: "now" '
        "(use a number of seconds since 1970)"
    )


def test_a_value_on_the_command_line_is_literal_and_overrides_all(
    resolve: Callable[..., Values],
) -> None:
    values = resolve('v = { env = "V", map = { a = "b" } }', environ={"V": "c"}, v="{a}")

    assert values["v"] == "{a}"


def test_all_invalid_defines_are_reported_together(load: Load) -> None:
    spec = load(
        BUNDLE + '[variables]\nversion = { env = "V" }\n'
        '[options]\nallocator = { choices = ["tcmalloc", "jemalloc"], default = "tcmalloc" }'
    )
    defines = {"verion": "1\n2", "zzz": "", "allocator": "tcmaloc"}

    assert get_error(lambda: resolve_variables(spec, Path(), defines, {})) == (
        "-D verion=1\\n2: bundle.toml defines no variable or option of this name "
        "(did you mean `version`?)\n"
        "-D zzz=: bundle.toml defines no variable or option of this name "
        "(use one of `version`, `allocator`)\n"
        "-D allocator=tcmaloc: the option `allocator` must be one of `tcmalloc`, `jemalloc` "
        "(did you mean `tcmalloc`?)"
    )
    assert get_error(lambda: resolve_variables(load(BUNDLE), Path(), {"a": "b"}, {})) == (
        "-D a=b: bundle.toml defines no variable or option of this name"
    )


def test_an_option_has_its_default_or_the_defined_value(load: Load) -> None:
    spec = load(BUNDLE + '[options]\na = { choices = ["x", "y"], default = "x" }')

    assert dict(resolve_variables(spec, Path(), {}, {})) == {"a": "x"}
    assert dict(resolve_variables(spec, Path(), {"a": "y"}, {})) == {"a": "y"}


def test_only_accessed_variables_are_resolved(resolve: Callable[..., Values]) -> None:
    values = resolve('a = { env = "A" }\nb = { env = "B", default = "{a}" }', environ={"B": "b"})

    assert len(values) == 2
    assert "a" in values
    assert "c" not in values
    assert values["b"] == "b"


def test_a_variable_is_resolved_once(resolve: Callable[..., Values]) -> None:
    values = resolve("v = { file = 'v', pattern = '(.+)' }")
    Path("v").write_text("1")
    first = values["v"]
    Path("v").write_text("2")

    assert values["v"] == first == "1"


def test_all_missing_values_of_a_pack_are_reported_together(load: Load) -> None:
    spec = load(
        '[bundle]\nname = "{a}-{a:.7}"\n'
        '[options]\nallocator = { choices = ["tcmalloc", "jemalloc"], default = "tcmalloc" }\n'
        "[variables]\n"
        + "".join(f'{name} = {{ env = "{name.upper()}" }}\n' for name in "abcdef")
        + '[[libraries]]\nfrom = "{b}"\nwhen = { allocator = "jemalloc" }\n'
        '[[libraries]]\nfrom = "{c}"\nwhen = { allocator = "tcmalloc" }\n'
        '[[files]]\nfrom = "x"\nto = "x"\nwhen = { d = true }\n'
        '[closure]\nhost = ["{e}"]\n'
    )
    values = resolve_variables(spec, Path(), {}, {})

    assert re.findall(
        r"^.*: the environment", get_error(lambda: require_values(spec, values)), re.M
    ) == [
        "bundle.toml:6:5: the variable `a` has no value: the environment",
        "bundle.toml:9:5: the variable `d` has no value: the environment",
        "bundle.toml:8:5: the variable `c` has no value: the environment",
        "bundle.toml:10:5: the variable `e` has no value: the environment",
    ]
    require_values(spec, resolve_variables(spec, Path(), dict.fromkeys("acde", "x"), {}))


def test_conditions_must_all_hold() -> None:
    values = {"set": "x", "unset": ""}

    assert evaluate_when({}, values)
    assert evaluate_when({"set": True, "unset": False}, values)
    assert evaluate_when({"set": "x", "unset": ""}, values)
    assert not evaluate_when({"set": True, "unset": True}, values)
    assert not evaluate_when({"set": False}, values)
    assert not evaluate_when({"set": "y"}, values)
