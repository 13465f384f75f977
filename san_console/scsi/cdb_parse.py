"""Command descriptor blocks taken apart, for a target and for whoever watches.

iSCSI carries CDBs in 16 octets, shorter ones padded with zeros (RFC 7143 §11.3.5), so everything here reads
from the front and takes more octets than the command has.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from san_console.scsi import cdb_formats as layout
from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData

Buffer: TypeAlias = bytes | bytearray | memoryview
BlockRange: TypeAlias = tuple[int, int, int]

ALL_256_BLOCKS = 256
"""SBC-2: a transfer length of zero in a six-byte READ or WRITE means this many blocks."""

_LBA_6_MASK = 0x1F_FFFF


def _rw_6(cdb: Buffer) -> BlockRange:
    _, address, blocks, _ = layout.RW_6.unpack_from(cdb)
    return int.from_bytes(address, "big") & _LBA_6_MASK, blocks or ALL_256_BLOCKS, 0


def _rw_10(cdb: Buffer) -> BlockRange:
    _, flags, lba, _, blocks, _ = layout.RW_10.unpack_from(cdb)
    return lba, blocks, flags


def _rw_12(cdb: Buffer) -> BlockRange:
    _, flags, lba, blocks, _, _ = layout.RW_12.unpack_from(cdb)
    return lba, blocks, flags


def _rw_16(cdb: Buffer) -> BlockRange:
    _, flags, lba, blocks, _, _ = layout.RW_16.unpack_from(cdb)
    return lba, blocks, flags


def _compare_and_write(cdb: Buffer) -> BlockRange:
    _, flags, lba, blocks, _, _ = layout.COMPARE.unpack_from(cdb)
    return lba, blocks, flags


def _write_atomic(cdb: Buffer) -> BlockRange:
    _, flags, lba, _, blocks, _, _ = layout.WRITE_ATOMIC.unpack_from(cdb)
    return lba, blocks, flags


_BLOCK_COMMANDS: dict[int, Callable[[Buffer], BlockRange]] = {
    op.READ_6: _rw_6,
    op.WRITE_6: _rw_6,
    op.READ_10: _rw_10,
    op.WRITE_10: _rw_10,
    op.WRITE_AND_VERIFY_10: _rw_10,
    op.VERIFY_10: _rw_10,
    op.PRE_FETCH_10: _rw_10,
    op.SYNCHRONIZE_CACHE_10: _rw_10,
    op.WRITE_SAME_10: _rw_10,
    op.READ_12: _rw_12,
    op.WRITE_12: _rw_12,
    op.WRITE_AND_VERIFY_12: _rw_12,
    op.VERIFY_12: _rw_12,
    op.READ_16: _rw_16,
    op.WRITE_16: _rw_16,
    op.ORWRITE_16: _rw_16,
    op.WRITE_AND_VERIFY_16: _rw_16,
    op.VERIFY_16: _rw_16,
    op.PRE_FETCH_16: _rw_16,
    op.SYNCHRONIZE_CACHE_16: _rw_16,
    op.WRITE_SAME_16: _rw_16,
    op.COMPARE_AND_WRITE: _compare_and_write,
    op.WRITE_ATOMIC_16: _write_atomic,
}


def decode_rw(cdb: Buffer) -> BlockRange:
    """`(lba, blocks, flags)` of any command on a range of blocks (SBC-3).

    Flags is octet 1, 0 for six-byte ones.

    Raises MalformedData for a CDB that is cut short or is no such command.
    """
    try:
        return _BLOCK_COMMANDS[cdb[0]](cdb)
    except (IndexError, struct.error):
        raise MalformedData(f"a CDB of {len(cdb)} octets is cut short") from None
    except KeyError:
        raise MalformedData(f"{cdb_name(cdb)} is no command on a range of blocks") from None


@dataclass(slots=True)
class BlockCommand:
    """READ, WRITE, VERIFY, SYNCHRONIZE CACHE, WRITE SAME and their kind; `flags` is octet 1."""

    opcode: int
    lba: int
    blocks: int
    flags: int

    @property
    def fua(self) -> bool:
        """Force unit access: the medium, not a cache."""
        return bool(self.flags & layout.FLAG_FUA)


@dataclass(slots=True)
class InquiryCommand:
    """`page` counts only with `evpd`; a page without it is an invalid field (SPC-4)."""

    evpd: bool
    page: int
    allocation: int


@dataclass(slots=True)
class RequestSenseCommand:
    """`descriptor` asks for descriptor format."""

    descriptor: bool
    allocation: int


@dataclass(slots=True)
class ModeSenseCommand:
    """MODE SENSE(6) and (10); `pc` 0 current, 1 changeable, 2 default, 3 saved."""

    opcode: int
    dbd: bool
    pc: int
    page: int
    subpage: int
    allocation: int


@dataclass(slots=True)
class ReportLunsCommand:
    """`select_report` 0: all but well-known, 1: well-known only, 2: all."""

    select_report: int
    allocation: int


@dataclass(slots=True)
class ServiceActionInCommand:
    """READ CAPACITY(16), GET LBA STATUS and the rest of operation code 9Eh."""

    service_action: int
    lba: int
    allocation: int


@dataclass(slots=True)
class MaintenanceInCommand:
    """Operation code A3h.

    `options` is octet 2, the requested command follows for the report of operation codes.
    """

    service_action: int
    options: int
    requested_opcode: int
    requested_service_action: int
    allocation: int


@dataclass(slots=True)
class UnmapCommand:
    """UNMAP, its list of ranges comes as data."""

    anchor: bool
    parameter_list_bytes: int


@dataclass(slots=True)
class StartStopCommand:
    """START STOP UNIT; `power_condition` 0 means that `start` and `load_eject` count."""

    immediate: bool
    power_condition: int
    load_eject: bool
    start: bool


@dataclass(slots=True)
class PersistentReserveInCommand:
    """PERSISTENT RESERVE IN."""

    service_action: int
    allocation: int


@dataclass(slots=True)
class PersistentReserveOutCommand:
    """PERSISTENT RESERVE OUT, its keys come as data."""

    service_action: int
    scope: int
    type: int
    parameter_list_bytes: int


@dataclass(slots=True)
class OtherCommand:
    """A command with no fields of interest, or one that is not known here."""

    opcode: int


ParsedCdb: TypeAlias = (
    BlockCommand
    | InquiryCommand
    | RequestSenseCommand
    | ModeSenseCommand
    | ReportLunsCommand
    | ServiceActionInCommand
    | MaintenanceInCommand
    | UnmapCommand
    | StartStopCommand
    | PersistentReserveInCommand
    | PersistentReserveOutCommand
    | OtherCommand
)


def _block_command(cdb: Buffer) -> BlockCommand:
    lba, blocks, flags = decode_rw(cdb)
    return BlockCommand(cdb[0], lba, blocks, flags)


def _inquiry(cdb: Buffer) -> InquiryCommand:
    _, flags, page, allocation, _ = layout.INQUIRY.unpack_from(cdb)
    return InquiryCommand(bool(flags & layout.FLAG_EVPD), page, allocation)


def _request_sense(cdb: Buffer) -> RequestSenseCommand:
    _, flags, allocation, _ = layout.ALLOCATION_6.unpack_from(cdb)
    return RequestSenseCommand(bool(flags & 1), allocation)


def _mode_sense(cdb: Buffer) -> ModeSenseCommand:
    format_ = layout.MODE_SENSE_6 if cdb[0] == op.MODE_SENSE_6 else layout.MODE_SENSE_10
    opcode, flags, page, subpage, allocation, _ = format_.unpack_from(cdb)
    return ModeSenseCommand(
        opcode, bool(flags & layout.FLAG_DBD), page >> 6, page & 0x3F, subpage, allocation
    )


def _report_luns(cdb: Buffer) -> ReportLunsCommand:
    _, select_report, allocation, _ = layout.REPORT_LUNS.unpack_from(cdb)
    return ReportLunsCommand(select_report, allocation)


def _service_action_in(cdb: Buffer) -> ServiceActionInCommand:
    _, service_action, lba, allocation, _, _ = layout.SERVICE_IN_16.unpack_from(cdb)
    return ServiceActionInCommand(service_action & 0x1F, lba, allocation)


def _maintenance_in(cdb: Buffer) -> MaintenanceInCommand:
    _, service_action, options, opcode, requested, allocation, _ = layout.MAINTENANCE_IN.unpack_from(cdb)
    return MaintenanceInCommand(service_action & 0x1F, options, opcode, requested, allocation)


def _unmap(cdb: Buffer) -> UnmapCommand:
    _, flags, _, parameter_list_bytes, _ = layout.UNMAP.unpack_from(cdb)
    return UnmapCommand(bool(flags & 1), parameter_list_bytes)


def _start_stop(cdb: Buffer) -> StartStopCommand:
    _, immediate, _, flags, _ = layout.START_STOP.unpack_from(cdb)
    return StartStopCommand(bool(immediate & 1), flags >> 4, bool(flags & 2), bool(flags & 1))


def _persistent_reserve_in(cdb: Buffer) -> PersistentReserveInCommand:
    _, service_action, allocation, _ = layout.PERSISTENT_RESERVE_IN.unpack_from(cdb)
    return PersistentReserveInCommand(service_action & 0x1F, allocation)


def _persistent_reserve_out(cdb: Buffer) -> PersistentReserveOutCommand:
    _, service_action, scope_type, parameter_list_bytes, _ = layout.PERSISTENT_RESERVE_OUT.unpack_from(cdb)
    return PersistentReserveOutCommand(
        service_action & 0x1F, scope_type >> 4, scope_type & 0x0F, parameter_list_bytes
    )


_PARSERS: dict[int, Callable[[Buffer], ParsedCdb]] = {
    **dict.fromkeys(_BLOCK_COMMANDS, _block_command),
    op.INQUIRY: _inquiry,
    op.REQUEST_SENSE: _request_sense,
    op.MODE_SENSE_6: _mode_sense,
    op.MODE_SENSE_10: _mode_sense,
    op.REPORT_LUNS: _report_luns,
    op.SERVICE_ACTION_IN_16: _service_action_in,
    op.MAINTENANCE_IN: _maintenance_in,
    op.UNMAP: _unmap,
    op.START_STOP_UNIT: _start_stop,
    op.PERSISTENT_RESERVE_IN: _persistent_reserve_in,
    op.PERSISTENT_RESERVE_OUT: _persistent_reserve_out,
}


def parse_cdb(cdb: Buffer) -> ParsedCdb:
    """The command in `cdb` as the dataclass for it.

    `OtherCommand` for one that has none. Raises MalformedData.
    """
    if not len(cdb):
        raise MalformedData("a CDB without an operation code")
    parser = _PARSERS.get(cdb[0])
    if parser is None:
        return OtherCommand(cdb[0])
    try:
        return parser(cdb)
    except struct.error:
        raise MalformedData(f"{cdb_name(cdb)} in {len(cdb)} octets is cut short") from None


_WITH_SERVICE_ACTION = frozenset(opcode for opcode, _ in op.SERVICE_ACTION_NAMES)


def cdb_name(cdb: Buffer) -> str:
    """The standard's name of the command, by its service action where that makes it; never fails."""
    if not len(cdb):
        return "empty CDB"
    opcode = cdb[0]
    name = op.OPCODE_NAMES.get(opcode, f"operation code {opcode:02x}h")
    if opcode in _WITH_SERVICE_ACTION and len(cdb) > 1:
        action = cdb[1] & 0x1F
        return op.SERVICE_ACTION_NAMES.get((opcode, action), f"{name}, service action {action:02x}h")
    return name


