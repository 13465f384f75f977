"""Connections that join sessions, take the place of others, and are lost (RFC 7143 §6.3.1, §6.3.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.negotiation import Offer
from san_console.iscsi.pdu import AsyncMessage, LogoutRequest, LogoutResponse, ScsiResponse
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.scsi import cdb
from san_console.target import session_table
from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
    TargetLimits,
)
from san_console.target.login import send_responses
from tests.target.raw_initiator import ISID, ME, NAME, RawInitiator, Served, config, settings, until
from tests.target.slow_medium import SlowWrites

MANY = Offer(max_connections=4)
LEVELS = [Offer(max_connections=4, error_recovery_level=level) for level in (0, 1, 2)]
ALICE = ChapCredentials("alice", Secret("opensesame-1234"))
BOB = ChapCredentials("bob", Secret("bobs-own-secret-77"))


async def leading(served: Served, offer: Offer = MANY, **changes: object) -> tuple[RawInitiator, int, Any]:
    """The first connection of a session, its TSIH, and the parameters of the session."""
    raw = await served.raw()
    login = await raw.login(settings(offer=offer, **changes))
    assert login.result is not None
    return raw, login.result.tsih, login.result.params


async def join(served: Served, tsih: int, params: Any, cid: int, **changes: object) -> RawInitiator:
    raw = await served.raw()
    try:
        await raw.login(settings(tsih=tsih, cid=cid, offer=MANY, session_parameters=params, **changes))
    except LoginFailed:
        await raw.close()
        raise
    return raw


async def told_of_a_drop(raw: RawInitiator, cid: int) -> None:
    """The next PDU is the Asynchronous Message about a connection that is gone."""
    pdu, _ = await raw.receive()
    assert isinstance(pdu, AsyncMessage)
    assert (pdu.async_event, pdu.parameter1) == (2, cid)


async def refused(served: Served, tsih: int, params: Any, cid: int, **changes: object) -> tuple[int, int]:
    with pytest.raises(LoginFailed) as error:
        await join(served, tsih, params, cid, **changes)
    return error.value.status_class, error.value.status_detail


@pytest.mark.parametrize("offer", LEVELS, ids=["level 0", "level 1", "level 2"])
async def test_connections_join_share_the_window_and_leave(offer: Offer) -> None:
    async with Served() as served:
        first, tsih, params = await leading(served, offer)
        others = [await join(served, tsih, params, cid) for cid in (1, 2, 3)]
        [info] = served.server.sessions()
        assert (info.connections, info.max_connections, info.tsih) == (4, 4, tsih)
        assert [one.cid for one in info.connection_list] == [0, 1, 2, 3]
        assert info.error_recovery_level == offer.error_recovery_level
        assert await refused(served, tsih, params, 9) == (2, 6)
        # Commands are in the order of CmdSN over all connections: the later one waits for the earlier.
        first.command(cdb.test_unit_ready())
        await first.receive()
        others[0].cmd_sn = first.cmd_sn + 1
        others[0].command(cdb.read(0, 1), read=512)
        others[1].cmd_sn = first.cmd_sn
        others[1].command(cdb.write(0, 1), data=b"m" * 512)
        await others[1].receive()
        _, data = await others[0].receive()
        assert data == b"m" * 512
        # One of them logs another out, and itself.
        cmd_sn = first.cmd_sn + 2
        others[2].send(LogoutRequest(reason=o.LOGOUT_CLOSE_CONNECTION, cid=1, itt=77, cmd_sn=cmd_sn).pack())
        pdu, _ = await others[2].receive()
        assert isinstance(pdu, LogoutResponse)
        assert await others[0].closed() == b""
        await until(lambda: served.server.sessions()[0].connections == 3)
        others[2].writer.transport.abort()
        await until(lambda: served.server.sessions()[0].connections == 2)
        assert {"connection_lost", "connection_closed"} <= set(served.kinds())
        first.cmd_sn = cmd_sn + 1
        await told_of_a_drop(first, 3)
        await first.ping()
        # The whole session goes by one request.
        first.send(LogoutRequest(itt=78, cmd_sn=first.cmd_sn).pack())
        await first.receive()
        assert await first.closed() == b""
        assert await others[1].closed() == b""
        await until(lambda: not served.server.sessions())
        assert "session_lost" not in served.kinds()
        for raw in (first, *others):
            await raw.close()


@pytest.mark.parametrize("offer", LEVELS, ids=["level 0", "level 1", "level 2"])
async def test_a_connection_takes_the_place_of_another(offer: Offer) -> None:
    async with Served() as served:
        first, tsih, params = await leading(served, offer)
        second = await join(served, tsih, params, 1)
        again = await join(served, tsih, params, 1)
        assert await second.closed() == b""
        assert [one.cid for one in served.server.sessions()[0].connection_list] == [0, 1]
        only_one = await join(served, tsih, params, 0)
        assert await first.closed() == b""
        assert [info.tsih for info in served.server.sessions()] == [tsih]
        only_one.cmd_sn = again.cmd_sn = 1
        await again.ping()
        await only_one.ping()
        for raw in (first, second, again, only_one):
            await raw.close()


@pytest.mark.parametrize("offer", LEVELS, ids=["level 0", "level 1", "level 2"])
async def test_the_only_connection_is_reinstated_and_the_session_goes_on(offer: Offer) -> None:
    async with Served() as served:
        first, tsih, params = await leading(served, offer)
        await first.ready()
        again = await join(served, tsih, params, 0)
        again.cmd_sn = first.cmd_sn
        again.command(cdb.test_unit_ready())
        pdu, _ = await again.receive()
        assert isinstance(pdu, ScsiResponse)
        assert pdu.status == 0  # the same nexus: no unit attention
        assert [info.tsih for info in served.server.sessions()] == [tsih]
        await first.close()
        await again.close()


async def test_at_level_2_a_session_without_a_connection_waits_for_its_initiator() -> None:
    limits = TargetLimits(default_time2wait_s=0, default_time2retain_s=20)
    async with Served(config(limits=limits)) as served:
        first, tsih, params = await leading(
            served, Offer(max_connections=4, error_recovery_level=2, default_time2retain_s=20)
        )
        await first.ready()
        first.writer.transport.abort()
        await until(lambda: served.server.sessions()[0].recovering)
        assert "connection_lost" in served.kinds()
        again = await join(served, tsih, params, 0)
        assert not served.server.sessions()[0].recovering
        again.cmd_sn = first.cmd_sn
        await again.ping()
        await again.close()


async def test_a_session_that_nobody_continues_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("san_console.target.server.TICK_S", 0.05)
    limits = TargetLimits(default_time2wait_s=0, default_time2retain_s=1)
    async with Served(config(limits=limits)) as served:
        offer = Offer(error_recovery_level=2, default_time2wait_s=0, default_time2retain_s=1)
        first, tsih, params = await leading(served, offer)
        first.writer.transport.abort()
        await until(lambda: "session_lost" in served.kinds())
        assert served.server.sessions() == []
        assert await refused(served, tsih, params, 0) == (2, 0x0A)


async def test_below_level_2_the_session_ends_with_its_last_connection() -> None:
    async with Served() as served:
        first, tsih, params = await leading(served, LEVELS[1])
        first.writer.transport.abort()
        await until(lambda: "session_lost" in served.kinds())
        assert await refused(served, tsih, params, 0) == (2, 0x0A)


async def test_only_the_same_identity_joins_or_reinstates() -> None:
    async with Served(config(chap=ChapConfig([ALICE, BOB]))) as served:
        victim, tsih, params = await leading(served, chap=ALICE)
        assert await refused(served, tsih, params, 1, chap=BOB) == (2, 2)
        assert await refused(served, tsih, params, 0, chap=BOB) == (2, 2)
        wrong = ChapCredentials("alice", Secret("opensesame-12345"))
        assert await refused(served, tsih, params, 0, chap=wrong) == (2, 1)
        assert await refused(served, tsih, params, 0) == (2, 1)
        await victim.ping()
        other = "iqn.2026-11.org.example:thief"
        assert await refused(served, tsih, params, 1, chap=ALICE, initiator_name=other) == (2, 0x0A)
        assert await refused(served, tsih, params, 1, chap=ALICE, isid=bytes(6)) == (2, 0x0A)
        assert await refused(served, tsih ^ 1 or 2, params, 1, chap=ALICE) == (2, 0x0A)
        second = await join(served, tsih, params, 1, chap=ALICE)
        await victim.ping()
        await victim.close()
        await second.close()


async def test_an_identity_that_is_asked_for_no_more_keeps_nobody_out() -> None:
    """With CHAP turned on, an initiator whose connection broke silently comes back at once."""
    async with Served() as served:
        stale = await served.login()
        await served.server.update(config(chap=ChapConfig([ALICE])))
        await stale.ping()
        again = await served.login(chap=ALICE)
        assert await stale.closed() == b""
        await served.server.update(config(chap=ChapConfig([BOB])))
        third = await served.login(chap=BOB)
        assert await again.closed() == b""
        await third.ping()
        assert len(served.server.sessions()) == 1
        for raw in (stale, again, third):
            await raw.close()


async def test_nobody_keeps_others_from_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A discovery needs no secret: who stays in it goes when there is no place for another."""
    monkeypatch.setattr(session_table, "MAX_DISCOVERY_SESSIONS", 3)
    async with Served() as served:
        raws = [await served.login(target_name=None, isid=bytes([0] * 5 + [one])) for one in range(3)]
        with pytest.raises(LoginFailed) as error:
            await from_address(served, "127.0.0.1", target_name=None)
        assert (error.value.status_class, error.value.status_detail) == (3, 2)
        monkeypatch.setattr(session_table, "DISCOVERY_STAYS_S", 0.0)
        raws.append(await served.login(target_name=None))
        assert await raws[0].closed() == b""
        for raw in raws[1:]:
            await raw.ping()
        assert len(served.server.sessions()) == 3
        for raw in raws:
            await raw.close()


