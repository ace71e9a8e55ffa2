"""Proposals of ``run --learn`` for a spec."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from bundle_fix.model.errors import BundleFixError
from bundle_fix.pipelines.run.learn import learn_spec
from bundle_fix.run.observation import Load, LoadOrigin, Prediction
from bundle_fix.run.record.loader_record import LoadCall

BUNDLE = '# first\n[bundle]\nname = "x"\n'


def make_load(
    name: str, origin: LoadOrigin = LoadOrigin.PACK, call: LoadCall = LoadCall.DLOPEN
) -> Load:
    """Return a library that a program opened at run time."""
    return Load(name, name, origin, "bin/x", call, "bin/x", False, Prediction.RUN_TIME)


LOADS = [
    make_load("libb.so.1"),
    make_load("liba.so.1", LoadOrigin.DECOY),
    make_load("libmissing.so", LoadOrigin.MISSING),
    make_load("libneeded.so.1", call=LoadCall.NEEDED),
    make_load("/opt/pack/lib/plugin.so"),
    make_load("/usr/lib/geo.so", LoadOrigin.HOST),
]


@pytest.mark.parametrize(
    ("closure", "names"),
    [
        ("", ["liba.so.1", "libb.so.1"]),
        ("[closure]\n", ["liba.so.1", "libb.so.1"]),
        ('[closure] # c\nhost = ["z"]\n[check]\n', ["liba.so.1", "libb.so.1"]),
        (
            '[closure]\nhost = ["z"]\ndlopen = [\n  "libb.so.1", # b]\n]\n[check]\n',
            ["libb.so.1", "liba.so.1"],
        ),
        ("[closure]\ndlopen = [\"x]\", 'y']", ["x]", "y", "liba.so.1", "libb.so.1"]),
    ],
)
def test_opened_names_and_files_are_added_and_the_rest_stays(
    tmp_path: Path, closure: str, names: list[str]
) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text(BUNDLE + closure)
    before = tomli.loads(spec.read_text())
    assert learn_spec(spec, LOADS, "lib/").files == ("/usr/lib/geo.so",)
    after = tomli.loads(spec.read_text())
    assert after["closure"].pop("dlopen") == names
    assert after.pop("files") == [{"from": "/usr/lib/geo.so", "to": "lib/"}]
    before.get("closure", {}).pop("dlopen", None)
    before.setdefault("closure", {})
    assert (after, spec.read_text().startswith(BUNDLE)) == (before, True)


def test_a_spec_that_declares_everything_keeps_its_bytes(tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text(BUNDLE)
    learn_spec(spec, LOADS, "lib/")
    first = spec.read_bytes()
    assert learn_spec(spec, LOADS, "lib/").names == ()
    assert spec.read_bytes() == first


def test_an_unusual_form_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    spec = tmp_path / "bundle.toml"
    spec.write_text('closure = { dlopen = ["x"] }\n' + BUNDLE)
    with pytest.raises(BundleFixError, match=r"cannot add liba.so.1, libb.so.1 to \[closure\]"):
        learn_spec(spec, LOADS, "lib/")
    assert spec.read_text() == 'closure = { dlopen = ["x"] }\n' + BUNDLE
