"""A first spec as text, with comments that tell a newcomer what to change."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from bundle_fix.draft.needs import Needs
from bundle_fix.draft.survey import Entry, Survey
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.render.text import WIDTH

SHOWN = 8
"""Names that a comment lists; the others are counted."""
VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+(?:[-.]?(?:rc|alpha|beta|SNAPSHOT)\.?\d*)?)")
GLIBC = re.compile(r"glibc\d+(\.\d+)+")


class Draft(Struct, frozen=True):
    """What a first spec says.

    Attributes:
        title: what it was made of, as the user named it.
        name: the pack's, as it was found.
        format: the pack's.
        tree: a template of the folder that the entries' globs start from.
        survey: the entries.
        needs: what the closure bundles, and what it leaves to the host.
        glibc: this machine's version.
    """

    title: str
    name: str
    format: str
    tree: str
    survey: Survey
    needs: Needs
    glibc: str


def draft_text(draft: Draft) -> str:
    """The spec."""
    return "\n".join(
        (
            *_head(draft),
            *_files("the programs", draft.survey.programs),
            *_files("what else is shipped: settings, scripts, headers", draft.survey.files),
            *_libraries(draft.survey.libraries),
            *_left_out(draft.survey),
            *_closure(draft.needs),
            *_layout(draft.survey.library_folder),
            *_tail(),
        )
    )


def _head(draft: Draft) -> Iterator[str]:
    name, version = _versioned(draft.name, draft.glibc)
    yield f"# A first spec, made by `bundle-fix init` of {escape_unprintable(draft.title)}."
    yield "# It packs and checks as it stands; the comments say what to look at. docs/spec.md tells"
    yield "# every key; `bundle-fix schema` prints what an editor needs to check and complete it."
    yield ""
    yield "[bundle]"
    yield f"name   = {_quoted(name)}"
    yield f'format = "{draft.format}"  # tar.gz, tar.zst, tar.xz, tar or dir'
    yield ""
    yield "[variables]"
    if draft.tree == ".":
        yield "# The tree that is packed, relative to the root: this file's folder, or that of -C."
        yield 'tree    = { value = "." }'
    else:
        yield "# The tree that is packed: where your build installs to. -D tree=… names another."
        yield 'here    = { builtin = "here" }        # the folder of this file'
        yield f"tree    = {{ value = {_quoted(draft.tree)} }}"
    if version:
        yield "# Better taken from where it is written once, such as a header of the source tree:"
        yield '# version = { file = "include/version.h", pattern = \'VERSION "([^"]+)"\' }'
        yield f"version = {{ value = {_quoted(_plain(version))} }}"
    else:
        yield "# A version in the name tells packs apart: add -{version} to the name above, and"
        yield '# version = { file = "include/version.h", pattern = \'VERSION "([^"]+)"\' }'
    if "{glibc}" in name:
        yield 'glibc   = { builtin = "glibc" }'


def _versioned(name: str, glibc: str) -> tuple[str, str]:
    """The name as a template, with its version and glibc's as variables, and the version."""
    parts = [name]
    found = VERSION.search(GLIBC.sub(lambda match: "x" * len(match[0]), name))
    version = found[1] if found else ""
    if found:
        parts = [name[: found.start(1)], name[found.end(1) :]]
    plain = [_plain(part) for part in parts]
    if glibc:
        plain = [re.sub(rf"glibc{re.escape(glibc)}(?![\d.])", "glibc{glibc}", p) for p in plain]
    return "{version}".join(plain), version


def _files(title: str, entries: Iterable[Entry]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        if number == 0:
            yield f"\n# --- {title}"
        yield "\n[[files]]"
        yield from _listed("with the programs ", entry.remark)
        yield f"from = {_below(entry.source)}"
        yield f"to   = {_quoted(_plain(entry.to))}"
        if entry.mode:
            yield f'mode = "{entry.mode}"'
        if entry.exclude:
            yield f"exclude = {_array(map(_excluded, entry.exclude))}"


def _libraries(entries: Iterable[Entry]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        if number == 0:
            yield "\n# --- the libraries: each lands under its real name with a link of its soname"
        yield "\n[[libraries]]"
        yield from _listed("", entry.remark)
        yield f"from = {_below(entry.source)}"
        yield f"to   = {_quoted(_plain(entry.to))}"
        if entry.exclude:
            yield f"exclude = {_array(map(_excluded, entry.exclude))}"


def _left_out(survey: Survey) -> Iterator[str]:
    if survey.left_out:
        yield "\n# Left out, as links that lead to no file of the tree, or no files:"
        yield from _listed("", ", ".join(survey.left_out))
    if survey.stale:
        yield "\n# Left out: another version beside it has the same soname (an earlier build's?):"
        yield from _listed("", ", ".join(survey.stale))


def _listed(before: str, names: str) -> Iterator[str]:
    """A comment that lists the first of some names."""
    some = names.split(", ")
    more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
    if names:
        text = f"{before}{escape_unprintable(', '.join(some[:SHOWN]))}{more}"
        yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _closure(needs: Needs) -> Iterator[str]:
    yield "\n# --- what the above still need"
    yield "\n[closure]"
    yield "# Put into the pack from this machine. What every target has may be moved to `host`;"
    yield '# patterns such as "libssl.so.*" survive an upgrade.'
    yield from _commented("bundle", {name: str(path) for name, path in needs.bundle.items()})
    yield "# Expected on every target, besides the C library."
    yield from _commented("host", needs.host)


def _commented(key: str, names: Mapping[str, str]) -> Iterator[str]:
    """An array of names with a comment on each."""
    if not names:
        yield f"{key} = []"
        return
    yield f"{key} = ["
    for name, comment in names.items():
        yield f"  {_quoted(_plain(name))},  # {escape_unprintable(comment)}"
    yield "]"


def _layout(folder: str) -> Iterator[str]:
    if folder != "lib":
        yield "\n[layout]"
        yield f"lib = {_quoted(_plain(folder))}  # where the bundled libraries go"


def _tail() -> Iterator[str]:
    yield "\n[check]"
    yield '# glibc = "2.17"        # the oldest glibc that the pack must run on'
    yield '# allocators = ["…"]    # sonames of the libraries that are malloc'
    yield 'fail-on = "error"'
    yield ""


def _below(pattern: str) -> str:
    return _quoted("{tree}/" + _plain(pattern))


def _excluded(pattern: str) -> str:
    """A pattern of names stays; one of a path, or of a name at the top, counts from the tree."""
    return _quoted(_plain(pattern)) if pattern in ("*.so", "*.so.*") else _below(pattern)


def _array(items: Iterable[str]) -> str:
    texts = list(items)
    if len(texts) <= 2:
        return f"[{', '.join(texts)}]"
    return "[\n" + "".join(f"  {text},\n" for text in texts) + "]"


def _plain(text: str) -> str:
    """A text that stands for itself in a template."""
    return text.replace("{", "{{").replace("}", "}}")


def _quoted(text: str) -> str:
    """A text as TOML writes it; it has printable characters only."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
