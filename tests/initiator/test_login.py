"""Everything that can go wrong before there is a session, told apart for the user."""

from __future__ import annotations

import asyncio
import socket

import pytest

from san_console.initiator import Session, SessionEvent, probe
from san_console.initiator.errors import (
    ConnectFailed,
    InitiatorError,
    LoginRefused,
    LoginTimedOut,
    NotIscsi,
    ProtocolViolation,
    RedirectRefused,
)
from san_console.iscsi.login_policy import TargetDecision
from san_console.iscsi.pdu import LoginRequest, LoginResponse, NopIn
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from tests.initiator.hostile import INITIATOR, Hostile, hostile, session_settings
from tests.peers import free_port

pytestmark = pytest.mark.conformance


async def failure(portal: Portal, **changes: object) -> InitiatorError:
    """Log in; the error, of which every part is there to be shown."""
    session = Session(session_settings(portal, **changes))
    with pytest.raises(InitiatorError) as caught:
        await session.login()
    error = caught.value
    assert error.cause
    assert error.side in ("initiator", "network", "target")
    assert error.check.endswith(".")
    assert session.state == "failed"
    assert session.last_error is error
    return error


async def test_a_name_that_does_not_resolve() -> None:
    error = await failure(Portal("no-such-host.invalid"))
    assert isinstance(error, ConnectFailed)
    assert "does not resolve" in error.cause
    assert " s)" in error.cause
    assert error.side == "network"


async def test_a_port_where_nobody_listens() -> None:
    error = await failure(Portal("127.0.0.1", free_port()))
    assert isinstance(error, ConnectFailed)
    assert "refused the connection" in error.cause
    assert error.side == "target"


async def test_a_source_address_that_is_not_ours() -> None:
    error = await failure(Portal("127.0.0.1", free_port()), source_address="192.0.2.1")
    assert "source address" in error.cause
    assert error.side == "initiator"
    error = await failure(Portal("127.0.0.1", free_port()), source_address="::1")
    assert "family" in error.cause


async def test_an_address_that_does_not_answer() -> None:
    # A listener whose backlog is full drops further connection requests.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            error = await failure(Portal("127.0.0.1", address[1]), login_timeout_s=0.3)
        finally:
            for filler in fillers:
                filler.close()
    assert isinstance(error, ConnectFailed | LoginTimedOut)
    assert "0.3 s" in error.cause


async def test_a_server_that_says_nothing() -> None:
    async def silent(peer: Hostile) -> None:
        await peer.reader.read()

    async with hostile(silent) as portal:
        error = await failure(portal, login_timeout_s=0.2)
    assert isinstance(error, LoginTimedOut)
    assert "sent nothing within 0.2 s" in error.cause


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", b"220 \x1b[31mftp\r\n"],
)
async def test_a_server_of_another_protocol(greeting: bytes) -> None:
    async def other(peer: Hostile) -> None:
        await peer.raw(greeting)
        await peer.reader.read(1)

    async with hostile(other) as portal:
        error = await failure(portal)
    assert isinstance(error, NotIscsi)
    assert "is no iSCSI target: it answered" in error.cause
    assert greeting[:4].decode() in error.cause
    assert "\x1b" not in error.cause


async def test_a_target_that_hangs_up() -> None:
    async def hang_up(peer: Hostile) -> None:
        await peer.receive()

    async with hostile(hang_up) as portal:
        error = await failure(portal)
    assert isinstance(error, ProtocolViolation)
    assert "closed the connection" in error.cause
    assert "access list" in error.check


async def test_an_absurd_length_is_refused_before_it_is_received() -> None:
    async def absurd(peer: Hostile) -> None:
        request, _ = await peer.receive()
        assert isinstance(request, LoginRequest)
        await peer.raw(LoginResponse(itt=request.itt).pack(0xFFFFFF)[:8])
        await peer.reader.read()

    async with hostile(absurd) as portal:
        error = await failure(portal)
    assert isinstance(error, ProtocolViolation)
    assert "16777215" in error.cause


async def test_an_exchange_without_an_end() -> None:
    async def endless(peer: Hostile) -> None:
        number = 0
        while True:
            request, _ = await peer.receive()
            assert isinstance(request, LoginRequest)
            response = LoginResponse(csg=request.csg, itt=request.itt, isid=request.isid, stat_sn=number)
            await peer.send(response, b"X-more=%d\0" % number)
            number += 1

    async with hostile(endless) as portal:
        error = await failure(portal)
    assert isinstance(error, ProtocolViolation)


async def test_another_pdu_during_the_login() -> None:
    async def early(peer: Hostile) -> None:
        await peer.receive()
        await peer.send(NopIn())
        await peer.reader.read()

    async with hostile(early) as portal:
        error = await failure(portal)
    assert isinstance(error, ProtocolViolation)
    assert "NOP-In" in error.cause


