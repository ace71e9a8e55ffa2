from __future__ import annotations

import json
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from bundle_fix.elf.edit.orders import ORDERS
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import (
    Spec,
    Tables,
)
from bundle_fix.spec.names import resolve_pack_name
from bundle_fix.spec.parsing.convert import get_type_origin, is_struct, list_fields, unwrap_type
from bundle_fix.spec.value_types import Editor

GetError = Callable[[str], str]

BUNDLE = '[bundle]\nname = "x"\n'


def test_a_misspelt_key_is_reported_with_a_suggestion(get_error: GetError, example: str) -> None:
    text = example.replace('from = "{hadoop}', 'form = "{hadoop}')

    assert get_error(text) == (
        "bundle.toml:27:1: unknown key `form` in `files` (did you mean `from`?)"
    )


def test_a_misspelt_key_of_an_inline_table_is_reported_with_its_column(get_error: GetError) -> None:
    text = BUNDLE + '[check]\nignore = [{ rule = "BF403", path = "x", raeson = "known" }]'

    assert get_error(text) == (
        "bundle.toml:4:41: unknown key `raeson` in `check.ignore` (did you mean `reason`?)"
    )


def test_a_misspelt_required_key_is_not_reported_as_missing_too(get_error: GetError) -> None:
    assert get_error('[bundle]\nnmae = "x"') == (
        "bundle.toml:2:1: unknown key `nmae` in `bundle` (did you mean `name`?)"
    )


def test_a_key_with_an_underscore_suggests_the_one_with_a_dash(get_error: GetError) -> None:
    assert get_error(BUNDLE + '[check]\nfail_on = "note"') == (
        "bundle.toml:4:1: unknown key `fail_on` in `check` (did you mean `fail-on`?)"
    )


def test_an_unknown_key_without_a_similar_one_lists_the_known_keys(get_error: GetError) -> None:
    assert get_error(BUNDLE + "zzz = 1") == (
        "bundle.toml:3:1: unknown key `zzz` in `bundle` (use one of `name`, `format`, `epoch`,"
        " `licenses`)"
    )


def test_a_key_below_the_wrong_header_names_the_right_one(get_error: GetError) -> None:
    assert get_error(BUNDLE + 'editor = "lief"\nglibc = { builtin = "glibc" }\npin = true') == (
        "bundle.toml:3:1: unknown key `editor` in `bundle` (move it to [runpath])\n"
        "bundle.toml:4:1: unknown key `glibc` in `bundle` (move it to [variables])\n"
        "bundle.toml:5:1: unknown key `pin` in `bundle` (move it to [[libraries]])"
    )


def test_line_breaks_in_a_key_are_escaped_in_its_error(get_error: GetError) -> None:
    assert get_error(BUNDLE + '"a\\nb\\t" = 1\n[variables."c\\nd"]\nevn = "x"') == (
        "bundle.toml:3:1: unknown key `a\\nb\\t` in `bundle` (use one of `name`, `format`,"
        " `epoch`, `licenses`)\n"
        "bundle.toml:4:12: `c\\nd` must be a name made of letters, digits, `_` and `-`, "
        'not "c\\nd"\n'
        "bundle.toml:5:1: unknown key `evn` in `variables.c\\nd` (did you mean `env`?)"
    )


def test_a_misspelt_header_is_reported_once(get_error: GetError, example: str) -> None:
    assert get_error(example.replace("[variables]", "[variabels]")) == (
        "bundle.toml:5:2: unknown table `variabels` (did you mean `variables`?)"
    )


def test_a_key_without_a_header_names_its_table(get_error: GetError) -> None:
    assert get_error('name = "x"') == "bundle.toml:1:1: unknown key `name` (move it to [bundle])"


def test_only_a_pack_needs_a_name(load: Callable[[str], Spec]) -> None:
    for text in ("", '[bundle]\nformat = "dir"\n', '[check]\nglibc = "2.28"\n'):
        with pytest.raises(BundleFixError, match="missing key `name`"):
            resolve_pack_name(load(text), {})


def test_a_missing_key_is_reported_at_the_header_of_its_entry(get_error: GetError) -> None:
    text = BUNDLE + '[options]\na = { default = "x" }\n[[files]]\nfrom = "x"'

    assert get_error(text) == (
        "bundle.toml:4:5: missing key `choices` (add `choices = […]`)\n"
        'bundle.toml:5:3: missing key `to` (add `to = "…"`)'
    )


