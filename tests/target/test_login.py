"""The shell of a login: deadlines, the number of requests, faults of ours, places that are gone meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from san_console.iscsi import login_status
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.login_target import LoginTarget
from san_console.iscsi.negotiation import Offer
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.target import login as shell
from san_console.target.config import ChapConfig, InitiatorAccess, PortalGroup, TargetConfig, TargetLimits
from san_console.target.login import DISCOVERY_LIMITS, PortalPolicy, Reached, offer_of
from san_console.target.session_table import SessionTable
from tests.target.raw_initiator import ME, NAME, RawInitiator, Served, config, settings
from tests.target.test_reception import ALICE, BOB

FIRST = f"InitiatorName={ME}\0TargetName={NAME}\0"


async def begin(served: Served) -> RawInitiator:
    """A login that has said which target it wants, and goes no further."""
    raw = await served.raw()
    text = FIRST.encode()
    raw.send(LoginRequest(csg=1, itt=1).pack(len(text)), text)
    pdu, _ = await raw.receive()
    assert isinstance(pdu, LoginResponse)
    assert pdu.status_class == 0
    return raw


def test_the_limits_of_a_target_are_what_it_offers() -> None:
    limits = TargetLimits(
        max_connections=3,
        error_recovery_level=1,
        default_time2wait_s=5,
        default_time2retain_s=7,
        data_pdu_in_order=False,
        data_sequence_in_order=False,
        max_outstanding_r2t=4,
        initial_r2t=True,
        immediate_data=False,
        header_digest="require",
        data_digest="prefer",
    )
    offer = offer_of(limits)
    assert (offer.max_connections, offer.error_recovery_level, offer.max_outstanding_r2t) == (3, 1, 4)
    assert (offer.default_time2wait_s, offer.default_time2retain_s) == (5, 7)
    assert [offer.data_pdu_in_order, offer.data_sequence_in_order] == [False, False]
    assert [offer.immediate_data, offer.initial_r2t] == [False, True]
    assert (offer.header_digest, offer.data_digest) == (("CRC32C",), ("CRC32C", "None"))


async def test_a_target_has_its_own_deadline() -> None:
    async with Served(config(limits=TargetLimits(login_timeout_s=0.2))) as served:
        raw = await begin(served)
        began = time.monotonic()
        assert await raw.closed() == b""
        assert time.monotonic() - began < 5  # and not the 15 s of a login whose target is not known
        assert served.events[-1].cause == "the login was not over within 0.2 s"
        await raw.close()


async def test_a_login_has_so_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "MAX_LOGIN_REQUESTS", 3)
    async with Served() as served:
        raw = await begin(served)
        for _ in range(3):
            raw.send(LoginRequest(csg=1, itt=1).pack())
        for status in (0, 0, login_status.INITIATOR_ERROR):
            pdu, _ = await raw.receive()
            assert isinstance(pdu, LoginResponse)
            assert pdu.status_class << 8 | pdu.status_detail == status
        assert await raw.closed() == b""
        await raw.close()


async def test_a_fault_of_ours_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with Served() as served:
        raw = await begin(served)

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(LoginTarget, "receive", broken)
        raw.send(LoginRequest(csg=1, itt=1).pack())
        pdu, _ = await raw.receive()
        assert isinstance(pdu, LoginResponse)
        assert (pdu.status_class, pdu.status_detail) == (3, 0)
        assert await raw.closed() == b""
        assert [type(one) for one in told] == [ZeroDivisionError]
        await raw.close()


@pytest.mark.parametrize(
    ("why", "status"),
    [("removed", (2, 4)), ("full", (3, 2)), ("stopping", (3, 1))],
)
async def test_what_is_gone_at_the_end_of_a_login(
    why: str, status: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the decision and the answer others may have been quicker: told, and not just closed."""
    async with Served() as served:
        reception = served.server._reception
        earlier_over = reception._earlier_over

        async def meanwhile(*args: object) -> bool:
            if why == "removed":
                await served.server.remove(NAME)
            elif why == "full":
                monkeypatch.setattr(SessionTable, "is_full", lambda *_: True)
            else:
                reception.closing = True
            return await earlier_over(*args)  # type: ignore[arg-type]  # handed on

        monkeypatch.setattr(reception, "_earlier_over", meanwhile)
        raw = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings())
        assert (error.value.status_class, error.value.status_detail) == status
        assert served.kinds()[-1] == "target_login_failed"
        assert served.server.sessions() == []
        await raw.close()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"anyone": False, "initiators": [InitiatorAccess("*@10.0.0.0/8")]}, (2, 2)),
        ({"chap": ChapConfig([ALICE])}, (2, 1)),
        ({"portals": [Portal("127.0.0.2", 0)]}, (2, 4)),
    ],
    ids=["access", "chap", "portal"],
)
@pytest.mark.parametrize("joins", [False, True])
async def test_what_changes_during_a_login_holds_for_it(
    joins: bool, changes: dict[str, object], status: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login may take as long as its deadline: whoever began it before his access was taken away is not let
    in after it.
    """
    async with Served() as served:
        reception = served.server._reception
        first = await served.raw()
        login = await first.login(settings(offer=Offer(max_connections=2)))
        assert login.result is not None
        name = "_replaced" if joins else "_earlier_over"
        waits = getattr(reception, name)

        async def meanwhile(*args: object) -> bool:
            # Under it only: what ends the session that is there is not what is asked for here.
            served.server._target(NAME).config = config(**changes)
            return await waits(*args)  # type: ignore[no-any-return]  # handed on

        monkeypatch.setattr(reception, name, meanwhile)
        raw = await served.raw()
        wanted: dict[str, object] = {"isid": bytes(6)}
        if joins:
            wanted = {"tsih": login.result.tsih, "cid": 1, "session_parameters": login.result.params}
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings(**wanted))
        assert (error.value.status_class, error.value.status_detail) == status
        assert [one.connections for one in served.server.sessions()] == [1]
        await raw.close()
        await first.close()


async def test_a_portal_that_the_target_does_not_have_yet() -> None:
    """In the middle of a change it listens there already."""
    async with Served() as served:
        served.server._target(NAME).config = config(portals=[Portal("127.0.0.2", 1)])
        raw = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings())
        assert (error.value.status_class, error.value.status_detail) == (2, 3)
        await raw.close()
        served.server._target(NAME).config = config()


async def test_only_a_proof_makes_wrong_guesses_forgotten() -> None:
    """A discovery without CHAP between two guesses must not save the pause before the next one."""
    async with Served(config(chap=ChapConfig([ALICE]))) as served:
        failures = served.server._reception.admission._failures
        wrong = ChapCredentials("alice", Secret("another-secret-1"))
        for count in (1, 2):
            raw = await served.raw()
            with pytest.raises(LoginFailed):
                await raw.login(settings(chap=wrong))
            await raw.close()
            assert failures["127.0.0.1"][0] == count
            raw = await served.raw()
            await raw.login(settings(target_name=None))
            await raw.close()
        raw = await served.login(chap=ALICE)
        assert not failures
        await raw.close()


async def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "ANSWER_TIMEOUT_S", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(65536))
        with pytest.raises(TimeoutError):
            await shell.send_responses(ours, [(LoginResponse(), b"")])


async def test_a_server_that_stops_says_so() -> None:
    async with Served() as served:
        served.server._reception.closing = True
        raw = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings())
        assert (error.value.status_class, error.value.status_detail) == (3, 1)
        await raw.close()


def test_the_policy_of_a_portal() -> None:
    group = PortalGroup(7, list(config().portals))
    one = TargetConfig(NAME, [group], alias="disks", anyone=True, chap=ChapConfig([ALICE], BOB))
    policy = PortalPolicy(
        lambda name: Reached(one, group) if name == NAME else login_status.NOT_FOUND,
        lambda request: SessionTable().decide(request, None),  # type: ignore[arg-type]  # not called here
        ChapConfig([BOB]),
    )
    found = policy.find_target(ME, NAME, "Normal", "10.0.0.1")
    assert (found.status, found.tpgt, found.alias) == (0, 7, "disks")
    assert (found.chap, found.mutual) == ([ALICE], BOB)
    assert policy.find_target(ME, NAME + "x", "Normal", "").status == login_status.NOT_FOUND
    asked = policy.find_target(ME, None, "Discovery", "")
    assert (asked.status, asked.chap) == (0, [BOB])
    assert asked.offer.max_recv_data_segment_bytes == DISCOVERY_LIMITS.max_recv_data_segment_bytes
