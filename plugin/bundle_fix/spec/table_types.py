"""The tables of a spec: a frozen struct for each, with a field for each key."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from bundle_fix.spec.value_types import (
    AnyTemplate,
    Builtin,
    Checksum,
    Editor,
    Exclude,
    Format,
    IsOptional,
    PackPath,
    SeverityName,
    Strip,
    Template,
    Text,
    When,
)


class SpecTable(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Base class of the tables of a spec: unknown keys are errors, `_` in a name becomes `-`."""


class BundleTable(SpecTable, kw_only=True, frozen=True):
    """Name and format of the pack."""

    name: Annotated[
        Template | None,
        Meta(
            description="The pack's file name without suffix, and the name of its top directory. "
            "A spec that makes no pack needs none.",
            extra={"pack_name": True},
        ),
    ] = None
    format: Annotated[
        Format, Meta(description="A tarball with its compression, or a directory (`dir`).")
    ] = "tar.gz"
    epoch: Annotated[
        Template | None,
        Meta(
            description="The modification time of every file in the pack, in seconds since 1970. "
            "The environment variable SOURCE_DATE_EPOCH overrides it. The default is 1980-01-01."
        ),
    ] = None
    licenses: Annotated[
        bool,
        Meta(
            description="If true, the licence files of the distribution packages that libraries "
            "were copied from are put into `licenses/`."
        ),
    ] = False


class Variable(SpecTable, kw_only=True, frozen=True):
    """A named value with exactly one source.

    The sources are `env`, `file` with `pattern`, `cmake-cache`, `builtin` and `value`. An empty
    text from any source but `value` counts as a missing value.
    """

    env: Annotated[
        Text | None, Meta(description="Source: the environment variable of this name.")
    ] = None
    file: Annotated[
        Template | None,
        Meta(
            description="Source: the text that `pattern` captures in this file. The path is "
            "relative to the root."
        ),
    ] = None
    pattern: Annotated[
        Text | None,
        Meta(
            description="With `file`, `env` or `cmake-cache`: a Python regular expression with "
            "exactly one group. The value is what the group captures in the first match. `^` and "
            "`$` match at the start and end of each line.",
            extra={"pattern": True},
        ),
    ] = None
    cmake_cache: Annotated[
        Text | None, Meta(description="Source: the entry of this name in a `CMakeCache.txt`.")
    ] = None
    cache_directory: Annotated[
        Template | None,
        Meta(
            description="With `cmake-cache`: the directory of `CMakeCache.txt`, relative to the "
            "root. The default is the root itself."
        ),
    ] = field(name="in", default=None)
    builtin: Annotated[
        Builtin | None,
        Meta(
            description="Source: `arch` (the machine of the collected files, such as x86_64; files "
            "of several machines are an error), `glibc` (the version of the glibc of that machine "
            "here or in the sysroot, such as 2.36), `epoch` (SOURCE_DATE_EPOCH in seconds since "
            "1970; if unset, `default` or 0, so that packs stay reproducible) or `here` (the "
            "directory of the spec, whatever the root is)."
        ),
    ] = None
    value: Annotated[AnyTemplate | None, Meta(description="Source: this text.")] = None
    default: Annotated[
        AnyTemplate | None,
        Meta(description="The value if the source has none, or if `map` does not list its value."),
    ] = None
    map: Annotated[
        dict[str, AnyTemplate],
        Meta(
            description="Replacements: a value of the source, and the value to use instead. A "
            "value that is not listed becomes `default`; without `default` it stays unchanged."
        ),
    ] = {}


class Option(SpecTable, kw_only=True, frozen=True):
    """A choice among fixed values, made with `-D name=value` and used like a variable."""

    choices: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="The allowed values.",
            extra={"form": "an array with at least one string"},
        ),
    ]
    default: Annotated[str, Meta(description="The value without `-D`; must be one of the choices.")]


class FilesEntry(SpecTable, kw_only=True, frozen=True):
    """Files of any kind, copied (`from`) or written (`text`)."""

    source: Annotated[
        Template | None,
        Meta(description="A file, a directory, or a glob that matches them; relative to the root."),
    ] = field(name="from", default=None)
    text: Annotated[
        AnyTemplate | None, Meta(description="The content of one text file to write.")
    ] = None
    to: Annotated[
        PackPath,
        Meta(description="Path in the pack: a directory if it ends in `/`, otherwise of the file."),
    ]
    mode: Annotated[
        Annotated[str, Meta(pattern="^0?[0-7]{3,4}$", extra={"form": 'a mode such as "755"'})]
        | None,
        Meta(
            description="Permissions in octal. The default is 755 for a file that its owner may "
            "execute, otherwise 644."
        ),
    ] = None
    exclude: Exclude = ()
    checksum: Annotated[
        Checksum | dict[str, Checksum] | None,
        Meta(
            description="Expected checksum of the one file that `from` finds: `md5:…`, `sha256:…` "
            "or `sha512:…`. A table gives one for each machine, such as `x86_64`."
        ),
    ] = None
    when: When = {}
    optional: IsOptional = False


