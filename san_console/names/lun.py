"""LUN numbers and their eight octets (SAM-5 §4.7): peripheral and flat space addressing, one level.

Which method a target uses for LUN 0 to 255 is its own choice, and the two are different addresses to it.
Whoever talks to a LUN that REPORT LUNS listed should therefore send back the octets that were listed, and
use the number only to show it.
"""

from san_console.names.errors import InvalidLun

LUN_BYTES = 8

MAX_PERIPHERAL_LUN = 0xFF
MAX_FLAT_LUN = 0x3FFF
"""14 bits: the largest number that the flat space method holds, and the limit of most products."""

_METHOD_SHIFT = 62
_LEVEL_SHIFT = 48
_LOWER_LEVELS = (1 << _LEVEL_SHIFT) - 1
_PERIPHERAL = 0b00
_FLAT = 0b01
_METHOD_NAMES = {0b10: "logical unit addressing", 0b11: "extended (or well-known) addressing"}

#: The REPORT LUNS well-known logical unit (SPC-4), extended addressing C1h 01h.
REPORT_LUNS_WLUN_U64 = 0xC101_0000_0000_0000


def encode_lun_u64(lun: int) -> int:
    """`lun` (0 to 16383) as the big-endian u64 of the wire.

    Up to 255 peripheral, above flat space addressing.

    Raises InvalidLun for a number outside of that.
    """
    if 0 <= lun <= MAX_PERIPHERAL_LUN:
        return lun << _LEVEL_SHIFT
    if MAX_PERIPHERAL_LUN < lun <= MAX_FLAT_LUN:
        return (_FLAT << _METHOD_SHIFT) | (lun << _LEVEL_SHIFT)
    raise InvalidLun(f"LUN {lun} cannot be addressed; LUN numbers go from 0 to {MAX_FLAT_LUN}.")


def decode_lun_u64(value: int) -> int:
    """The LUN number in the u64 of the wire.

    Raises InvalidLun for other methods and for more than one level.
    """
    method = value >> _METHOD_SHIFT
    if value & _LOWER_LEVELS == 0:
        if method == _FLAT:
            return (value >> _LEVEL_SHIFT) & MAX_FLAT_LUN
        if method == _PERIPHERAL and value >> 56 == 0:
            return value >> _LEVEL_SHIFT
    if method in _METHOD_NAMES:
        raise InvalidLun(f"LUN {value:016x} uses {_METHOD_NAMES[method]}, which is not supported.")
    if not 0 <= value < 1 << 64:
        raise InvalidLun(f"A LUN has {LUN_BYTES} octets; {value} does not fit.")
    raise InvalidLun(f"LUN {value:016x} addresses a unit behind another one, which is not supported.")


def encode_lun(lun: int) -> bytes:
    """`lun` as the eight octets of a PDU. Raises InvalidLun."""
    return encode_lun_u64(lun).to_bytes(LUN_BYTES, "big")


def decode_lun(data: bytes | bytearray | memoryview) -> int:
    """The LUN number in the eight octets of a PDU or of a REPORT LUNS entry. Raises InvalidLun."""
    if len(data) != LUN_BYTES:
        raise InvalidLun(f"A LUN has {LUN_BYTES} octets, not {len(data)}.")
    return decode_lun_u64(int.from_bytes(data, "big"))
