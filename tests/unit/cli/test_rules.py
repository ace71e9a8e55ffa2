from __future__ import annotations

import json
from pathlib import Path

from builders.run import bundle_fix
from bundle_fix.check.registry import ALL_RULES as RULES

PAGE = Path(__file__).parents[3] / "docs/rules.md"


def test_every_rule_is_listed_and_explained() -> None:
    listed = bundle_fix("rules")
    assert listed.returncode == 0
    for rule in RULES:
        assert f"{rule.code} {rule.severity}" in listed.stdout
    told = bundle_fix("rules", "bf102").stdout
    assert told.startswith("BF102 host-wins (error)\n")
    assert all(f"  {word}:" in told for word in ("what", "why", "fix", "e.g."))
    assert told == bundle_fix("rules", "host-wins").stdout


def test_no_line_is_wider_than_80_columns() -> None:
    codes = [rule.code for rule in RULES]
    text = bundle_fix("rules").stdout + bundle_fix("rules", *codes).stdout
    assert max(map(len, text.splitlines())) <= 80


def test_a_rule_that_does_not_exist_is_told_with_a_suggestion() -> None:
    ran = bundle_fix("rules", "host-win")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "bundle-fix: error: rules: unknown rule host-win (did you mean `host-wins`?)\n"
    )


def test_codes_and_names_are_used_once_and_all_is_said() -> None:
    assert len({rule.code for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        for text in (rule.title, rule.why, rule.fix, rule.example):
            assert text.endswith(".")


def test_the_manuals_page_is_made_of_the_same_words() -> None:
    made = bundle_fix("rules", "--format", "markdown").stdout
    assert made == PAGE.read_text(), "make docs/rules.md anew: `make docs`"


def test_json_has_every_word() -> None:
    records = json.loads(bundle_fix("rules", "--format", "json").stdout)
    assert [r["code"] for r in records] == sorted(rule.code for rule in RULES)
    assert all(r["example"] for r in records)
