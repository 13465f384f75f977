"""REPORT SUPPORTED OPERATION CODES: every command, with usage maps that agree with what is done."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from san_console.scsi import opcodes as op
from san_console.target.command import cdb_bytes
from san_console.target.device_server import COMMANDS
from tests.target.disk import INVALID_FIELD, INVALID_OPCODE, Disk


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    one = Disk("memory:1M,thin")
    yield one
    await one.unit.close()


def supported(options: int, opcode: int = 0, action: int = 0, allocation: int = 8192) -> bytes:
    head = bytes([op.MAINTENANCE_IN, 0x0C, options, opcode]) + action.to_bytes(2, "big")
    return head + allocation.to_bytes(4, "big") + b"\0\0"


async def rows(disk: Disk) -> set[tuple[int, int, bool]]:
    data = await disk.run(supported(0))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    return {
        (data[i], int.from_bytes(data[i + 2 : i + 4], "big"), bool(data[i + 5] & 1))
        for i in range(4, len(data), 8)
    }


async def test_each_row_can_be_asked_for(disk: Disk) -> None:
    for opcode, action, has_action in await rows(disk):
        one = await disk.run(supported(0x80 | (2 if has_action else 1), opcode, action))
        size = int.from_bytes(one[2:4], "big")
        assert one[1] == 0x83
        assert size == cdb_bytes(opcode)
        assert one[4] == opcode
        if has_action:
            assert one[5] & 0x1F == action
        assert len(one) == 4 + size + 12
        assert int.from_bytes(one[-4:], "big") >= 60
        either = await disk.run(supported(3, opcode, action))
        assert either == bytes([0, 3]) + one[2 : 4 + size]
        assert await disk.fails(supported(1 if has_action else 2, opcode, action)) == INVALID_FIELD


async def test_what_a_unit_does_not_have_is_not_listed(disk: Disk) -> None:
    full = Disk("null:1M")
    here, there = await rows(disk), await rows(full)
    assert {(op.UNMAP, 0, False), (op.SANITIZE, 2, True)} <= here - there
    assert (await full.run(supported(1, op.UNMAP)))[1] == 1
    assert (await full.run(supported(2, op.SANITIZE, 2)))[1] == 1
    assert await full.fails(bytes([op.UNMAP]) + bytes(9)) == INVALID_OPCODE
    await full.unit.close()


async def test_what_is_not_listed_is_refused(disk: Disk) -> None:
    listed = {opcode for opcode, _, _ in await rows(disk)}
    for opcode in range(256):
        if opcode not in listed:
            assert await disk.fails(bytes([opcode])) == INVALID_OPCODE
    with_actions = {opcode for opcode, _, has_action in await rows(disk) if has_action}
    for opcode in with_actions:
        known = {action for code, action, _ in await rows(disk) if code == opcode}
        unknown = next(action for action in range(32) if action not in known)
        assert (await disk.run(supported(2, opcode, unknown)))[1] == 1
        assert await disk.fails(bytes([opcode, unknown])) == INVALID_FIELD


async def test_naca_is_refused_everywhere(disk: Disk) -> None:
    for opcode, action, has_action in await rows(disk):
        command = bytearray(cdb_bytes(opcode))
        command[0] = opcode
        command[1] = action if has_action else 0
        command[-1] = 0x04
        sense = await disk.refused(bytes(command))
        assert (sense.key, sense.asc, sense.sense_key_specific) == (
            5,
            0x24,
            bytes([0xCA, 0, len(command) - 1]),
        ), f"{opcode:02x}"


async def test_reserved_options_and_lengths(disk: Disk) -> None:
    assert await disk.fails(supported(4, op.READ_10)) == INVALID_FIELD
    assert len(await disk.run(supported(0, allocation=20))) == 20
    assert (await disk.run(supported(1, 0xC7)))[1] == 1
    assert {entry for entry in COMMANDS if COMMANDS[entry].actions} >= {0x9E, 0xA3}


def management(options: int, allocation: int) -> bytes:
    return bytes([op.MAINTENANCE_IN, 0x0D, options, 0, 0, 0]) + allocation.to_bytes(4, "big") + b"\0\0"


async def test_task_management_functions(disk: Disk) -> None:
    assert await disk.run(management(0, 16)) == bytes([0xDE, 0x07, 0, 0])
    extended = await disk.run(management(0x80, 16))
    assert extended[:5] == bytes([0xDE, 0x07, 0, 12, 1])
    assert len(extended) == 16
    assert await disk.fails(management(0, 3)) == INVALID_FIELD
