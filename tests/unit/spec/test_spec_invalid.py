"""Randomly broken specs: each loads, or is rejected with lines that contain a position."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle_fix.cli.main import main
from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import resolve_pack_name, resolve_pack_path
from bundle_fix.spec.parsing.load import load_spec
from bundle_fix.spec.variables import (
    evaluate_when,
    require_values,
    resolve_variables,
    substitute_variables,
)

INTACT = (Path(__file__).parent / "example.toml").read_text()
SAMPLE = Path(__file__).parents[3] / "sample_project"
SPECS = [INTACT, *(path.read_text() for path in sorted((SAMPLE / "specs").glob("*.toml")))]
VALUES = [
    "1", "-0", "9" * 5000, "1e400", "nan", "true", "1979-05-27T07:32:00Z", "07:32:00", "[]", "{}",
    "[[1], {a = [2]}]", '[{ x = 1, y = "" }]', '{ x = { y = { z = [] } } }', '""', "'''\n'''",
    '"\\u0000"', '"\\e[31m"', '"{"', '"{undefined}"', '"../x"', '"/"', '"' + "x" * 300 + '"',
    "[" * 300 + "]" * 300, "{ a.b = 1, a.c = 2 }", "[\n  1, # one\n  2,\n]", "0x_1", "",
]  # fmt: skip
"""Replacements of a value: of a wrong type, of an invalid form, or new in TOML 1.1."""
WORDS = re.findall(r"\S+", INTACT)
FRAGMENTS = st.one_of(
    st.sampled_from([*WORDS, *"{}[]\"'=.,#\\\n\t\0\ufeffé:!/", "..", "[[x]]\n", '"""', "{x}"]),
    st.text(max_size=4),
)

Break = tuple[str, float, float, str]
BREAKS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "duplicate", "move", "cut", "insert", "replace"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        FRAGMENTS,
    ),
    min_size=1,
    max_size=5,
)


def break_text(text: str, how: Break) -> str:
    """Change a line or a few characters; the numbers are fractions of the text's length."""
    action, where, other, fragment = how
    lines = text.splitlines(keepends=True)
    line = int(where * len(lines))
    spot = int(where * len(text))
    if action == "delete":
        del lines[line : line + 1]
    elif action == "duplicate":
        lines[line:line] = lines[line : line + 1]
    elif action == "move":
        moved = lines[line : line + 1]
        del lines[line : line + 1]
        target = int(other * len(lines))
        lines[target:target] = moved
    else:
        length = 0 if action == "insert" else int(other * 12)
        return text[:spot] + (fragment if action != "cut" else "") + text[spot + length :]
    return "".join(lines)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BREAKS)
def test_a_randomly_broken_spec_loads_or_is_rejected_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: list[Break]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = INTACT
    for how in breaks:
        text = break_text(text, how)
    check_spec(text)


def replace_value(text: str, where: float, value: str, key: str) -> str:
    """Replace the value or the key of one ``key = value``."""
    spots = list(re.finditer(r"(?m)([\w-]+)([ \t]*=[ \t]*)([^\n]*?)(?=,? *[\w-]* *=|$)", text))
    spot = spots[int(where * len(spots))]
    return (
        text[: spot.start()] + (key or spot[1]) + spot[2] + (value or spot[3]) + text[spot.end() :]
    )


