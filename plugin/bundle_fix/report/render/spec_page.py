"""The manual's page of the spec, from the model."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args

import msgspec
from msgspec.structs import FieldInfo

from bundle_fix.spec.model import Tables
from bundle_fix.spec.parsing.convert import get_type_origin, is_struct, list_fields, unwrap_type

EXAMPLE = """\
[bundle]
name = "server-{version}-glibc{glibc}"

[variables]
build   = { env = "BUILD_DIR", default = "build" }
version = { file = "include/version.h", pattern = 'VERSION "([^"]+)"' }
glibc   = { builtin = "glibc" }

[options]
allocator = { choices = ["tcmalloc", "jemalloc"], default = "tcmalloc" }

[[files]]
from = "{build}/bin/server"
to   = "bin/"

[[files]]
text = "server {version}\\n"
to   = "VERSION"

[[libraries]]
from = "{build}/lib/libserver_*.so"

[[libraries]]
name   = "libtcmalloc.so.4"
search = ["third-party/lib", "third-party/lib64"]
when   = { allocator = "tcmalloc" }

[closure]
bundle = ["libstdc++.so.6", "libgcc_s.so.1", "libssl.so.*"]
host   = ["libjvm.so"]
"""
INTRODUCTION = f"""\
# The spec

Made by `bundle-fix schema spec --format markdown`; do not edit.

A spec, `bundle.toml`, says what is in a pack and what the pack must stand up to. Paths are relative
to the root: the spec's own folder, or the one that `-C` names.

```toml
{EXAMPLE}```

`{{name}}` in a text is the value of a variable or an option, `{{name:.7}}` its first seven
characters, `{{{{` a brace. `-D name=value` sets either. In globs `**` is folders at any depth.

Unknown keys, values of a wrong type, entries that find nothing and files that would land on one
another are errors, each told in one line with file, line and column. No command is ever run.

`bundle-fix init` writes a first spec; `bundle-fix schema >bundle.schema.json`, and
`#:schema ./bundle.schema.json` as the spec's first line, make editors complete and check it."""


def render_spec_page() -> str:
    """The page, in Markdown."""
    sections = (line for spot in list_fields(Tables) for line in _table(spot))
    return "\n".join((INTRODUCTION, *sections, ""))


def _table(spot: FieldInfo) -> Iterator[str]:
    """The section of a top-level table."""
    base, _ = unwrap_type(spot.type)
    name = spot.encode_name
    if is_struct(base):
        yield from _section(f"[{name}]", base, "" if spot.required else " It may be left out.")
    elif get_type_origin(base) is tuple:
        yield from _section(f"[[{name}]]", get_args(base)[0], " There may be many.")
    else:
        yield from _section(f"[{name}]", get_args(base)[1], " The key is the name.")


def _section(header: str, table: Any, more: str) -> Iterator[str]:
    """A header, what its table is, and its keys; then those of the tables in it."""
    yield f"\n## `{header}`\n"
    yield f"{_sentences(table)}{more}\n"
    yield from _keys(table)
    for spot in list_fields(table):
        base, _ = unwrap_type(spot.type)
        if get_type_origin(base) is tuple and is_struct(get_args(base)[0]):
            yield f"\nEach table of `{spot.encode_name}`: {_sentences(get_args(base)[0])}\n"
            yield from _keys(get_args(base)[0])


def _sentences(table: Any) -> str:
    return " ".join((table.__doc__ or "").split())


def _keys(table: Any) -> Iterator[str]:
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    for spot in list_fields(table):
        base, _ = unwrap_type(spot.type)
        cells = (f"`{spot.encode_name}`", _value(base), _default(spot), _described(spot))
        yield f"| {' | '.join(cells)} |"


def _value(base: Any) -> str:
    """The words for what a key takes."""
    if get_type_origin(base) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(base))
    if get_type_origin(base) in (Union, types.UnionType):
        return " or ".join(_value(unwrap_type(o)[0]) for o in get_args(base) if o is not type(None))
    if get_type_origin(base) is tuple:
        item, _ = unwrap_type(get_args(base)[0])
        return "tables" if is_struct(item) else "texts"
    if get_type_origin(base) is dict:
        return "a table"
    return {str: "text", bool: "true, false"}[base]


def _default(spot: FieldInfo) -> str:
    if spot.required:
        return "*required*"
    if spot.default in (msgspec.NODEFAULT, None, (), ""):
        return ""
    shown = str(spot.default).lower() if isinstance(spot.default, bool) else spot.default
    return f"`{shown}`"


def _described(spot: FieldInfo) -> str:
    metas = getattr(spot.type, "__metadata__", ())
    return " ".join(meta.description for meta in metas if meta.description)
