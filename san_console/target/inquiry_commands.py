"""INQUIRY (SPC-4 §6.6): standard data and vital product data."""

from __future__ import annotations

from collections.abc import Callable

from san_console.scsi import designators as ids
from san_console.scsi import extended_copy as copies
from san_console.scsi import inquiry as standard
from san_console.scsi import opcodes as op
from san_console.scsi import vpd
from san_console.scsi.cdb_parse import InquiryCommand, parse_cdb
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, field_pointer
from san_console.target.atomic_commands import MAX_COMPARE_BLOCKS, atomic_blocks
from san_console.target.block_access import MAX_TRANSFER_BYTES
from san_console.target.check_condition import CheckCondition
from san_console.target.command import Command, answer, usage
from san_console.target.log_commands import THRESHOLD_SET_BYTES
from san_console.target.logical_unit import LogicalUnit, UnitNexus
from san_console.target.provisioning_commands import (
    MAX_UNMAP_BYTES,
    MAX_UNMAP_DESCRIPTORS,
    MAX_WRITE_SAME_BYTES,
)

GRANULARITY_BYTES = 4096
"""Pages of the page cache, and blocks of today's media: a hint for alignment (VPD page B0)."""
OPTIMAL_TRANSFER_BYTES = 1 << 20
COPY_LIMITS = copies.Limits(cscds=16, segments=256, list_bytes=8192)
MAX_SEGMENT_BYTES = 256 << 20  # what 65535 blocks of 4096 bytes need
MAX_COPIES = 16

# Operation code → service actions, as VPD page 8Fh lists them (SPC-4 §7.8.17.4).
_COPY_COMMANDS = {
    op.EXTENDED_COPY: (op.SA_EXTENDED_COPY_LID1, op.SA_EXTENDED_COPY_LID4),
    op.RECEIVE_COPY_RESULTS: (
        op.SA_COPY_STATUS_LID1,
        op.SA_COPY_OPERATING_PARAMETERS,
        op.SA_COPY_FAILURE_DETAILS_LID1,
        op.SA_COPY_STATUS_LID4,
    ),
}
_TPGS_IMPLICIT_AND_EXPLICIT = 3


def physical_exponent(unit: LogicalUnit) -> int:
    """2 to this power logical blocks make a physical one."""
    physical = max(unit.config.physical_block_bytes, unit.block_bytes)
    return (physical // unit.block_bytes).bit_length() - 1


def unit_designators(unit: LogicalUnit) -> list[ids.Designator]:
    """The designators of the logical unit itself."""
    return [ids.naa(unit.naa), ids.t10_vendor_id(unit.config.vendor, unit.serial)]


def inquiry(nexus: UnitNexus, cdb: bytes) -> bytes:
    """INQUIRY: standard data, or a VPD page."""
    command = parse_cdb(cdb)
    assert isinstance(command, InquiryCommand)  # the table brought it here
    if not command.evpd:
        if command.page:
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
        config = nexus.unit.config
        return standard.StandardInquiry(
            vendor=config.vendor,
            product=config.product,
            revision=config.revision,
            third_party_copy=True,
            multi_port=len(nexus.target_ports()) > 1,
            target_port_groups=_TPGS_IMPLICIT_AND_EXPLICIT,
        ).build()[: command.allocation]
    build = _VPD_PAGES.get(command.page)
    if build is None:
        raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(2, 7))
    return build(nexus)[: command.allocation]


def _supported_pages(nexus: UnitNexus) -> bytes:
    return vpd.build_supported_pages(_VPD_PAGES)


def _serial_number(nexus: UnitNexus) -> bytes:
    return vpd.build_serial_number(nexus.unit.serial)


def _identification(nexus: UnitNexus) -> bytes:
    unit, tag = nexus.unit, nexus.group_tag
    port_name = f"{unit.target_name},t,0x{tag:04x}"  # RFC 7143 §4.4.1
    return vpd.build_identification(
        [
            *unit_designators(unit),
            ids.relative_target_port(tag),  # one port for each portal group
            ids.target_port_group(tag),
            ids.scsi_name(port_name, ids.ASSOCIATION_TARGET_PORT),
            ids.scsi_name(unit.target_name, ids.ASSOCIATION_TARGET_DEVICE),
        ]
    )