async def from_address(served: Served, address: str, **changes: object) -> RawInitiator:
    raw = RawInitiator(*await asyncio.open_connection("127.0.0.1", served.port, local_addr=(address, 0)))
    try:
        await raw.login(settings(**changes))
    except LoginFailed:
        await raw.close()
        raise
    return raw


async def test_what_one_address_may_see_is_not_for_another() -> None:
    """A connection does not get at the LUNs of a session from where they are not to be seen; and a change of
    the rules ends just the connections that it is about.
    """
    luns = [LunConfig(name, name, BackstoreSpec("memory", size_bytes=1 << 20)) for name in "ab"]
    here, there = MappingRule(f"{ME}@127.0.0.1", "a", 0), MappingRule(f"{ME}@127.0.0.2", "b", 0)
    one = config(anyone=False, luns=luns, mappings=[here, there])
    async with Served(one) as served:
        first, tsih, params = await leading(served)
        joining: dict[str, Any] = {"tsih": tsih, "cid": 1, "offer": MANY, "session_parameters": params}
        for cid in (1, 0):  # a further connection, and in the place of the one that is there
            with pytest.raises(LoginFailed) as error:
                await from_address(served, "127.0.0.2", **joining | {"cid": cid})
            assert (error.value.status_class, error.value.status_detail) == (2, 8)
            await first.ping()
        # Both see the same: the session may span them, and goes on when the first address is shut out.
        both = MappingRule(ME, "a", 0)
        await served.server.update(config(anyone=False, luns=luns, mappings=[both]))
        second = await from_address(served, "127.0.0.2", **joining)
        await served.server.update(
            config(anyone=False, luns=luns, mappings=[MappingRule(f"{ME}@127.0.0.2", "a", 0)])
        )
        assert await first.closed() is not None
        [info] = served.server.sessions()
        assert ([link.address for link in info.connection_list], info.luns) == (["127.0.0.2"], [0])
        await told_of_a_drop(second, 0)
        await second.ping()
        await served.server.update(config(anyone=False, luns=luns, mappings=[here]))
        assert served.server.sessions() == []
        await first.close()
        await second.close()


