"""Commands about the unit itself (SPC-4 §6, SBC-3 §5.15): INQUIRY, REPORT LUNS, MODE SENSE, READ CAPACITY
and the rest.

Each takes the nexus and the CDB and gives the data, cut to the allocation length.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from san_console.iscsi.target_task import TargetTask
from san_console.scsi import capacity, luns, mode, vpd
from san_console.scsi import designators as ids
from san_console.scsi import inquiry as inquiry_data
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import (
    InquiryCommand,
    ModeSenseCommand,
    PersistentReserveInCommand,
    ReportLunsCommand,
    RequestSenseCommand,
    ServiceActionInCommand,
    parse_cdb,
)
from san_console.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LUN_NOT_SUPPORTED,
    NO_ADDITIONAL_SENSE,
    SAVING_PARAMETERS_NOT_SUPPORTED,
    Condition,
    build_descriptor,
    build_fixed,
    field_pointer,
)
from san_console.scsi.status import CHECK_CONDITION, GOOD
from san_console.target.backstore import Buffer
from san_console.target.block_commands import (
    MAX_TRANSFER_BYTES,
    MAX_UNMAP_BYTES,
    MAX_UNMAP_DESCRIPTORS,
    MAX_WRITE_SAME_BYTES,
)
from san_console.target.check_condition import CheckCondition
from san_console.target.logical_unit import LogicalUnit, UnitNexus

# Pages of the page cache, and blocks of today's media. A hint for alignment (VPD page B0); READ
# CAPACITY(16) claims no larger physical block, since each logical block is taken and given back by itself.
GRANULARITY_BYTES = 4096
OPTIMAL_TRANSFER_BYTES = 1 << 20
RELATIVE_TARGET_PORT = 1  # a target has one portal group here, hence one port
DISK_PAGES = (
    vpd.UNIT_SERIAL_NUMBER,
    vpd.DEVICE_IDENTIFICATION,
    vpd.EXTENDED_INQUIRY,
    vpd.BLOCK_LIMITS,
    vpd.BLOCK_CHARACTERISTICS,
    vpd.LOGICAL_BLOCK_PROVISIONING,
)


def nothing(nexus: UnitNexus, cdb: bytes) -> bytes:
    """TEST UNIT READY, PREVENT ALLOW MEDIUM REMOVAL: it is ready, and its medium is not removable."""
    return b""


def start_stop(nexus: UnitNexus, cdb: bytes) -> bytes:
    """START STOP UNIT: nothing here spins. Loading and ejecting needs a removable medium (SBC-3 §5.25)."""
    if cdb[4] & 2:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(4, 1))
    return b""


def request_sense(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REQUEST SENSE: the pending unit attention, which is thereby told (SPC-4 §6.39)."""
    command = parse_cdb(cdb)
    assert isinstance(command, RequestSenseCommand)  # the table brought it here
    condition = nexus.attentions.pop(0) if nexus.attentions else NO_ADDITIONAL_SENSE
    return _sense(condition, command)


def _sense(condition: Condition, command: RequestSenseCommand) -> bytes:
    build = build_descriptor if command.descriptor else build_fixed
    return build(*condition)[: command.allocation]


# INQUIRY


def inquiry(nexus: UnitNexus, cdb: bytes) -> bytes:
    """INQUIRY: standard data, or a VPD page."""
    command = parse_cdb(cdb)
    assert isinstance(command, InquiryCommand)  # the table brought it here
    unit = nexus.unit
    if not command.evpd:
        if command.page:
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
        config = unit.config
        return inquiry_data.StandardInquiry(
            vendor=config.vendor, product=config.product, revision=config.revision
        ).build()[: command.allocation]
    build = _VPD_PAGES.get(command.page)
    if build is None:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return build(unit)[: command.allocation]


def _identification(unit: LogicalUnit) -> bytes:
    port_name = f"{unit.target_name},t,0x{unit.tpgt:04x}"  # RFC 7143 §4.4.1
    return vpd.build_identification(
        [
            ids.naa(unit.naa),
            ids.t10_vendor_id(unit.config.vendor, unit.serial),
            ids.relative_target_port(RELATIVE_TARGET_PORT),
            ids.target_port_group(unit.tpgt),
            ids.scsi_name(port_name, ids.ASSOCIATION_TARGET_PORT),
            ids.scsi_name(unit.target_name, ids.ASSOCIATION_TARGET_DEVICE),
        ]
    )


