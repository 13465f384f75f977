"""Command descriptor blocks: built here for an initiator, taken apart for a target by `cdb_parse`."""

import struct

from san_console.scsi import cdb_formats as layout
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import cdb_name as cdb_name
from san_console.scsi.cdb_parse import decode_rw as decode_rw
from san_console.scsi.cdb_parse import describe as describe
from san_console.scsi.cdb_parse import parse_cdb as parse_cdb
from san_console.scsi.errors import UnencodableValue

_LBA_10_MAX = 0xFFFF_FFFF
_BLOCKS_10_MAX = 0xFFFF


def _pack(format_: struct.Struct, *values: int | bytes) -> bytes:
    try:
        return format_.pack(*values)
    except struct.error as error:
        raise UnencodableValue(f"a field of the CDB cannot hold its value: {error}") from None


def test_unit_ready() -> bytes:
    """TEST UNIT READY (SPC-4)."""
    return bytes(6)


test_unit_ready.__test__ = False  # type: ignore[attr-defined]  # keeps pytest from collecting the SCSI name


def inquiry(page: int | None = None, allocation: int = 255) -> bytes:
    """INQUIRY (SPC-4): the standard data, or VPD `page`; at most `allocation` octets come back."""
    evpd = 0 if page is None else layout.FLAG_EVPD
    return _pack(layout.INQUIRY, op.INQUIRY, evpd, page or 0, allocation, 0)


def request_sense(allocation: int = 252, *, descriptor: bool = False) -> bytes:
    """REQUEST SENSE (SPC-4)."""
    return _pack(layout.ALLOCATION_6, op.REQUEST_SENSE, int(descriptor), allocation, 0)


def report_luns(allocation: int = 16384, *, select_report: int = 0) -> bytes:
    """REPORT LUNS (SPC-4); `select_report` 0 is all but the well-known units."""
    return _pack(layout.REPORT_LUNS, op.REPORT_LUNS, select_report, allocation, 0)


def read_capacity_10() -> bytes:
    """READ CAPACITY(10) (SBC-3)."""
    return _pack(layout.CAPACITY_10, op.READ_CAPACITY_10, 0, 0, 0)


def read_capacity_16(allocation: int = 32) -> bytes:
    """READ CAPACITY(16) (SBC-3)."""
    return _pack(layout.SERVICE_IN_16, op.SERVICE_ACTION_IN_16, op.SA_READ_CAPACITY_16, 0, allocation, 0, 0)


def get_lba_status(lba: int, allocation: int = 4096) -> bytes:
    """GET LBA STATUS (SBC-3), from `lba` on."""
    return _pack(layout.SERVICE_IN_16, op.SERVICE_ACTION_IN_16, op.SA_GET_LBA_STATUS, lba, allocation, 0, 0)


def _rw_flags(fua: bool, dpo: bool) -> int:
    return (layout.FLAG_FUA if fua else 0) | (layout.FLAG_DPO if dpo else 0)


