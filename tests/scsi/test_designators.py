"""Designators: what is kept, what is skipped, and which one is the identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import designators as d
from san_console.scsi.designators import (
    Designator,
    build_designators,
    identity,
    naa_from_seed,
    parse_designators,
)
from san_console.scsi.errors import UnencodableValue

NAA_6 = bytes.fromhex("600140512345678900000000000000ab")
NAA_5 = bytes.fromhex("5000c50012345678")


def all_kinds() -> list[Designator]:
    return [
        d.naa(NAA_6),
        d.naa(NAA_5),
        d.eui_64(bytes.fromhex("0050c20000000001")),
        d.t10_vendor_id("SANCON", "lun 1"),
        d.scsi_name("iqn.2001-04.com.example:disk"),
        d.scsi_name("iqn.2001-04.com.example:disk,t,0x0001", d.ASSOCIATION_TARGET_PORT),
        d.relative_target_port(1),
        d.target_port_group(0x1234),
        Designator(d.CODE_SET_BINARY, 0, d.TYPE_UUID, b"\x10\0" + bytes(range(16))),
        Designator(d.CODE_SET_ASCII, 0, d.TYPE_VENDOR_SPECIFIC, b"whatever  "),
        Designator(d.CODE_SET_BINARY, 0, d.TYPE_MD5, bytes(16)),
        Designator(d.CODE_SET_BINARY, 0, d.TYPE_LOGICAL_UNIT_GROUP, bytes(4)),
    ]


def test_octets() -> None:
    assert build_designators([d.naa(NAA_5)]).hex() == "01030008" + NAA_5.hex()
    assert build_designators([d.relative_target_port(2)]).hex() == "51940004" + "00000002"
    name = build_designators([d.scsi_name("iqn.2001-04.com.a")])
    assert name.hex() == "53a80014" + b"iqn.2001-04.com.a\0\0\0".hex()


def test_round_trip_of_every_kind() -> None:
    assert parse_designators(build_designators(all_kinds())) == all_kinds()


@pytest.mark.parametrize(
    ("designator", "text"),
    list(
        zip(
            all_kinds(),
            [
                "naa." + NAA_6.hex(),
                "naa." + NAA_5.hex(),
                "eui.0050c20000000001",
                "t10.SANCON:lun_1",
                "iqn.2001-04.com.example:disk",
                "iqn.2001-04.com.example:disk,t,0x0001",
                "1",
                str(0x1234),
                "uuid.00010203-0405-0607-0809-0a0b0c0d0e0f",
                "whatever",
                "00" * 16,
                "0",
            ],
            strict=True,
        )
    ),
)
def test_texts(designator: Designator, text: str) -> None:
    assert str(designator) == text


@pytest.mark.parametrize(
    "octets",
    [
        "01030008" + "9000c50012345678",  # NAA 9 does not exist
        "01030008" + "6000c50012345678",  # NAA 6 has sixteen octets
        "01030010" + "5000c50012345678" * 2,
        "01030000",
        "01020007" + "00" * 7,
        "02010008" + "53414e434f4e2020",  # a vendor and nothing else
        "01140003" + "000001",
        "03080004" + "00000000",
        "010a0010" + "00" * 16,
        "01030008" + "5000c5",  # longer than what was sent
        "0103",
    ],
)
def test_a_bad_designator_is_skipped_and_the_good_one_kept(octets: str) -> None:
    bad = bytes.fromhex(octets)
    good = build_designators([d.naa(NAA_6)])
    assert parse_designators(good + bad) == [d.naa(NAA_6)]
    if len(bad) >= 4 and len(bad) == 4 + bad[3]:
        assert parse_designators(bad + good) == [d.naa(NAA_6)]


def test_the_number_of_designators_is_bounded() -> None:
    page = build_designators([d.naa(NAA_5)] * 5000)
    assert len(parse_designators(page)) == d.MAX_DESIGNATORS


def test_identity_prefers_the_strongest_in_any_order() -> None:
    kinds = all_kinds()
    expected = "naa." + NAA_6.hex()
    assert identity(kinds) == identity(reversed(kinds)) == expected
    local = d.naa(naa_from_seed(b"x"))
    order = [
        kinds[0],
        kinds[1],
        d.naa(bytes.fromhex("2000c50012345678")),
        kinds[2],
        kinds[8],
        d.scsi_name("iqn.2001-04.com.a", d.ASSOCIATION_LOGICAL_UNIT),
        local,
        kinds[3],
    ]
    for position, designator in enumerate(order):
        assert identity(order[: position - 1 : -1] if position else order) == str(designator)


def test_identity_is_that_of_the_unit_and_not_of_its_port() -> None:
    port = Designator(d.CODE_SET_BINARY, d.ASSOCIATION_TARGET_PORT, d.TYPE_NAA, NAA_5)
    assert identity([port, d.target_port_group(1), d.scsi_name("iqn.2001-04.com.a")]) == ""
    assert identity([port, d.t10_vendor_id("V", "x")]) == "t10.V:x"
    assert identity([]) == ""


def test_identity_from_a_seed_is_stable() -> None:
    # This very value: hosts know a LUN by it, so no later version may give another.
    assert naa_from_seed(b"seed").hex() == "3f26b7f0b60ce526"
    assert naa_from_seed(b"seed") != naa_from_seed(b"seee")


@given(st.binary(max_size=50))
def test_any_seed_gives_a_locally_assigned_naa(seed: bytes) -> None:
    value = naa_from_seed(seed)
    assert value[0] >> 4 == d.NAA_LOCALLY_ASSIGNED
    assert parse_designators(build_designators([d.naa(value)])) == [d.naa(value)]


@pytest.mark.parametrize("data", ["", "50", "6000c50012345678", "9000c50012345678"])
def test_no_naa(data: str) -> None:
    with pytest.raises(UnencodableValue, match="no NAA"):
        d.naa(bytes.fromhex(data))


def test_values_that_do_not_fit() -> None:
    with pytest.raises(UnencodableValue, match="8, 12 or 16"):
        d.eui_64(bytes(9))
    with pytest.raises(UnencodableValue, match="16 bits"):
        d.relative_target_port(65536)
    with pytest.raises(UnencodableValue, match="does not fit"):
        d.scsi_name("iqn." + "x" * 250)
    with pytest.raises(UnencodableValue, match="T10 identifier"):
        d.t10_vendor_id("V", "x" * 248)
    with pytest.raises(UnencodableValue, match="255 octets"):
        build_designators([Designator(1, 0, 0, bytes(256))])


@given(st.binary(max_size=400))
def test_any_octets(body: bytes) -> None:
    found = parse_designators(memoryview(body))
    assert isinstance(identity(found), str)
    assert parse_designators(build_designators(found)) == found
    for designator in found:
        assert isinstance(str(designator), str)


@given(
    st.lists(
        st.builds(
            Designator,
            code_set=st.integers(0, 15),
            association=st.integers(0, 3),
            type=st.integers(0, 15),
            data=st.binary(max_size=20),
            protocol=st.one_of(st.none(), st.integers(0, 15)),
        ),
        max_size=8,
    )
)
def test_what_is_found_was_there_in_that_order(built: list[Designator]) -> None:
    rest = iter(built)
    assert all(found in rest for found in parse_designators(build_designators(built)))
    assert all(isinstance(str(each), str) for each in built)
