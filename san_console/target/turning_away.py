"""The answer to a login for which this machine has nothing left (RFC 7143 §11.13.5, status 0302)."""

from __future__ import annotations

import asyncio
import socket

from san_console.iscsi import login_status
from san_console.iscsi.opcodes import LOGIN_REQUEST
from san_console.iscsi.pdu import LoginRequest, LoginResponse

BHS_BYTES = 48
_OPCODE_MASK = 0x3F


async def turn_away(sock: socket.socket) -> None:
    """Answer the first Login Request on `sock` with "out of resources"; anything else is not answered.

    Only the header is looked at: nothing else is needed, and nothing is kept. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    header = b""
    while len(header) < BHS_BYTES:
        data = await loop.sock_recv(sock, BHS_BYTES - len(header))
        if not data:
            return
        header += data
    if header[0] & _OPCODE_MASK != LOGIN_REQUEST:
        return
    request = LoginRequest.parse(memoryview(header))
    status = login_status.OUT_OF_RESOURCES
    response = LoginResponse(
        csg=request.csg,
        isid=request.isid,
        itt=request.itt,
        exp_cmd_sn=request.cmd_sn,
        max_cmd_sn=request.cmd_sn,
        status_class=status >> 8,
        status_detail=status & 0xFF,
    )
    await loop.sock_sendall(sock, response.pack(0))
    # The text of the request is still unread: without this the close would be a reset, which can overtake
    # the answer.
    sock.shutdown(socket.SHUT_WR)
    while await loop.sock_recv(sock, 4096):
        continue
