"""The options ``--max-size`` and ``--max-members``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import click
from msgspec.structs import replace

from bundle_fix.archive.limits import DEFAULT_LIMITS, Limits, format_size, parse_size


def _parse_size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Return the value of an option in bytes."""
    try:
        return None if text is None else parse_size(text)
    except ValueError:
        raise click.BadParameter(
            f"invalid size {text!r}; expected a number of bytes, or one such as 500M or 10G"
        ) from None


def list_limit_options(limits: Limits) -> list[str]:
    """Return the options that give ``limits`` to another command, without default values."""
    options = []
    # Only --max-size lifts the limit of the ratio.
    if limits.max_ratio is None:
        short = format_size(limits.max_size)
        is_exact = parse_size(short) == limits.max_size
        options.append(f"--max-size={short if is_exact else limits.max_size}")
    if limits.max_members != DEFAULT_LIMITS.max_members:
        options.append(f"--max-members={limits.max_members}")
    return options


def add_limit_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ``--max-size`` and ``--max-members``; the command gets them as one ``limits``."""

    @wraps(function)
    def call_with_limits(
        *args: object, max_size: int | None, max_members: int, **kwargs: object
    ) -> int:
        limits = replace(DEFAULT_LIMITS, max_members=max_members)
        if max_size is not None:
            # Data that compresses well may exceed the default ratio within the size given here.
            limits = replace(limits, max_size=max_size, max_ratio=None)
        return function(*args, limits=limits, **kwargs)

    command = click.option(
        "--max-members", type=click.IntRange(min=1), metavar="NUMBER",
        default=DEFAULT_LIMITS.max_members, help="Reject an artifact with more files, symlinks"
        f" and directories (default: {DEFAULT_LIMITS.max_members}).",
    )(call_with_limits)  # fmt: skip
    return click.option(
        "--max-size", callback=_parse_size, metavar="SIZE", default=None,
        help="Reject an artifact that is larger when unpacked, such as 500M or 100G (default: "
        f"{format_size(DEFAULT_LIMITS.max_size)},"
        f" and {DEFAULT_LIMITS.max_ratio} times its own size).",
    )(command)  # fmt: skip
