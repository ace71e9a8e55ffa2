from __future__ import annotations

from collections.abc import Callable

import pytest

from bundle_fix.spec.model import (
    Spec,
)

Load = Callable[[str], Spec]
GetError = Callable[[str], str]

BUNDLE = '[bundle]\nname = "x"\n'


def test_a_variable_has_exactly_one_source(get_error: GetError) -> None:
    text = BUNDLE + (
        '[variables]\na = {}\nb = { env = "B", value = "b" }\nc = { file = "c" }\n'
        'd = { pattern = "(d)" }\ne = { in = "build" }\n'
    )

    assert get_error(text) == (
        "bundle.toml:4:5: the variable `a` has no source "
        "(add one of `env`, `file`, `cmake-cache`, `builtin`, `value`)\n"
        "bundle.toml:5:5: the variable `b` has 2 sources: `env`, `value` "
        "(keep one of them)\n"
        "bundle.toml:6:14: `file` requires `pattern` (add `pattern = '…(…)…'`)\n"
        "bundle.toml:7:17: `pattern` requires `file`, `env` or `cmake-cache` "
        '(add `file = "…"`)\n'
        'bundle.toml:8:12: `in` requires `cmake-cache` (add `cmake-cache = "…"`)'
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "VERSION (",
            "invalid regular expression in `pattern`: missing ), unterminated subpattern at "
            "position 8 (put a \\ before a literal special character)",
        ),
        (
            "VERSION",
            "`pattern` has 0 groups instead of one (put ( ) around the part to capture)",
        ),
        (
            "(VERSION) (.*)",
            "`pattern` has 2 groups instead of one (write the others as (?:…))",
        ),
        (
            "(a{99999999999999999999})",
            "invalid regular expression in `pattern`: the repetition number is too large "
            "(put a \\ before a literal special character)",
        ),
    ],
)
def test_a_pattern_must_be_a_regular_expression_with_one_group(
    get_error: GetError, pattern: str, expected: str
) -> None:
    text = f"{BUNDLE}[variables]\nv = {{ file = 'v.h', pattern = '{pattern}' }}"

    assert get_error(text) == f"bundle.toml:4:31: {expected}"


def test_the_default_of_an_option_must_be_one_of_its_choices(get_error: GetError) -> None:
    text = BUNDLE + (
        '[options]\na = { choices = ["tcmalloc", "jemalloc"], default = "tcmaloc" }\n'
        'b = { choices = ["x", "y", "x"], default = "z" }\n'
    )

    assert get_error(text) == (
        'bundle.toml:4:53: `default` "tcmaloc" is not one of the choices '
        "(did you mean `tcmalloc`?)\n"
        "bundle.toml:5:17: `choices` contains `x` more than once (remove the repetition)\n"
        'bundle.toml:5:44: `default` "z" is not one of the choices '
        "(use one of `x`, `y`, `x`)"
    )


def test_a_name_cannot_be_a_variable_and_an_option(get_error: GetError) -> None:
    text = BUNDLE + (
        '[variables]\nx = { env = "X" }\n[options]\nx = { choices = ["a"], default = "a" }'
    )

    assert get_error(text) == (
        "bundle.toml:6:1: `x` is defined as a variable and as an option (rename one of them)"
    )


def test_a_files_entry_requires_either_from_or_text(get_error: GetError) -> None:
    text = BUNDLE + (
        '[[files]]\nto = "a"\n[[files]]\nfrom = "b"\ntext = "b"\nto = "b"\n'
        '[[files]]\ntext = "c"\nto = "c/"\n'
    )

    assert get_error(text) == (
        "bundle.toml:3:3: missing key `from` or `text` (add one of them)\n"
        "bundle.toml:7:8: `from` and `text` exclude each other (keep one of them)\n"
        'bundle.toml:11:6: "c/" is a directory, but `text` writes one file (add the file name)'
    )


