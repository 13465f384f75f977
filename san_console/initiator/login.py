"""From a portal to a connection in full feature phase: connect, log in, follow redirects."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass

from san_console.initiator import tcp
from san_console.initiator.errors import (
    InitiatorError,
    LoginRefused,
    LoginTimedOut,
    NotIscsi,
    ProtocolViolation,
    RedirectRefused,
)
from san_console.initiator.settings import SessionSettings
from san_console.iscsi import opcodes
from san_console.iscsi.errors import IscsiError, LocalProtocolError, LoginFailed, Redirected
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.initiator_link import Tracer
from san_console.iscsi.login_initiator import LoginInitiator, LoginResult, LoginSettings
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.portal import Portal, parse_target_address

#: Redirects of one login. A storage array needs one, rarely two; a loop has no end (RFC 7143 gives no limit).
MAX_REDIRECTS = 5
#: Login Responses of one login. RFC 7143 §6.3 wants us to manage six exchanges; CHAP and split texts need a
#: few more, and nobody needs this many.
MAX_EXCHANGES = 64
#: A PDU of the size that we offer and a good part of the next: nothing needs to be moved between receives.
_RECEIVE_BUFFER_BYTES = 512 * 1024
#: How much of a stranger's greeting is shown.
_BANNER_BYTES = 64

_LOGIN_ONLY = frozenset({opcodes.LOGIN_RESPONSE})
_TRACE = "Look at the trace of the login; report it to the maker of the target."

#: Called with the portal that redirects, the one that it names, and whether that is for good.
OnRedirect = Callable[[str, str, bool], None]


@dataclass(slots=True)
class LoggedIn:
    """A connection at the begin of its full feature phase; `framer` has the negotiated values set."""

    sock: socket.socket
    framer: Framer
    result: LoginResult
    portal: Portal
    exp_stat_sn: int
    redirects: int


async def log_in(
    settings: SessionSettings,
    *,
    isid: bytes,
    discovery: bool = False,
    on_redirect: OnRedirect | None = None,
    tracer: Tracer | None = None,
) -> LoggedIn:
    """Log in to `settings.target_name`, or for discovery, within `settings.login_timeout_s` in all.

    A redirect changes the address only: the name of the target stays, and the CHAP secrets go to whoever
    answers for that name by the same rules as before. Raises InitiatorError.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.login_timeout_s
    portal = settings.portal
    for hop in range(MAX_REDIRECTS + 1):
        login = _start(settings, isid, discovery)
        remaining = max(deadline - loop.time(), 0.001)
        sock = await tcp.connect(portal, timeout_s=remaining, source_address=settings.source_address)
        try:
            framer = await _exchange(sock, portal, login, deadline, settings.login_timeout_s, tracer)
        except Redirected as redirect:
            sock.close()
            target = _redirect_target(portal, redirect)
            if on_redirect is not None:
                on_redirect(str(portal), str(target), redirect.permanent)
            portal = target
        except BaseException:
            sock.close()
            raise
        else:
            result = login.result
            assert result is not None
            framer.expected_opcodes = None
            framer.max_data_segment_bytes = result.params.max_recv_data_segment_bytes
            framer.header_digest = result.params.header_digest != "None"
            framer.data_digest = result.params.data_digest != "None"
            return LoggedIn(sock, framer, result, portal, result.exp_stat_sn, hop)
    raise RedirectRefused(
        f"the target redirects without an end: {MAX_REDIRECTS} times, last to {portal}",
        "target",
        "Look at the redirect settings of the target's portals.",
    )


def _start(settings: SessionSettings, isid: bytes, discovery: bool) -> LoginInitiator:
    try:
        return LoginInitiator(
            LoginSettings(
                initiator_name=settings.initiator_name,
                target_name=None if discovery else settings.target_name,
                isid=isid,
                initiator_alias=settings.initiator_alias,
                chap=settings.chap,
                mutual_chap=settings.mutual_chap,
                offer=settings.effective_offer(),
            )
        )
    except LocalProtocolError as error:
        raise InitiatorError(str(error), "initiator", "Change the login settings.") from error


def _redirect_target(source: Portal, redirect: Redirected) -> Portal:
    shown = visible(redirect.address, 128)
    try:
        portal, _ = parse_target_address(redirect.address)
    except NamesError as error:
        raise RedirectRefused(
            f"{source} redirects to “{shown}”, which is no address: {error}",
            "target",
            "Look at the redirect settings of the target.",
        ) from error
    if _reach(portal) not in (None, _reach(source)):
        raise RedirectRefused(
            f"{source} redirects to {portal}, an address that means this machine or its own network segment",
            "initiator",
            "Log in at that address directly if it is meant.",
        )
    return portal


