"""Types of the values in a spec: strings with a given form, choices, conditions.

`Meta.extra` adds to a string what msgspec cannot express. ``form`` describes the expected value in
an error message. The marks are ``template`` (may contain ``{variables}``), ``pack_path`` (a path in
the pack), ``pack_name``, ``pattern`` (a regular expression) and ``checksum``; `parsing.checks`
reads them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Text = Annotated[str, Meta(min_length=1, extra={"form": "a string that is not empty"})]
Template = Annotated[Text, Meta(extra={"template": True})]
AnyTemplate = Annotated[str, Meta(extra={"template": True})]
PackPath = Annotated[Template, Meta(extra={"pack_path": True})]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$",
        extra={"form": "a name made of letters, digits, `_` and `-`"},
    ),
]
Format = Literal["tar.gz", "tar.zst", "tar.xz", "tar", "dir"]
ENTRIES = ("files", "libraries")
"""The arrays of tables: their headers have double brackets."""
Builtin = Literal["glibc", "arch", "epoch", "here"]
Editor = Literal["auto", "slot", "table", "inplace", "segment", "lief", "patchelf"]
Strip = Literal["none", "debug", "split"]
SeverityName = Literal["error", "warning", "note"]
When = Annotated[
    dict[str, bool | str | tuple[str, ...]],
    Meta(
        description="Conditions on variables and options; the entry is used if all of them hold. "
        "A condition is true (the value is not empty), false (it is empty), a text (the value "
        "equals it), or an array of texts (the value equals one of them)."
    ),
]
Exclude = Annotated[
    tuple[Template, ...],
    Meta(
        description="Globs of files that `from` matches but the pack must not contain. A glob "
        "without `/` matches file names at any depth; any other matches paths relative to the "
        "root."
    ),
]
CHECKSUM = r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
# The pattern stands in the JSON Schema only, and `checks` applies it: msgspec 0.22 frees the
# compiled expression of a string in a union twice.
Checksum = Annotated[str, Meta(extra={"checksum": True}, extra_json_schema={"pattern": CHECKSUM})]
IsOptional = Annotated[
    bool, Meta(description="If true, it is not an error when the entry finds no file.")
]
