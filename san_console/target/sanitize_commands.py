"""SANITIZE (SBC-3 §4.11, §5.24): make what was ever written unreadable.

An operation goes on whatever becomes of the command, the session or the initiator. There is no cryptographic
erase, since nothing here is encrypted. What cannot be reached is not promised: copies that the file system or
the medium below made by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import opcodes as op
from san_console.scsi import sanitize as codec
from san_console.scsi.cdb_formats import SANITIZE
from san_console.scsi.errors import MalformedData
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    SANITIZE_COMMAND_FAILED,
    field_pointer,
)
from san_console.target.backstore import Buffer
from san_console.target.block_access import CHUNK_BYTES, aborted, chunks, flush, unmap, writable, write_bytes
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, by_action, usage
from san_console.target.device_state import SanitizeState
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus
from san_console.target.provisioning_commands import is_thin

UNMAP_STEP_BYTES = 64 << 20
BYTES_PER_S = 64 << 20
"""The pace of an overwrite. It fills the page cache otherwise, and every other LUN on the same medium waits
behind it.
"""
ABORT_POLL_S = 0.2


def _list_bytes(cdb: bytes) -> int:
    _, _, length, _ = SANITIZE.unpack_from(cdb)
    return int(length)


def _refuse_list(nexus: UnitNexus, cdb: bytes) -> int:
    if _list_bytes(cdb):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(7, 7))
    return 0


def erase_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """BLOCK ERASE has no parameter list."""
    writable(nexus)
    return _refuse_list(nexus, cdb)


def overwrite_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """OVERWRITE brings its pattern."""
    writable(nexus)
    length = _list_bytes(cdb)
    if not codec.MIN_LIST_BYTES <= length <= nexus.unit.block_bytes + codec.MIN_LIST_BYTES - 1:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(7, 7))
    return length


def overwrite(nexus: UnitNexus, task: TargetTask) -> Result:
    """SANITIZE, OVERWRITE."""
    unit = nexus.unit
    try:
        wanted = codec.parse_overwrite(task.data_out, unit.block_bytes)
    except MalformedData:
        raise CheckCondition(INVALID_FIELD_IN_PARAMETER_LIST) from None
    size = unit.blocks * unit.block_bytes
    state = SanitizeState(total=size * wanted.passes, unrestricted_exit=bool(task.cdb[1] & codec.AUSE))
    return _begin(nexus, task, state, _overwrite(nexus, wanted, state))


def _go_on(unit: LogicalUnit) -> None:
    """Whoever closes the unit or takes its medium away must not wait for the end. Raises CheckCondition."""
    if unit.device.closing or unit.offline:
        raise CheckCondition(SANITIZE_COMMAND_FAILED)


async def _overwrite(nexus: UnitNexus, wanted: codec.Overwrite, state: SanitizeState) -> None:
    unit = nexus.unit
    loop = asyncio.get_running_loop()
    started = loop.time()
    repeats = -(-unit.block_bytes // len(wanted.pattern))
    block = (wanted.pattern * repeats)[: unit.block_bytes]
    for number in range(wanted.passes):
        # With INVERT the last pass is the pattern as it was sent (SBC-3 table 117).
        inverted = wanted.invert and (wanted.passes - number) % 2 == 0
        content = bytes(octet ^ 0xFF for octet in block) if inverted else block
        data = memoryview(content * (CHUNK_BYTES // unit.block_bytes))
        for start, size in chunks(0, unit.blocks * unit.block_bytes):
            _go_on(unit)
            await write_bytes(nexus, start, data[:size])
            state.done += size
            early_s = state.done / BYTES_PER_S - (loop.time() - started)
            if early_s > 0:
                await asyncio.sleep(early_s)
        await flush(nexus)  # each pass has to reach the medium, or the next one replaces it in the cache


def block_erase(nexus: UnitNexus, task: TargetTask) -> Result:
    """SANITIZE, BLOCK ERASE: all space is given back; what is read afterwards is zeros (LBPRZ)."""
    unit = nexus.unit
    state = SanitizeState(
        total=unit.blocks * unit.block_bytes, unrestricted_exit=bool(task.cdb[1] & codec.AUSE)
    )
    return _begin(nexus, task, state, _block_erase(nexus, state))


async def _block_erase(nexus: UnitNexus, state: SanitizeState) -> None:
    for start, size in chunks(0, state.total, UNMAP_STEP_BYTES):
        _go_on(nexus.unit)
        await unmap(nexus, [(start, size)])
        state.done += size
    await flush(nexus)


def _begin(
    nexus: UnitNexus, task: TargetTask, state: SanitizeState, work: Coroutine[Any, Any, None]
) -> Result:
    unit = nexus.unit
    unit.device.sanitize = state
    unit.device.on_change()
    ended = asyncio.Event()
    unit.run(_operate(unit, state, work, ended))
    return b"" if task.cdb[1] & codec.IMMED else _wait(task, state, ended)


async def _operate(
    unit: LogicalUnit, state: SanitizeState, work: Coroutine[Any, Any, None], ended: asyncio.Event
) -> None:
    try:
        # What was received before the operation began is written before or after it, never into it.
        async with unit.exclusively(0, unit.blocks):
            await work
    except CheckCondition as failure:
        state.failure = failure
        return
    else:
        unit.device.sanitize = None
    finally:
        state.running = False
        unit.device.on_change()
        ended.set()


async def _wait(task: TargetTask, state: SanitizeState, ended: asyncio.Event) -> Buffer:
    while not ended.is_set():
        # A task that is aborted has to be let go of, while the operation goes on.
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), ABORT_POLL_S)
        if aborted(task):
            return b""
    if state.failure is not None:
        raise state.failure
    return b""


def exit_failure_mode(nexus: UnitNexus, task: TargetTask) -> Result:
    """SANITIZE, EXIT FAILURE MODE: go on although an operation failed, if its command allowed that (AUSE)."""
    device = nexus.unit.device
    if device.sanitize is not None:
        if not device.sanitize.unrestricted_exit:
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 4))
        device.sanitize = None
        device.on_change()
    return b""


_USAGE = usage("bf0000000000ffff04")

COMMANDS: dict[int, Command] = {
    op.SANITIZE: by_action(
        {
            op.SA_SANITIZE_OVERWRITE: Command(overwrite, _USAGE, overwrite_data_out_bytes, strict=True),
            op.SA_SANITIZE_BLOCK_ERASE: Command(
                block_erase, _USAGE, erase_data_out_bytes, supported=is_thin, strict=True
            ),
            op.SA_SANITIZE_EXIT_FAILURE_MODE: Command(exit_failure_mode, _USAGE, _refuse_list, strict=True),
        }
    )
}
