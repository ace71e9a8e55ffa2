"""What an artifact may unpack to before it is refused: nobody's honest pack comes near.

A limit is told by the option that moves it, so that who trusts an artifact can say so.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError

RATIO_FROM = 3 << 30
"""Bytes from which on `Limits.max_ratio` counts: a small artifact may well be one large hole."""
FULL_FROM, FULL_PART = 1 << 30, 4
"""The same of bytes that are no zeros and take room on the disk, and which part of it counts."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
ADVICE = "if you trust it"


class Limits(Struct, frozen=True):
    """How much one artifact may hold.

    Attributes:
        max_size: bytes of all that is in it, unpacked, with the holes of sparse files.
        max_members: files, links and folders.
        max_ratio: how many times its own size it may unpack to, once that is more than
            `RATIO_FROM`; a part of that for what is no zeros; None for any.
        used_size: bytes that other parts of the artifact have taken of it already.
        used_members: members, likewise.
    """

    max_size: int = 32 << 30
    max_members: int = 500_000
    max_ratio: int | None = 200
    used_size: int = 0
    used_members: int = 0

    def check_size(self, size: int, packed: int, path: Path, full: int = 0) -> None:
        """See that ``size`` unpacked bytes out of ``packed`` are not too many.

        Args:
            size: bytes that it unpacks to.
            packed: its own.
            path: its name, for messages.
            full: bytes of ``size`` that are known to be no zeros.

        Raises:
            BundleFixError: they are.
        """
        if size + self.used_size > self.max_size:
            raise BundleFixError(
                f"it unpacks to more than {format_size(self.max_size)}",
                where=str(path), hint=f"--max-size raises the limit, {ADVICE}",
            )  # fmt: skip
        most = self.max_ratio or 0
        for count, start, ratio in (size, RATIO_FROM, most), (full, FULL_FROM, most // FULL_PART):
            if ratio and count > start and count > packed * ratio:
                raise BundleFixError(
                    f"it unpacks to more than {ratio} times its size"
                    f" ({format_size(size)} and more out of {format_size(packed)})",
                    where=str(path),
                    hint=f"--max-size {format_size(self.max_size)} allows it, {ADVICE}",
                )

    def check_members(self, count: int, path: Path) -> None:
        """See that ``count`` members are not too many.

        Raises:
            BundleFixError: they are.
        """
        if count + self.used_members > self.max_members:
            raise BundleFixError(
                f"it has more than {self.max_members} members",
                where=str(path), hint=f"--max-members raises the limit, {ADVICE}",
            )  # fmt: skip


DEFAULT_LIMITS = Limits()
UNLIMITED = Limits(max_size=1 << 62, max_members=1 << 62, max_ratio=None)
"""For what this process itself has written."""


def format_size(size: int) -> str:
    """``size`` bytes as a reader has it, and as `parse_size` reads it: ``4G``, ``10.5M``."""
    for unit, factor in reversed(UNITS.items()):
        if size >= factor and unit:
            return f"{size / factor:.1f}".removesuffix(".0") + unit
    return str(size)


def parse_size(text: str) -> int:
    """The bytes that ``10G``, ``500M``, ``1.5GiB`` or a plain number stands for.

    Raises:
        ValueError: it stands for none.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:].isalpha() else ""
    size = int(float(number.removesuffix(unit)) * UNITS[unit]) if unit in UNITS else -1
    if size <= 0:
        raise ValueError(text)
    return size
