"""LOG SENSE (SPC-4 §6.8). Pages that would have to be made up (temperature, error counters of a medium that
is a file) are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import log_pages as pages
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import LOG_SENSE
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, usage
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus

THRESHOLD_SET_BYTES = 1 << 20
"""The unit of the counts in page 0Ch, told in VPD page B2 as a power of two of blocks."""

_PPC, _SP = 0x02, 0x01
_CUMULATIVE = 1


async def _provisioning(unit: LogicalUnit) -> list[pages.Parameter]:
    loop = asyncio.get_running_loop()
    try:
        usage_now = await loop.run_in_executor(None, unit.backstore.usage)
    except OSError as error:
        raise unit.report_error(error, writing=False) from error
    used = -(-usage_now.used_bytes // THRESHOLD_SET_BYTES)
    found = [pages.resource_count(pages.PARAMETER_USED, used, shared=False)]
    if usage_now.available_bytes is not None:
        available = usage_now.available_bytes // THRESHOLD_SET_BYTES
        # The free space of the file system is there for its other files, too.
        found.insert(0, pages.resource_count(pages.PARAMETER_AVAILABLE, available, shared=True))
    return found


async def _exceptions(unit: LogicalUnit) -> list[pages.Parameter]:
    return [pages.exception(0, 0)]


_PAGES: dict[int, Callable[[LogicalUnit], Awaitable[list[pages.Parameter]]]] = {
    pages.LOGICAL_BLOCK_PROVISIONING: _provisioning,
    pages.INFORMATIONAL_EXCEPTIONS: _exceptions,
}


def _available(unit: LogicalUnit) -> list[int]:
    return [
        pages.SUPPORTED_LOG_PAGES,
        *(code for code in _PAGES if code != pages.LOGICAL_BLOCK_PROVISIONING or unit.backstore.thin),
    ]


def check_log_sense(nexus: UnitNexus, cdb: bytes) -> int:
    """LOG SENSE takes nothing; its CDB is checked here."""
    _, flags, page, subpage, _, _, _ = LOG_SENSE.unpack_from(cdb)
    if flags & (_PPC | _SP):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 1))
    if page >> 6 != _CUMULATIVE:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    if page & 0x3F not in _available(nexus.unit):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 5))
    if subpage not in (0, pages.ALL_SUBPAGES) or (subpage and page & 0x3F):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(3, 7))
    return 0


def log_sense(nexus: UnitNexus, task: TargetTask) -> Result:
    """LOG SENSE."""
    _, _, page, subpage, pointer, allocation, _ = LOG_SENSE.unpack_from(task.cdb)
    code = page & 0x3F
    if code != pages.SUPPORTED_LOG_PAGES:
        return _log_page(nexus.unit, code, pointer, allocation)
    codes = _available(nexus.unit)
    body = b"".join(bytes((one, 0)) for one in codes) if subpage else bytes(codes)
    return pages.build_log_page(0, body, subpage=subpage)[:allocation]


async def _log_page(unit: LogicalUnit, code: int, pointer: int, allocation: int) -> Buffer:
    parameters = await _PAGES[code](unit)
    if pointer > parameters[-1].code:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(5, 7))
    body = pages.build_parameters(one for one in parameters if one.code >= pointer)
    return pages.build_log_page(code, body)[:allocation]


COMMANDS: dict[int, Command] = {
    op.LOG_SENSE: Command(log_sense, usage("00ffff00ffffffff04"), check_log_sense),
}
