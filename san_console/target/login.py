"""Logins at a portal: deadline, limits, and the decisions that the login protocol asks for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

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
from san_console.names.portal import format_target_address
from san_console.target.access import chap_for, may_log_in
from san_console.target.admission import Visit
from san_console.target.config import ChapConfig, PortalGroup, TargetConfig, TargetLimits

LOGIN_TIMEOUT_S = 15.0  # until it is known which target is meant, which has a limit of its own
# CHAP and the operational stage take six, a text of 64 KiB in both eight more each (RFC 7143 §6.2).
MAX_LOGIN_REQUESTS = 32
ANSWER_TIMEOUT_S = 15.0  # the last one is sent when the deadline of the login is over
LOGIN_BUFFER_BYTES = 16 * 1024  # one request of 8192 bytes fits; hundreds of half-open logins cost little
DISCOVERY_LIMITS = TargetLimits(max_recv_data_segment_bytes=32768)


_MOVED = {False: login_status.TARGET_MOVED_TEMPORARILY, True: login_status.TARGET_MOVED_PERMANENTLY}


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
        max_connections=limits.max_connections,
        error_recovery_level=limits.error_recovery_level,
        default_time2wait_s=limits.default_time2wait_s,
        default_time2retain_s=limits.default_time2retain_s,
        data_pdu_in_order=limits.data_pdu_in_order,
        data_sequence_in_order=limits.data_sequence_in_order,
        task_reporting=("FastAbort", "ResponseFence", "RFC3720"),
        protocol_level=2,  # RFC 7144
    )


@dataclass(frozen=True, slots=True)
class Reached:
    """A target through one of its portal groups."""

    config: TargetConfig
    group: PortalGroup


class PortalPolicy:
    """Who may log in through one portal. Implements `iscsi.login_policy.LoginPolicy`.

    `find` gives the target as it is reached through the portal, or the login status of the refusal.
    """

    def __init__(
        self,
        find: Callable[[str], Reached | int],
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
        found = self._find(target_name or "")
        if isinstance(found, int):
            return TargetDecision(status=found)
        config, group = found.config, found.group
        # Before the redirect: where a target has moved to is told to those only who may use it.
        if not may_log_in(config, initiator_name, peer_address):
            return TargetDecision(status=login_status.AUTHORIZATION_FAILURE)
        if group.redirect is not None:
            return TargetDecision(
                status=_MOVED[group.redirect.permanent],
                redirect=format_target_address(group.redirect.portal, None),
                tpgt=group.tag,
            )
        chap = chap_for(config, initiator_name, peer_address)
        return TargetDecision(
            chap=chap.accepted if chap else None,
            mutual=chap.mutual if chap else None,
            tpgt=group.tag,
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

    def refuse(self, why: str, status: int) -> list[tuple[LoginResponse, bytes]]:
        """What to send in the place of `answer`, which would have let the initiator in."""
        self.failed, self.status = why, status
        return [
            (
                replace(
                    response,
                    transit=False,
                    continued=False,
                    csg=0,
                    nsg=0,
                    status_class=status >> 8,
                    status_detail=status & 0xFF,
                ),
                b"",
            )
            for response, _ in self.answer[-1:]
        ]


async def send_responses(sock: socket.socket, responses: list[tuple[LoginResponse, bytes]]) -> None:
    """Send login responses; there are no digests yet (RFC 7143 §13.1). Raises OSError, TimeoutError among
    them where the initiator takes nothing.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        for response, data in responses:
            buffers = encode(response.pack(len(data)), data, header_digest=False, data_digest=False)
            await loop.sock_sendall(sock, b"".join(buffers))


async def log_in(sock: socket.socket, policy: LoginPolicy, visit: Visit, command_window: int) -> LoginOutcome:
    """Run the login protocol on a new connection, up to the last response, which the caller sends.

    Raises OSError when the connection breaks.
    """
    login = LoginTarget(policy, peer_address=visit.address, command_window=command_window)
    # §4.2.4: before a login, nothing but Login Requests; anything else is not even answered.
    framer = TargetFramer(capacity_bytes=LOGIN_BUFFER_BYTES, expected_opcodes=frozenset({LOGIN_REQUEST}))
    answer: list[tuple[LoginResponse, bytes]] = []
    failed = ""
    limit_s = LOGIN_TIMEOUT_S
    begun = asyncio.get_running_loop().time()
    requests = 0
    try:
        async with asyncio.timeout_at(begun + limit_s) as deadline:
            while not login.done and login.failed is None:
                frame = framer.next_frame() or await _receive(sock, framer)
                if frame is None:
                    failed = "the initiator closed the connection during the login"
                    break
                visit.spoke()
                requests += 1
                if requests > MAX_LOGIN_REQUESTS:
                    raise RemoteProtocolError(
                        f"the initiator sent {requests} Login Requests without coming to an end",
                        login_status=login_status.INITIATOR_ERROR,
                    )
                answer = login.receive(LoginRequest.parse(frame.bhs), frame.data)
                if visit.timeout_s is not None and visit.timeout_s != limit_s:  # it is known which target
                    limit_s = visit.timeout_s
                    deadline.reschedule(begun + limit_s)
                if not login.done and login.failed is None:
                    await send_responses(sock, answer)
                    answer = []
    except RemoteProtocolError as error:
        failed = str(error)
        answer = login.refuse(None, failed, error.login_status or login_status.INITIATOR_ERROR)
    except TimeoutError:
        failed = f"the login was not over within {limit_s:g} s"
        answer = []
    except OSError:
        raise
    except Exception:
        # A fault of ours: the initiator is told, and the loop's handler hears the rest.
        with contextlib.suppress(OSError):
            await send_responses(sock, login.refuse(None, "an internal error", login_status.TARGET_ERROR))
        raise
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
