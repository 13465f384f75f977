"""The sense data that the iSCSI layer of a target itself reports (RFC 7143 §11.4.7.2), in fixed format
(SPC-4 §4.5.3).
"""

from __future__ import annotations

ABORTED_COMMAND = 0x0B
ILLEGAL_REQUEST = 0x05


def _fixed(key: int, asc: int, ascq: int) -> bytes:
    return bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0])


UNEXPECTED_UNSOLICITED_DATA = _fixed(ABORTED_COMMAND, 0x0C, 0x0C)
INCORRECT_AMOUNT_OF_DATA = _fixed(ABORTED_COMMAND, 0x0C, 0x0D)
PROTOCOL_SERVICE_CRC_ERROR = _fixed(ABORTED_COMMAND, 0x47, 0x05)
INVALID_FIELD_IN_COMMAND_IU = _fixed(ILLEGAL_REQUEST, 0x0E, 0x03)
