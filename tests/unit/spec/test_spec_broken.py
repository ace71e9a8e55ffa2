"""Specs broken at random: each is read, or refused with lines that say where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundle_fix.errors import BundleFixError
from bundle_fix.spec.load import load_spec
from bundle_fix.spec.model import Spec
from bundle_fix.spec.names import pack_name, pack_path
from bundle_fix.spec.variables import evaluate_when, require_values, resolve_variables, substitute

INTACT = (Path(__file__).parent / "example.toml").read_text()
WORDS = re.findall(r"\S+", INTACT)
SPLINTERS = st.one_of(
    st.sampled_from([*WORDS, *"{}[]\"'=.,#\\\n\t\0\ufeffé:!/", "..", "[[x]]\n", '"""', "{x}"]),
    st.text(max_size=4),
)

Break = tuple[str, float, float, str]
BREAKS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "duplicate", "move", "cut", "insert", "replace"]),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1, exclude_max=True),
        SPLINTERS,
    ),
    min_size=1,
    max_size=5,
)


def broken(text: str, how: Break) -> str:
    """The text with one line or a few characters changed; the numbers say how far into it."""
    deed, where, other, splinter = how
    lines = text.splitlines(keepends=True)
    line = int(where * len(lines))
    spot = int(where * len(text))
    if deed == "delete":
        del lines[line : line + 1]
    elif deed == "duplicate":
        lines[line:line] = lines[line : line + 1]
    elif deed == "move":
        moved = lines[line : line + 1]
        del lines[line : line + 1]
        target = int(other * len(lines))
        lines[target:target] = moved
    else:
        length = 0 if deed == "insert" else int(other * 12)
        return text[:spot] + (splinter if deed != "cut" else "") + text[spot + length :]
    return "".join(lines)


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BREAKS)
def test_a_broken_spec_is_read_or_refused_in_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: list[Break]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = INTACT
    for how in breaks:
        text = broken(text, how)
    check(text)


def check(text: str) -> None:
    """Read this spec and use it where it can be read: only `BundleFixError` may come out."""
    path = Path("bundle.toml")
    path.write_bytes(text.encode("utf-8"))
    try:
        spec = load_spec(path)
    except BundleFixError as error:
        complaints = str(error)
    else:
        complaints = use(spec)
    lines = text.replace("\r\n", "\n").split("\n")
    for complaint in complaints.split("\n") if complaints else ():
        match = re.match(r"bundle\.toml:(\d+):(\d+): \S", complaint)
        assert match, complaint
        assert complaint.isprintable()
        assert int(match[2]) <= len(lines[int(match[1]) - 1]) + 1


def use(spec: Spec) -> str:
    """Do with a spec what a pack needs; returns what is said against it."""
    try:
        values = resolve_variables(spec, Path(), {}, {"HADOOP_HOME": "/opt/hadoop"})
        require_values(spec, values)
        pack_name(spec, values)
        for index, entry in enumerate(spec.files):
            if evaluate_when(entry.when, values):
                substitute(entry.source or entry.text or "", values)
                pack_path(entry.to, values, spec.where("files", index, "to"))
    except BundleFixError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("line", range(len(INTACT.splitlines())))
@pytest.mark.parametrize("deed", ["delete", "duplicate"])
def test_a_spec_with_one_line_broken_is_read_or_refused_in_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: int, deed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    check(broken(INTACT, (deed, (line + 0.5) / len(INTACT.splitlines()), 0, "")))


def test_a_spec_cut_short_anywhere_is_read_or_refused_in_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for length in range(len(INTACT)):
        check(INTACT[:length])
