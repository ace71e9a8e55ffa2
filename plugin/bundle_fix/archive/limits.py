"""Limits of the unpacked size and number of members of an artifact, against decompression bombs.

They are far above what packs need. Each error names the option that raises the limit.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bundle_fix.model.errors import BundleFixError

RATIO_FROM = 3 << 30
"""Unpacked bytes above which `Limits.max_ratio` applies: a small artifact may be one large hole."""
NONZERO_FROM, NONZERO_DIVISOR = 1 << 30, 4
"""The same for bytes other than zeros, which occupy space on the disk: the unpacked bytes above
which the ratio applies, and the divisor of `Limits.max_ratio` for them."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
ADVICE = "if you trust it,"


class Limits(Struct, frozen=True):
    """The unpacked size and number of members that one artifact may have.

    Attributes:
        max_size: the bytes of all members, unpacked, including the holes of sparse files.
        max_members: the number of files, symlinks and directories.
        max_ratio: the quotient of unpacked and packed size, if the artifact unpacks to more than
            `RATIO_FROM` bytes; bytes other than zeros are limited to a part of it (see
            `NONZERO_FROM`). None for no limit.
        used_size: bytes of ``max_size`` that other parts of the artifact have used already.
        used_members: members, likewise.
    """

    max_size: int = 32 << 30
    max_members: int = 500_000
    max_ratio: int | None = 200
    used_size: int = 0
    used_members: int = 0

    def check_size(self, size: int, packed: int, path: Path, nonzero: int = 0) -> None:
        """Raise an error if ``packed`` bytes unpack to more than the limits allow.

        Args:
            size: the unpacked bytes.
            packed: the size of the artifact.
            path: its name, for messages.
            nonzero: the bytes of ``size`` in blocks that are known not to be all zeros.

        Raises:
            BundleFixError: a limit is exceeded.
        """
        if size + self.used_size > self.max_size:
            raise BundleFixError(
                f"it unpacks to more than {format_size(self.max_size)}",
                where=str(path), hint=f"{ADVICE} raise the limit with --max-size",
            )  # fmt: skip
        max_ratio = self.max_ratio or 0
        for count, start, ratio in (
            (size, RATIO_FROM, max_ratio),
            (nonzero, NONZERO_FROM, max_ratio // NONZERO_DIVISOR),
        ):
            if ratio and count > start and count > packed * ratio:
                raise BundleFixError(
                    f"it unpacks to more than {ratio} times its size"
                    f" (at least {format_size(size)} from {format_size(packed)})",
                    where=str(path),
                    hint=f"{ADVICE} allow it with --max-size {format_size(self.max_size)}",
                )

    def check_members(self, count: int, path: Path) -> None:
        """Raise an error if ``count`` members are more than the limit allows.

        Raises:
            BundleFixError: the limit is exceeded.
        """
        if count + self.used_members > self.max_members:
            raise BundleFixError(
                f"it has more than {self.max_members} members",
                where=str(path), hint=f"{ADVICE} raise the limit with --max-members",
            )  # fmt: skip


DEFAULT_LIMITS = Limits()
UNLIMITED = Limits(max_size=1 << 62, max_members=1 << 62, max_ratio=None)
"""Limits for artifacts that this process itself has written."""


def format_size(size: int) -> str:
    """Return ``size`` bytes as text that `parse_size` accepts: ``4G``, ``10.5M``."""
    for unit, factor in reversed(UNITS.items()):
        if size >= factor and unit:
            return f"{size / factor:.1f}".removesuffix(".0") + unit
    return str(size)


def parse_size(text: str) -> int:
    """Return the bytes of a text such as ``10G``, ``500M``, ``1.5GiB`` or a plain number.

    Raises:
        ValueError: the text is not a size, or not positive.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:].isalpha() else ""
    size = int(float(number.removesuffix(unit)) * UNITS[unit]) if unit in UNITS else -1
    if size <= 0:
        raise ValueError(text)
    return size