def test_a_libraries_entry_requires_from_or_name_with_search(get_error: GetError) -> None:
    text = BUNDLE + (
        '[[libraries]]\npin = true\n[[libraries]]\nfrom = "x"\nname = "x"\n'
        '[[libraries]]\nname = "x"\n[[libraries]]\nfrom = "x"\nsearch = ["x"]\n'
    )

    assert get_error(text) == (
        "bundle.toml:3:3: missing key `from` or `name` (add one of them)\n"
        "bundle.toml:7:8: `from` and `name` exclude each other (keep one of them)\n"
        "bundle.toml:8:3: `name` requires `search`"
        ' (add `search = ["…"]`: the directories to search)\n'
        "bundle.toml:12:10: `search` requires `name`, not `from` (remove it)"
    )


def test_a_path_outside_the_pack_is_rejected(get_error: GetError) -> None:
    text = (
        '[bundle]\nname = "a/b"\n[layout]\nlib = "/usr/lib"\n'
        '[[files]]\ntext = "x"\nto = "bin/../../x"\n[[libraries]]\nfrom = "x"\nto = ".."\n'
    )
    hint = "(write a path relative to the pack's root)"

    assert get_error(text) == (
        'bundle.toml:2:8: invalid pack name "a/b": it contains `/` '
        "(it names a file and a directory)\n"
        f'bundle.toml:4:7: invalid path in the pack "/usr/lib": it is absolute {hint}\n'
        f'bundle.toml:7:6: invalid path in the pack "bin/../../x": it contains `..` {hint}\n'
        f'bundle.toml:10:6: invalid path in the pack "..": it contains `..` {hint}'
    )


def test_an_undefined_variable_is_reported_in_every_text(get_error: GetError) -> None:
    text = (
        '[bundle]\nname = "{alocator}-{version}"\n'
        '[options]\nallocator = { choices = ["a"], default = "a" }\n'
        '[variables]\nv = { cmake-cache = "V", in = "{bulid}", map = { a = "{x}" } }\n'
        'build = { value = "{y}" }\n'
        '[closure]\nhost = ["a", "{z}"]\n[check]\nallocators = ["{q}"]\n'
        'ignore = [{ rule = "BF403", path = "{r}", reason = "{not looked at}" }]\n'
    )
    define = "define it in [variables], or write"

    assert get_error(text) == (
        "bundle.toml:2:8: undefined variable `alocator` (did you mean `allocator`?)\n"
        f"bundle.toml:2:8: undefined variable `version` ({define} {{{{version}}}} for literal "
        "braces)\n"
        "bundle.toml:6:31: undefined variable `bulid` (did you mean `build`?)\n"
        f"bundle.toml:6:54: undefined variable `x` ({define} {{{{x}}}} for literal braces)\n"
        f"bundle.toml:7:19: undefined variable `y` ({define} {{{{y}}}} for literal braces)\n"
        f"bundle.toml:9:14: undefined variable `z` ({define} {{{{z}}}} for literal braces)\n"
        f"bundle.toml:11:15: undefined variable `q` ({define} {{{{q}}}} for literal braces)\n"
        f"bundle.toml:12:36: undefined variable `r` ({define} {{{{r}}}} for literal braces)"
    )


def test_a_variable_with_an_invalid_table_still_counts_as_defined(get_error: GetError) -> None:
    text = '[bundle]\nname = "{v}"\n[variables]\nv = { evn = "V" }\n'

    assert get_error(text) == (
        "bundle.toml:4:7: unknown key `evn` in `variables.v` (did you mean `env`?)"
    )


def test_braces_contain_a_name_and_a_width_only(get_error: GetError) -> None:
    texts = [
        "{}",
        "{a.b}",
        "{a[0]}",
        "{a!r}",
        "{a:d}",
        "{a:{a}}",
        "{a:999999}",
        "{a",
        "a}",
        "{ a }",
    ]
    lines = [f'[[files]]\ntext = "{text}"\nto = "x"\n' for text in texts]
    braces = "(write {name}, or {{ and }} for literal braces)"
    width = (
        "of the variable `a` (write {name:.7} to cut it to 7 characters, {name:>7} to pad it to 7)"
    )
    stray = "(write {{ or }} for a literal brace)"

    assert get_error(BUNDLE + '[variables]\na = { value = "a" }\n' + "".join(lines)) == (
        f"bundle.toml:6:8: invalid variable name `{{}}` {braces}\n"
        f"bundle.toml:9:8: invalid variable name `{{a.b}}` {braces}\n"
        f"bundle.toml:12:8: invalid variable name `{{a[0]}}` {braces}\n"
        f"bundle.toml:15:8: invalid variable name `{{a!r}}` {braces}\n"
        f"bundle.toml:18:8: invalid width `d` {width}\n"
        f"bundle.toml:21:8: invalid width `{{a}}` {width}\n"
        f"bundle.toml:24:8: invalid width `999999` {width}\n"
        f'bundle.toml:27:8: unmatched brace in "{{a" {stray}\n'
        f'bundle.toml:30:8: unmatched brace in "a}}" {stray}\n'
        f"bundle.toml:33:8: invalid variable name `{{ a }}` {braces}"
    )


