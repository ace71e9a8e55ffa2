"""``bundle-fix rules``."""

from __future__ import annotations

import json
from pathlib import Path

from builders.run import run_bundle_fix
from bundle_fix.check.registry import ALL_RULES as RULES

PAGE = Path(__file__).parents[3] / "docs/rules.md"


def test_every_rule_is_listed_and_explained() -> None:
    listed = run_bundle_fix("rules")
    assert listed.returncode == 0
    for rule in RULES:
        assert f"{rule.code} {rule.severity}" in listed.stdout
    explained = run_bundle_fix("rules", "bf102").stdout
    assert explained.startswith("BF102 host-wins (error)\n")
    assert all(f"  {word}:" in explained for word in ("what", "why", "fix", "e.g."))
    assert explained == run_bundle_fix("rules", "host-wins").stdout


def test_no_line_is_wider_than_80_columns() -> None:
    codes = [rule.code for rule in RULES]
    text = run_bundle_fix("rules").stdout + run_bundle_fix("rules", *codes).stdout
    assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_rule_is_refused_with_a_suggestion() -> None:
    ran = run_bundle_fix("rules", "host-win")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "bundle-fix: error: rules: unknown rule host-win (did you mean `host-wins`?)\n"
    )


def test_codes_and_names_are_unique_and_every_text_is_a_sentence() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        for text in (rule.title, rule.why, rule.fix, rule.example):
            assert text.endswith(".")


def test_the_page_on_rules_is_up_to_date() -> None:
    page = run_bundle_fix("rules", "--format", "markdown").stdout
    assert page == PAGE.read_text(), "docs/rules.md is out of date; run `make docs`"


def test_json_has_every_rule_with_an_example() -> None:
    records = json.loads(run_bundle_fix("rules", "--format", "json").stdout)
    assert [r["code"] for r in records] == sorted(rule.code for rule in RULES)
    assert all(r["example"] for r in records)