KEYS = [
    "from", "form", "to", "name", "a.b.c", '"x y"', "'from'", "files", "bundle.name", "when",
    "",
]  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(SPECS),
    st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.sampled_from(VALUES), st.sampled_from(KEYS)
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["\n", "\r\n", "\n\t"]),
    st.booleans(),
)
def test_a_spec_with_random_values_loads_or_is_rejected_line_by_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    changes: list[tuple[float, str, str]],
    ends: str,
    has_mark: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    for where, value, key in changes:
        text = replace_value(text, where, value, key)
    check_spec(text.replace("\n", ends), b"\xef\xbb\xbf" if has_mark else b"")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(SPECS),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(VALUES),
    st.binary(max_size=2),
    st.booleans(),
)
def test_pack_exits_with_2_and_prints_positions_for_a_broken_spec(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    where: float,
    value: str,
    junk: bytes,
    is_junk: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = text.encode()
    spot = int(where * len(raw))
    raw = (
        raw[:spot] + junk + raw[spot:]
        if is_junk
        else replace_value(text, where, value, "").encode()
    )
    Path("bundle.toml").write_bytes(raw)
    capsys.readouterr()
    assert main(["pack", "bundle.toml"]) == 2  # none of the files exists here
    lines = capsys.readouterr().err.splitlines()
    assert lines
    for line in lines:
        assert re.match(r"bundle-fix: error: bundle\.toml:\d+:\d+: \S", line), line


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[bundle]\rname = 1", "bundle.toml:1:9: invalid TOML: "),
        ("[bundle]\nname = 1".encode("utf-16"), "bundle.toml:1:1: the byte 0xff is not UTF-8"),
        (b"[bundle]\nname = '\xe9'", "bundle.toml:2:9: the byte 0xe9 is not UTF-8"),
        (b"[bundle]\nname = '\0'", "bundle.toml:2:9: invalid TOML: Found invalid character '"),
        (b"[bundle]\nname = " + b"9" * 5000, "bundle.toml:2:8: a number has more than 4300 digits"),
        (b"[bundle]\nname = " + b"[" * 5000, "bundle.toml:2:106: too many nested levels"),
        (b"[" + b"a." * 5000 + b"a]", "bundle.toml:1:2: too many nested levels"),
        (b"#" * 300_000, "bundle.toml: is larger than 256 KiB, the limit for a spec"),
    ],
)
def test_an_unreadable_spec_is_reported_with_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bundle.toml").write_bytes(raw)
    with pytest.raises(BundleFixError, match=re.escape(expected)):
        load_spec(Path("bundle.toml"))


def test_a_fifo_is_rejected_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bundle.toml")
    with pytest.raises(BundleFixError, match="is not a regular file"):
        load_spec(tmp_path / "bundle.toml")


def test_at_most_a_hundred_problems_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[bundle]\nname = "x"\n' + '[[files]]\nform = "x"\nto = "x"\n' * 3000
    Path("bundle.toml").write_text(text)
    with pytest.raises(BundleFixError) as caught:
        load_spec(Path("bundle.toml"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1].endswith(": more problems; only the first 100 are printed (fix these first)")


def test_thousands_of_circular_references_are_reported_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    circles = "".join(f'v{n} = {{ value = "{{v{n}}}" }}\n' for n in range(2000))
    Path("bundle.toml").write_text(f'[bundle]\nname = "x"\n[variables]\n{circles}')
    with pytest.raises(BundleFixError, match="circular reference between variables: v0 → v0"):
        load_spec(Path("bundle.toml"))


def check_spec(text: str, mark: bytes = b"") -> None:
    """Load a spec and use it if it is valid: only `BundleFixError` may be raised."""
    path = Path("bundle.toml")
    path.write_bytes(mark + text.encode("utf-8"))
    try:
        spec = load_spec(path)
    except BundleFixError as error:
        complaints = str(error)
    else:
        complaints = use_spec(spec)
    lines = text.replace("\r\n", "\n").split("\n")
    for complaint in complaints.split("\n") if complaints else ():
        match = re.match(r"bundle\.toml:(\d+):(\d+): \S", complaint)
        assert match, complaint
        assert complaint.isprintable()
        assert int(match[2]) <= len(lines[int(match[1]) - 1]) + 1


def use_spec(spec: Spec) -> str:
    """Resolve what a pack needs of a spec; return the error message, or an empty text."""
    try:
        values = resolve_variables(spec, Path(), {}, {"HADOOP_HOME": "/opt/hadoop"})
        require_values(spec, values)
        resolve_pack_name(spec, values)
        for index, entry in enumerate(spec.files):
            if evaluate_when(entry.when, values):
                substitute_variables(entry.source or entry.text or "", values)
                resolve_pack_path(entry.to, values, spec.locate_key("files", index, "to"))
    except BundleFixError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("line", range(len(INTACT.splitlines())))
@pytest.mark.parametrize("action", ["delete", "duplicate"])
def test_a_spec_with_one_broken_line_loads_or_is_rejected_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int, action: str
) -> None:
    monkeypatch.chdir(tmp_path)
    check_spec(break_text(INTACT, (action, (line + 0.5) / len(INTACT.splitlines()), 0, "")))


def test_a_truncated_spec_loads_or_is_rejected_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for length in range(len(INTACT)):
        check_spec(INTACT[:length])
