"""The loop that decides how fast the target is: reads and writes that the logical unit can do at once.

They are handled in place, over the receive buffer, without an object per PDU or per task.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

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
from san_console.iscsi.target_session import MASK

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection

BHS_BYTES = 48
OUTPUT_BATCH_BYTES = 1 << 20  # a turn pauses here, so that answers leave, and their memory is used again

# The same layouts as ScsiCommand, ScsiDataIn and ScsiResponse, with the fields that are set here.
_COMMAND = struct.Struct(">BBxxIQIIII16s")
_DATA_IN = struct.Struct(">BBxxI8xIIIIIIII")
_RESPONSE = struct.Struct(">BB2xI8xI4xIII12x")
assert _COMMAND.size == _DATA_IN.size == _RESPONSE.size == BHS_BYTES
_PADDING = (b"", bytes(3), bytes(2), bytes(1))

_FINAL_STATUS = FINAL | STATUS
_READ_ONLY = FINAL | READ
_WRITE_ONLY = FINAL | WRITE
_DIRECTIONS = FINAL | READ | WRITE | ATTR_SPECIAL  # their order is for the logical unit


def fast_commands(connection: TargetConnection, limit: int) -> int:
    """Handle reads and writes in CmdSN order that need no task, up to `limit`; gives how many.

    Stops at the first PDU that is anything else.
    """
    session = connection.session
    units = session.nexus.units
    tasks = session.tasks
    arena = connection.arena
    append = connection.output.append
    unpack = _COMMAND.unpack_from
    pack_data_in = _DATA_IN.pack
    max_data_in = connection.max_data_in_bytes
    max_data_out = connection.transfers.first_burst_bytes if connection.transfers.immediate_data else 0
    max_data_out = min(max_data_out, connection.framer.max_data_segment_bytes)
    unread, position, available = connection.framer.window()
    exp_cmd_sn, max_cmd_sn, stat_sn = session.exp_cmd_sn, session.max_cmd_sn, connection.stat_sn
    read_bytes = write_bytes = reads = writes = padding_bytes = 0
    room = OUTPUT_BATCH_BYTES - connection.output_bytes
    while reads + writes < limit and read_bytes < room and available - position >= BHS_BYTES:
        byte0, flags, lengths, lun, itt, edtl, cmd_sn, _, cdb = unpack(unread, position)
        if byte0 != SCSI_COMMAND or cmd_sn != exp_cmd_sn or itt in tasks or itt == RESERVED_TAG:
            break
        unit = units.get(lun)
        if unit is None or not edtl:
            break
        direction = flags & _DIRECTIONS
        if direction == _READ_ONLY:
            if lengths or edtl > max_data_in:
                break
            data = unit.read_now(cdb, edtl, arena)
            if data is None:
                break
            exp_cmd_sn = (exp_cmd_sn + 1) & MASK
            max_cmd_sn = (max_cmd_sn + 1) & MASK
            append(
                pack_data_in(
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
            )
            append(data)
            if edtl & 3:
                append(_PADDING[edtl & 3])
                padding_bytes += -edtl & 3
            position += BHS_BYTES
            reads += 1
            read_bytes += edtl
        elif direction == _WRITE_ONLY:
            if lengths != edtl or edtl > max_data_out:
                break
            end = position + BHS_BYTES + edtl
            padded_end = end + (-edtl & 3)
            if padded_end > available or not unit.write_now(cdb, unread[position + BHS_BYTES : end]):
                break
            exp_cmd_sn = (exp_cmd_sn + 1) & MASK
            max_cmd_sn = (max_cmd_sn + 1) & MASK
            append(_RESPONSE.pack(SCSI_RESPONSE, FINAL, 0, itt, stat_sn, exp_cmd_sn, max_cmd_sn))
            position = padded_end
            writes += 1
            write_bytes += edtl
        else:
            break
        stat_sn = (stat_sn + 1) & MASK
    handled = reads + writes
    if handled:
        connection.framer.skip_to(position)
        session.exp_cmd_sn, session.max_cmd_sn, connection.stat_sn = exp_cmd_sn, max_cmd_sn, stat_sn
        connection.output_bytes += read_bytes + padding_bytes + handled * BHS_BYTES
        counters = session.counters
        counters.commands += handled
        counters.reads += reads
        counters.writes += writes
        counters.read_bytes += read_bytes
        counters.write_bytes += write_bytes
    return handled
