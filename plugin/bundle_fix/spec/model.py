"""The schema of a spec (`bundle.toml`): a frozen struct for each table, a field for each key.

`Meta.extra` says more of a text: ``form`` is how an error names what is expected; the marks are
``template`` (it may hold ``{variables}``), ``place`` (it is one in the pack), ``pack_name`` and
``pattern`` (a regular expression).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from bundle_fix.spec.parsing.positions import find_position

Text = Annotated[str, Meta(min_length=1, extra={"form": "a text that is not empty"})]
Template = Annotated[Text, Meta(extra={"template": True})]
AnyTemplate = Annotated[str, Meta(extra={"template": True})]
PackPath = Annotated[Template, Meta(extra={"place": True})]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$",
        extra={"form": "a name made of letters, digits, `_` and `-`"},
    ),
]
Format = Literal["tar.gz", "tar.zst", "tar.xz", "tar", "dir"]
ENTRIES = ("files", "libraries")
"""The arrays of tables, whose headers stand in double brackets."""
Builtin = Literal["glibc", "arch", "epoch", "here"]
Editor = Literal["auto", "inplace", "lief", "patchelf"]
Strip = Literal["none", "debug", "split"]
Severity = Literal["error", "warning", "note"]
When = Annotated[
    dict[str, bool | str | tuple[str, ...]],
    Meta(
        description="Conditions that must all hold, each on a variable or an option: true (it is "
        "set and not empty), false (it is empty), the text that it must be, or an array of texts "
        "of which it must be one."
    ),
]
Exclude = Annotated[
    tuple[Template, ...],
    Meta(
        description="Globs of what `from` finds and the pack does not want. One without `/` is of "
        "names, at any depth; any other is of paths relative to the root."
    ),
]
CHECKSUM = r"^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
# No `pattern`: msgspec 0.22 frees the expression of a string in a union twice.
Checksum = Annotated[str, Meta(extra={"checksum": True}, extra_json_schema={"pattern": CHECKSUM})]
IsOptional = Annotated[
    bool, Meta(description="Whether nothing need be found; otherwise that is an error.")
]


class Table(Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What the tables of a spec have in common."""


class Bundle(Table, kw_only=True, frozen=True):
    """What the pack is called and how it is packed."""

    name: Annotated[
        Template,
        Meta(
            description="The pack's file name without its suffix, and its top folder.",
            extra={"pack_name": True},
        ),
    ]
    format: Annotated[
        Format, Meta(description="A tarball with its compression, or a plain folder.")
    ] = "tar.gz"
    epoch: Annotated[
        Template | None,
        Meta(
            description="When everything in the pack is said to have been changed, in seconds since"
            " 1970; SOURCE_DATE_EPOCH goes before it, and without both it is 1980-01-01."
        ),
    ] = None
    licenses: Annotated[
        bool,
        Meta(
            description="Whether the licence files of packaged libraries are put into `licenses/`."
        ),
    ] = False


class Variable(Table, kw_only=True, frozen=True):
    """A name for a text that comes from outside; it has exactly one source.

    The sources are `env`, `file` with `pattern`, `cmake-cache`, `builtin` and `value`. A source
    that gives an empty text gives nothing.
    """

    env: Annotated[Text | None, Meta(description="Source: this environment variable.")] = None
    file: Annotated[
        Template | None,
        Meta(
            description="Source: the text in this file, relative to the root, that `pattern` finds."
        ),
    ] = None
    pattern: Annotated[
        Text | None,
        Meta(
            description="With `file`, `env` or `cmake-cache`: a Python regular expression with "
            "exactly one group, which is the value. `^` and `$` stand for the ends of lines; the "
            "first match counts.",
            extra={"pattern": True},
        ),
    ] = None
    cmake_cache: Annotated[
        Text | None, Meta(description="Source: this entry of a `CMakeCache.txt`.")
    ] = None
    cache_folder: Annotated[
        Template | None,
        Meta(
            description="With `cmake-cache`: the folder of `CMakeCache.txt`, relative to the root, "
            "which it is when this key is left out."
        ),
    ] = field(name="in", default=None)
    builtin: Annotated[
        Builtin | None,
        Meta(
            description="Source: `glibc` (this machine's version, such as 2.36), `arch` (this "
            "machine's name, such as x86_64), `epoch` (SOURCE_DATE_EPOCH, seconds since 1970; "
            "where that is not set, the default, or else 0, so that packs stay reproducible) or "
            "`here` (the folder of the spec, whatever the root is)."
        ),
    ] = None
    value: Annotated[AnyTemplate | None, Meta(description="Source: this very text.")] = None
    default: Annotated[
        AnyTemplate | None,
        Meta(description="The value where the source gives nothing, or nothing that `map` lists."),
    ] = None
    map: Annotated[
        dict[str, AnyTemplate],
        Meta(
            description="What the source gives, to the value to use instead. What is not listed "
            "becomes the default, or stays as it is where there is none."
        ),
    ] = {}


class Option(Table, kw_only=True, frozen=True):
    """A closed choice that the user makes with `-D name=value`; used like a variable."""

    choices: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="The values that it may have.",
            extra={"form": "an array with at least one string"},
        ),
    ]
    default: Annotated[str, Meta(description="The value without `-D`: one of the choices.")]


