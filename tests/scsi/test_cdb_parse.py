"""Command blocks taken apart, also short and nonsensical ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import cdb
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_parse import (
    BlockCommand,
    InquiryCommand,
    MaintenanceInCommand,
    ModeSenseCommand,
    OtherCommand,
    ParsedCdb,
    PersistentReserveInCommand,
    PersistentReserveOutCommand,
    ReportLunsCommand,
    RequestSenseCommand,
    ServiceActionInCommand,
    StartStopCommand,
    UnmapCommand,
    cdb_name,
    decode_rw,
    describe,
    parse_cdb,
)
from san_console.scsi.errors import MalformedData


@pytest.mark.parametrize(
    ("octets", "extent"),
    [
        ("080000100800", (0x10, 8, 0)),
        ("0aff00100000", (0x1F0010, 256, 0)),
        ("28180102030400050600", (0x01020304, 0x0506, 0x18)),
        ("a80001020304000000050000", (0x01020304, 5, 0)),
        ("88080102030405060708000000090000", (0x0102030405060708, 9, 8)),
        ("89000000000000000010000000040000", (16, 4, 0)),
    ],
)
def test_ranges_of_blocks(octets: str, extent: tuple[int, int, int]) -> None:
    assert decode_rw(bytes.fromhex(octets)) == extent
    padded = bytes.fromhex(octets).ljust(16, b"\0")
    assert decode_rw(memoryview(padded)) == extent


@pytest.mark.parametrize(
    ("command", "parsed"),
    [
        (cdb.read(5, 6, fua=True), BlockCommand(op.READ_10, 5, 6, 8)),
        (cdb.synchronize_cache(), BlockCommand(op.SYNCHRONIZE_CACHE_10, 0, 0, 0)),
        (cdb.inquiry(0x83, 100), InquiryCommand(True, 0x83, 100)),
        (cdb.inquiry(), InquiryCommand(False, 0, 255)),
        (cdb.request_sense(20, descriptor=True), RequestSenseCommand(True, 20)),
        (cdb.mode_sense_6(8, 1, 9, dbd=True, pc=3), ModeSenseCommand(op.MODE_SENSE_6, True, 3, 8, 1, 9)),
        (cdb.mode_sense_10(0x3F, 255, 999), ModeSenseCommand(op.MODE_SENSE_10, False, 0, 0x3F, 255, 999)),
        (cdb.report_luns(64, select_report=1), ReportLunsCommand(1, 64)),
        (cdb.read_capacity_16(32), ServiceActionInCommand(op.SA_READ_CAPACITY_16, 0, 32)),
        (cdb.get_lba_status(7, 99), ServiceActionInCommand(op.SA_GET_LBA_STATUS, 7, 99)),
        (
            cdb.report_supported_opcodes(8, opcode=0x9E, service_action=16),
            MaintenanceInCommand(12, 2, 0x9E, 16, 8),
        ),
        (cdb.unmap(40, anchor=True), UnmapCommand(True, 40)),
        (cdb.start_stop_unit(start=True, load_eject=True), StartStopCommand(False, 0, True, True)),
        (cdb.persistent_reserve_in(2, 8), PersistentReserveInCommand(2, 8)),
        (cdb.persistent_reserve_out(1, 0x15, 24), PersistentReserveOutCommand(1, 1, 5, 24)),
        (cdb.test_unit_ready(), OtherCommand(0)),
        (b"\xc0", OtherCommand(0xC0)),
    ],
)
def test_parse_what_was_built(command: bytes, parsed: ParsedCdb) -> None:
    assert parse_cdb(command) == parsed
    assert parse_cdb(command.ljust(16, b"\0")) == parsed
    with pytest.raises(MalformedData):
        parse_cdb(b"")


def test_force_unit_access() -> None:
    assert BlockCommand(op.WRITE_10, 0, 1, 0x08).fua
    assert not BlockCommand(op.WRITE_10, 0, 1, 0x10).fua


@pytest.mark.parametrize("command", [cdb.read(1, 1), cdb.read(2**33, 1), cdb.inquiry(), cdb.unmap(8)])
def test_cut_short(command: bytes) -> None:
    with pytest.raises(MalformedData, match="cut short"):
        parse_cdb(command[:-1])
    assert describe(command[:-1]).endswith("(cut short)")


def test_decode_rw_of_other_commands() -> None:
    with pytest.raises(MalformedData, match="INQUIRY is no command on a range"):
        decode_rw(cdb.inquiry())
    with pytest.raises(MalformedData, match="0 octets"):
        decode_rw(b"")
    with pytest.raises(MalformedData, match="3 octets"):
        decode_rw(b"\x28\0\0")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (cdb.read(5, 6), "READ(10) lba=5 blocks=6"),
        (cdb.write(2**32, 6, fua=True, dpo=True), "WRITE(16) lba=4294967296 blocks=6 FUA DPO"),
        (cdb.synchronize_cache(1, 2, immediate=True), "SYNCHRONIZE CACHE(10) lba=1 blocks=2"),
        (cdb.write_same_16(1, 2, unmap=True), "WRITE SAME(16) lba=1 blocks=2"),
        (cdb.inquiry(), "INQUIRY allocation=255"),
        (cdb.inquiry(0x83), "INQUIRY page=83h allocation=255"),
        (cdb.mode_sense_6(8), "MODE SENSE(6) page=08h/00h allocation=255"),
        (cdb.read_capacity_16(), "READ CAPACITY(16) lba=0 allocation=32"),
        (cdb.report_luns(16), "REPORT LUNS allocation=16"),
        (cdb.request_sense(), "REQUEST SENSE allocation=252"),
        (cdb.report_target_port_groups(), "REPORT TARGET PORT GROUPS"),
        (cdb.persistent_reserve_out(6), "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY"),
        (cdb.test_unit_ready(), "TEST UNIT READY"),
        (b"\x9e\x1f" + bytes(14), "SERVICE ACTION IN(16), service action 1fh lba=0 allocation=0"),
        (b"\x9e", "SERVICE ACTION IN(16) (cut short)"),
        (b"\xc1" + bytes(5), "operation code c1h"),
        (b"", "empty CDB (cut short)"),
    ],
)
def test_descriptions(command: bytes, line: str) -> None:
    assert describe(command) == line
    assert line.startswith(cdb_name(command))


@given(st.binary(max_size=32))
def test_any_octets(octets: bytes) -> None:
    assert describe(octets).isprintable()
    try:
        parsed = parse_cdb(octets)
    except MalformedData:
        return
    assert parsed == parse_cdb(memoryview(octets))


def test_write_atomic() -> None:
    command = b"\x9c\x18" + (77).to_bytes(8, "big") + b"\0\4\0\x09\0\0"
    assert describe(command) == "WRITE ATOMIC(16) lba=77 blocks=9 FUA DPO"
