"""LOG SENSE data (SPC-4 §7.3, SBC-3 §6.4): the pages that tell something true about a LUN in a file."""

import struct
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from san_console.scsi.errors import MalformedData, UnencodableValue

Buffer: TypeAlias = bytes | bytearray | memoryview

SUPPORTED_LOG_PAGES = 0x00
LOGICAL_BLOCK_PROVISIONING = 0x0C
INFORMATIONAL_EXCEPTIONS = 0x2F
ALL_SUBPAGES = 0xFF

PARAMETER_AVAILABLE = 0x0001
PARAMETER_USED = 0x0002

_HEADER = struct.Struct(">BBH")
assert _HEADER.size == 4
_SUBPAGE_FORMAT = 0x40
_PARAMETER = struct.Struct(">HBB")
assert _PARAMETER.size == 4
_RESOURCE = struct.Struct(">IB3x")
assert _RESOURCE.size == 8
_EXCEPTION = struct.Struct(">BBBx")
assert _EXCEPTION.size == 4
_BINARY_LIST = 0x03  # FORMAT AND LINKING 11b
_SCOPE_DEDICATED, _SCOPE_SHARED = 1, 2
_NO_TEMPERATURE = 0xFF


class Parameter(NamedTuple):
    """One log parameter."""

    code: int
    data: bytes


class LogPage(NamedTuple):
    """A log page as it was sent."""

    page: int
    subpage: int
    body: bytes


def build_log_page(page: int, body: bytes, *, subpage: int = 0) -> bytes:
    """`body` behind the header. Raises UnencodableValue."""
    if len(body) > 0xFFFF:
        raise UnencodableValue(f"log page {page:02x}h of {len(body)} octets is too long")
    first = page & 0x3F | (_SUBPAGE_FORMAT if subpage else 0)
    return _HEADER.pack(first, subpage, len(body)) + body


def parse_log_page(data: Buffer) -> LogPage:
    """A page as far as it was sent. Raises MalformedData without a header."""
    if len(data) < _HEADER.size:
        raise MalformedData(f"a log page of {len(data)} octets has no header")
    first, subpage, length = _HEADER.unpack_from(data)
    body = bytes(data[_HEADER.size : _HEADER.size + length])
    return LogPage(first & 0x3F, subpage if first & _SUBPAGE_FORMAT else 0, body)


def build_parameters(parameters: Iterable[Parameter]) -> bytes:
    """The body of a page that consists of parameters."""
    return b"".join(_PARAMETER.pack(one.code, _BINARY_LIST, len(one.data)) + one.data for one in parameters)


def parse_parameters(body: Buffer) -> list[Parameter]:
    """The parameters of a page; one that is cut short at the end is left out."""
    octets = bytes(body)
    found: list[Parameter] = []
    position = 0
    while position + _PARAMETER.size <= len(octets):
        code, _, length = _PARAMETER.unpack_from(octets, position)
        position += _PARAMETER.size
        if position + length > len(octets):
            break
        found.append(Parameter(code, octets[position : position + length]))
        position += length
    return found


def resource_count(code: int, count: int, *, shared: bool) -> Parameter:
    """A parameter of page 0Ch, in threshold sets; `shared`: with other logical units."""
    scope = _SCOPE_SHARED if shared else _SCOPE_DEDICATED
    return Parameter(code, _RESOURCE.pack(min(count, 0xFFFF_FFFF), scope))


def exception(asc: int, ascq: int) -> Parameter:
    """Parameter 0000h of page 2Fh; a file has no temperature."""
    return Parameter(0, _EXCEPTION.pack(asc, ascq, _NO_TEMPERATURE))
