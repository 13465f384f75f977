"""Portal groups, portals that come and go, redirects, and what SendTargets says about all of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LoginFailed, Redirected
from san_console.iscsi.pdu import AsyncMessage, LogoutRequest
from san_console.names.portal import Portal, parse_target_address
from san_console.scsi import cdb
from san_console.scsi.sense import parse as parse_sense
from san_console.target.config import (
    InitiatorAccess,
    PortalGroup,
    Redirect,
    TargetConfig,
)
from san_console.target.errors import ConfigError, PortalError
from tests.target.raw_initiator import ME, NAME, RawInitiator, Served, config, mapping, settings, until

V4, V4_TOO, V6 = Portal("127.0.0.1", 0), Portal("127.0.0.2", 0), Portal("::1", 0)
OTHER = "iqn.2026-11.org.example:other"


def target(*groups: PortalGroup, name: str = NAME, **changes: object) -> TargetConfig:
    return config(name=name, groups=list(groups), **changes)


async def at(portal: Portal) -> RawInitiator:
    return await RawInitiator.open(portal.port, portal.host)


async def discover(portal: Portal, **changes: object) -> dict[str, list[tuple[Portal, int | None]]]:
    """What SendTargets=All says at a portal."""
    raw = await at(portal)
    await raw.login(settings(target_name=None, **changes))
    text = (await raw.send_targets("All")).decode()
    await raw.close()
    found: dict[str, list[tuple[Portal, int | None]]] = {}
    for pair in text.rstrip("\0").split("\0") if text else []:
        key, _, value = pair.partition("=")
        if key == "TargetName":
            found[value] = here = []
        else:
            here.append(parse_target_address(value))
    return found


async def test_every_portal_of_every_group_is_listed_with_its_tag_and_takes_logins() -> None:
    one = target(PortalGroup(1, [V4, V6]), PortalGroup(7, [V4_TOO]), alias="disks")
    other = target(PortalGroup(3, [V4]), name=OTHER)
    async with Served(one, other) as served:
        v4, v6, v4_too = served.server.bound_portals(NAME)
        assert (v4.host, v6.host, v4_too.host) == ("127.0.0.1", "::1", "127.0.0.2")
        wanted = {NAME: [(v4, 1), (v6, 1), (v4_too, 7)], OTHER: [(v4, 3)]}
        for portal in (v4, v6, v4_too):
            assert await discover(portal) == wanted
        for portal, tag in wanted[NAME]:
            raw = await at(portal)
            login = await raw.login(settings())
            assert login.result is not None
            assert (login.result.tpgt, login.result.target_alias) == (tag, "disks")
            [info] = served.server.sessions()
            assert (info.tpgt, info.portal) == (tag, str(portal))
            await raw.close()
            await until(lambda: not served.server.sessions())
        # One portal, two targets, a group of each; and the other target is not behind the other portals.
        raw = await at(v4)
        login = await raw.login(settings(target_name=OTHER))
        assert login.result is not None
        assert login.result.tpgt == 3
        await raw.close()
        raw = await at(v6)
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings(target_name=OTHER))
        assert error.value.status_detail == 3
        await raw.close()


async def test_portals_come_and_go_while_sessions_are_at_work() -> None:
    async with Served(target(PortalGroup(1, [V4]))) as served:
        [first] = served.server.bound_portals()
        stays = await at(first)
        await stays.login(settings())
        said = await served.server.update(target(PortalGroup(1, [V4, V6]), PortalGroup(2, [V4_TOO])))
        assert said == []
        _, second, third = served.server.bound_portals(NAME)
        goes, moves = await at(second), await at(third)
        await goes.login(settings(isid=bytes([0x80] * 6)))
        await moves.login(settings(isid=bytes([0x81] * 6)))
        # The IPv6 portal goes, the third one is in another group from now on: both are asked to log out.
        change = asyncio.create_task(
            served.server.update(target(PortalGroup(1, [V4]), PortalGroup(3, [V4_TOO])))
        )
        for raw in (goes, moves):
            pdu, _ = await raw.receive()
            assert isinstance(pdu, AsyncMessage)
            assert pdu.async_event == o.ASYNC_LOGOUT_REQUEST
        goes.send(LogoutRequest(itt=9, cmd_sn=goes.cmd_sn).pack())
        said = await change
        assert sorted(said) == [
            f"The session of {ME} through 127.0.0.2:0 was ended.",
            f"The session of {ME} through [::1]:0 was ended.",
        ]
        await goes.closed()
        # A timer may be first, which tells it of the drop.
        assert (await moves.closed())[:1] in (b"", bytes([o.ASYNC_MESSAGE]))
        await stays.ping()
        assert len(served.server.sessions()) == 1
        with pytest.raises(OSError):
            await at(second)
        assert await discover(first) == {NAME: [(first, 1), (third, 3)]}
        for raw in (stays, goes, moves):
            await raw.close()


async def test_a_connection_of_a_removed_portal_goes_and_its_session_stays() -> None:
    from san_console.iscsi.negotiation import Offer

    offer = Offer(max_connections=4)
    async with Served(target(PortalGroup(1, [V4, V4_TOO]))) as served:
        here, there = served.server.bound_portals(NAME)
        one, two = await at(here), await at(there)
        login = await one.login(settings(offer=offer))
        assert login.result is not None
        await two.login(
            settings(offer=offer, tsih=login.result.tsih, cid=1, session_parameters=login.result.params)
        )
        said = await served.server.update(target(PortalGroup(1, [V4])))
        assert said == [f"The connection 1 of {ME} through 127.0.0.2:0 was ended."]
        assert [info.connections for info in served.server.sessions()] == [1]
        await one.close()
        await two.close()


async def test_a_portal_that_cannot_be_had_changes_nothing() -> None:
    async with Served(target(PortalGroup(1, [V4]))) as served:
        with pytest.raises(PortalError):
            await served.server.update(target(PortalGroup(1, [V4, V6, Portal("192.0.2.1", 0)])))
        assert len(served.server.bound_portals()) == 1
        await (await served.login()).close()


@pytest.mark.parametrize("permanent", [False, True])
async def test_a_group_can_send_its_logins_elsewhere(permanent: bool) -> None:
    async with Served(target(PortalGroup(1, [V4]), PortalGroup(2, [V6]))) as served:
        here, there = served.server.bound_portals(NAME)
        groups = [PortalGroup(1, [V4], redirect=Redirect(there, permanent)), PortalGroup(2, [V6])]
        stays = await at(here)
        await stays.login(settings())
        await served.server.update(target(*groups, anyone=False, mappings=[mapping(ME, 0)]))
        raw = await at(here)
        with pytest.raises(Redirected) as error:
            await raw.login(settings(isid=bytes(6)))
        assert error.value.permanent is permanent
        assert error.value.address == str(there)
        await raw.close()
        # Only who may log in hears where to; and who is there stays.
        raw = await at(here)
        with pytest.raises(LoginFailed) as refused:
            await raw.login(settings(initiator_name=OTHER))
        assert (refused.value.status_class, refused.value.status_detail) == (2, 2)
        await raw.close()
        await stays.ping()
        raw = await at(there)
        await raw.login(settings(isid=bytes(6)))
        assert {event.details["status"] for event in served.events if "status" in event.details} == {
            "0102" if permanent else "0101",
            "0202",
        }
        await raw.close()
        await stays.close()


async def test_nobody_learns_of_targets_that_are_not_for_its_name_and_address() -> None:
    by_address = target(PortalGroup(1, [V4]), anyone=False, initiators=[InitiatorAccess("127.0.0.0/8")])
    by_name = target(PortalGroup(1, [V4]), name=OTHER, anyone=False, mappings=[mapping(ME, 0)])
    nobody = target(PortalGroup(1, [V6, V4]), name=f"{OTHER}.2", anyone=False)
    async with Served(by_address, by_name, nobody) as served:
        v4 = served.server.bound_portals(NAME)[0]
        v6 = served.server.bound_portals(f"{OTHER}.2")[0]
        assert set(await discover(v4)) == {NAME, OTHER}
        assert set(await discover(v4, initiator_name=f"{ME}.2")) == {NAME}
        assert set(await discover(v6)) == {OTHER}  # from ::1
        await served.server.update(replace(by_address, initiators=[InitiatorAccess("10.0.0.0/8")]))
        assert set(await discover(v4)) == {OTHER}


async def test_a_removed_target_is_said_to_be_removed() -> None:
    async with Served(target(PortalGroup(1, [V4])), target(PortalGroup(1, [V4]), name=OTHER)) as served:
        await served.server.remove(OTHER)
        raw = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await raw.login(settings(target_name=OTHER))
        assert error.value.status_detail == 4
        await raw.close()


async def test_targets_with_one_portal_can_come_together() -> None:
    portal = Portal("127.0.0.3", 0)
    many = [target(PortalGroup(1, [portal]), name=f"{OTHER}.{n}", luns=[]) for n in range(200)]
    bad = target(PortalGroup(1, [Portal("192.0.2.1", 0)]), name=f"{OTHER}.bad", luns=[])
    async with Served() as served:
        failed = await served.server.add_many([*many, bad])
        assert list(failed) == [bad.name]
        assert len(served.server.targets()) == 201
        assert len(served.server.bound_portals()) == 2
        found = await discover(served.server.bound_portals(many[0].name)[0])
        assert set(found) == {NAME, *(one.name for one in many)}


async def test_access_states_are_changed_while_sessions_are_at_work() -> None:
    async with Served(target(PortalGroup(1, [V4]), PortalGroup(2, [V4_TOO]))) as served:
        raw = await served.login()
        await raw.ready()
        await served.server.set_access_state(NAME, 2, "standby")
        assert [group.access_state for group in served.server.targets()[0].groups] == [
            "active/optimized",
            "standby",
        ]
        raw.command(cdb.test_unit_ready())
        _, data = await raw.receive()
        sense = parse_sense(data[2:])
        assert (sense.key, sense.asc, sense.ascq) == (6, 0x2A, 6)  # ASYMMETRIC ACCESS STATE CHANGED
        with pytest.raises(ConfigError):
            await served.server.set_access_state(NAME, 9, "standby")
        await raw.close()
