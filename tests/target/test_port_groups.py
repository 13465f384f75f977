"""Target port groups: what each state serves, who changes it, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from san_console.scsi import alua, cdb
from san_console.scsi import opcodes as op
from san_console.target.config import PortalGroup
from san_console.target.errors import ConfigError
from san_console.target.port_groups import set_access_state
from tests.target.hosts import Array, Host

CHANGED = (0x2A, 6)
READ = cdb.read_10(0, 1)


@pytest.fixture
async def array() -> AsyncIterator[Array]:
    one = Array(luns=("memory:1M", "memory:1M"))
    yield one
    await one.close()


def set_groups(*states: tuple[int, int], length: int | None = None) -> tuple[bytes, bytes]:
    data = bytes(4) + b"".join(bytes([state, 0]) + tag.to_bytes(2, "big") for tag, state in states)
    size = len(data) if length is None else length
    command = bytes([op.MAINTENANCE_OUT, op.SA_SET_TARGET_PORT_GROUPS, 0, 0, 0, 0]) + size.to_bytes(4, "big")
    return command + bytes(2), data[:size]


async def states(host: Host) -> list[tuple[int, int, int]]:
    """(group, state, status) as REPORT TARGET PORT GROUPS tells them."""
    data = await host.run(cdb.report_target_port_groups())
    return [
        (int.from_bytes(data[at + 2 : at + 4], "big"), data[at] & 0x0F, data[at + 5])
        for at in range(4, len(data), 12)
    ]


async def test_the_report_in_both_formats(array: Array) -> None:
    host = array.host("a")
    assert await states(host) == [(1, 0, 0), (2, 0, 0)]
    command = bytearray(cdb.report_target_port_groups())
    command[1] |= 0x20
    extended = await host.run(bytes(command))
    assert extended[4:8] == bytes([0x10, 0, 0, 0])
    assert extended[8:] == (await host.run(cdb.report_target_port_groups()))[4:]
    command[1] |= 0x40
    assert await host.fails(bytes(command)) == (5, 0x24, 0)
    assert len(await host.run(cdb.report_target_port_groups(10))) == 10


async def test_the_operator_changes_a_state_and_everybody_is_told(array: Array) -> None:
    one, two = array.host("a", 1), array.host("a", 2)
    two.attentions(1)
    set_access_state(array.served, 2, "standby")
    assert (one.attentions(), two.attentions(), two.attentions(1)) == ([CHANGED], [CHANGED], [CHANGED])
    assert await states(one) == [(1, 0, 0), (2, 2, 2)]
    assert (one.reads_fast(), two.reads_fast()) == (True, False)
    assert await two.fails(READ) == (2, 0x04, 0x0B)
    assert await two.run(cdb.persistent_reserve_in(op.SA_READ_KEYS)) == bytes(8)
    assert await one.run(READ)
    set_access_state(array.served, 2, "active/non-optimized")
    two.attentions()
    assert two.reads_fast()
    set_access_state(array.served, 2, "active/non-optimized")  # nothing new: nobody is told
    assert two.attentions() == []
    with pytest.raises(ConfigError):
        set_access_state(array.served, 3, "standby")


async def test_a_change_of_the_configuration_is_followed(array: Array) -> None:
    host = array.host("a", 2)
    groups = [replace(group, access_state="unavailable") for group in array.served.config.groups]
    array.served.config = replace(array.served.config, groups=groups)
    host.nexus.remap()
    assert host.nexus.by_lun[0].attentions
    told = await host.fails(cdb.test_unit_ready())
    assert told == (6, *CHANGED)
    assert await host.fails(cdb.test_unit_ready()) == (2, 0x04, 0x0C)
    array.served.config = replace(array.served.config, groups=groups[:1])  # its own group is gone
    host.nexus.by_lun[0].refresh()
    assert await host.fails(READ) == (2, 0x04, 0x12)


async def test_an_initiator_sets_states_and_the_others_are_told(array: Array) -> None:
    heard: list[PortalGroup] = []
    array.served.port_groups.on_set = heard.append
    one, two = array.host("a", 1), array.host("b", 2)
    assert await one.run(*set_groups((2, alua.UNAVAILABLE), (1, alua.ACTIVE_OPTIMIZED))) == b""
    assert [group.tag for group in heard] == [2]
    assert await states(one) == [(1, 0, 0), (2, 3, 1)]
    told = await two.fails(cdb.test_unit_ready())
    assert told == (6, *CHANGED)
    assert await two.run(*set_groups((2, alua.ACTIVE_OPTIMIZED))) == b""
    assert two.reads_fast()


@pytest.mark.parametrize(
    ("changes", "length", "sense"),
    [
        ([(3, 0)], None, (5, 0x26, 0)),
        ([(1, alua.OFFLINE)], None, (5, 0x26, 0)),
        ([(1, alua.TRANSITIONING)], None, (5, 0x26, 0)),
        ([(1, 0)], 7, (5, 0x1A, 0)),
        ([(1, 0)] * 2000, None, (5, 0x1A, 0)),
    ],
)
async def test_states_that_cannot_be_set(
    array: Array, changes: list[tuple[int, int]], length: int | None, sense: tuple[int, int, int]
) -> None:
    host = array.host("a")
    assert await host.fails(*set_groups(*changes, length=length)) == sense
    assert await states(host) == [(1, 0, 0), (2, 0, 0)]
    assert await host.run(*set_groups(length=0)) == b""


async def test_a_unit_without_a_target_around_it(array: Array) -> None:
    nexus = array.host("a").nexus.by_lun[0]
    alone = type(nexus)(array.unit, {}, lun=0, read_only=False, lun_list=list)
    assert alone.target_ports() == [1]
    assert alone.groups.report() == [alua.TargetPortGroup(1, alua.ACTIVE_OPTIMIZED)]
    alone.groups.set_by_initiator({1: alua.STANDBY}, alone.id)
    assert alone.groups.state_of(1) == alua.STANDBY