def test_an_invalid_strip_lists_the_valid_ones(get_error: GetError) -> None:
    assert get_error(BUNDLE + '[debug]\nstrip = "all"') == (
        'bundle.toml:4:9: invalid `strip`: "all" (use one of `none`, `debug`, `split`)'
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('format = "tar.gx"', '3:10: invalid `format`: "tar.gx" (did you mean `tar.gz`?)'),
        (
            'format = "rpm"',
            '3:10: invalid `format`: "rpm" (use one of `tar.gz`, `tar.zst`, `tar.xz`, `tar`,'
            " `dir`)",
        ),
        ("format = 1", "3:10: `format` must be a string, not an integer (put it in quotes)"),
        ('[runpath]\neditor = "leif"', '4:10: invalid `editor`: "leif" (did you mean `lief`?)'),
        (
            '[check]\nfail-on = "warn"',
            '4:11: invalid `fail-on`: "warn" (did you mean `warning`?)',
        ),
        (
            '[variables]\nx = { builtin = "glib" }',
            '4:17: invalid `builtin`: "glib" (did you mean `glibc`?)',
        ),
    ],
)
def test_an_invalid_choice_lists_the_valid_ones(
    get_error: GetError, written: str, expected: str
) -> None:
    assert get_error(BUNDLE + written) == f"bundle.toml:{expected}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("[bundle]\nname = 1.5", "2:8: `name` must be a string, not a float (put it in quotes)"),
        (
            "[bundle]\nname = 2020-01-01",
            "2:8: `name` must be a string, not a date or a time (put it in quotes)",
        ),
        ('[bundle]\nname = ["x"]', "2:8: `name` must be a string, not an array"),
        ('[bundle]\nname = ""', '2:8: `name` must be a string that is not empty, not ""'),
        (
            BUNDLE + '[closure]\nhost = ["\\u0000"]',
            "4:9: `host[0]` contains a NUL character (remove it)",
        ),
        ('bundle = "x"', "1:10: `bundle` must be a table, not a string (write [bundle])"),
        (
            '[[bundle]]\nname = "x"',
            "1:3: `bundle` must be a table, not an array (write [bundle], not [[bundle]])",
        ),
        (
            BUNDLE + '[files]\ntext = "x"',
            "3:2: `files` must be an array of tables, not a table (write [[files]], not [files])",
        ),
        (
            BUNDLE + '[check]\nignore = { rule = "BF403" }',
            "4:10: `ignore` must be an array of tables, not a table (put it in [ ])",
        ),
        (
            BUNDLE + '[closure]\nhost = "libjvm.so"',
            "4:8: `host` must be an array of strings, not a string (put it in [ ])",
        ),
        (
            BUNDLE + '[closure]\nhost = ["libjvm.so", true]',
            "4:22: `host[1]` must be a string, not a boolean (put it in quotes)",
        ),
        (
            BUNDLE + '[[libraries]]\nfrom = "x"\npin = "true"',
            "5:7: `pin` must be true or false, not a string (remove the quotes)",
        ),
        (
            BUNDLE + "[variables]\nversion = 1.0",
            '4:11: `version` must be a table, not a float (write { value = "…" })',
        ),
        (
            "files = 1\n" + BUNDLE,
            "1:9: `files` must be an array of tables, not an integer (write [[files]])",
        ),
        (
            BUNDLE + '[[files]]\ntext = "x"\nto = "x"\nwhen = "servers"',
            "6:8: `when` must be a table, not a string (write { key = … })",
        ),
        (
            BUNDLE + '[variables]\nversion = "1.0"',
            '4:11: `version` must be a table, not a string (write { value = "…" })',
        ),
        (
            BUNDLE + '[[files]]\ntext = "x"\nto = "x"\nmode = 755',
            "6:8: `mode` must be a string, not an integer (put it in quotes)",
        ),
        (
            BUNDLE + '[[files]]\ntext = "x"\nto = "x"\nmode = "rwx"',
            '6:8: `mode` must be a mode such as "755", not "rwx"',
        ),
        (
            BUNDLE + "[options]\nx = { choices = [], default = 'a' }",
            "4:17: `choices` must be an array with at least one string",
        ),
        (
            BUNDLE + '[[files]]\ntext = "x"\nto = "x"\nwhen = { x = 1 }\n'
            '[variables]\nx = { env = "X" }',
            "6:14: `x` must be true, false, a string or an array of strings, not an integer "
            "(put it in quotes)",
        ),
        (
            BUNDLE + '[check]\nglibc = "newest"',
            '4:9: `glibc` must be a version such as "2.17", not "newest"',
        ),
        (
            BUNDLE + '[check]\nignore = [{ rule = "BF4", path = "x", reason = "y" }]',
            '4:20: `rule` must be a rule such as "BF403", not "BF4"',
        ),
        (
            BUNDLE + '[check]\nignore = [{ rule = "BF403", path = "x", reason = " " }]',
            '4:50: `reason` must be a string that is not empty, not " "',
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_reported_with_the_right_one(
    get_error: GetError, written: str, expected: str
) -> None:
    assert get_error(written) == f"bundle.toml:{expected}"


def test_an_ignored_finding_requires_a_reason(get_error: GetError) -> None:
    assert get_error(BUNDLE + '[check]\nignore = [{ rule = "BF403", path = "x" }]') == (
        'bundle.toml:4:11: missing key `reason` (add `reason = "…"`)'
    )


def test_each_key_of_the_model_has_a_description() -> None:
    json.dumps(msgspec.json.schema(Tables))
    tables = [Tables]
    while tables:
        for spot in list_fields(tables.pop()):
            metas = getattr(spot.type, "__metadata__", ())
            assert any(meta.description for meta in metas), spot.name
            base, _ = unwrap_type(spot.type)
            inner = (
                base.__args__[-2 if get_type_origin(base) is tuple else -1]
                if get_type_origin(base)
                else base
            )
            if is_struct(inner):
                tables.append(inner)


def test_a_spec_and_the_command_line_have_the_same_editors() -> None:
    assert get_args(Editor) == (*ORDERS,)
