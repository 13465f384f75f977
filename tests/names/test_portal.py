"""Portals and TargetAddress values."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.errors import InvalidPortal
from san_console.names.portal import (
    ISCSI_PORT,
    ISNS_PORT,
    Portal,
    format_target_address,
    parse_target_address,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("10.0.0.1", "10.0.0.1", 3260, "10.0.0.1:3260"),
        (" 10.0.0.1:5003 ", "10.0.0.1", 5003, "10.0.0.1:5003"),
        ("[::1]:3261", "::1", 3261, "[::1]:3261"),
        ("[::1]", "::1", 3260, "[::1]:3260"),
        ("::1", "::1", 3260, "[::1]:3260"),
        ("1080:0:0:0:8:800:200C:417A", "1080::8:800:200c:417a", 3260, "[1080::8:800:200c:417a]:3260"),
        ("[fe80::1%eth0]:3260", "fe80::1%eth0", 3260, "[fe80::1%eth0]:3260"),
        ("Storage.Example.COM.", "storage.example.com", 3260, "storage.example.com:3260"),
        ("san_1:860", "san_1", 860, "san_1:860"),
        ("xn--spicher-9za.example", "xn--spicher-9za.example", 3260, "xn--spicher-9za.example:3260"),
        ("127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"),
    ],
)
def test_parse_and_show(text: str, host: str, port: int, shown: str) -> None:
    portal = Portal.parse(text)
    assert (portal.host, portal.port, str(portal)) == (host, port, shown)
    assert Portal.parse(str(portal)) == portal
    assert portal.is_ipv6 == (":" in host)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing"),
        ("   ", "missing"),
        (":3260", "host is missing"),
        ("10.1", "four numbers"),
        ("10.0.0.300", "four numbers"),
        ("010.0.0.1", "four numbers"),
        ("0x7f.1", "four numbers"),
        ("0x7f000001", "four numbers"),
        ("2130706433", "four numbers"),
        ("10.0.0.1:", "a port from 0 to 65535"),
        ("10.0.0.1:65536", "a port from 0 to 65535"),
        ("10.0.0.1:-1", "a port from 0 to 65535"),
        ("10.0.0.1:³", "a port from 0 to 65535"),
        ("10.0.0.1:000080", "a port from 0 to 65535"),
        ("http://10.0.0.1", "a port from 0 to 65535"),
        ("[::1", "between the brackets"),
        ("[10.0.0.1]:3260", "between the brackets"),
        ("[::1]3260", "after the bracket"),
        ("1:2:3", "colons like an IPv6 address"),
        ("[fe80::1%]", "name of an interface"),
        ("[fe80::1%a b]", "name of an interface"),
        ("a..b", "cannot be a part"),
        ("-a", "cannot be a part"),
        ("a b", "cannot be a part"),
        ("a" * 64, "cannot be a part"),
        (".".join(["a" * 60] * 5), "at most 253"),
        ("spëicher.example", "xn--"),
        ("host\n", "cannot be a part"),
        ("a" * 10_000, "10000 characters"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    with pytest.raises(InvalidPortal) as caught:
        Portal.parse(text)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_default_ports() -> None:
    assert (ISCSI_PORT, ISNS_PORT) == (3260, 3205)
    assert Portal.parse("a", ISNS_PORT).port == ISNS_PORT
    assert Portal("10.0.0.1").port == ISCSI_PORT


def test_two_spellings_are_one_portal() -> None:
    assert Portal("0:0::1") == Portal("::1")
    assert len({Portal("HOST"), Portal("host.")}) == 1
    assert sorted([Portal("b"), Portal("a", 2), Portal("a", 1)])[0] == Portal("a", 1)


@pytest.mark.parametrize("port", [-1, 65536])
def test_constructor_checks_the_port(port: int) -> None:
    with pytest.raises(InvalidPortal, match="not a TCP port"):
        Portal("a", port)


@pytest.mark.parametrize(
    ("text", "portal", "tag"),
    [
        ("10.0.0.1:5003,1", Portal("10.0.0.1", 5003), 1),
        ("[1080:0:0:0:8:800:200C:417A],65", Portal("1080::8:800:200c:417a"), 65),
        ("[1080::8:800:200C:417A]:5003,1", Portal("1080::8:800:200c:417a", 5003), 1),
        ("computingcenter.example.com,23", Portal("computingcenter.example.com"), 23),
        ("10.0.0.2:3260", Portal("10.0.0.2"), None),
    ],
)
def test_target_addresses_of_the_rfc(text: str, portal: Portal, tag: int | None) -> None:
    assert parse_target_address(text) == (portal, tag)
    assert parse_target_address(format_target_address(portal, tag)) == (portal, tag)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1:0,1", "port 0"),
        ("[fe80::1%eth9]:3260,1", "zone"),
        ("10.0.0.1,", "portal group tag"),
        ("10.0.0.1,65536", "portal group tag"),
        ("10.0.0.1,-1", "portal group tag"),
        ("10.0.0.1,1,2", "portal group tag"),
        ("10.0.0.1,١", "portal group tag"),
        ("<img src=http://127.0.0.1/x.png>,1", "address"),
    ],
)
def test_target_addresses_that_mean_nothing_here(text: str, reason: str) -> None:
    with pytest.raises(InvalidPortal, match=reason):
        parse_target_address(text)


@given(
    st.one_of(
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map(str),
        st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z][a-z0-9]{0,5}){0,3}", fullmatch=True),
    ),
    st.integers(1, 65535),
    st.one_of(st.none(), st.integers(0, 65535)),
)
def test_round_trip(host: str, port: int, tag: int | None) -> None:
    portal = Portal(host, port)
    assert Portal.parse(str(portal)) == portal
    assert parse_target_address(format_target_address(portal, tag)) == (portal, tag)
    if ":" in host:
        assert portal.host == ipaddress.IPv6Address(host).compressed


@given(st.text(max_size=40))
def test_any_text_gives_a_portal_or_a_refusal(text: str) -> None:
    try:
        portal, _ = parse_target_address(text)
    except InvalidPortal as error:
        message = str(error)
    else:
        message = ""
        assert Portal.parse(str(portal)) == portal
    assert message.isprintable()
