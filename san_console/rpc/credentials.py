"""Who is at the other end of a local socket, as the kernel says (unix(7), SO_PEERCRED)."""

from __future__ import annotations

import socket
import struct
from typing import Final

_UCRED: Final = struct.Struct("3i")
assert _UCRED.size == 12


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process that connected or listened. Raises OSError."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(data)
    return int(uid)
