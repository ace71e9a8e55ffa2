"""bundle-fix: packs of native Linux software that run the libraries they ship."""

from __future__ import annotations

__version__ = "0.1.0"
