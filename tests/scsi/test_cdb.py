"""Command blocks as they are built: octets by the standards, and fields that do not fit."""

import pytest

from san_console.scsi import cdb
from san_console.scsi.errors import UnencodableValue


@pytest.mark.parametrize(
    ("built", "octets"),
    [
        (cdb.test_unit_ready(), "000000000000"),
        (cdb.inquiry(), "12000000ff00"),
        (cdb.inquiry(0x83, 0x1234), "120183123400"),
        (cdb.inquiry(0x00), "12010000ff00"),
        (cdb.request_sense(), "03000000fc00"),
        (cdb.request_sense(18, descriptor=True), "030100001200"),
        (cdb.report_luns(0x1000), "a00000000000000010000000"),
        (cdb.report_luns(16, select_report=2), "a00002000000000000100000"),
        (cdb.read_capacity_10(), "25000000000000000000"),
        (cdb.read_capacity_16(), "9e100000000000000000000000200000"),
        (cdb.get_lba_status(0x10, 24), "9e120000000000000010000000180000"),
        (cdb.read_10(0x01020304, 0x0506), "28000102030400050600"),
        (cdb.read_16(0x0102030405060708, 9), "88000102030405060708000000090000"),
        (cdb.write_10(1, 2, fua=True), "2a080000000100000200"),
        (cdb.write_16(1, 2, dpo=True), "8a100000000000000001000000020000"),
        (cdb.synchronize_cache(), "35000000000000000000"),
        (cdb.synchronize_cache(2**32, 1, immediate=True), "91020000000100000000000000010000"),
        (cdb.verify(1, 2, byte_check=True), "2f020000000100000200"),
        (cdb.verify(1, 0x10000), "8f000000000000000001000100000000"),
        (cdb.write_same_16(1, 2, unmap=True), "93080000000000000001000000020000"),
        (cdb.write_same_16(1, 2, no_data=True), "93010000000000000001000000020000"),
        (cdb.compare_and_write(1, 2, fua=True), "89080000000000000001000000020000"),
        (cdb.unmap(24), "42000000000000001800"),
        (cdb.unmap(24, anchor=True), "42010000000000001800"),
        (cdb.mode_sense_6(0x3F, 0xFF), "1a003fffff00"),
        (cdb.mode_sense_6(8, dbd=True, pc=1), "1a084800ff00"),
        (cdb.mode_sense_10(8, allocation=0x100, dbd=True, pc=2), "5a088800000000010000"),
        (cdb.start_stop_unit(start=True), "1b0000000100"),
        (cdb.start_stop_unit(start=False, load_eject=True, immediate=True), "1b0100000200"),
        (cdb.report_supported_opcodes(0x100), "a30c00000000000001000000"),
        (cdb.report_supported_opcodes(0x100, opcode=0x28, rctd=True), "a30c81280000000001000000"),
        (cdb.report_supported_opcodes(0x100, opcode=0x9E, service_action=0x10), "a30c029e0010000001000000"),
        (cdb.report_target_port_groups(0x100), "a30a00000000000001000000"),
        (cdb.persistent_reserve_in(1, 0x100), "5e010000000000010000"),
        (cdb.persistent_reserve_out(6, 0x05), "5f060500000000001800"),
    ],
)
def test_octets(built: bytes, octets: str) -> None:
    assert built.hex() == octets


@pytest.mark.parametrize(
    ("lba", "blocks", "size"),
    [(0, 1, 10), (2**32 - 1, 65535, 10), (2**32, 1, 16), (0, 65536, 16)],
)
def test_the_shortest_command_that_fits(lba: int, blocks: int, size: int) -> None:
    for build in (cdb.read, cdb.write):
        command = build(lba, blocks, fua=True, dpo=True)
        assert len(command) == size
        assert cdb.decode_rw(command) == (lba, blocks, 0x18)


@pytest.mark.parametrize(("lba", "blocks"), [(-1, 1), (0, -1), (2**64, 1), (0, 2**32)])
def test_what_no_command_holds(lba: int, blocks: int) -> None:
    with pytest.raises(UnencodableValue, match="cannot hold"):
        cdb.read(lba, blocks)
    with pytest.raises(UnencodableValue, match="cannot hold"):
        cdb.write(lba, blocks)


def test_allocation_too_large() -> None:
    with pytest.raises(UnencodableValue):
        cdb.mode_sense_6(8, allocation=256)
