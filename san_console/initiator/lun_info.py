"""What a logical unit says about itself: INQUIRY, vital product data, capacity, mode pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from san_console.initiator.errors import InitiatorError, UnusableLogicalUnit
from san_console.names.display import visible
from san_console.scsi import capacity as scsi_capacity
from san_console.scsi import cdb, designators, mode, status, vpd
from san_console.scsi import inquiry as scsi_inquiry
from san_console.scsi.errors import MalformedData

if TYPE_CHECKING:
    from san_console.initiator.logical_unit import LogicalUnit

_INQUIRY_BYTES = 255
#: Vital product data of any unit fits; the identification page is the longest.
_VPD_BYTES = 4096


@dataclass(slots=True)
class LunInfo:
    """A logical unit.

    `identity` is its stable name from VPD page 83h ("" where it has none), `designators` are all of that page
    as text, `vpd_pages` the page numbers that it supports. Sizes are 0 for anything but disks.
    """

    number: int
    vendor: str = ""
    product: str = ""
    revision: str = ""
    serial: str = ""
    identity: str = ""
    device_type: int = 0
    device_type_name: str = ""
    blocks: int = 0
    block_bytes: int = 0
    physical_block_bytes: int = 0
    read_only: bool = False
    thin: bool = False
    write_cache: bool | None = None
    optimal_transfer_bytes: int = 0
    designators: list[str] = field(default_factory=list)
    vpd_pages: list[int] = field(default_factory=list)
    #: What could not be learnt, and why.
    notes: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return self.blocks * self.block_bytes


async def _ask(unit: LogicalUnit, command: bytes, length: int, what: str) -> bytes:
    from san_console.initiator.logical_unit import failure  # the two modules need each other

    result = await unit.execute(command, read_bytes=length)
    if result.status != status.GOOD:
        raise failure(unit.number, result.status, result.sense, what)
    return result.data


async def read_info(unit: LogicalUnit) -> LunInfo:
    """Ask all questions; only INQUIRY and, for disks, the capacity are required.

    Raises ScsiFailure, UnusableLogicalUnit.
    """
    info = LunInfo(unit.number)
    try:
        data = await _ask(unit, cdb.inquiry(allocation=_INQUIRY_BYTES), _INQUIRY_BYTES, "INQUIRY")
        inquiry = scsi_inquiry.StandardInquiry.parse(data)
        info.vendor, info.product = visible(inquiry.vendor), visible(inquiry.product)
        info.revision = visible(inquiry.revision)
        info.device_type, info.device_type_name = inquiry.device_type, inquiry.device_type_name
        if not inquiry.connected:
            raise UnusableLogicalUnit(
                f"the target has no LUN {unit.number}",
                "target",
                "Look at the list of LUNs, and at the target's mapping for this initiator.",
            )
        await _read_vpd(unit, info)
        if inquiry.device_type == scsi_inquiry.DIRECT_ACCESS:
            await _read_capacity(unit, info)
            await _read_mode(unit, info)
    except MalformedData as error:
        raise UnusableLogicalUnit(
            f"LUN {unit.number} describes itself in a way that cannot be: {error}",
            "target",
            "Look at the LUN's configuration at the target.",
        ) from error
    return info


async def _read_vpd(unit: LogicalUnit, info: LunInfo) -> None:
    try:
        info.vpd_pages = vpd.parse_supported_pages(await _vpd(unit, vpd.SUPPORTED_PAGES))
        if vpd.UNIT_SERIAL_NUMBER in info.vpd_pages:
            serial = vpd.parse_serial_number(await _vpd(unit, vpd.UNIT_SERIAL_NUMBER))
            info.serial = visible(serial.strip())
        if vpd.DEVICE_IDENTIFICATION in info.vpd_pages:
            found = vpd.parse_identification(await _vpd(unit, vpd.DEVICE_IDENTIFICATION))
            info.designators = [visible(str(designator)) for designator in found]
            info.identity = visible(designators.identity(found))
        if vpd.LOGICAL_BLOCK_PROVISIONING in info.vpd_pages:
            page = vpd.LogicalBlockProvisioning.parse(await _vpd(unit, vpd.LOGICAL_BLOCK_PROVISIONING))
            info.thin = page.provisioning_type == vpd.PROVISIONING_THIN
        if vpd.BLOCK_LIMITS in info.vpd_pages:
            limits = vpd.BlockLimits.parse(await _vpd(unit, vpd.BLOCK_LIMITS))
            info.optimal_transfer_bytes = limits.optimal_transfer_blocks  # in blocks until the size is known
    except (InitiatorError, MalformedData) as error:
        # Old and simple units have none of this; they can be used all the same.
        info.notes.append(f"vital product data: {error}")


async def _vpd(unit: LogicalUnit, page: int) -> bytes:
    return await _ask(unit, cdb.inquiry(page, _VPD_BYTES), _VPD_BYTES, f"INQUIRY of page {page:02x}h")


async def _read_capacity(unit: LogicalUnit, info: LunInfo) -> None:
    data = await _ask(unit, cdb.read_capacity_10(), 8, "READ CAPACITY(10)")
    found = scsi_capacity.parse_10(data)
    try:
        longer = await _ask(unit, cdb.read_capacity_16(32), 32, "READ CAPACITY(16)")
        found = scsi_capacity.parse_16(longer)
    except InitiatorError as error:
        if found is None:
            raise
        info.notes.append(str(error))
    info.blocks, info.block_bytes = found.blocks, found.block_bytes
    info.physical_block_bytes = found.physical_block_bytes
    info.thin = info.thin or found.lbpme
    info.optimal_transfer_bytes *= found.block_bytes


async def _read_mode(unit: LogicalUnit, info: LunInfo) -> None:
    try:
        data = await _ask(unit, cdb.mode_sense_6(mode.ALL_PAGES, allocation=252), 252, "MODE SENSE")
        found = mode.parse_6(data)
        info.read_only = found.write_protected
        caching = found.page(mode.CACHING)
        if caching is not None:
            info.write_cache = mode.CachingPage.parse(caching.data).write_cache
    except (InitiatorError, MalformedData) as error:
        info.notes.append(f"mode pages: {error}")