class Files(Table, kw_only=True, frozen=True):
    """Files of any kind that the pack holds: either `from` or `text` says what is in them."""

    source: Annotated[
        Template | None,
        Meta(description="A file, a folder or a glob of them, relative to the root."),
    ] = field(name="from", default=None)
    text: Annotated[AnyTemplate | None, Meta(description="The content of one text file.")] = None
    to: Annotated[
        PackPath,
        Meta(description="Where in the pack: a folder when it ends in `/`, else the file's name."),
    ]
    mode: Annotated[
        Annotated[str, Meta(pattern="^0?[0-7]{3,4}$", extra={"form": 'a mode such as "755"'})]
        | None,
        Meta(description="Octal permissions; without it a file keeps its own."),
    ] = None
    exclude: Exclude = ()
    checksum: Annotated[
        Checksum | dict[str, Checksum] | None,
        Meta(
            description="What the one file that `from` finds must have: `md5:…`, `sha256:…` or "
            "`sha512:…`; or a table of them by machine, such as `x86_64`."
        ),
    ] = None
    when: When = {}
    optional: IsOptional = False


class Libraries(Table, kw_only=True, frozen=True):
    """Shared libraries: each lands as its real file with the links that its soname calls for."""

    source: Annotated[
        Template | None,
        Meta(description="A shared library or a glob of them, relative to the root."),
    ] = field(name="from", default=None)
    exclude: Exclude = ()
    name: Annotated[
        Template | None,
        Meta(description="A soname to look for in `search`, in place of `from`."),
    ] = None
    search: Annotated[
        tuple[Template, ...],
        Meta(description="With `name`: the folders to look in, relative to the root, in order."),
    ] = ()
    to: Annotated[
        PackPath | None, Meta(description="The folder in the pack; without it, `lib` of [layout].")
    ] = None
    pin: Annotated[
        bool, Meta(description="Whether it must be the one loaded, even against LD_LIBRARY_PATH.")
    ] = False
    when: When = {}
    optional: IsOptional = False


class Closure(Table, kw_only=True, frozen=True):
    """What the collected objects still need, by soname or by a glob of sonames."""

    bundle: Annotated[
        tuple[Template, ...],
        Meta(description="Put into the pack, found as this machine's loader finds them."),
    ] = ()
    search: Annotated[
        tuple[Template, ...],
        Meta(description="Folders to look in before the default ones, relative to the root."),
    ] = ()
    host: Annotated[
        tuple[Template, ...],
        Meta(description="Expected on the target machine, besides glibc itself."),
    ] = ()
    dlopen: Annotated[
        tuple[Template, ...],
        Meta(description="Opened by name at run time: checked like a needed name."),
    ] = ()


class Layout(Table, kw_only=True, frozen=True):
    """Where things lie in the pack."""

    lib: Annotated[
        PackPath, Meta(description="The folder of libraries whose entry has no `to`.")
    ] = "lib"


class Runpath(Table, kw_only=True, frozen=True):
    """How the RUNPATH of an object is written."""

    editor: Annotated[
        Editor,
        Meta(description="The only editor to use; `auto` takes the first that does no harm."),
    ] = "auto"


class Debug(Table, kw_only=True, frozen=True):
    """What becomes of debug information."""

    strip: Annotated[
        Strip,
        Meta(
            description="`none` keeps it, `debug` drops it, `split` puts it into a pack of its own,"
            " NAME.debug, where gdb finds it."
        ),
    ] = "none"


class Ignore(Table, kw_only=True, frozen=True):
    """Findings that are known and accepted."""

    rule: Annotated[
        Annotated[str, Meta(pattern=r"^BF\d{3}$", extra={"form": 'a rule such as "BF403"'})],
        Meta(description="The rule's code."),
    ]
    path: Annotated[Template, Meta(description="A path in the pack, or a glob of paths.")]
    reason: Annotated[
        Annotated[str, Meta(pattern=r"\S", extra={"form": "a text that is not empty"})],
        Meta(description="Why they are accepted."),
    ]


class Check(Table, kw_only=True, frozen=True):
    """What the finished pack must stand up to."""

    glibc: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^\d+\.\d+(\.\d+)?$", extra={"form": 'a version such as "2.17"'}),
        ]
        | None,
        Meta(description="The newest glibc symbol version allowed."),
    ] = None
    allocators: Annotated[
        tuple[Template, ...], Meta(description="Sonames of the libraries that provide malloc.")
    ] = ()
    fail_on: Annotated[
        Severity, Meta(description="The mildest finding that makes the check fail.")
    ] = "error"
    ignore: Annotated[tuple[Ignore, ...], Meta(description="Findings to pass over.")] = ()


class Tables(Table, kw_only=True, frozen=True):
    """All that may stand in a spec."""

    bundle: Annotated[Bundle, Meta(description="What the pack is called and how it is packed.")]
    variables: Annotated[
        dict[Name, Variable], Meta(description="Texts from outside, used as `{name}`.")
    ] = {}
    options: Annotated[
        dict[Name, Option], Meta(description="Choices that `-D name=value` makes.")
    ] = {}
    files: Annotated[tuple[Files, ...], Meta(description="Files of any kind.")] = ()
    libraries: Annotated[tuple[Libraries, ...], Meta(description="Shared libraries.")] = ()
    closure: Annotated[Closure, Meta(description="What the objects still need.")] = Closure()
    layout: Annotated[Layout, Meta(description="Where things lie in the pack.")] = Layout()
    runpath: Annotated[Runpath, Meta(description="How RUNPATHs are written.")] = Runpath()
    debug: Annotated[Debug, Meta(description="What becomes of debug information.")] = Debug()
    check: Annotated[Check, Meta(description="What the pack must stand up to.")] = Check()


class Spec(Tables, kw_only=True, frozen=True):
    """The tables of a spec, and where they are written: for errors that are found later."""

    path: Path
    toml: str

    def where(self, *key: str | int) -> str:
        """Where a value is written, as ``path:line:column``.

        Args:
            key: the way to the value in the TOML: ``"files", 2, "from"``. Where there is no such
                key the place is that of the innermost table there is.
        """
        line, column = find_position(self.toml, key)
        return f"{self.path}:{line}:{column}"
