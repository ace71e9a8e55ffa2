"""Mutate artifacts for a given time: ``python -m fuzz SECONDS [SEED]``; failing ones are kept."""

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
from types import FrameType
from typing import NoReturn

from fuzz.commands import COMMANDS, CPU_LIMIT, ELF_COMMANDS, run_command
from fuzz.corpus import build_corpus
from fuzz.mutation import mutate_artifact

MEMORY = 3 << 30
MAX_SECONDS = 300
"""Limit of the time of a command that waits for something; `CPU_LIMIT` ends one that computes."""
FOUND = Path("../.cache/fuzz-found")


def _raise_timeout(number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(signal.Signals(number).name)


def fuzz(seconds: float, seed: int) -> int:
    """Run commands on mutated artifacts for a time, and return the number of failures."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # The default action would end the run without a report.
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _raise_timeout)
    rng = random.Random(seed)
    runs: Counter[tuple[str, int]] = Counter()
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        kinds = build_corpus(Path(scratch))
        end = time.monotonic() + seconds
        directory = Path(scratch, "work")
        directory.mkdir()
        while time.monotonic() < end:
            kind = rng.choice(sorted(kinds))
            data = mutate_artifact(rng, kinds, kind)
            artifact = directory / f"a.{kind}"
            artifact.write_bytes(data)
            command = rng.choice(ELF_COMMANDS if kind == "elf" else COMMANDS)
            signal.alarm(MAX_SECONDS)
            signal.setitimer(signal.ITIMER_PROF, 3 * CPU_LIMIT)
            try:
                runs[kind, run_command(command, artifact, directory).status] += 1
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                frame = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{type(error).__name__} {Path(frame.filename).name}:{frame.lineno} {error}"
                found[key[:160]] += 1
                if found[key[:160]] == 1:
                    FOUND.mkdir(parents=True, exist_ok=True)
                    kept = FOUND / f"{len(found)}.{kind}"
                    kept.write_bytes(data)
                    report = "".join(traceback.format_exception(error))
                    kept.with_suffix(".txt").write_text(f"{command}\n{report}", errors="replace")
                    sys.stdout.write(f"{kept}: {key[:300]!r}\n")
                    sys.stdout.flush()
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            for path in directory.iterdir():
                path.unlink()
    for (kind, status), count in sorted(runs.items()):
        sys.stdout.write(f"{kind:12} exit {status}: {count}\n")
    sys.stdout.write(f"{sum(runs.values())} runs, {len(found)} distinct failures, seed {seed}\n")
    return len(found)


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    sys.exit(1 if fuzz(limit, chosen) else 0)