def test_a_pattern_may_contain_braces(load: Load) -> None:
    spec = load(BUNDLE + "[variables]\nv = { file = 'v', pattern = '([0-9a-f]{7,40})' }")

    assert spec.variables["v"].pattern == "([0-9a-f]{7,40})"


def test_a_condition_must_name_a_variable_and_one_of_its_choices(get_error: GetError) -> None:
    text = BUNDLE + (
        '[options]\nallocator = { choices = ["tcmalloc", "jemalloc"], default = "tcmalloc" }\n'
        '[[files]]\ntext = ""\nto = "x"\nwhen = { alocator = "tcmalloc", zzz = true }\n'
        '[[libraries]]\nfrom = "x"\n[libraries.when]\nallocator = "jemaloc"\n'
    )

    assert get_error(text) == (
        "bundle.toml:8:10: unknown variable `alocator` in `when` "
        "(did you mean `allocator`?)\n"
        "bundle.toml:8:33: unknown variable `zzz` in `when` "
        "(define it in [variables] or [options])\n"
        'bundle.toml:12:13: "jemaloc" is not one of the choices of the option `allocator`'
        " (did you mean `jemalloc`?)"
    )


def test_circular_references_between_variables_are_reported(get_error: GetError) -> None:
    text = BUNDLE + (
        '[variables]\nz = { value = "{a}" }\na = { value = "{b}" }\n'
        'b = { env = "B", default = "{c}" }\nc = { file = "{a}/x", pattern = "(x)" }\n'
        'd = { value = "{d}" }\n'
    )

    assert get_error(text) == (
        "bundle.toml:5:1: circular reference between variables: a → b → c → a"
        " (remove one of the references)\n"
        "bundle.toml:8:1: circular reference between variables: d → d"
        " (remove one of the references)"
    )


def test_each_value_of_a_condition_must_be_one_of_the_choices(get_error: GetError) -> None:
    text = BUNDLE + (
        '[options]\nallocator = { choices = ["tcmalloc", "jemalloc", "none"], default = "none" }\n'
        '[[files]]\ntext = ""\nto = "x"\nwhen = { allocator = ["jemalloc", "tcmaloc"] }\n'
    )
    assert get_error(text) == (
        'bundle.toml:8:35: "tcmaloc" is not one of the choices of the option `allocator`'
        " (did you mean `tcmalloc`?)"
    )


def test_a_checksum_must_have_a_known_algorithm_and_full_length(get_error: GetError) -> None:
    text = BUNDLE + '[[files]]\nfrom = "x"\nto = "x"\nchecksum = { x86_64 = "md5:12", arm = 1 }\n'
    expected = 'a checksum such as "sha256:…" in lower-case hexadecimal digits'
    assert get_error(text) == (
        f'bundle.toml:6:23: `x86_64` must be {expected}, not "md5:12"\n'
        "bundle.toml:6:39: `arm` must be a string, not an integer (put it in quotes)"
    )


def test_exclude_requires_from(get_error: GetError) -> None:
    text = BUNDLE + (
        '[[files]]\ntext = "x"\nto = "x"\nexclude = ["y"]\n'
        '[[libraries]]\nname = "x"\nsearch = ["y"]\nexclude = ["z"]\n'
    )
    assert get_error(text) == (
        "bundle.toml:6:11: `exclude` requires `from`, not `text` (remove it)\n"
        "bundle.toml:10:11: `exclude` requires `from`, not `name` (remove it)"
    )
