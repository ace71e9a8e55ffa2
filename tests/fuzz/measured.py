"""Run the command line, and append its peak resident memory in KiB to stdout."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bundle_fix.cli.main import main

status = main(sys.argv[1:])
# ru_maxrss is inherited through fork and execve, so it may be that of the parent (getrusage(2)).
peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
sys.stdout.write(f"\n\0{peak[1] if peak else 0}")
sys.exit(status)
