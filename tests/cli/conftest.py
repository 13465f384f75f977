"""Folders of their own for every test of a command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path, since a socket lies below it; data, runtime and configuration folders point there."""
    with tempfile.TemporaryDirectory(prefix="sc-") as name:
        for kind in ("DATA", "RUNTIME", "CONFIG"):
            folder = Path(name) / kind.lower()
            folder.mkdir(mode=0o700)
            monkeypatch.setenv(f"SAN_CONSOLE_{kind}_DIR", str(folder))
        # No bus, so that no test reaches the keyring of whoever runs the tests.
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name)
