"""Reports that are written to a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle_fix.cli.report_file import write_report


def test_a_device_that_cannot_be_written_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_report(["report"], Path("/dev/full"), "json")
    assert caught.value.filename == "/dev/full"
