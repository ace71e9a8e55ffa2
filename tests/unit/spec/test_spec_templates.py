from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_name, resolve_pack_path
from bundle_fix.spec.template import parse_template
from bundle_fix.spec.variables import resolve_variables, substitute_variables

Load = Callable[[str], Spec]


def get_error(action: Callable[[], object]) -> str:
    with pytest.raises(BundleFixError) as caught:
        action()
    return str(caught.value)


def test_a_variable_is_substituted_cut_and_padded() -> None:
    values = {"a": "0123456789", "b-c": "x"}

    assert substitute_variables("{a:.7}|{b-c:>3}|{b-c:*^5}|{b-c:3}|{{a}}", values) == (
        "0123456|  x|**x**|x  |{a}"
    )


def test_braces_in_a_value_are_literal() -> None:
    assert substitute_variables("{a}{b}", {"a": "{b}", "b": "{{"}) == "{b}{{"


def test_an_undefined_variable_is_reported_with_a_suggestion() -> None:
    assert get_error(lambda: substitute_variables("{verion}", {"version": "1"})) == (
        "undefined variable `verion` (did you mean `version`?)"
    )


@pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{a!r}", "{0}", "{}", "{", "}"])
def test_attributes_indexes_and_conversions_are_rejected(template: str) -> None:
    assert get_error(lambda: substitute_variables(template, {"a": "x", "0": "y"}))


@given(st.text())
def test_doubled_braces_become_single_ones(text: str) -> None:
    assert substitute_variables(text.replace("{", "{{").replace("}", "}}"), {}) == text


@given(st.lists(st.tuples(st.text(), st.text(), st.integers(1, 99))))
def test_values_are_inserted_between_the_literal_texts(parts: list[tuple[str, str, int]]) -> None:
    template = "".join(
        literal.replace("{", "{{").replace("}", "}}") + f"{{v{index}:.{width}}}"
        for index, (literal, _, width) in enumerate(parts)
    )
    values = {f"v{index}": value for index, (_, value, _) in enumerate(parts)}

    expected = "".join(literal + value[:width] for literal, value, width in parts)
    assert substitute_variables(template, values) == expected


@given(st.text(alphabet="{}ab_.:!<9[]\n"))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    try:
        parts = parse_template(text)
    except BundleFixError:
        assert set(text) & set("{}")
    else:
        assert all(part.name.isidentifier() for part in parts if part.name)
        assert substitute_variables(text, {part.name: "" for part in parts}) is not None


def test_the_name_of_a_pack_must_be_a_single_path_component(load: Load) -> None:
    spec = load('[bundle]\nname = "x{v}"\n[variables]\nv = { env = "V" }')

    def name(value: str) -> str:
        return resolve_pack_name(spec, resolve_variables(spec, Path(), {"v": value}, {}))

    assert name("-2.5.0") == "x-2.5.0"
    assert get_error(lambda: name("feature/a")) == (
        'bundle.toml:2:8: invalid pack name "xfeature/a": it contains `/` '
        "(check the variables in `name`)"
    )
    assert get_error(lambda: name("\n")) == (
        'bundle.toml:2:8: invalid pack name "x\\n": it contains an unprintable '
        "character (check the variables in `name`)"
    )


def test_a_path_in_the_pack_stays_below_its_root() -> None:
    values = {"dir": "share", "up": "..", "root": "/", "empty": ""}

    def place(template: str) -> str:
        return resolve_pack_path(template, values, "bundle.toml:9:6")

    assert place("bin/") == "bin/"
    assert place("./{dir}//x") == "share/x"
    assert place("{dir}/.") == "share/"
    assert place(".") == place("./") == ""
    hint = "(write a path relative to the pack's root)"
    assert get_error(lambda: place("{dir}/{up}/x")) == (
        f'bundle.toml:9:6: invalid path in the pack "share/../x": it contains `..` {hint}'
    )
    assert get_error(lambda: place("{root}etc")) == (
        f'bundle.toml:9:6: invalid path in the pack "/etc": it is absolute {hint}'
    )
    assert get_error(lambda: place("{empty}")) == (
        f'bundle.toml:9:6: invalid path in the pack "": it is empty {hint}'
    )
