"""The ELF editors and their order."""

from __future__ import annotations

from collections.abc import Mapping

LIEF_LAYOUTS = ("lief (headers in a gap)", "lief (headers at the end)")
"""The editor ``lief`` with each place that it may give the program headers."""
SELECTED_PATCHELF = "patchelf (selected)"
"""The editor ``patchelf`` if the user names it: what it always moves may move."""
ORDERS: Mapping[str, tuple[str, ...]] = {
    "auto": ("slot", "table", "segment", *LIEF_LAYOUTS, "patchelf"),
    "slot": ("slot",),
    "table": ("table",),
    "inplace": ("slot", "table"),
    "segment": ("segment",),
    "lief": LIEF_LAYOUTS,
    "patchelf": (SELECTED_PATCHELF,),
}
"""The editors to try, in this order, for each value of ``--editor``."""
