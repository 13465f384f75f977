"""Additional header segments (RFC 7143 §11.2.2): extended CDB, bidirectional read length."""

from __future__ import annotations

import struct

from san_console.iscsi import opcodes
from san_console.iscsi.errors import RemoteProtocolError

Bytes = bytes | bytearray | memoryview

_HEADER = struct.Struct(">HB")
assert _HEADER.size == 3

# The longest CDB of SPC is 260 bytes (252 additional ones); its AHS takes 248 bytes, the bidirectional one 8.
MAX_AHS_BYTES = 256


def parse_ahs(data: Bytes) -> list[tuple[int, memoryview]]:
    """Split the AHS area into (AHS code, content after the reserved byte 3).

    Raises RemoteProtocolError when the lengths do not add up, or for a code that RFC 7143 does not assign.
    """
    view = memoryview(data)
    segments: list[tuple[int, memoryview]] = []
    position = 0
    while position < len(view):
        if len(view) - position < 4:
            raise _refuse(f"{len(view) - position} bytes are left over")
        length, ahs_type = _HEADER.unpack_from(view, position)
        # AHSLength counts the reserved byte 3 as well (§11.2.2.3), hence a whole AHS is 3 bytes more.
        end = position + 3 + length
        code = ahs_type & 0x3F
        if length < 1 or end > len(view):
            raise _refuse(f"a segment claims {length} bytes where {len(view) - position - 3} are")
        if code not in (opcodes.AHS_EXTENDED_CDB, opcodes.AHS_BIDIRECTIONAL_READ_LENGTH):
            raise _refuse(f"code {code} is reserved")
        if code == opcodes.AHS_BIDIRECTIONAL_READ_LENGTH and length != 5:
            raise _refuse(f"the bidirectional read length takes 5 bytes, not {length}")
        segments.append((code, view[position + 4 : end]))
        position = end + (-(end - position) % 4)
    return segments


def extended_cdb(cdb: Bytes) -> bytes:
    """The AHS that carries what of `cdb` goes beyond its first 16 bytes; empty when nothing does."""
    if len(cdb) <= 16:
        return b""
    rest = bytes(cdb[16:])
    return _HEADER.pack(len(cdb) - 15, opcodes.AHS_EXTENDED_CDB) + b"\0" + rest + bytes(-len(rest) % 4)


def _refuse(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"the peer sent an additional header segment that does not hold together: {why}",
        reject_reason=opcodes.REJECT_PROTOCOL_ERROR,
        login_status=0x0200,
    )
