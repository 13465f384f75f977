"""MODE SENSE and MODE SELECT (SPC-4 §6.11, §6.13): caching, control and informational exceptions."""

from __future__ import annotations

import struct
from collections.abc import Callable

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import mode
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import ModeSenseCommand, parse_cdb
from san_console.scsi.errors import MalformedData
from san_console.scsi.mode_select import InvalidSelection, ModeSelection, parse_mode_select
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    MODE_PARAMETERS_CHANGED,
    PARAMETER_LIST_LENGTH_ERROR,
    SAVING_PARAMETERS_NOT_SUPPORTED,
    field_pointer,
)
from san_console.target.backstore import Buffer
from san_console.target.block_access import flush
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, usage
from san_console.target.device_state import ModeState
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus

_CURRENT, _CHANGEABLE, _DEFAULT, _SAVED = range(4)
_LLBAA = 0x10
_PF, _SP = 0x10, 0x01
_WCE, _D_SENSE, _SWP, _TAS = 0x04, 0x04, 0x08, 0x40

_PAGES: dict[int, Callable[[ModeState], bytes]] = {
    mode.CACHING: lambda state: mode.CachingPage(write_cache=state.write_cache).build(),
    mode.CONTROL: lambda state: mode.ControlPage(
        descriptor_sense=state.descriptor_sense,
        unrestricted_reordering=state.unrestricted_reordering,
        aborted_status=state.task_aborted_status,
        software_write_protect=state.software_write_protect,
    ).build(),
    mode.INFORMATIONAL_EXCEPTIONS: lambda state: mode.ExceptionsPage().build(),
}
# Page → octet → the bits of it that may be changed.
_CHANGEABLE_BITS: dict[int, dict[int, int]] = {
    mode.CACHING: {2: _WCE},
    mode.CONTROL: {2: _D_SENSE, 4: _SWP, 5: _TAS},
    mode.INFORMATIONAL_EXCEPTIONS: {},
}


def _mask(unit: LogicalUnit, code: int, size: int) -> bytes:
    mask = bytearray(size)
    if not (code == mode.CACHING and unit.backstore.volatile):  # memory has no cache to turn on or off
        for octet, bits in _CHANGEABLE_BITS[code].items():
            mask[octet] = bits
    return bytes(mask)


def current_state(unit: LogicalUnit) -> ModeState:
    """The mode parameters as they are; WCE follows the backstore."""
    unit.device.mode.write_cache = unit.backstore.write_cache
    return unit.device.mode


def _page(unit: LogicalUnit, code: int, pc: int) -> bytes:
    state = unit.device.default_mode if pc == _DEFAULT else current_state(unit)
    page = _PAGES[code](state)
    return page[:2] + _mask(unit, code, len(page))[2:] if pc == _CHANGEABLE else page


def mode_sense(nexus: UnitNexus, cdb: bytes) -> bytes:
    """MODE SENSE(6), (10). Nothing can be saved, so there are no saved values."""
    command = parse_cdb(cdb)
    assert isinstance(command, ModeSenseCommand)  # the table brought it here
    if command.pc == _SAVED:
        raise CheckCondition(SAVING_PARAMETERS_NOT_SUPPORTED)
    codes = [code for code in _PAGES if command.page in (code, mode.ALL_PAGES)]
    if not codes:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 5))
    if command.subpage not in (0, mode.ALL_SUBPAGES):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(3, 7))
    unit = nexus.unit
    ten = command.opcode == op.MODE_SENSE_10
    if command.dbd:
        descriptor = b""
    elif ten and cdb[1] & _LLBAA:
        descriptor = mode.long_descriptor(unit.blocks, unit.block_bytes)
    else:
        descriptor = mode.short_descriptor(unit.blocks, unit.block_bytes)
    protected = nexus.read_only or unit.device.mode.software_write_protect
    build = mode.build_10 if ten else mode.build_6
    pages = [_page(unit, code, command.pc) for code in codes]
    return build(pages, write_protected=protected, dpofua=True, descriptor=descriptor)[: command.allocation]


def mode_select_data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
    """The parameter list length."""
    ten = cdb[0] == op.MODE_SELECT_10
    length: int = struct.unpack_from(">H", cdb, 7)[0] if ten else cdb[4]
    if cdb[1] & _SP:  # nothing can be saved
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 0))
    if length and not cdb[1] & _PF:  # pages in the format of this standard only
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 4))
    return length


def mode_select(nexus: UnitNexus, task: TargetTask) -> Result:
    """MODE SELECT(6), (10)."""
    if not len(task.data_out):
        return b""
    try:
        selection = parse_mode_select(task.data_out, ten=task.cdb[0] == op.MODE_SELECT_10)
    except InvalidSelection as error:
        raise _invalid(error.octet) from None
    except MalformedData:
        raise CheckCondition(PARAMETER_LIST_LENGTH_ERROR) from None
    _check(nexus.unit, selection)
    return _apply(nexus, selection)


def _invalid(octet: int) -> CheckCondition:
    return CheckCondition(
        INVALID_FIELD_IN_PARAMETER_LIST, sense_key_specific=field_pointer(octet, in_cdb=False)
    )


def _check(unit: LogicalUnit, selection: ModeSelection) -> None:
    """Everything is checked before anything is changed."""
    # The geometry can be said again, but not changed.
    if selection.blocks not in (None, 0, unit.blocks, min(unit.blocks, 0xFFFF_FFFF)):
        raise _invalid(4)
    if selection.block_bytes not in (None, 0, unit.block_bytes):
        raise _invalid(8)
    for page, start in zip(selection.pages, selection.page_octets, strict=True):
        if page.code not in _PAGES or page.subpage:
            raise _invalid(start)
        now = _page(unit, page.code, _CURRENT)
        if len(page.data) != len(now):
            raise _invalid(start + 1)
        mask = _mask(unit, page.code, len(now))
        for octet in range(2, len(now)):
            if (page.data[octet] ^ now[octet]) & ~mask[octet]:
                raise _invalid(start + octet)


async def _apply(nexus: UnitNexus, selection: ModeSelection) -> Buffer:
    unit = nexus.unit
    state = current_state(unit)
    changed = False
    for page in selection.pages:
        if page.data == _page(unit, page.code, _CURRENT):
            continue
        changed = True
        if page.code == mode.CACHING:
            state.write_cache = bool(page.data[2] & _WCE)
        else:
            state.descriptor_sense = bool(page.data[2] & _D_SENSE)
            state.software_write_protect = bool(page.data[4] & _SWP)
            state.task_aborted_status = bool(page.data[5] & _TAS)
    if changed:
        unit.device.on_change()
        unit.attention(MODE_PARAMETERS_CHANGED, but=nexus)
    wanted = state.write_cache
    if unit.backstore.write_cache != wanted:
        unit.backstore.write_cache = wanted
        unit.device.on_change()
        if not wanted and not unit.backstore.read_only:
            await flush(nexus)  # what was acknowledged before may still be in the cache
    return b""


COMMANDS: dict[int, Command] = {
    op.MODE_SENSE_6: Command(answer(mode_sense), usage("08ffffff04")),
    op.MODE_SENSE_10: Command(answer(mode_sense), usage("18ffff000000ffff04")),
    op.MODE_SELECT_6: Command(mode_select, usage("110000ff04"), mode_select_data_out_bytes),
    op.MODE_SELECT_10: Command(mode_select, usage("110000000000ffff04"), mode_select_data_out_bytes),
}
