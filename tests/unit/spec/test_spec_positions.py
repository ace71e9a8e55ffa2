from __future__ import annotations

from collections.abc import Iterator

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from bundle_fix.spec.parsing.positions import (
    KeyPath,
    KeyPosition,
    compute_position,
    find_position,
    find_repeated_key,
    iterate_positions,
)

DOCUMENT = '''\
top = 1  # [not] = "a table"
"quo\\u0074ed" . 'and literal'.bare = """
[also] = not a table "" \\"""
key = "neither" """""
[table]
numbers = [ 1, # one, two
  [2, "]"], ]
inline = { a = 1, b.c = { "d" = [{}, { e = 2024-01-01 12:00:00, },] },
  # a comment }
  f = \'\'\'} \'\'\'\'\' }
[[entries]]
name = 'first'
[[entries]]
[entries.sub]
x = true
[[entries.deep]]
[[entries.deep]]
y = ""
'''


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), (1, 1), (1, 7)),
        (("quoted",), (2, 1), (2, 1)),
        (("quoted", "and literal"), (2, 17), (2, 17)),
        (("quoted", "and literal", "bare"), (2, 31), (2, 38)),
        (("table",), (5, 2), (5, 2)),
        (("table", "numbers"), (6, 1), (6, 11)),
        (("table", "numbers", 0), (6, 13), (6, 13)),
        (("table", "numbers", 1), (7, 3), (7, 3)),
        (("table", "numbers", 1, 1), (7, 7), (7, 7)),
        (("table", "inline", "a"), (8, 12), (8, 16)),
        (("table", "inline", "b", "c"), (8, 21), (8, 25)),
        (("table", "inline", "b", "c", "d", 1, "e"), (8, 40), (8, 44)),
        (("table", "inline", "f"), (10, 3), (10, 7)),
        (("entries",), (11, 3), (11, 3)),
        (("entries", 0, "name"), (12, 1), (12, 8)),
        (("entries", 1), (13, 3), (13, 3)),
        (("entries", 1, "sub"), (14, 10), (14, 10)),
        (("entries", 1, "sub", "x"), (15, 1), (15, 5)),
        (("entries", 1, "deep", 1, "y"), (18, 1), (18, 5)),
    ],
)
def test_a_key_and_its_value_have_their_positions(
    path: KeyPath, key: tuple[int, int], value: tuple[int, int]
) -> None:
    assert tomli.loads(DOCUMENT)
    assert find_position(DOCUMENT, path, key=True) == key
    assert find_position(DOCUMENT, path) == value


def test_a_missing_path_has_the_position_of_its_innermost_existing_table() -> None:
    assert find_position(DOCUMENT, ("table", "inline", "z", 3)) == (8, 1)
    assert find_position(DOCUMENT, ("entries", 1, "z")) == (13, 3)
    assert find_position(DOCUMENT, ("entries", 7)) == (11, 3)
    assert find_position(DOCUMENT, ("z",)) == (1, 1)
    assert find_position("", ("z",)) == (1, 1)


def test_a_table_has_the_position_of_its_own_header() -> None:
    assert find_position("[a.b]\nc = 1\n[a]\nd = 2", ("a",)) == (3, 2)


def test_columns_count_characters() -> None:
    assert find_position('"ä€𝄞" = { "é" = 1 }', ("ä€𝄞", "é"), key=True) == (1, 11)


def test_the_first_duplicate_key_is_found() -> None:
    def find_lines(text: str) -> tuple[int, int] | None:
        found = find_repeated_key(text)
        return found and (
            compute_position(text, found[0].key)[0],
            compute_position(text, found[1].key)[0],
        )

    assert find_lines(DOCUMENT) is None
    assert find_lines("a = 1\nb = [1,\n1]\nb = [2]\na = 2") == (4, 2)
    assert find_lines("[a]\nx = 1\n[b]\n[a]\nx = 2") == (4, 1)
    assert find_lines("a = { b = 1,\nb = 2 }") == (2, 1)
    assert find_lines("a.b = 1\na.c = 2\n[d.e]\n[d]\n[[f]]\nx = 1\n[[f]]\nx = 1") is None


def test_four_hundred_nested_levels_do_not_exceed_the_recursion_limit() -> None:
    text = "a = " + "[{b = " * 199 + "1" + "}]" * 199

    assert len(list(iterate_positions(text))) == 1 + 2 * 199


WORDS = st.text("ab_-19", min_size=1, max_size=3)
NAMES = st.one_of(WORDS, st.text("ab\".'#=[]{}\\ \té€", max_size=4))
GAPS = st.sampled_from(["", " ", "\t ", "  "])
BREAKS = st.sampled_from(["", " ", "\n", " # ] } , = \" ' '''\n", "\n\n\t", "\r\n"])
ENDS = st.sampled_from(["\n", " \n", "# [x]\n", "\r\n", "\n\n  \n", ' # """ = {\n'])
ATOMS = st.sampled_from(
    [
        "1", "-1.5e3", "true", "inf", "0xff", "2024-01-01", "2024-01-01 12:00:00.5", "07:32:00",
        '""', "''", '"\\"]}"', "'\\'", '"# [x]"', "'a = 1'", '"\\\\"',
        '"""a\n[b]\nc = 1"""', "'''a\n\\'''", '"""\\""""', '"""a"""""', "'''''a'''''",
        '"""\\\n   b"""', "'''\r\n[[x]]\r\n'''", '"" # ""',
    ]
)  # fmt: skip
SHAPES: st.SearchStrategy[object] = st.recursive(
    st.none(),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)


