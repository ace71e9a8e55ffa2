from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle_fix.model.errors import BundleFixError
from bundle_fix.spec.model import Spec
from bundle_fix.spec.parsing.load import load_spec

SPEC = Path("bundle.toml")


@pytest.fixture
def example() -> str:
    """Return a spec that uses every table."""
    return (Path(__file__).parent / "example.toml").read_text()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Spec]:
    """Return a function that loads a spec from a text."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> Spec:
        SPEC.write_bytes(text.encode())
        return load_spec(SPEC)

    return load_text


@pytest.fixture
def get_error(load: Callable[[str], Spec]) -> Callable[[str], str]:
    """What is expected of a spec with this text; it must not load."""

    def get_message(text: str) -> str:
        with pytest.raises(BundleFixError) as caught:
            load(text)
        return str(caught.value)

    return get_message