def read_10(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """READ(10) (SBC-3)."""
    return _pack(layout.RW_10, op.READ_10, _rw_flags(fua, dpo), lba, 0, blocks, 0)


def read_16(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """READ(16) (SBC-3)."""
    return _pack(layout.RW_16, op.READ_16, _rw_flags(fua, dpo), lba, blocks, 0, 0)


def write_10(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """WRITE(10) (SBC-3)."""
    return _pack(layout.RW_10, op.WRITE_10, _rw_flags(fua, dpo), lba, 0, blocks, 0)


def write_16(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """WRITE(16) (SBC-3)."""
    return _pack(layout.RW_16, op.WRITE_16, _rw_flags(fua, dpo), lba, blocks, 0, 0)


def read(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """READ(10), or READ(16) where the address or the length does not fit into it."""
    if lba <= _LBA_10_MAX and blocks <= _BLOCKS_10_MAX:
        return read_10(lba, blocks, fua=fua, dpo=dpo)
    return read_16(lba, blocks, fua=fua, dpo=dpo)


def write(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """WRITE(10), or WRITE(16) where the address or the length does not fit into it."""
    if lba <= _LBA_10_MAX and blocks <= _BLOCKS_10_MAX:
        return write_10(lba, blocks, fua=fua, dpo=dpo)
    return write_16(lba, blocks, fua=fua, dpo=dpo)


def synchronize_cache(lba: int = 0, blocks: int = 0, *, immediate: bool = False) -> bytes:
    """SYNCHRONIZE CACHE (SBC-3); `blocks` of 0 means up to the end of the medium."""
    flags = layout.FLAG_IMMED if immediate else 0
    if lba <= _LBA_10_MAX and blocks <= _BLOCKS_10_MAX:
        return _pack(layout.RW_10, op.SYNCHRONIZE_CACHE_10, flags, lba, 0, blocks, 0)
    return _pack(layout.RW_16, op.SYNCHRONIZE_CACHE_16, flags, lba, blocks, 0, 0)


def verify(lba: int, blocks: int, *, byte_check: bool = False) -> bytes:
    """VERIFY (SBC-3); with `byte_check` the data sent along is compared."""
    flags = layout.FLAG_BYTCHK if byte_check else 0
    if lba <= _LBA_10_MAX and blocks <= _BLOCKS_10_MAX:
        return _pack(layout.RW_10, op.VERIFY_10, flags, lba, 0, blocks, 0)
    return _pack(layout.RW_16, op.VERIFY_16, flags, lba, blocks, 0, 0)


def write_same_16(lba: int, blocks: int, *, unmap: bool = False, no_data: bool = False) -> bytes:
    """WRITE SAME(16) (SBC-3); `no_data` (NDOB) writes zeros and sends no block."""
    flags = (layout.FLAG_UNMAP if unmap else 0) | (layout.FLAG_NDOB if no_data else 0)
    return _pack(layout.RW_16, op.WRITE_SAME_16, flags, lba, blocks, 0, 0)


def compare_and_write(lba: int, blocks: int, *, fua: bool = False, dpo: bool = False) -> bytes:
    """COMPARE AND WRITE (SBC-3): twice `blocks` of data go out, to compare and to write."""
    return _pack(layout.COMPARE, op.COMPARE_AND_WRITE, _rw_flags(fua, dpo), lba, blocks, 0, 0)


def unmap(parameter_list_bytes: int, *, anchor: bool = False) -> bytes:
    """UNMAP (SBC-3); the list itself is built by `provisioning.build_unmap_list`."""
    return _pack(layout.UNMAP, op.UNMAP, int(anchor), 0, parameter_list_bytes, 0)


def mode_sense_6(
    page: int, subpage: int = 0, allocation: int = 255, *, dbd: bool = False, pc: int = 0
) -> bytes:
    """MODE SENSE(6) (SPC-4); `pc` 0 current, 1 changeable, 2 default, 3 saved values."""
    flags = layout.FLAG_DBD if dbd else 0
    return _pack(layout.MODE_SENSE_6, op.MODE_SENSE_6, flags, pc << 6 | page, subpage, allocation, 0)


def mode_sense_10(
    page: int, subpage: int = 0, allocation: int = 4096, *, dbd: bool = False, pc: int = 0
) -> bytes:
    """MODE SENSE(10) (SPC-4); `pc` as for MODE SENSE(6)."""
    flags = layout.FLAG_DBD if dbd else 0
    return _pack(layout.MODE_SENSE_10, op.MODE_SENSE_10, flags, pc << 6 | page, subpage, allocation, 0)


def start_stop_unit(*, start: bool, load_eject: bool = False, immediate: bool = False) -> bytes:
    """START STOP UNIT (SBC-3)."""
    flags = int(start) | (0x02 if load_eject else 0)
    return _pack(layout.START_STOP, op.START_STOP_UNIT, int(immediate), 0, flags, 0)


def report_supported_opcodes(
    allocation: int = 8192,
    *,
    opcode: int | None = None,
    service_action: int | None = None,
    rctd: bool = False,
) -> bytes:
    """REPORT SUPPORTED OPERATION CODES (SPC-4): all, or one `opcode` (and `service_action`)."""
    options = 0 if opcode is None else 1 if service_action is None else 2
    return _pack(
        layout.MAINTENANCE_IN,
        op.MAINTENANCE_IN,
        op.SA_REPORT_SUPPORTED_OPERATION_CODES,
        options | (0x80 if rctd else 0),
        opcode or 0,
        service_action or 0,
        allocation,
        0,
    )


def report_target_port_groups(allocation: int = 4096) -> bytes:
    """REPORT TARGET PORT GROUPS (SPC-4)."""
    service_action = op.SA_REPORT_TARGET_PORT_GROUPS
    return _pack(layout.MAINTENANCE_IN, op.MAINTENANCE_IN, service_action, 0, 0, 0, allocation, 0)


def persistent_reserve_in(service_action: int, allocation: int = 4096) -> bytes:
    """PERSISTENT RESERVE IN (SPC-4)."""
    return _pack(layout.PERSISTENT_RESERVE_IN, op.PERSISTENT_RESERVE_IN, service_action, allocation, 0)


def persistent_reserve_out(service_action: int, scope_type: int = 0, parameter_list_bytes: int = 24) -> bytes:
    """PERSISTENT RESERVE OUT (SPC-4); `scope_type` has the scope in its upper four bits."""
    return _pack(
        layout.PERSISTENT_RESERVE_OUT,
        op.PERSISTENT_RESERVE_OUT,
        service_action,
        scope_type,
        parameter_list_bytes,
        0,
    )