def _no_addresses(nexus: UnitNexus) -> bytes:
    # The console manages the target through its own engine: no network address leads there.
    return vpd.build_page(vpd.MANAGEMENT_NETWORK_ADDRESSES, b"")


def _extended_inquiry(nexus: UnitNexus) -> bytes:
    return vpd.ExtendedInquiry(
        ordered_supported=True,
        head_of_queue_supported=True,
        volatile_cache=nexus.unit.backstore.write_cache,
    ).build()


def _mode_page_policy(nexus: UnitNexus) -> bytes:
    return vpd.build_mode_page_policy()


def _third_party_copy(nexus: UnitNexus) -> bytes:
    body = copies.build_third_party_copy(_COPY_COMMANDS, COPY_LIMITS, MAX_SEGMENT_BYTES, MAX_COPIES)
    return vpd.build_page(vpd.THIRD_PARTY_COPY, body)


def _block_limits(nexus: UnitNexus) -> bytes:
    unit = nexus.unit
    thin = unit.backstore.thin
    granularity_blocks = max(GRANULARITY_BYTES // unit.block_bytes, 1 << physical_exponent(unit))
    return vpd.BlockLimits(
        maximum_compare_and_write_blocks=MAX_COMPARE_BLOCKS,
        optimal_transfer_granularity_blocks=granularity_blocks,
        maximum_transfer_blocks=MAX_TRANSFER_BYTES // unit.block_bytes,
        optimal_transfer_blocks=OPTIMAL_TRANSFER_BYTES // unit.block_bytes,
        maximum_unmap_blocks=min(MAX_UNMAP_BYTES // unit.block_bytes, 0xFFFFFFFF) if thin else 0,
        maximum_unmap_descriptors=MAX_UNMAP_DESCRIPTORS if thin else 0,
        optimal_unmap_granularity_blocks=granularity_blocks if thin else 0,
        unmap_alignment_blocks=0 if thin else None,
        maximum_write_same_blocks=MAX_WRITE_SAME_BYTES // unit.block_bytes,
        write_same_non_zero=True,
        maximum_atomic_blocks=atomic_blocks(unit),
    ).build()


def _characteristics(nexus: UnitNexus) -> bytes:
    readable = vpd.SANITIZED_READABLE if nexus.unit.backstore.thin else vpd.SANITIZED_NOT_SPECIFIED
    return vpd.BlockCharacteristics(nexus.unit.config.rotation_rate, after_block_erase=readable).build()


def _provisioning(nexus: UnitNexus) -> bytes:
    unit = nexus.unit
    thin = unit.backstore.thin
    return vpd.LogicalBlockProvisioning(
        unmap=thin,
        write_same_16=thin,
        write_same_10=thin,
        reads_zeros=thin,
        provisioning_type=vpd.PROVISIONING_THIN if thin else vpd.PROVISIONING_FULL,
        threshold_exponent=(THRESHOLD_SET_BYTES // unit.block_bytes).bit_length() - 1 if thin else 0,
    ).build()


_VPD_PAGES: dict[int, Callable[[UnitNexus], bytes]] = {
    vpd.SUPPORTED_PAGES: _supported_pages,
    vpd.UNIT_SERIAL_NUMBER: _serial_number,
    vpd.DEVICE_IDENTIFICATION: _identification,
    vpd.MANAGEMENT_NETWORK_ADDRESSES: _no_addresses,
    vpd.EXTENDED_INQUIRY: _extended_inquiry,
    vpd.MODE_PAGE_POLICY: _mode_page_policy,
    vpd.THIRD_PARTY_COPY: _third_party_copy,
    vpd.BLOCK_LIMITS: _block_limits,
    vpd.BLOCK_CHARACTERISTICS: _characteristics,
    vpd.LOGICAL_BLOCK_PROVISIONING: _provisioning,
}

COMMANDS: dict[int, Command] = {
    op.INQUIRY: Command(answer(inquiry), usage("01ffffff04"), ignores_attention=True),
}