class LibrariesEntry(SpecTable, kw_only=True, frozen=True):
    """Shared libraries: each is copied with its real name and gets a symlink for its soname."""

    source: Annotated[
        Template | None,
        Meta(description="A shared library, or a glob that matches them; relative to the root."),
    ] = field(name="from", default=None)
    exclude: Exclude = ()
    name: Annotated[
        Template | None,
        Meta(description="A soname to look for in the directories of `search`, instead of `from`."),
    ] = None
    search: Annotated[
        tuple[Template, ...],
        Meta(description="With `name`: directories to search in order, relative to the root."),
    ] = ()
    to: Annotated[
        PackPath | None,
        Meta(description="Directory in the pack. The default is `lib` of [layout]."),
    ] = None
    pin: Annotated[
        bool,
        Meta(description="If true, this copy must be loaded, whatever LD_LIBRARY_PATH contains."),
    ] = False
    when: When = {}
    optional: IsOptional = False


class ClosureTable(SpecTable, kw_only=True, frozen=True):
    """Libraries that the collected objects need and no entry provides, as sonames or globs."""

    bundle: Annotated[
        tuple[Template, ...],
        Meta(
            description="Libraries to copy from this machine; the loader's search order finds them."
        ),
    ] = ()
    search: Annotated[
        tuple[Template, ...],
        Meta(description="Directories to search before the default ones, relative to the root."),
    ] = ()
    host: Annotated[
        tuple[Template, ...],
        Meta(description="Libraries that the target machine provides, in addition to glibc."),
    ] = ()
    dlopen: Annotated[
        tuple[Template, ...],
        Meta(description="Libraries that dlopen(3) opens by name; checked like needed libraries."),
    ] = ()
    unique: Annotated[
        bool,
        Meta(
            description="If true, libraries that `bundle` adds to a wheel get names of their own, "
            "such as `libdep-1a2b3c4d.so.1`: no other wheel in the process replaces them."
        ),
    ] = True


class LayoutTable(SpecTable, kw_only=True, frozen=True):
    """Directories of the pack."""

    lib: Annotated[
        PackPath, Meta(description="Directory for libraries whose entry has no `to`.")
    ] = "lib"


class RunpathTable(SpecTable, kw_only=True, frozen=True):
    """Settings for writing RUNPATHs."""

    editor: Annotated[
        Editor,
        Meta(
            description="The only editor to use; `auto` tries several and keeps a verified result."
        ),
    ] = "auto"


class DebugTable(SpecTable, kw_only=True, frozen=True):
    """Treatment of debug information."""

    strip: Annotated[
        Strip,
        Meta(
            description="`none` keeps debug information, `debug` removes it, `split` moves it to a "
            "separate pack, NAME.debug, laid out for gdb."
        ),
    ] = "none"


class IgnoreEntry(SpecTable, kw_only=True, frozen=True):
    """Findings that are accepted."""

    rule: Annotated[
        Annotated[str, Meta(pattern=r"^BF\d{3}$", extra={"form": 'a rule such as "BF403"'})],
        Meta(description="Code of the rule."),
    ]
    path: Annotated[Template, Meta(description="A path in the pack, or a glob of paths.")]
    reason: Annotated[
        Annotated[str, Meta(pattern=r"\S", extra={"form": "a string that is not empty"})],
        Meta(description="Why the findings are accepted."),
    ]


class CheckTable(SpecTable, kw_only=True, frozen=True):
    """Requirements that the finished pack is checked against."""

    glibc: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^\d+\.\d+(\.\d+)?$", extra={"form": 'a version such as "2.17"'}),
        ]
        | None,
        Meta(description="The newest allowed version of glibc symbols."),
    ] = None
    allocators: Annotated[
        tuple[Template, ...], Meta(description="Sonames of the libraries that provide malloc.")
    ] = ()
    fail_on: Annotated[
        SeverityName, Meta(description="The lowest severity that makes the check fail.")
    ] = "error"
    ignore: Annotated[tuple[IgnoreEntry, ...], Meta(description="Findings to ignore.")] = ()
