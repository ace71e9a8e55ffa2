"""``python -m bundle_fix`` is ``bundle-fix``."""

from __future__ import annotations

from bundle_fix.cli.main import run

if __name__ == "__main__":
    run()
