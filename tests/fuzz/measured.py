"""The command line, followed on stdout by the kilobytes that it had resident at its peak."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bundle_fix.cli.main import main

status = main(sys.argv[1:])
# ru_maxrss would be that of the process that forked this one, where it was larger.
peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
sys.stdout.write(f"\n\0{peak[1] if peak else 0}")
sys.exit(status)
