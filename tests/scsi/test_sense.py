"""Sense data in both formats; parsing takes anything."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import sense
from san_console.scsi.asc import asc_table
from san_console.scsi.errors import UnencodableValue
from san_console.scsi.sense import (
    Condition,
    Sense,
    build_descriptor,
    build_fixed,
    describe,
    field_pointer,
    parse,
)


def test_fixed_octets() -> None:
    data = build_fixed(*sense.LBA_OUT_OF_RANGE, information=0x01020304, sense_key_specific=field_pointer(2))
    assert data.hex() == "f00005010203040a" + "00000000" + "210000" + "c00002"


def test_descriptor_octets() -> None:
    data = build_descriptor(
        *sense.INVALID_FIELD_IN_CDB, information=5, sense_key_specific=field_pointer(1, 3)
    )
    assert data.hex() == "7205240000000014" + "000a80000000000000000005" + "02060000cb000100"


def test_field_pointers() -> None:
    assert field_pointer(2).hex() == "c00002"
    assert field_pointer(2, 7).hex() == "cf0002"
    assert field_pointer(300, in_cdb=False).hex() == "80012c"


@given(
    build=st.sampled_from([build_fixed, build_descriptor]),
    key=st.integers(0, 15),
    asc=st.integers(0, 255),
    ascq=st.integers(0, 255),
    information=st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    pointer=st.one_of(st.none(), st.integers(0, 65535)),
    deferred=st.booleans(),
)
def test_round_trip(
    build: Callable[..., bytes],
    key: int,
    asc: int,
    ascq: int,
    information: int | None,
    pointer: int | None,
    deferred: bool,
) -> None:
    specific = None if pointer is None else field_pointer(pointer)
    data = build(key, asc, ascq, information=information, sense_key_specific=specific, deferred=deferred)
    read = parse(memoryview(data))
    assert read.condition == Condition(key, asc, ascq)
    assert (read.information, read.sense_key_specific, read.deferred) == (information, specific, deferred)


def test_information_beyond_32_bits() -> None:
    assert parse(build_fixed(3, 0x11, 0, information=2**32)).information is None
    assert parse(build_descriptor(3, 0x11, 0, information=2**64 - 1)).information == 2**64 - 1


@pytest.mark.parametrize("values", [(16, 0, 0), (0, 256, 0), (0, 0, -1)])
def test_values_that_do_not_fit(values: tuple[int, int, int]) -> None:
    for build in (build_fixed, build_descriptor):
        with pytest.raises(UnencodableValue, match="no such sense"):
            build(*values)


def test_specific_octets_and_information_that_do_not_fit() -> None:
    with pytest.raises(UnencodableValue, match="three octets"):
        build_fixed(5, 0, 0, sense_key_specific=b"ab")
    with pytest.raises(UnencodableValue, match="information field"):
        build_descriptor(5, 0, 0, information=2**64)


@pytest.mark.parametrize("size", range(19))
def test_fixed_data_cut_anywhere(size: int) -> None:
    data = build_fixed(5, 0x21, 0x01, information=9, sense_key_specific=field_pointer(1))[:size]
    read = parse(data)
    assert read.response_code == (0x70 if size else 0)
    assert read.key == (5 if size > 2 else 0)
    assert read.information == (9 if size >= 7 else None)
    assert read.asc == (0x21 if size > 12 else 0)
    assert read.ascq == (1 if size > 13 else 0)
    assert (read.sense_key_specific is None) == (size < 18)


def test_an_additional_length_that_hides_the_code() -> None:
    data = bytearray(build_fixed(5, 0x21, 0x01))
    data[7] = 4
    assert parse(data).condition == (5, 0, 0)
    data[7] = 255
    assert parse(data).condition == (5, 0x21, 1)


def test_flags_of_fixed_format() -> None:
    data = bytearray(build_fixed(3, 0, 1))
    data[2] |= 0xE0
    data[8:12] = b"\0\0\0\x07"
    data[14] = 0x42
    read = parse(data)
    assert (read.filemark, read.eom, read.ili) == (True, True, True)
    assert (read.command_specific, read.fru) == (7, 0x42)


def descriptor_sense(*descriptors: str) -> bytes:
    body = b"".join(bytes.fromhex(each) for each in descriptors)
    return bytes((0x72, 3, 0x11, 0, 0, 0, 0, len(body))) + body


def test_every_descriptor() -> None:
    read = parse(
        descriptor_sense(
            "000a80000000000000000001",
            "010a00000000000000000002",
            "02060000c0000300",
            "03020004",
            "040200e0",
            "ff020000",
        )
    )
    assert read == Sense(
        3, 0x11, 0, 0x72, 1, 2, bytes.fromhex("c00003"), 4, filemark=True, eom=True, ili=True
    )
    assert parse(descriptor_sense("05020020")).ili


@pytest.mark.parametrize(
    "descriptor",
    ["000a00000000000000000001", "000480000001", "010100", "0206000040000300", "020100", "030100", "040100",
     "050100", "00", "00ff8000"],
)  # fmt: skip
def test_descriptors_that_are_short_or_not_valid_say_nothing(descriptor: str) -> None:
    assert parse(descriptor_sense(descriptor)) == Sense(3, 0x11, 0, 0x72)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (build_fixed(5, 0x21, 0), "ILLEGAL REQUEST: LOGICAL BLOCK ADDRESS OUT OF RANGE (05/21/00)"),
        (build_descriptor(6, 0x29, 1), "UNIT ATTENTION: POWER ON OCCURRED (06/29/01)"),
        (
            build_fixed(3, 0xC, 0, deferred=True),
            "MEDIUM ERROR: WRITE ERROR (03/0c/00), about an earlier command",
        ),
        (b"", "no sense data"),
        (b"\x7f\x01", "sense data in a format that is not standard (response code 7fh)"),
        (b"\x00\x01", "no sense data"),
    ],
)
def test_descriptions(data: bytes, line: str) -> None:
    assert describe(parse(data)) == line
    assert str(parse(data)) == line


def test_named_conditions_are_in_the_table() -> None:
    conditions = {name: value for name, value in vars(sense).items() if isinstance(value, Condition)}
    assert len(conditions) > 30
    for name, condition in conditions.items():
        assert condition.key in sense.KEY_NAMES, name
        assert (condition.asc, condition.ascq) in asc_table(), name


def test_every_key_has_a_name() -> None:
    assert sorted(sense.KEY_NAMES) == list(range(16))


@given(st.binary(max_size=300))
def test_any_octets(data: bytes) -> None:
    assert describe(parse(data)).isprintable()


@given(st.sampled_from([0x70, 0x71, 0x72, 0x73, 0xF0]), st.binary(max_size=60))
def test_any_octets_behind_a_response_code(code: int, data: bytes) -> None:
    assert describe(parse(bytes((code,)) + data)).isprintable()


def test_progress() -> None:
    assert sense.progress(0, 10) == bytes([0x80, 0, 0])
    assert sense.progress(5, 10) == bytes([0x80, 0x80, 0])
    assert sense.progress(10, 10) == bytes([0x80, 0xFF, 0xFF])
    assert sense.progress(1, 0) == bytes([0x80, 0xFF, 0xFF])
