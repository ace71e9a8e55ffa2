"""``bundle-fix schema``."""

from __future__ import annotations

import sys

import click

from bundle_fix.cli.completion import complete_schemas
from bundle_fix.cli.examples import CommandWithExamples
from bundle_fix.model.errors import BundleFixError
from bundle_fix.report.schemas import SCHEMAS


@click.command(cls=CommandWithExamples)
@click.argument("name", default="spec", metavar="[NAME]", shell_complete=complete_schemas)
@click.option(
    "--format", "kind", type=click.Choice(["json", "markdown"]), default="json",
    help="Set the format of the output (default: json).",
)  # fmt: skip
def schema(name: str, kind: str) -> int:
    """Print the JSON Schema (draft 2020-12) of a spec or of the JSON output of a command.

    NAME is spec (the default), check, diff, inspect, tree, why, elf, rules or manifest. Editors
    with Taplo can check a spec: write the schema to a file beside the spec, and begin the spec with
    the line "#:schema ./bundle.schema.json". --format markdown prints the manual's page.
    """
    if name not in SCHEMAS:
        from bundle_fix.model.suggestions import format_words, suggest_word

        hint = suggest_word(name, SCHEMAS) or f"one of {format_words(SCHEMAS)}"
        raise BundleFixError(f"no such schema: {name}", hint=hint, where="schema")
    if kind == "markdown":
        if name != "spec":
            raise click.UsageError("--format markdown requires the schema spec")
        from bundle_fix.report.render.spec_page import render_spec_page

        sys.stdout.write(render_spec_page())
    else:
        from bundle_fix.report.render.json import format_json

        sys.stdout.write(format_json(SCHEMAS[name]()))
    return 0
