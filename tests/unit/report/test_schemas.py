"""The shipped schemas accept the output of the commands and valid specs, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import tomli

from builders.elf import build_elf
from builders.pack import make_healthy_pack
from builders.run import run_bundle_fix
from bundle_fix.report.render.spec_page import EXAMPLE, render_spec_page
from bundle_fix.report.schemas import SCHEMAS, build_spec_schema
from bundle_fix.spec.parsing.load import load_spec

ROOT = Path(__file__).parents[3]
SPECS = [
    ROOT / "sample_project/bundle.toml",
    *sorted((ROOT / "sample_project/specs").glob("*.toml")),
    ROOT / "tests/unit/spec/example.toml",
]


def is_valid(name: str, value: object) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMAS[name]()).is_valid(value))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_valid_for_draft_2020_12(name: str) -> None:
    printed = json.loads(run_bundle_fix("schema", name).stdout)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(printed)


@pytest.mark.parametrize("command", ["check", "diff", "inspect", "run"])
def test_the_shipped_schema_matches_the_models(command: str) -> None:
    printed = json.loads(run_bundle_fix(command, "--schema").stdout)
    assert printed == json.loads(json.dumps(SCHEMAS[command]()))
    shipped = json.loads((ROOT / f"docs/schemas/{command}-1.json").read_text())
    assert shipped == printed, "regenerate it with `make docs`"
    assert printed["title"] == f"bundle-fix {command}, schema 1"


def test_without_a_name_the_schema_of_the_spec_is_printed() -> None:
    assert json.loads(run_bundle_fix("schema").stdout) == json.loads(
        json.dumps(build_spec_schema())
    )


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_the_specs_of_the_sample_are_valid(spec: Path) -> None:
    assert is_valid("spec", tomli.loads(spec.read_text()))


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
def test_an_invalid_spec_does_not_match_the_schema(text: str) -> None:
    assert not is_valid("spec", tomli.loads(text))


def test_no_key_of_a_spec_can_be_null() -> None:
    assert "null" not in json.dumps(build_spec_schema())


def test_the_output_of_the_commands_matches_the_schemas(tmp_path: Path) -> None:
    pack = make_healthy_pack(tmp_path / "pack")
    server = pack / "bin/server"
    for name, command in {
        "check": ("check", "--format", "json", pack),
        "tree": ("tree", "--format", "json", pack),
        "why": ("why", "--format", "json", pack, "libtcmalloc.so.4"),
        "elf": ("elf", "--format", "json", server, pack / "lib/libtcmalloc.so.4"),
        "rules": ("rules", "--format", "json"),
    }.items():
        printed = json.loads(run_bundle_fix(*command).stdout)
        assert printed
        assert is_valid(name, printed), name
        assert not is_valid(name, {"x": printed}), name


def test_the_output_of_an_elf_edit_matches_the_schema(tmp_path: Path) -> None:
    server = build_elf(tmp_path / "server", program=True)
    edit = ("--set-runpath", "/opt/lib", "--in-place", "--format", "json")
    printed = json.loads(run_bundle_fix("elf", server, *edit).stdout)
    assert printed[0]["editor"]
    assert is_valid("elf", printed)


def test_an_unknown_schema_is_refused_with_a_suggestion() -> None:
    result = run_bundle_fix("schema", "spce")
    assert (result.returncode, result.stderr) == (
        2,
        "bundle-fix: error: schema: no such schema: spce (did you mean `spec`?)\n",
    )


def test_the_page_on_the_spec_is_up_to_date() -> None:
    assert render_spec_page() == (ROOT / "docs/spec.md").read_text(), (
        "regenerate it with `make docs`"
    )


def test_the_example_on_the_page_is_a_valid_spec(tmp_path: Path) -> None:
    (tmp_path / "bundle.toml").write_text(EXAMPLE)
    assert len(load_spec(tmp_path / "bundle.toml").libraries) == 2
