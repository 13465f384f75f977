"""The layouts of the CDBs that are built and taken apart here, each once, in wire order."""

import struct

# Octet 1 of the block commands (SBC-3).
FLAG_FUA = 0x08
FLAG_DPO = 0x10
PROTECT_MASK = 0xE0

FLAG_EVPD = 0x01
FLAG_BYTCHK = 0x02
FLAG_IMMED = 0x02
FLAG_UNMAP = 0x08
FLAG_NDOB = 0x01
FLAG_ANCHOR = 0x10
FLAG_DBD = 0x08

RW_6 = struct.Struct(">B3sBB")
RW_10 = struct.Struct(">BBIBHB")
RW_12 = struct.Struct(">BBIIBB")
RW_16 = struct.Struct(">BBQIBB")
COMPARE = struct.Struct(">BBQ3xBBB")
INQUIRY = struct.Struct(">BBBHB")
ALLOCATION_6 = struct.Struct(">BB2xBB")
MODE_SENSE_6 = struct.Struct(">BBBBBB")
MODE_SENSE_10 = struct.Struct(">BBBB3xHB")
CAPACITY_10 = struct.Struct(">BxI2xBB")
SERVICE_IN_16 = struct.Struct(">BBQIBB")
REPORT_LUNS = struct.Struct(">BxB3xIxB")
MAINTENANCE_IN = struct.Struct(">BBBBHIxB")
WRITE_ATOMIC = struct.Struct(">BBQHHBB")
SANITIZE = struct.Struct(">BB5xHB")
LOG_SENSE = struct.Struct(">BBBBxHHB")
COPY_RESULTS_LID1 = struct.Struct(">BBB7xIBB")
COPY_RESULTS_LID4 = struct.Struct(">BBI4xIBB")
EXTENDED_COPY = struct.Struct(">BB8xIxB")
UNMAP = struct.Struct(">BB4xBHB")
START_STOP = struct.Struct(">BBxBBB")
PERSISTENT_RESERVE_IN = struct.Struct(">BB5xHB")
PERSISTENT_RESERVE_OUT = struct.Struct(">BBB2xIB")

for _format, _size in (
    (RW_6, 6), (ALLOCATION_6, 6), (INQUIRY, 6), (MODE_SENSE_6, 6), (START_STOP, 6),
    (RW_10, 10), (CAPACITY_10, 10), (MODE_SENSE_10, 10), (UNMAP, 10),
    (PERSISTENT_RESERVE_IN, 10), (PERSISTENT_RESERVE_OUT, 10),
    (RW_12, 12), (REPORT_LUNS, 12), (MAINTENANCE_IN, 12),
    (RW_16, 16), (COMPARE, 16), (SERVICE_IN_16, 16), (WRITE_ATOMIC, 16),
    (SANITIZE, 10), (LOG_SENSE, 10), (COPY_RESULTS_LID1, 16), (COPY_RESULTS_LID4, 16), (EXTENDED_COPY, 16),
):  # fmt: skip
    assert _format.size == _size
