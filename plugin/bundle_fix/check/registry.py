"""All rules there are: those of a check, and those of a comparison."""

from __future__ import annotations

from bundle_fix.check.checker import CHECK_RULES
from bundle_fix.check.findings import Rule
from bundle_fix.check.rules.differences import DIFF_RULES
from bundle_fix.model.errors import BundleFixError

ALL_RULES = (*CHECK_RULES, *DIFF_RULES)


def find_rule(text: str, where: str) -> Rule:
    """The rule with this code or name, in capitals or not.

    Args:
        text: what the user wrote.
        where: where that stands, for messages.

    Raises:
        BundleFixError: there is none.
    """
    wanted = text.casefold()
    for rule in ALL_RULES:
        if wanted in (rule.code.casefold(), rule.name):
            return rule
    from bundle_fix.model.printable import escape_and_shorten, escape_unprintable
    from bundle_fix.model.suggestions import suggest_word

    words = [word for rule in ALL_RULES for word in (rule.code, rule.name)]
    hint = suggest_word(text, words) or "'bundle-fix rules' lists them"
    raise BundleFixError(
        f"there is no rule {escape_and_shorten(text)}", where=escape_unprintable(where), hint=hint
    )
