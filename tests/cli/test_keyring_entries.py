"""The names under which the keyring may hold a user's secret."""

from __future__ import annotations

from pathlib import Path

from san_console.cli.keyring_entries import entries_of
from san_console.rpc.paths import socket_path
from tests.cli.simulated_engine import simulated_engine


def test_identities_of_a_running_engine_come_first(folders: Path) -> None:
    with simulated_engine(socket_path()):
        assert entries_of("esx-lab") == ["id-esx-lab", "esx-lab"]
        assert entries_of("old-array") == ["old-array"], "it has no secret"


def test_without_an_engine_there_is_the_user(folders: Path) -> None:
    assert entries_of("esx-lab") == ["esx-lab"]
    assert list((folders / "data").iterdir()) == []
