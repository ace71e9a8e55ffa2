"""Fields of tar headers: numbers, text and the checksum.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

MAX_TIME = 1 << 62
MAX_DECIMAL_DIGITS = 19
"""Digits of a decimal number in a pax record: enough for every number of 63 bits."""
CHECKSUM = slice(148, 156)


def has_valid_checksum(block: bytes) -> bool:
    """Return whether a header's checksum is the sum of its unsigned or of its signed bytes.

    POSIX sums unsigned bytes; old tars, such as Sun's, summed a signed ``char``.
    """
    checksum = decode_number(block[CHECKSUM])
    # The checksum field itself counts as eight blanks.
    total = sum(block) - sum(block[CHECKSUM]) + 8 * ord(" ")
    if checksum == total:
        return True
    negative = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in block[CHECKSUM])
    return checksum == total - 256 * negative


def decode_number(field: bytes) -> int | None:
    """Return the number in a header field; 0 if it is empty, None if it is invalid.

    POSIX stores octal digits. For numbers that do not fit, GNU tar and star set the first bit and
    store a big-endian two's complement in the others.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        # The first bit is the mark, so the second one is the sign.
        sign = 1 << (8 * len(field) - 2)
        return value - 2 * sign if value & sign else value
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        return None


def decode_id(record: str | None, field: bytes) -> int:
    """Return a user or group id from its pax record or else its header field; 0 if invalid."""
    if record is not None and is_decimal(record):
        return int(record)
    return decode_number(field) or 0


def decode_time(record: str | None, field: bytes) -> float:
    """Return a time in seconds since the epoch, from its pax record or else its header field.

    An invalid time is 0: a member is not refused because of its metadata.
    """
    try:
        time = float(record) if record is not None else decode_number(field) or 0
    except ValueError:
        return 0
    # A comparison with NaN is false, so NaN becomes 0 as well.
    return time if abs(time) < MAX_TIME else 0


def decode_text(raw: bytes) -> str:
    """Decode a name like `os.fsdecode`, but as UTF-8 in every locale."""
    return raw.decode("utf-8", "surrogateescape") if raw else ""


def is_decimal(text: str) -> bool:
    """Return whether ``text`` is a decimal number of a bounded length, without a sign."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DECIMAL_DIGITS
