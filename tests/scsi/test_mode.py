"""MODE SENSE data and pages."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.scsi import mode
from san_console.scsi.errors import MalformedData, UnencodableValue
from san_console.scsi.mode import CachingPage, ControlPage, ExceptionsPage

flag = st.booleans()


def test_octets_of_six() -> None:
    data = mode.build_6([CachingPage(write_cache=True).build()], descriptor=mode.short_descriptor(2048, 512))
    assert data.hex() == "1f001008" + "0000080000000200" + "08120400" + "00" * 16


def test_octets_of_ten() -> None:
    data = mode.build_10([ExceptionsPage().build()], write_protected=True, dpofua=False)
    assert data.hex() == "0012008000000000" + "1c0a08000000000000000000"


@given(flag, flag, st.one_of(st.none(), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**24 - 1))))
def test_round_trip_of_six(write_protected: bool, dpofua: bool, geometry: tuple[int, int] | None) -> None:
    pages = [CachingPage().build(), ControlPage().build(), ExceptionsPage().build()]
    descriptor = mode.short_descriptor(*geometry) if geometry else b""
    data = mode.build_6(pages, write_protected=write_protected, dpofua=dpofua, descriptor=descriptor)
    read = mode.parse_6(memoryview(data))
    assert (read.write_protected, read.dpofua) == (write_protected, dpofua)
    assert (read.blocks, read.block_bytes) == (geometry or (None, None))
    assert [page.data for page in read.pages] == pages


@given(flag, flag, st.one_of(st.none(), st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))))
def test_round_trip_of_ten(write_protected: bool, dpofua: bool, geometry: tuple[int, int] | None) -> None:
    pages = [CachingPage().build(), ControlPage().build()]
    descriptor = mode.long_descriptor(*geometry) if geometry else b""
    data = mode.build_10(pages, write_protected=write_protected, dpofua=dpofua, descriptor=descriptor)
    read = mode.parse_10(memoryview(data))
    assert (read.write_protected, read.dpofua) == (write_protected, dpofua)
    assert (read.blocks, read.block_bytes) == (geometry or (None, None))
    assert [page.data for page in read.pages] == pages


def test_a_large_medium_in_a_short_descriptor() -> None:
    assert mode.short_descriptor(2**40, 4096).hex() == "ffffffff" + "00001000"


@given(st.builds(CachingPage, flag, flag))
def test_caching_page(page: CachingPage) -> None:
    assert CachingPage.parse(page.build()) == page
    assert len(page.build()) == 20


@given(st.builds(ControlPage, flag, flag, flag, flag, st.integers(0, 7)))
def test_control_page(page: ControlPage) -> None:
    assert ControlPage.parse(page.build()) == page
    assert len(page.build()) == 12


@given(st.builds(ExceptionsPage, flag, st.integers(0, 15)))
def test_exceptions_page(page: ExceptionsPage) -> None:
    assert ExceptionsPage.parse(page.build()) == page
    assert len(page.build()) == 12


@pytest.mark.parametrize("parse", [CachingPage.parse, ControlPage.parse, ExceptionsPage.parse])
@given(data=st.binary(max_size=3))
def test_pages_cut_short(parse: Callable[[bytes], object], data: bytes) -> None:
    for code in (0x01, 0x08, 0x0A, 0x1C):
        try:
            parse(bytes((code,)) + data[:1])
        except MalformedData as error:
            assert "cut short or another page" in str(error)  # noqa: PT017  # every page but none is refused
        else:
            pytest.fail("two octets are no page")


def test_subpages_and_finding_a_page() -> None:
    subpage = bytes.fromhex("4a01000401020304")
    read = mode.parse_10(mode.build_10([ControlPage().build(), subpage]))
    found = read.page(mode.CONTROL, 1)
    assert found is not None
    assert found.data == subpage
    assert read.page(mode.CONTROL) == read.pages[0]
    assert read.page(mode.CACHING) is None


def test_saved_pages_are_known_by_their_code() -> None:
    data = bytearray(mode.build_6([CachingPage().build()]))
    data[4] |= 0x80
    page = mode.parse_6(data).page(mode.CACHING)
    assert page is not None
    assert CachingPage.parse(page.data) == CachingPage()


def test_data_cut_by_the_allocation_length() -> None:
    data = mode.build_6([CachingPage(True).build(), ControlPage().build()])
    read = mode.parse_6(data[:10])
    assert [page.code for page in read.pages] == [mode.CACHING]
    assert CachingPage.parse(read.pages[0].data).write_cache
    assert mode.parse_10(mode.build_10([bytes.fromhex("4a010004")])[:10]).pages == []


@pytest.mark.parametrize("descriptor_bytes", [4, 255])
def test_a_descriptor_length_that_lies(descriptor_bytes: int) -> None:
    read = mode.parse_6(bytes((11, 0, 0, descriptor_bytes)) + bytes(4))
    assert (read.blocks, read.pages) == (None, [])


def test_no_header() -> None:
    with pytest.raises(MalformedData, match="3 octets"):
        mode.parse_6(bytes(3))
    with pytest.raises(MalformedData, match="7 octets"):
        mode.parse_10(bytes(7))


def test_too_much_for_the_command() -> None:
    with pytest.raises(UnencodableValue, match=r"MODE SENSE\(10\) can"):
        mode.build_6([bytes(254)])
    with pytest.raises(UnencodableValue, match="cannot carry"):
        mode.build_10([bytes(65536)])


@given(st.binary(max_size=120))
def test_any_octets(data: bytes) -> None:
    for parse in (mode.parse_6, mode.parse_10):
        try:
            read = parse(data)
        except MalformedData:
            continue
        assert sum(len(page.data) for page in read.pages) <= len(data)
