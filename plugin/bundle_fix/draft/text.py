"""The text of a first spec, with comments for readers who do not know the format."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from bundle_fix.draft.needs import ClosureNeeds
from bundle_fix.draft.survey import LIBRARY_NAME_GLOBS, DraftEntry, TreeSurvey
from bundle_fix.model.printable import escape_unprintable
from bundle_fix.report.render.causes_text import WIDTH

MAX_LISTED_NAMES = 8
"""Names that a comment lists; the others are counted."""
VERSION = re.compile(r"(?<![\w.])v?(\d+(?:\.\d+)+(?:[-.]?(?:rc|alpha|beta|SNAPSHOT)\.?\d*)?)")
GLIBC = re.compile(r"glibc\d+(\.\d+)+")


class SpecDraft(Struct, frozen=True):
    """The contents of a first spec.

    Attributes:
        title: the artifact that it packs, as the user named it.
        name: the pack's name.
        format: the pack's format.
        tree: a template of the directory that the globs of the entries start from.
        survey: the entries.
        needs: the libraries that the closure bundles, and those that it leaves to the host.
        glibc: the glibc version of this machine.
    """

    title: str
    name: str
    format: str
    tree: str
    survey: TreeSurvey
    needs: ClosureNeeds
    glibc: str


def format_spec(draft: SpecDraft) -> str:
    """Return the text of the spec."""
    return "\n".join(
        (
            *_format_head(draft),
            *_format_files("programs", draft.survey.programs),
            *_format_files("other files: configuration, scripts, headers", draft.survey.files),
            *_format_libraries(draft.survey.libraries),
            *_format_left_out(draft.survey),
            *_format_closure(draft.needs),
            *_format_layout(draft.survey.library_directory),
            *_format_check(),
        )
    )


def _format_head(draft: SpecDraft) -> Iterator[str]:
    """Yield the lines of ``[bundle]`` and ``[variables]``."""
    name, version = _split_version(draft.name, draft.glibc)
    yield f"# A first spec, written by `bundle-fix init` for {escape_unprintable(draft.title)}."
    yield "# `bundle-fix pack` accepts it as it is; the comments say what to review."
    yield "# `bundle-fix schema --format markdown` describes every key. `bundle-fix schema` prints"
    yield "# a JSON Schema, with which an editor checks and completes this file."
    yield ""
    yield "[bundle]"
    yield f"name   = {_quote_toml(name)}"
    yield f'format = "{draft.format}"  # tar.gz, tar.zst, tar.xz, tar or dir'
    yield ""
    yield "[variables]"
    if draft.tree == ".":
        yield "# The tree to pack, relative to the root: the directory of this file, or that of -C."
        yield 'tree    = { value = "." }'
    else:
        yield "# The tree to pack: the directory that your build installs to. Pass -D tree=DIR to"
        yield "# use another one."
        yield 'here    = { builtin = "here" }        # the directory of this file'
        yield f"tree    = {{ value = {_quote_toml(draft.tree)} }}"
    if version:
        yield "# It is better to read the version from the file that defines it, such as a header:"
        yield '# version = { file = "include/version.h", pattern = \'VERSION "([^"]+)"\' }'
        yield f"version = {{ value = {_quote_toml(_escape_braces(version))} }}"
    else:
        yield "# To put the version into the pack's name, append -{version} to the name above, and"
        yield "# read it from the file that defines it, such as a header:"
        yield '# version = { file = "include/version.h", pattern = \'VERSION "([^"]+)"\' }'
    if "{glibc}" in name:
        yield 'glibc   = { builtin = "glibc" }'


def _split_version(name: str, glibc: str) -> tuple[str, str]:
    """Return the name as a template with ``{version}`` and ``{glibc}``, and the version in it."""
    parts = [name]
    # The version of glibc in a name is not the version of the pack.
    found = VERSION.search(GLIBC.sub(lambda match: "x" * len(match[0]), name))
    version = found[1] if found else ""
    if found:
        parts = [name[: found.start(1)], name[found.end(1) :]]
    escaped = [_escape_braces(part) for part in parts]
    if glibc:
        pattern = rf"glibc{re.escape(glibc)}(?![\d.])"
        escaped = [re.sub(pattern, "glibc{glibc}", part) for part in escaped]
    return "{version}".join(escaped), version


def _format_files(title: str, entries: Iterable[DraftEntry]) -> Iterator[str]:
    """Yield the lines of entries of ``[[files]]``, below a heading."""
    for number, entry in enumerate(entries):
        if number == 0:
            yield f"\n# --- {title}"
        yield "\n[[files]]"
        yield from _format_names("with the programs ", entry.remark)
        yield f"from = {_quote_tree_path(entry.source)}"
        yield f"to   = {_quote_toml(_escape_braces(entry.to))}"
        if entry.mode:
            yield f'mode = "{entry.mode}"'
        if entry.exclude:
            yield f"exclude = {_format_array(map(_quote_exclude, entry.exclude))}"


def _format_libraries(entries: Iterable[DraftEntry]) -> Iterator[str]:
    """Yield the lines of entries of ``[[libraries]]``, below a heading."""
    for number, entry in enumerate(entries):
        if number == 0:
            yield "\n# --- libraries: each keeps its file name and gets a symlink for its soname"
        yield "\n[[libraries]]"
        yield from _format_names("", entry.remark)
        yield f"from = {_quote_tree_path(entry.source)}"
        yield f"to   = {_quote_toml(_escape_braces(entry.to))}"
        if entry.exclude:
            yield f"exclude = {_format_array(map(_quote_exclude, entry.exclude))}"


def _format_left_out(survey: TreeSurvey) -> Iterator[str]:
    """Yield comments that list the members without an entry, by the reason."""
    if survey.left_out:
        yield "\n# Left out: symlinks that lead to no file in the tree, and special files:"
        yield from _format_names("", ", ".join(survey.left_out))
    if survey.stale:
        yield "\n# Left out, perhaps from an earlier build: another version has the same soname:"
        yield from _format_names("", ", ".join(survey.stale))


def _format_names(prefix: str, names: str) -> Iterator[str]:
    """Yield a comment that lists the first `MAX_LISTED_NAMES` of names separated by commas."""
    if not names:
        return
    listed = names.split(", ")
    more = len(listed) - MAX_LISTED_NAMES
    text = escape_unprintable(", ".join(listed[:MAX_LISTED_NAMES]))
    text = f"{prefix}{text}{f' and {more} more' if more > 0 else ''}"
    yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _format_closure(needs: ClosureNeeds) -> Iterator[str]:
    """Yield the lines of ``[closure]``."""
    yield "\n# --- libraries that the files above need"
    yield "\n[closure]"
    yield "# Copied from this machine into the pack. Move a library to `host` if every target has"
    yield '# it. A glob such as "libssl.so.*" also matches the library after an upgrade.'
    yield from _format_commented_array("bundle", {n: str(p) for n, p in needs.bundle.items()})
    yield "# Expected on every target, in addition to the C library."
    yield from _format_commented_array("host", needs.host)


def _format_commented_array(key: str, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of an array of names with a comment on each."""
    if not names:
        yield f"{key} = []"
        return
    yield f"{key} = ["
    for name, comment in names.items():
        yield f"  {_quote_toml(_escape_braces(name))},  # {escape_unprintable(comment)}"
    yield "]"