async def test_a_session_belongs_to_one_portal_group() -> None:
    groups = [PortalGroup(1, [Portal("127.0.0.1", 0)]), PortalGroup(2, [Portal("127.0.0.2", 0)])]
    async with Served(TargetConfig(NAME, groups, luns=config().luns, anyone=True)) as served:
        one, tsih, params = await leading(served)
        portal = served.server.bound_portals(NAME)[1]
        raw = await RawInitiator.open(portal.port, portal.host)
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings(tsih=tsih, cid=1, offer=MANY, session_parameters=params))
        assert (error.value.status_class, error.value.status_detail) == (2, 8)
        await raw.close()
        # The same ISID there is another I_T nexus (§4.4.3).
        raw = await RawInitiator.open(portal.port, portal.host)
        await raw.login(settings())
        assert sorted(info.tpgt for info in served.server.sessions()) == [1, 2]
        await one.ping()
        await raw.ping()
        await raw.close()
        await one.close()


async def test_a_reinstated_connection_waits_for_the_last_write_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowWrites(monkeypatch)
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    async with Served(config(luns=[LunConfig("a", "a", spec)])) as served:
        first, tsih, params = await leading(served)
        await first.ready()
        first.command(cdb.write(0, 1, fua=True), data=b"\x22" * 512)
        await slow.begun.wait()

        async def log_in() -> RawInitiator:
            again = await join(served, tsih, params, 0)
            slow.order.append("login")
            return again

        login = asyncio.create_task(log_in())
        assert await first.closed() == b""
        assert not login.done()
        slow.go_on.set()
        again = await login
        assert slow.order == ["write", "login"]
        again.cmd_sn = first.cmd_sn
        await again.ready()  # its command was cleared
        assert await again.read_block() == b"\x22" * 512
        await first.close()
        await again.close()


