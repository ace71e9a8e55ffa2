"""The shipped schemas take what is printed and what is written, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import tomli

from builders.elf import elf
from builders.pack import healthy
from builders.run import bundle_fix
from bundle_fix.report.render.spec_page import EXAMPLE, render_spec_page
from bundle_fix.report.schemas import SCHEMAS, build_spec_schema
from bundle_fix.spec.parsing.load import load_spec

ROOT = Path(__file__).parents[3]
SPECS = [
    ROOT / "sample_project/bundle.toml",
    *sorted((ROOT / "sample_project/specs").glob("*.toml")),
    ROOT / "tests/unit/spec/example.toml",
]


def valid(name: str, value: object) -> bool:
    return jsonschema.Draft202012Validator(SCHEMAS[name]()).is_valid(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one_of_draft_2020_12(name: str) -> None:
    printed = json.loads(bundle_fix("schema", name).stdout)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize("command", ["check", "diff"])
def test_the_shipped_schema_is_the_one_that_the_models_make(command: str) -> None:
    made = json.loads(bundle_fix(command, "--schema").stdout)
    assert made == SCHEMAS[command]()
    shipped = json.loads((ROOT / f"docs/schemas/{command}-1.json").read_text())
    assert shipped == made, "make it anew: `make docs`"
    assert made["title"] == f"bundle-fix {command}, schema 1"


def test_without_a_name_the_schema_is_the_specs() -> None:
    assert json.loads(bundle_fix("schema").stdout) == json.loads(json.dumps(build_spec_schema()))


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_the_samples_specs_are_valid(spec: Path) -> None:
    assert valid("spec", tomli.loads(spec.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        '[bundle]\nnmae = "x"\n',
        '[bundle]\nname = "x"\nformat = "rpm"\n',
        '[bundle]\nname = "x"\n[[files]]\nto = "x"\n',
        '[bundle]\nname = "x"\n[[files]]\nfrom = "x"\ntext = "x"\nto = "x"\n',
        '[bundle]\nname = "x"\n[[libraries]]\nname = "x"\n',
        '[bundle]\nname = "x"\n[variables]\na = { env = "x", value = "y" }\n',
        '[bundle]\nname = "x"\n[variables]\na = { file = "x" }\n',
        '[bundle]\nname = "x"\n[variables]\n"1 2" = { env = "x" }\n',
        '[bundle]\nname = "x"\n[[files]]\nfrom = "x"\nto = "x"\nchecksum = "md5:1"\n',
        '[bundle]\nname = "x"\n[[files]]\nfrom = "x"\nto = "x"\nmode = 755\n',
    ],
)
def test_a_wrong_spec_is_not_valid(text: str) -> None:
    assert not valid("spec", tomli.loads(text))


def test_no_key_of_a_spec_may_be_null() -> None:
    assert "null" not in json.dumps(build_spec_schema())


def test_what_the_commands_print_is_valid(tmp_path: Path) -> None:
    pack = healthy(tmp_path / "pack")
    server = pack / "bin/server"
    for name, command in {
        "check": ("check", "--format", "json", pack),
        "tree": ("tree", "--format", "json", pack),
        "why": ("why", "--format", "json", pack, "libtcmalloc.so.4"),
        "elf": ("elf", "--format", "json", server, pack / "lib/libtcmalloc.so.4"),
        "rules": ("rules", "--format", "json"),
    }.items():
        printed = json.loads(bundle_fix(*command).stdout)
        assert printed
        assert valid(name, printed), name
        assert not valid(name, {"x": printed}), name


def test_what_elf_prints_of_an_edit_is_valid(tmp_path: Path) -> None:
    server = elf(tmp_path / "server", program=True)
    edit = ("--set-runpath", "/opt/lib", "--in-place", "--format", "json")
    printed = json.loads(bundle_fix("elf", server, *edit).stdout)
    assert printed[0]["editor"]
    assert valid("elf", printed)


def test_an_unknown_schema_is_refused_with_a_suggestion() -> None:
    done = bundle_fix("schema", "spce")
    assert (done.returncode, done.stderr) == (
        2,
        "bundle-fix: error: schema: no such schema: spce (did you mean `spec`?)\n",
    )


def test_the_page_of_the_spec_is_current() -> None:
    assert render_spec_page() == (ROOT / "docs/spec.md").read_text(), "make it anew: `make docs`"


def test_the_example_of_the_page_is_a_spec(tmp_path: Path) -> None:
    (tmp_path / "bundle.toml").write_text(EXAMPLE)
    assert len(load_spec(tmp_path / "bundle.toml").libraries) == 2
