"""Logins at a portal: deadline, limits, and the decisions that the login protocol asks for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from san_console.iscsi import login_status
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Frame, encode
from san_console.iscsi.login_policy import (
    LoginPolicy,
    SessionDecision,
    SessionRequest,
    SessionType,
    TargetDecision,
    TargetLoginResult,
)
from san_console.iscsi.login_target import LoginTarget
from san_console.iscsi.negotiation import Offer, digest_offer
from san_console.iscsi.opcodes import LOGIN_REQUEST
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.iscsi.target_framing import TargetFramer
from san_console.target.access import may_log_in
from san_console.target.config import ChapConfig, TargetConfig, TargetLimits

LOGIN_TIMEOUT_S = 15.0  # over the whole login (RFC 7143 leaves it open; LIO's login_timeout)
LOGIN_BUFFER_BYTES = 16 * 1024  # one request of 8192 bytes fits; hundreds of half-open logins cost little
DISCOVERY_LIMITS = TargetLimits(max_recv_data_segment_bytes=32768)


def offer_of(limits: TargetLimits) -> Offer:
    """What a target negotiates with."""
    return Offer(
        header_digest=digest_offer(limits.header_digest),
        data_digest=digest_offer(limits.data_digest),
        initial_r2t=limits.initial_r2t,
        immediate_data=limits.immediate_data,
        max_recv_data_segment_bytes=limits.max_recv_data_segment_bytes,
        max_burst_bytes=limits.max_burst_bytes,
        first_burst_bytes=limits.first_burst_bytes,
        max_outstanding_r2t=limits.max_outstanding_r2t,
    )


class PortalPolicy:
    """Who may log in through one portal. Implements `iscsi.login_policy.LoginPolicy`."""

    def __init__(
        self,
        find: Callable[[str], TargetConfig | None],
        session_for: Callable[[SessionRequest], SessionDecision],
        discovery_chap: ChapConfig | None,
    ) -> None:
        self._find = find
        self._session_for = session_for
        self._discovery_chap = discovery_chap

    def find_target(
        self, initiator_name: str, target_name: str | None, session_type: SessionType, peer_address: str
    ) -> TargetDecision:
        if session_type == "Discovery":
            # Anybody may ask; SendTargets lists what this initiator may log in to, and nothing else.
            chap = self._discovery_chap
            return TargetDecision(
                chap=chap.accepted if chap else None,
                mutual=chap.mutual if chap else None,
                offer=offer_of(DISCOVERY_LIMITS),
            )
        config = self._find(target_name or "")
        if config is None:
            return TargetDecision(status=login_status.NOT_FOUND)
        if not may_log_in(config, initiator_name, peer_address):
            return TargetDecision(status=login_status.AUTHORIZATION_FAILURE)
        return TargetDecision(
            chap=config.chap.accepted if config.chap else None,
            mutual=config.chap.mutual if config.chap else None,
            tpgt=config.groups[0].tag,
            alias=config.alias or None,
            offer=offer_of(config.limits),
            command_window=config.limits.command_window,
        )

    def session_for(self, request: SessionRequest) -> SessionDecision:
        return self._session_for(request)


@dataclass(slots=True)
class LoginOutcome:
    """How a login ended: with a `result`, or with `failed`, why. `answer` is the last response, not sent
    yet.
    """

    result: TargetLoginResult | None
    failed: str
    initiator_name: str
    target_name: str
    status: int
    answer: list[tuple[LoginResponse, bytes]]
    leftover: bytes


async def send_responses(sock: socket.socket, responses: list[tuple[LoginResponse, bytes]]) -> None:
    """Send login responses; there are no digests yet (RFC 7143 §13.1)."""
    loop = asyncio.get_running_loop()
    for response, data in responses:
        buffers = encode(response.pack(len(data)), data, header_digest=False, data_digest=False)
        await loop.sock_sendall(sock, b"".join(buffers))


async def log_in(sock: socket.socket, policy: LoginPolicy, address: str, command_window: int) -> LoginOutcome:
    """Run the login protocol on a new connection, up to the last response, which the caller sends.

    Raises OSError when the connection breaks.
    """
    login = LoginTarget(policy, peer_address=address, command_window=command_window)
    # §4.2.4: before a login, nothing but Login Requests; anything else is not even answered.
    framer = TargetFramer(capacity_bytes=LOGIN_BUFFER_BYTES, expected_opcodes=frozenset({LOGIN_REQUEST}))
    answer: list[tuple[LoginResponse, bytes]] = []
    failed = ""
    try:
        async with asyncio.timeout(LOGIN_TIMEOUT_S):
            while not login.done and login.failed is None:
                frame = framer.next_frame() or await _receive(sock, framer)
                if frame is None:
                    failed = "the initiator closed the connection during the login"
                    break
                answer = login.receive(LoginRequest.parse(frame.bhs), frame.data)
                if not login.done and login.failed is None:
                    await send_responses(sock, answer)
                    answer = []
    except RemoteProtocolError as error:
        failed = str(error)
        answer = login.refuse(None, failed, error.login_status or login_status.INITIATOR_ERROR)
    except TimeoutError:
        failed = f"the login was not over within {LOGIN_TIMEOUT_S:g} s"
        answer = []
    unread, position, available = framer.window()
    return LoginOutcome(
        login.result,
        failed or login.failed or "",
        login.initiator_name or "",
        login.target_name or "",
        login.status,
        answer,
        bytes(unread[position:available]),
    )


async def _receive(sock: socket.socket, framer: TargetFramer) -> Frame | None:
    """The next whole PDU, None when the peer closed."""
    loop = asyncio.get_running_loop()
    while True:
        count = await loop.sock_recv_into(sock, framer.writable())
        if not count:
            return None
        framer.wrote(count)
        frame = framer.next_frame()
        if frame is not None:
            return frame
