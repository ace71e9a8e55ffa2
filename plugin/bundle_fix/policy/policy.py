"""The policy of a check: properties of the target, and the findings that the user accepts."""

from __future__ import annotations

from msgspec import Struct

from bundle_fix.policy.severity import Severity


class AcceptedFinding(Struct, frozen=True):
    """An accepted kind of finding: those of ``rule`` at paths that match the glob ``path``.

    ``rule`` is a code, such as ``BF202``; ``reason`` says why the user accepts them.
    """

    rule: str
    path: str
    reason: str


class CheckPolicy(Struct, frozen=True):
    """The user's statements about a pack and its target.

    Attributes:
        host: globs of names that the target provides, in addition to those of the C library.
        dlopen: names that the pack's programs pass to dlopen(3).
        glibc: the newest glibc version that a file may require, such as ``2.17``.
        allocators: the sonames that may provide ``malloc``; any may if it is empty.
        fail_on: the mildest severity that fails a check.
        ignore: the findings that the user accepts.
        trust_wheel_tag: whether the glibc of a wheel's tag is not checked.
        allow_empty: whether an artifact in which nothing can be checked passes.
    """

    host: tuple[str, ...] = ()
    dlopen: tuple[str, ...] = ()
    glibc: str | None = None
    allocators: tuple[str, ...] = ()
    fail_on: Severity = Severity.ERROR
    ignore: tuple[AcceptedFinding, ...] = ()
    trust_wheel_tag: bool = False
    allow_empty: bool = True