async def test_a_login_in_the_place_of_a_broken_connection_waits_for_its_last_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowWrites(monkeypatch)
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    async with Served(config(luns=[LunConfig("a", "a", spec)])) as served:
        first, tsih, params = await leading(served)
        await first.ready()
        second = await join(served, tsih, params, 1)
        second.cmd_sn = first.cmd_sn
        second.command(cdb.write(0, 1, fua=True), data=b"\x22" * 512)
        await slow.begun.wait()
        second.writer.transport.abort()
        await until(lambda: served.server.sessions()[0].connections == 1)
        login = asyncio.create_task(join(served, tsih, params, 1))
        await told_of_a_drop(first, 1)
        first.cmd_sn = second.cmd_sn
        await first.ping()
        assert not login.done()
        slow.go_on.set()
        again = await login
        assert [one.cid for one in served.server.sessions()[0].connection_list] == [0, 1]
        for raw in (first, second, again):
            await raw.close()


async def test_one_connection_can_be_disconnected() -> None:
    async with Served() as served:
        first, tsih, params = await leading(served)
        second = await join(served, tsih, params, 1)
        ending = asyncio.create_task(served.server.disconnect(served.server.sessions()[0].id, 1))
        pdu, _ = await second.receive()
        assert isinstance(pdu, AsyncMessage)
        assert pdu.async_event == o.ASYNC_LOGOUT_REQUEST
        await ending
        assert [one.cid for one in served.server.sessions()[0].connection_list] == [0]
        await told_of_a_drop(first, 1)
        await first.ping()
        await first.close()
        await second.close()


async def test_logins_at_the_same_time_leave_one_session() -> None:
    async with Served() as served:
        raws = [await served.raw() for _ in range(12)]
        await asyncio.gather(*(raw.login(settings()) for raw in raws), return_exceptions=True)
        await until(lambda: len(served.server.sessions()) == 1)
        last = served.server.sessions()[0]
        assert last.isid == ISID
        for raw in raws:
            await raw.close()
        await until(lambda: not served.server.sessions())
        assert served.server._table.connection_count == 0


async def test_logins_at_the_same_time_do_not_share_the_last_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Served() as served:
        first, tsih, params = await leading(served, Offer(max_connections=2))
        go_on, waiting = asyncio.Event(), 0

        async def late(*arguments: Any) -> None:
            nonlocal waiting
            waiting += 1
            await go_on.wait()
            await send_responses(*arguments)

        monkeypatch.setattr("san_console.target.reception.send_responses", late)
        joining = [asyncio.ensure_future(join(served, tsih, params, cid)) for cid in (1, 2)]
        await until(lambda: waiting == 2)
        go_on.set()
        results = await asyncio.gather(*joining, return_exceptions=True)
        refusals = [one for one in results if isinstance(one, LoginFailed)]
        assert [(one.status_class, one.status_detail) for one in refusals] == [(2, 6)]
        await until(lambda: served.server.sessions()[0].connections == 2)
        for raw in (first, *results):
            if isinstance(raw, RawInitiator):
                await raw.close()