def _format_layout(directory: str) -> Iterator[str]:
    """Yield the lines of ``[layout]``, unless its default is right."""
    if directory != "lib":
        yield "\n[layout]"
        yield f"lib = {_quote_toml(_escape_braces(directory))}  # directory for bundled libraries"


def _format_check() -> Iterator[str]:
    """Yield the lines of ``[check]``."""
    yield "\n[check]"
    yield '# glibc = "2.17"        # the oldest glibc that the pack must run on'
    yield '# allocators = ["…"]    # sonames of the libraries that provide malloc'
    yield 'fail-on = "error"'
    yield ""


def _quote_tree_path(pattern: str) -> str:
    """Return the TOML string of a glob relative to the tree."""
    return _quote_toml("{tree}/" + _escape_braces(pattern))


def _quote_exclude(pattern: str) -> str:
    """Return the TOML string of a glob of ``exclude``: of names, or relative to the tree."""
    if pattern in LIBRARY_NAME_GLOBS:
        return _quote_toml(pattern)
    return _quote_tree_path(pattern)


def _format_array(items: Iterable[str]) -> str:
    """Return a TOML array of formatted items: on one line, or on one for each if they are many."""
    texts = list(items)
    if len(texts) <= 2:
        return f"[{', '.join(texts)}]"
    return "[\n" + "".join(f"  {text},\n" for text in texts) + "]"


def _escape_braces(text: str) -> str:
    """Return a template that stands for ``text`` itself."""
    return text.replace("{", "{{").replace("}", "}}")


def _quote_toml(text: str) -> str:
    """Return a TOML string; ``text`` must have printable characters only."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