def describe(cdb: Buffer) -> str:
    """One line for a trace: the name and the fields that say what it does; never fails."""
    name = cdb_name(cdb)
    try:
        match parse_cdb(cdb):
            case BlockCommand(opcode=opcode, lba=lba, blocks=blocks, flags=flags):
                extent = f"{name} lba={lba} blocks={blocks}"
                # The same bits mean other things in VERIFY, SYNCHRONIZE CACHE and WRITE SAME.
                if opcode in _WITH_FUA:
                    extent += " FUA" if flags & layout.FLAG_FUA else ""
                    extent += " DPO" if flags & layout.FLAG_DPO else ""
                return extent
            case InquiryCommand(evpd=evpd, page=page, allocation=allocation):
                return f"{name} page={page:02x}h allocation={allocation}" if evpd else f"{name} {allocation=}"
            case ModeSenseCommand(page=page, subpage=subpage, allocation=allocation):
                return f"{name} page={page:02x}h/{subpage:02x}h {allocation=}"
            case ServiceActionInCommand(lba=lba, allocation=allocation):
                return f"{name} {lba=} {allocation=}"
            case ReportLunsCommand(allocation=allocation) | RequestSenseCommand(allocation=allocation):
                return f"{name} {allocation=}"
    except MalformedData:
        return f"{name} (cut short)"
    return name


_WITH_FUA = frozenset(
    {
        op.READ_10,
        op.READ_12,
        op.READ_16,
        op.WRITE_10,
        op.WRITE_12,
        op.WRITE_16,
        op.ORWRITE_16,
        op.COMPARE_AND_WRITE,
        op.WRITE_ATOMIC_16,
    }
)