def _block_limits(unit: LogicalUnit) -> bytes:
    thin = unit.backstore.thin
    granularity_blocks = GRANULARITY_BYTES // unit.block_bytes
    return vpd.BlockLimits(
        optimal_transfer_granularity_blocks=granularity_blocks,
        maximum_transfer_blocks=MAX_TRANSFER_BYTES // unit.block_bytes,
        optimal_transfer_blocks=OPTIMAL_TRANSFER_BYTES // unit.block_bytes,
        maximum_unmap_blocks=min(MAX_UNMAP_BYTES // unit.block_bytes, 0xFFFFFFFF) if thin else 0,
        maximum_unmap_descriptors=MAX_UNMAP_DESCRIPTORS if thin else 0,
        optimal_unmap_granularity_blocks=granularity_blocks if thin else 0,
        maximum_write_same_blocks=MAX_WRITE_SAME_BYTES // unit.block_bytes,
        write_same_non_zero=True,
    ).build()


def _provisioning(unit: LogicalUnit) -> bytes:
    thin = unit.backstore.thin
    return vpd.LogicalBlockProvisioning(
        unmap=thin,
        write_same_16=thin,
        write_same_10=thin,
        reads_zeros=thin,
        provisioning_type=vpd.PROVISIONING_THIN if thin else vpd.PROVISIONING_FULL,
    ).build()


_VPD_PAGES: dict[int, Callable[[LogicalUnit], bytes]] = {
    vpd.SUPPORTED_PAGES: lambda unit: vpd.build_supported_pages(DISK_PAGES),
    vpd.UNIT_SERIAL_NUMBER: lambda unit: vpd.build_serial_number(unit.serial),
    vpd.DEVICE_IDENTIFICATION: _identification,
    vpd.EXTENDED_INQUIRY: lambda unit: vpd.ExtendedInquiry(volatile_cache=unit.backstore.write_cache).build(),
    vpd.BLOCK_LIMITS: _block_limits,
    vpd.BLOCK_CHARACTERISTICS: lambda unit: vpd.BlockCharacteristics(vpd.ROTATION_NONE).build(),
    vpd.LOGICAL_BLOCK_PROVISIONING: _provisioning,
}


# REPORT LUNS


def report_luns(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REPORT LUNS: what this session sees."""
    return _report_luns(nexus.lun_list(), cdb)


def _report_luns(numbers: list[int], cdb: bytes) -> bytes:
    command = parse_cdb(cdb)
    assert isinstance(command, ReportLunsCommand)  # the table brought it here
    if command.select_report > 2 or command.allocation < 16:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    # There is no well-known logical unit, which is all that 1 asks for.
    return luns.build([] if command.select_report == 1 else numbers)[: command.allocation]


# MODE SENSE

_CHANGEABLE, _SAVED = 1, 3


def _mode_pages(unit: LogicalUnit) -> dict[int, bytes]:
    return {
        mode.CACHING: mode.CachingPage(write_cache=unit.backstore.write_cache).build(),
        mode.CONTROL: mode.ControlPage().build(),
        mode.INFORMATIONAL_EXCEPTIONS: mode.ExceptionsPage().build(),
    }


def mode_sense(nexus: UnitNexus, cdb: bytes) -> bytes:
    """MODE SENSE(6), (10). No page can be changed, so the changeable values are zeros."""
    command = parse_cdb(cdb)
    assert isinstance(command, ModeSenseCommand)  # the table brought it here
    if command.pc == _SAVED:
        raise CheckCondition(SAVING_PARAMETERS_NOT_SUPPORTED)
    pages = _mode_pages(nexus.unit)
    if command.page != mode.ALL_PAGES:
        pages = {code: page for code, page in pages.items() if code == command.page}
    if not pages or command.subpage not in (0, mode.ALL_SUBPAGES):
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 5))
    wanted = list(pages.values())
    if command.pc == _CHANGEABLE:
        wanted = [page[:2] + bytes(len(page) - 2) for page in wanted]
    unit = nexus.unit
    descriptor = b"" if command.dbd else mode.short_descriptor(unit.blocks, unit.block_bytes)
    build = mode.build_6 if command.opcode == op.MODE_SENSE_6 else mode.build_10
    return build(wanted, write_protected=nexus.read_only, dpofua=True, descriptor=descriptor)[
        : command.allocation
    ]


# READ CAPACITY


def _capacity(unit: LogicalUnit) -> capacity.Capacity:
    return capacity.Capacity(
        blocks=unit.blocks,
        block_bytes=unit.block_bytes,
        lbpme=unit.backstore.thin,
        lbprz=unit.backstore.thin,
    )


def read_capacity_10(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ CAPACITY(10). An LBA needs the PMI bit, which is obsolete (SBC-3 §5.15)."""
    if any(cdb[2:6]) and not cdb[8] & 1:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return capacity.build_10(_capacity(nexus.unit))


def read_capacity_16(nexus: UnitNexus, cdb: bytes) -> bytes:
    """READ CAPACITY(16)."""
    command = parse_cdb(cdb)
    assert isinstance(command, ServiceActionInCommand)  # the table brought it here
    if command.lba and not cdb[14] & 1:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return capacity.build_16(_capacity(nexus.unit))[: command.allocation]


# What is there is told, and there is little of it: no reservations, and the task management of
# `target_task_management`.

_TASK_MANAGEMENT = struct.Struct(">BB2x")
_ABORT_TASK_AND_SETS_AND_RESET = 0x80 | 0x40 | 0x10 | 0x08  # ATS, ATSS, CTSS, LURS (SPC-4 §6.32)


def report_supported_task_management(nexus: UnitNexus, cdb: bytes) -> bytes:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS."""
    (allocation,) = struct.unpack_from(">I", cdb, 6)
    return _TASK_MANAGEMENT.pack(_ABORT_TASK_AND_SETS_AND_RESET, 0)[:allocation]


_RESERVATION_HEADER = struct.Struct(">II")
_CAPABILITIES = struct.Struct(">HBBH2x")


def _no_reservations(nexus: UnitNexus, cdb: bytes) -> bytes:
    return _RESERVATION_HEADER.pack(0, 0)[: _reservation_allocation(cdb)]


def _no_capabilities(nexus: UnitNexus, cdb: bytes) -> bytes:
    return _CAPABILITIES.pack(_CAPABILITIES.size, 0, 0, 0)[: _reservation_allocation(cdb)]


def _reservation_allocation(cdb: bytes) -> int:
    command = parse_cdb(cdb)
    assert isinstance(command, PersistentReserveInCommand)  # the table brought it here
    return command.allocation


PERSISTENT_RESERVE_IN: dict[int, Callable[[UnitNexus, bytes], bytes]] = {
    op.SA_READ_KEYS: _no_reservations,
    op.SA_READ_RESERVATION: _no_reservations,
    op.SA_REPORT_CAPABILITIES: _no_capabilities,
    op.SA_READ_FULL_STATUS: _no_reservations,
}


class UnmappedUnit:
    """Answers for every LUN that the session does not see (SPC-4 §5.5.2). Implements
    `iscsi.target_device.LogicalUnit`.
    """

    def __init__(self, lun_list: Callable[[], list[int]]) -> None:
        self._lun_list = lun_list

    def read_now(self, cdb: bytes, length: int, arena: object) -> None:
        return None

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        return False

    def prepare(self, task: TargetTask) -> int:
        return 0

    def execute(self, task: TargetTask) -> None:
        try:
            task.complete(GOOD, self._answer(task.cdb))
        except CheckCondition as answer:
            task.complete(CHECK_CONDITION, b"", answer.sense)

    def _answer(self, cdb: bytes) -> bytes:
        if cdb[0] == op.REPORT_LUNS:
            return _report_luns(self._lun_list(), cdb)
        command = parse_cdb(cdb)
        if isinstance(command, InquiryCommand):
            if command.evpd or command.page:
                raise CheckCondition(INVALID_FIELD_IN_CDB)
            return inquiry_data.unsupported_lun()[: command.allocation]
        if isinstance(command, RequestSenseCommand):
            return _sense(LUN_NOT_SUPPORTED, command)
        raise CheckCondition(LUN_NOT_SUPPORTED)