def _reach(portal: Portal) -> str | None:
    """Which special place an address literal means; None for an ordinary address or a name."""
    try:
        address = ipaddress.ip_address(portal.host.partition("%")[0])
    except ValueError:
        return None
    for kind in ("is_loopback", "is_link_local", "is_multicast", "is_unspecified"):
        if getattr(address, kind):
            return kind
    return None


async def _exchange(
    sock: socket.socket,
    portal: Portal,
    login: LoginInitiator,
    deadline: float,
    timeout_s: float,
    tracer: Tracer | None,
) -> Framer:
    framer = Framer(capacity_bytes=_RECEIVE_BUFFER_BYTES, expected_opcodes=_LOGIN_ONLY)
    greeting = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            await _converse(sock, framer, login, greeting, tracer)
    except TimeoutError:
        what = "sent nothing" if not greeting else "did not end the login"
        raise LoginTimedOut(
            f"{portal} accepted the connection and {what} within {timeout_s:g} s",
            "target",
            "Check that the port belongs to an iSCSI target and that the target is not overloaded.",
        ) from None
    except ConnectionError as error:
        raise _closed(portal, greeting, tcp.describe_loss(error)) from error
    except EOFError:
        raise _closed(portal, greeting, "the target closed the connection") from None
    except Redirected:
        raise
    except LoginFailed as error:
        explanation = error.explanation
        raise LoginRefused(
            explanation.cause,
            explanation.side,
            explanation.check,
            status=error.status_class << 8 | error.status_detail,
            direction=error.direction,
        ) from None
    except IscsiError as error:
        raise _stranger(portal, greeting) or ProtocolViolation(
            f"{portal} broke a rule of iSCSI during login: {error}", "target", _TRACE
        ) from error
    return framer


async def _converse(
    sock: socket.socket, framer: Framer, login: LoginInitiator, greeting: bytearray, tracer: Tracer | None
) -> None:
    loop = asyncio.get_running_loop()
    requests: list[tuple[LoginRequest, bytes]] = [login.start()]
    for _ in range(MAX_EXCHANGES):
        for request, data in requests:
            bhs = request.pack(len(data))
            if tracer is not None:
                tracer("out", bhs, data)
            buffers = encode(bhs, data, header_digest=False, data_digest=False)
            await loop.sock_sendall(sock, b"".join(buffers))
        while (frame := framer.next_frame()) is None:
            view = framer.writable()
            received = await loop.sock_recv_into(sock, view)
            if not received:
                raise EOFError
            if len(greeting) < _BANNER_BYTES:
                greeting += view[: min(received, _BANNER_BYTES)]
            framer.wrote(received)
        if tracer is not None:
            tracer("in", frame.bhs, frame.data)
        requests = login.receive(LoginResponse.parse(frame.bhs), frame.data)
        if login.done:
            return
    raise LocalProtocolError(f"the login did not end within {MAX_EXCHANGES} exchanges")


def _closed(portal: Portal, greeting: bytearray, how: str) -> InitiatorError:
    stranger = _stranger(portal, greeting)
    if stranger is not None:
        return stranger
    return ProtocolViolation(
        f"during the login at {portal}, {how}",
        "target",
        "Check the target's log and its access list: some targets hang up on initiators they do not know.",
    )


def _stranger(portal: Portal, greeting: bytearray) -> NotIscsi | None:
    """Recognise a server of another protocol.

    A Login Response starts with 0x23. Digits, as FTP and SMTP begin with, happen to be opcodes of other PDUs;
    but flags and lengths, which follow, are no printable text.
    """
    if not greeting or greeting[0] == opcodes.LOGIN_RESPONSE:
        return None
    if greeting[0] in opcodes.OPCODE_NAMES and not greeting[:4].decode("latin-1").isprintable():
        return None
    line = bytes(greeting[:_BANNER_BYTES]).split(b"\r\n", 1)[0].split(b"\n", 1)[0]
    return NotIscsi(
        f"{portal} is no iSCSI target: it answered “{visible(line.decode('latin-1'), 80)}”",
        "target",
        "Check the address and the port; iSCSI usually listens on 3260.",
    )
