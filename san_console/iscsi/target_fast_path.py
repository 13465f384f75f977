"""The loop that decides how fast the target is: reads and writes that the logical unit can do at once.

They are handled in place, over the receive buffer, without an object per PDU or per task.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from san_console.iscsi.framing import encode
from san_console.iscsi.opcodes import (
    ATTR_SPECIAL,
    FINAL,
    READ,
    RESERVED_TAG,
    SCSI_COMMAND,
    SCSI_DATA_IN,
    SCSI_RESPONSE,
    STATUS,
    WRITE,
)
from san_console.iscsi.target_device import Buffer
from san_console.iscsi.target_session import MASK
from san_console.wire.crc32c import crc32c

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

BHS_BYTES = 48
DIGEST_BYTES = 4
OUTPUT_BATCH_BYTES = 1 << 20  # a turn pauses here, so that answers leave, and their memory is used again
MAX_READ_BYTES = 1 << 20  # copying it takes about 0.1 ms; longer ones would show in the loop's lag

# The same layouts as ScsiCommand, ScsiDataIn and ScsiResponse, with the fields that are set here.
_COMMAND = struct.Struct(">BBxxIQIIII16s")
_DATA_IN = struct.Struct(">BBxxI8xIIIIIIII")
_RESPONSE = struct.Struct(">BB2xI8xI4xIII12x")
assert _COMMAND.size == _DATA_IN.size == _RESPONSE.size == BHS_BYTES
_DIGEST = struct.Struct("<I")  # §13.1: the reflected CRC, little-endian
assert _DIGEST.size == DIGEST_BYTES
_PADDING = (b"", bytes(3), bytes(2), bytes(1))

_FINAL_STATUS = FINAL | STATUS
_READ_ONLY = FINAL | READ
_WRITE_ONLY = FINAL | WRITE
_DIRECTIONS = FINAL | READ | WRITE | ATTR_SPECIAL  # their order is for the logical unit


def fast_commands(connection: TargetConnection, limit: int) -> int:
    """Handle reads and writes in CmdSN order that need no task, up to `limit`; gives how many.

    Stops at the first PDU that is anything else, or whose digest is wrong: `next_frame` finds the same.
    """
    session = connection.session
    units = session.nexus.units
    tasks = session.tasks
    arena = connection.arena
    append = connection.output.append
    unpack = _COMMAND.unpack_from
    pack_data_in = _DATA_IN.pack
    header_digest, data_digest = connection.header_digest, connection.data_digest
    header_bytes = BHS_BYTES + DIGEST_BYTES if header_digest else BHS_BYTES
    trailer_bytes = DIGEST_BYTES if data_digest else 0
    max_data_in = connection.max_data_in_bytes
    max_data_out = connection.transfers.first_burst_bytes if connection.transfers.immediate_data else 0
    max_data_out = min(max_data_out, connection.framer.max_data_segment_bytes)
    unread, position, available = connection.framer.window()
    exp_cmd_sn, max_cmd_sn, stat_sn = session.exp_cmd_sn, session.max_cmd_sn, connection.stat_sn
    read_bytes = write_bytes = reads = writes = 0
    output_bytes = connection.output_bytes
    while reads + writes < limit and output_bytes < OUTPUT_BATCH_BYTES:
        start = position + header_bytes
        if start > available:
            break
        byte0, flags, lengths, lun, itt, edtl, cmd_sn, _, cdb = unpack(unread, position)
        if byte0 != SCSI_COMMAND or cmd_sn != exp_cmd_sn or itt in tasks or itt == RESERVED_TAG:
            break
        unit = units.get(lun)
        if unit is None or not edtl:
            break
        if header_digest and crc32c(unread[position : position + BHS_BYTES]) != _digest_at(unread, start):
            break
        direction = flags & _DIRECTIONS
        if direction == _READ_ONLY:
            if lengths or edtl > MAX_READ_BYTES:
                break
            data = unit.read_now(cdb, edtl, arena)
            if data is None:
                break
            exp_cmd_sn = (exp_cmd_sn + 1) & MASK
            max_cmd_sn = (max_cmd_sn + 1) & MASK
            if edtl <= max_data_in:
                header = pack_data_in(
                    SCSI_DATA_IN,
                    _FINAL_STATUS,
                    edtl,
                    itt,
                    RESERVED_TAG,
                    stat_sn,
                    exp_cmd_sn,
                    max_cmd_sn,
                    0,
                    0,
                    0,
                )
                append(header + _DIGEST.pack(crc32c(header)) if header_digest else header)
                append(data)
                output_bytes += header_bytes + edtl
                if data_digest or edtl & 3:
                    end = _PADDING[edtl & 3]
                    if data_digest:
                        end += _DIGEST.pack(crc32c(end, crc32c(data)))
                    append(end)
                    output_bytes += len(end)
            else:
                output_bytes += _long_read(connection, itt, data, stat_sn, exp_cmd_sn, max_cmd_sn)
            position = start
            reads += 1
            read_bytes += edtl
        elif direction == _WRITE_ONLY:
            if lengths != edtl or edtl > max_data_out:
                break
            end_of_data = start + edtl
            end_of_padding = end_of_data + (-edtl & 3)
            if end_of_padding + trailer_bytes > available:
                break
            if data_digest and crc32c(unread[start:end_of_padding]) != _digest_at(
                unread, end_of_padding + DIGEST_BYTES
            ):
                break
            if not unit.write_now(cdb, unread[start:end_of_data]):
                break
            exp_cmd_sn = (exp_cmd_sn + 1) & MASK
            max_cmd_sn = (max_cmd_sn + 1) & MASK
            header = _RESPONSE.pack(SCSI_RESPONSE, FINAL, 0, itt, stat_sn, exp_cmd_sn, max_cmd_sn)
            append(header + _DIGEST.pack(crc32c(header)) if header_digest else header)
            output_bytes += header_bytes
            position = end_of_padding + trailer_bytes
            writes += 1
            write_bytes += edtl
        else:
            break
        stat_sn = (stat_sn + 1) & MASK
    handled = reads + writes
    if handled:
        connection.framer.skip_to(position)
        session.exp_cmd_sn, session.max_cmd_sn, connection.stat_sn = exp_cmd_sn, max_cmd_sn, stat_sn
        connection.output_bytes = output_bytes
        counters = session.counters
        counters.commands += handled
        counters.reads += reads
        counters.writes += writes
        counters.read_bytes += read_bytes
        counters.write_bytes += write_bytes
    return handled


def _digest_at(unread: memoryview, end: int) -> int:
    """The digest that ends at `end`."""
    value: int = _DIGEST.unpack_from(unread, end - DIGEST_BYTES)[0]
    return value


def _long_read(
    connection: TargetConnection, itt: int, data: Buffer, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int
) -> int:
    """Append the Data-In PDUs of a read that is longer than one of them; gives their bytes.

    The last one carries the status; an F bit ends each burst (RFC 7143 §11.7.1).
    """
    output = connection.output
    first = len(output)
    view = memoryview(data)
    length = len(view)
    max_burst_bytes = connection.session.parameters.max_burst_bytes
    burst_end = max_burst_bytes
    offset = data_sn = 0
    while offset < length:
        end = min(offset + connection.max_send_bytes, length, burst_end)
        flags, shown_stat_sn = 0, 0  # StatSN means something with the S bit only (§11.7.3)
        if end == length:
            flags, shown_stat_sn = _FINAL_STATUS, stat_sn
        elif end == burst_end:
            flags = FINAL
        if end == burst_end:
            burst_end += max_burst_bytes
        header = _DATA_IN.pack(
            SCSI_DATA_IN,
            flags,
            end - offset,
            itt,
            RESERVED_TAG,
            shown_stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            data_sn,
            offset,
            0,
        )
        output += encode(
            header,
            view[offset:end],
            header_digest=connection.header_digest,
            data_digest=connection.data_digest,
        )
        offset = end
        data_sn += 1
    return sum(map(len, output[first:]))
