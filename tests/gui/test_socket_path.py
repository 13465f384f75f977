"""The longest socket path that the engine takes is one that the window can connect to as well."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from PySide6.QtNetwork import QLocalSocket
from pytestqt.qtbot import QtBot

from san_console.rpc.paths import MAX_SOCKET_PATH_BYTES

pytestmark = pytest.mark.gui


def test_qt_connects_to_the_longest_path(qtbot: QtBot, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = Path(folder, "s" * (MAX_SOCKET_PATH_BYTES - len(str(folder)) - 1))
    assert len(str(path)) == MAX_SOCKET_PATH_BYTES
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        client = QLocalSocket()
        client.connectToServer(str(path))
        assert client.waitForConnected(2000), client.errorString()
        client.abort()
    path.unlink()
