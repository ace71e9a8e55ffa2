"""A pack with a library of 100,000 C++ symbols, and another library that uses a quarter of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

COUNT = 100_000
FILL = 4 << 20
"""Bytes of constants, so that the library has 30 MiB."""
NO_STACK = '.section .note.GNU-stack,"",@progbits\n'


def build_symbol_pack(root: Path) -> tuple[Path, Path]:
    """Build the pack in ``root`` with the machine's compiler, and return its two libraries."""
    for directory in ("bin", "lib"):
        (root / directory).mkdir(parents=True)
    names = [_format_name(number) for number in range(COUNT)]
    code = "".join(f".globl {n}\n.type {n},@function\n{n}: ret\n" for n in names)
    code += f".section .rodata\n.fill {FILL},1,7\n{NO_STACK}"
    uses = "".join(f".quad {name}\n" for name in names[::4])
    big = _link_file(root / "lib/libbig.so.1", code, ["-shared", "-Wl,-soname,libbig.so.1"])
    user = _link_file(
        root / "lib/libuser.so.1", f".data\n.globl table\ntable:\n{uses}{NO_STACK}",
        ["-shared", "-Wl,-soname,libuser.so.1", "-Wl,-rpath,$ORIGIN", str(big)],
    )  # fmt: skip
    main = f".globl main\n.text\nmain: xor %eax,%eax\nret\n{NO_STACK}"
    flags = ["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/../lib", str(user), str(big)]
    _link_file(root / "bin/server", main, flags)
    return big, user


def _format_name(number: int) -> str:
    scope = f"7rocksdb14SomeLongerName{number % 977:04}5Class{number:06}"
    return f"_ZN{scope}9operationERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEi"


def _link_file(path: Path, assembler: str, flags: list[str]) -> Path:
    source = path.with_suffix(".s")
    source.write_text(assembler)
    subprocess.run(["cc", "-o", path, source, *flags], check=True)
    source.unlink()
    return path