@pytest.mark.parametrize(
    ("status", "word", "may_retry"),
    [
        (0x0202, "does not allow this initiator", False),
        (0x0203, "no target of this name", False),
        (0x0301, "not in operation", True),
    ],
)
async def test_a_refusal_is_explained(status: int, word: str, may_retry: bool) -> None:
    async with hostile(lambda peer: peer.refuse(status)) as portal:
        error = await failure(portal)
    assert isinstance(error, LoginRefused)
    assert (error.status, error.direction, error.may_retry) == (status, None, may_retry)
    assert word in error.cause


async def test_a_refused_secret_names_our_side() -> None:
    secret = "our-secret-12345"

    async def refuse(peer: Hostile) -> None:
        await peer.log_in(TargetDecision(chap=[ChapCredentials("me", Secret("another-secret-1"))]))

    async with hostile(refuse) as portal:
        error = await failure(portal, chap=ChapCredentials("me", Secret(secret)))
    assert isinstance(error, LoginRefused)
    assert error.direction == "initiator"
    assert secret not in f"{error!r}{error.cause}{error.check}"


async def test_a_target_without_chap_is_not_accepted_when_we_want_it() -> None:
    async with hostile(lambda peer: peer.log_in()) as portal:
        error = await failure(portal, chap=ChapCredentials("me", Secret("our-secret-12345")))
    assert isinstance(error, LoginRefused | ProtocolViolation)


async def test_one_secret_for_both_directions_is_refused_by_ourselves() -> None:
    same = ChapCredentials("me", Secret("the-same-secret-1"))
    error = await failure(Portal("127.0.0.1", free_port()), chap=same, mutual_chap=same)
    assert error.side == "initiator"


# ---- redirects ----


async def test_a_redirect_is_followed_and_told_and_the_name_stays() -> None:
    names: list[bytes] = []

    async def final(peer: Hostile) -> None:
        await peer.log_in()
        await peer.reader.read()

    async with hostile(final) as destination:

        async def moved(peer: Hostile) -> None:
            request, data = await peer.receive()
            names.append(data)
            assert isinstance(request, LoginRequest)
            response = LoginResponse(itt=request.itt, status_class=1, status_detail=1)
            await peer.send(response, b"TargetAddress=%s\0" % str(destination).encode())

        async with hostile(moved) as portal:
            events: list[SessionEvent] = []
            session = Session(session_settings(portal), on_event=events.append)
            await session.login()
            assert session.portal == destination
            await session.drop()
    assert [event.kind for event in events] == ["redirected", "login"]
    assert events[0].details["destination"] == str(destination)


async def test_a_redirect_loop_ends() -> None:
    seen = 0

    async def loop(peer: Hostile) -> None:
        nonlocal seen
        seen += 1
        await peer.refuse(0x0101, b"TargetAddress=%s\0" % str(portals[0]).encode())

    portals: list[Portal] = []
    async with hostile(loop) as portal:
        portals.append(portal)
        error = await failure(portal)
    assert isinstance(error, RedirectRefused)
    assert seen == 6  # the first address and five redirects
    assert "without an end" in error.cause


@pytest.mark.parametrize(
    "address", [b"nonsense:port:0", b"169.254.0.1", b"[fe80::1%eth9]", b"224.0.0.1", b""]
)
async def test_a_redirect_to_a_strange_place_is_refused(address: bytes) -> None:
    async with hostile(lambda peer: peer.refuse(0x0101, b"TargetAddress=%s\0" % address)) as portal:
        error = await failure(portal)
    assert isinstance(error, RedirectRefused | ProtocolViolation)


# ---- probe ----


async def test_a_probe_tells_what_is_there() -> None:
    closed = await probe(Portal("127.0.0.1", free_port()))
    assert (closed.reachable, closed.is_iscsi) == (False, False)
    async with hostile(lambda peer: peer.raw(b"SSH-2.0-x\r\n")) as portal:
        stranger = await probe(portal, 1.0)
    assert (stranger.reachable, stranger.is_iscsi) == (True, False)
    async with hostile(lambda peer: peer.refuse(0x0201)) as portal:
        chap = await probe(portal, 1.0)
    assert (chap.reachable, chap.is_iscsi, chap.asks_for_chap) == (True, True, True)
    async with hostile(lambda peer: peer.log_in()) as portal:
        open_one = await probe(portal, 1.0, initiator_name=INITIATOR)
    assert (open_one.reachable, open_one.is_iscsi, open_one.asks_for_chap) == (True, True, False)


async def test_a_cancelled_login_leaves_nothing_behind() -> None:
    connected = asyncio.Event()

    async def silent(peer: Hostile) -> None:
        connected.set()
        await peer.reader.read()

    async with hostile(silent) as portal:
        session = Session(session_settings(portal))
        task = asyncio.create_task(session.login())
        await connected.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.state == "logged_out"