class DocumentWriter:
    """Writer of a random TOML document that records the position of each key and value."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.positions: dict[KeyPath, tuple[int, int]] = {}

    def append(self, choice: st.SearchStrategy[str] | str) -> int:
        """Append a text and return its offset."""
        start = len(self.text)
        self.text += choice if isinstance(choice, str) else self.data.draw(choice)
        return start

    def write_key(self, name: str) -> int:
        is_bare = name != "" and set(name) <= set("ab_-19")
        styles = [name] if is_bare else []
        styles.append('"' + "".join(f"\\u{ord(c):04x}" if c in '"\\' else c for c in name) + '"')
        if "'" not in name:
            styles.append(f"'{name}'")
        return self.append(st.sampled_from(styles))

    def write_value(self, shape: object, path: KeyPath) -> int:
        if isinstance(shape, dict):
            return self.write_inline_table(shape, path)
        if not isinstance(shape, list):
            return self.append(ATOMS.filter(lambda atom: " # " not in atom))
        start = self.append("[")
        for index, item in enumerate(shape):
            self.append(BREAKS)
            item_path = (*path, index)
            at = self.write_value(item, item_path)
            self.positions[item_path] = at, at
            self.append(BREAKS)
            if index < len(shape) - 1 or self.data.draw(st.booleans()):
                self.append(",")
        self.append(BREAKS)
        self.append("]")
        return start

    def write_inline_table(self, shape: dict[str, object], path: KeyPath) -> int:
        start = self.append("{")
        for index, (name, item) in enumerate(shape.items()):
            self.append(BREAKS)
            self.write_assignment((name,), item, path)
            self.append(BREAKS)
            if index < len(shape) - 1 or self.data.draw(st.booleans()):
                self.append(",")
        self.append(BREAKS)
        self.append("}")
        return start

    def write_assignment(self, names: tuple[str, ...], shape: object, path: KeyPath) -> None:
        starts = []
        for index, name in enumerate(names):
            if index:
                self.append(GAPS)
                self.append(".")
                self.append(GAPS)
            starts.append(self.write_key(name))
        self.append(GAPS)
        self.append("=")
        self.append(GAPS)
        full = path + names
        value = self.write_value(shape, full)
        for index, start in enumerate(starts[:-1]):
            self.positions.setdefault(full[: len(path) + index + 1], (start, start))
        self.positions[full] = starts[-1], value

    def write_statements(self, path: KeyPath) -> None:
        shapes = self.data.draw(st.dictionaries(NAMES, SHAPES, max_size=4))
        for name, shape in shapes.items():
            self.append(BREAKS.filter(lambda gap: "\r" not in gap))
            dotted = self.data.draw(st.lists(NAMES, max_size=2))
            self.write_assignment((name, *dotted), shape, path)
            self.append(GAPS)
            self.append(ENDS)

    def write_header(self, name: str, count: int) -> None:
        """Write a table (count 0), or ``count`` entries of an array of tables."""
        for index in range(max(count, 1)):
            self.append("[[" if count else "[")
            self.append(GAPS)
            start = self.write_key(name)
            self.append(GAPS)
            self.append("]]" if count else "]")
            self.append(ENDS)
            path: KeyPath = (name, index) if count else (name,)
            self.positions.setdefault((name,), (start, start))
            self.positions[path] = start, start
            self.write_statements(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_position_in_a_random_document_is_correct(data: st.DataObject) -> None:
    writer = DocumentWriter(data)
    writer.write_statements(())
    used = {path[0] for path in writer.positions}
    for name, count in data.draw(st.dictionaries(NAMES, st.integers(0, 3), max_size=3)).items():
        if name not in used:
            writer.write_header(name, count)

    found = {p.path: p for p in reversed(list(iterate_positions(writer.text)))}

    assert set(iterate_paths(tomli.loads(writer.text))) == set(writer.positions)
    assert {path: p[1:3] for path, p in found.items()} == writer.positions
    assert all(
        find_position(writer.text, path) == compute_position(writer.text, writer.positions[path][1])
        for path in writer.positions
    )
    assert find_repeated_key(writer.text) is None


def iterate_paths(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for step, inner in enumerate(value) if isinstance(value, list) else items:
        yield from iterate_paths(inner, (*path, step))


@given(st.text("a.=[]{}\"'#,\n\\ 1\r"))
def test_invalid_toml_ends_the_iteration_without_an_exception(text: str) -> None:
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        prefix = text.replace("\r\n", "\n")[: error.pos]
        assert all(isinstance(p, KeyPosition) for p in iterate_positions(prefix))
