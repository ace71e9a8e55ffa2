"""Mutates artifacts for some time: ``python -m fuzz SECONDS [SEED]``; keeps what went wrong."""

from __future__ import annotations

import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz.commands import COMMANDS, ELF_COMMANDS, SOON, run
from fuzz.corpus import corpus
from fuzz.mutation import mutant

MEMORY = 3 << 30
FOUND = Path("../.cache/fuzz-found")


def fuzz(seconds: float, seed: int) -> int:
    """Mutate until the time is over; the number of inputs that something went wrong with."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rng = random.Random(seed)
    runs: Counter[tuple[str, int]] = Counter()
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        kinds = corpus(Path(scratch))
        end = time.monotonic() + seconds
        folder = Path(scratch, "here")
        folder.mkdir()
        while time.monotonic() < end:
            kind = rng.choice(sorted(kinds))
            data = mutant(rng, kinds, kind)
            artifact = folder / f"a.{kind}"
            artifact.write_bytes(data)
            command = rng.choice(ELF_COMMANDS if kind == "elf" else COMMANDS)
            signal.alarm(int(3 * SOON))
            try:
                runs[kind, run(command, artifact, folder).status] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                where = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{type(error).__name__} {Path(where.filename).name}:{where.lineno} {error}"
                found[key[:160]] += 1
                if found[key[:160]] == 1:
                    FOUND.mkdir(parents=True, exist_ok=True)
                    keep = FOUND / f"{len(found)}.{kind}"
                    keep.write_bytes(data)
                    report = "".join(traceback.format_exception(error))
                    keep.with_suffix(".txt").write_text(f"{command}\n{report}", errors="replace")
                    sys.stdout.write(f"{keep}: {key[:300]!r}\n")
                    sys.stdout.flush()
            signal.alarm(0)
            for left in folder.iterdir():
                left.unlink()
    for (kind, status), count in sorted(runs.items()):
        sys.stdout.write(f"{kind:12} exit {status}: {count}\n")
    sys.stdout.write(f"{sum(runs.values())} runs, {len(found)} ways to go wrong, seed {seed}\n")
    return len(found)


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    sys.exit(1 if fuzz(limit, chosen) else 0)
