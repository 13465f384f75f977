"""VPD pages as names and values for showing, whatever page it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from san_console.api.initiator_objects import VpdPage
from san_console.names.display import visible
from san_console.scsi import vpd
from san_console.scsi.errors import MalformedData

_ASSOCIATIONS: Final = {0: "logical unit", 1: "target port", 2: "target device"}


def _supported(data: bytes) -> list[tuple[str, str]]:
    return [
        (f"{code:02X}h", vpd.PAGE_NAMES.get(code, "vendor specific" if code >= 0xC0 else "unknown"))
        for code in vpd.parse_supported_pages(data)
    ]


def _serial(data: bytes) -> list[tuple[str, str]]:
    return [("serial number", visible(vpd.parse_serial_number(data).strip()))]


def _identification(data: bytes) -> list[tuple[str, str]]:
    return [
        (_ASSOCIATIONS.get(found.association, f"association {found.association}"), visible(str(found)))
        for found in vpd.parse_identification(data)
    ]


def _record(parse: Callable[[bytes], Any]) -> Callable[[bytes], list[tuple[str, str]]]:
    def describe(data: bytes) -> list[tuple[str, str]]:
        record = parse(data)
        return [
            (field.name.replace("_", " "), _value(getattr(record, field.name)))
            for field in dataclasses.fields(record)
        ]

    return describe


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else visible(str(value))


_DESCRIBE: Final[dict[int, Callable[[bytes], list[tuple[str, str]]]]] = {
    vpd.SUPPORTED_PAGES: _supported,
    vpd.UNIT_SERIAL_NUMBER: _serial,
    vpd.DEVICE_IDENTIFICATION: _identification,
    vpd.EXTENDED_INQUIRY: _record(vpd.ExtendedInquiry.parse),
    vpd.BLOCK_LIMITS: _record(vpd.BlockLimits.parse),
    vpd.BLOCK_CHARACTERISTICS: _record(vpd.BlockCharacteristics.parse),
    vpd.LOGICAL_BLOCK_PROVISIONING: _record(vpd.LogicalBlockProvisioning.parse),
}


def describe_page(code: int, data: bytes) -> VpdPage:
    """Page `code` with its fields; a page that is malformed says so in its fields and keeps its bytes."""
    name = vpd.PAGE_NAMES.get(code, "vendor specific" if code >= 0xC0 else "unknown")
    fields: list[tuple[str, str]] = []
    describe = _DESCRIBE.get(code)
    if describe is not None:
        try:
            fields = describe(data)
        except MalformedData as error:
            fields = [("malformed", visible(str(error)))]
    return VpdPage(code=code, name=name, fields=fields, raw=data)
