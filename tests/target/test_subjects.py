"""Whom a rule of access means, and which of several rules is the more specific."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.target.errors import ConfigError
from san_console.target.subjects import SubjectIndex, parse_address, parse_subject

ME = "iqn.2026-11.org.example:me"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        (ME.upper(), ME),
        ("eui.0123456789abcdef", "eui.0123456789abcdef"),
        ("iqn.1998-01.com.vmware:host_1", "iqn.1998-01.com.vmware:host_1"),
        (" IQN.2026-11.org.example:** ", "iqn.2026-11.org.example:*"),
        ("*", "*"),
        ("***", "*"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("FE80::/10", "fe80::/10"),
        ("::1", "::1"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        (f"{ME}@10.0.0.0/8", f"{ME}@10.0.0.0/8"),
        ("iqn.*@::1", "iqn.*@::1"),
        ("*@10.0.0.0/8", "10.0.0.0/8"),
        ("iqn.2001-04.com.example:a@b", "iqn.2001-04.com.example:a@b"),
        ("group:the cluster", "group:the cluster"),
    ],
)
def test_subjects_have_one_spelling(text: str, spelled: str) -> None:
    subject = parse_subject(text)
    assert subject.text == spelled
    assert parse_subject(spelled) == subject


@pytest.mark.parametrize(
    "text",
    [
        "",
        "disk",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0",
        "fe80::1/10",
        "group:",
        "group: x",
        "group:a\nb",
        "group:" + "x" * 65,
        f"{ME}@10.0.0.1/8",
        "iqn.*/x",
        "iqn.* x",
        "iqn.*\x1b",
        "iqn." + "*a" * 200,
        "a@b@10.0.0.0/8",
    ],
)
def test_what_means_nobody_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_subject(text)
    assert error.value.check
    assert "\x1b" not in error.value.cause


def test_a_name_may_hold_an_at_sign() -> None:
    assert parse_subject(f"{ME}@everywhere").network is None


@pytest.mark.parametrize(
    ("network", "address", "holds"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("10.0.0.0/8", "fe80::1", False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "nonsense", False),
        ("0.0.0.0/0", "1.2.3.4", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "1.2.3.4", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("fe80::/10", "fec0::1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
    ],
)
def test_networks(network: str, address: str, holds: bool) -> None:
    subject = parse_subject(network)
    where = parse_address(address)
    assert subject.matches(ME, where) is holds
    assert parse_subject(f"{ME}@{network}").matches(ME, where) is holds
    assert not parse_subject(f"{ME}@{network}").matches(ME + "x", where)
    assert parse_subject(f"*:me@{network}").matches(ME, where) is holds


IN_ORDER = [
    f"{ME}@10.1.0.0/16",
    f"{ME}@10.0.0.0/8",
    ME,
    "group:names",
    "iqn.2026-11.org.example:m*@10.0.0.0/8",
    "iqn.2026-11.org.example:*",
    "iqn.*@10.0.0.0/8",
    "iqn.*",
    "group:patterns",
    "10.1.0.0/16",
    "10.0.0.0/8",
    "group:networks",
    "*",
    "group:all",
]
GROUPS = [
    ("names", ["iqn.2026-11.org.example:you", ME, "*"]),
    ("patterns", ["iqn.2026-11.org.example:m*"]),
    ("networks", ["10.1.1.1", "192.168.0.0/16"]),
    ("all", ["*"]),
    ("unused", [ME]),
]


def test_the_most_specific_rule_comes_first() -> None:
    index = SubjectIndex([(text, text) for text in reversed(IN_ORDER)], GROUPS)
    # With an address goes before without, inside of one kind.
    wanted = sorted(IN_ORDER, key=IN_ORDER.index)
    got = [text for _, _, text in index.matching(ME.upper(), "10.1.1.1")]
    patterns = [text for text in got if text in wanted[4:8]]
    assert [text for text in got if text not in patterns] == [text for text in wanted if text not in patterns]
    assert patterns == [
        "iqn.2026-11.org.example:m*@10.0.0.0/8",
        "iqn.*@10.0.0.0/8",
        "iqn.2026-11.org.example:*",
        "iqn.*",
    ]


def test_without_an_address_no_network_fits() -> None:
    index = SubjectIndex([(text, text) for text in IN_ORDER], GROUPS)
    got = [text for _, _, text in index.matching(ME, "")]
    assert all("10." not in text and text != "group:networks" for text in got)
    assert got[0] == ME


def test_a_group_that_is_missing_is_refused() -> None:
    with pytest.raises(ConfigError):
        SubjectIndex([("group:none", 1)], GROUPS)


def test_equals_stay_in_the_order_given() -> None:
    index = SubjectIndex([("iqn.2026-11.*", 1), ("iqn.2026-11*.", 2), (ME, 3), (ME.upper(), 4)])
    assert [value for _, _, value in index.matching(ME, "")] == [3, 4, 1]


def test_a_name_is_found_among_many_without_looking_at_all() -> None:
    index = SubjectIndex([(f"{ME}{n}", n) for n in range(10_000)])
    assert index._others == []
    assert [value for _, _, value in index.matching(f"{ME}77", "10.0.0.1")] == [77]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for wanted in (text, f"{ME}{text}", f"iqn.*@{text}", f"group:{text}", f"10.0.0.0/{text}"):
        with contextlib.suppress(ConfigError):
            subject = parse_subject(wanted)
            assert parse_subject(subject.text) == subject


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_patterns_mean_what_a_shell_would(pattern: str, name: str) -> None:
    from fnmatch import fnmatchcase

    wanted = f"iqn.*{pattern}"
    assert parse_subject(wanted).matches(f"iqn.{name}", None) is fnmatchcase(f"iqn.{name}", wanted)


def test_a_name_made_for_a_pattern_does_not_keep_the_loop_busy() -> None:
    """The name is the peer's choice: a pattern that tries every place for every `*` would take hours."""
    subject = parse_subject("iqn.*:*a*a*a*a*a*a*a*a*a*b")
    begun = time.perf_counter()
    assert not subject.matches("iqn." + ":a" * 109, None)
    assert time.perf_counter() - begun < 0.5
    assert subject.matches("iqn." + ":a" * 100 + "b", None)


@pytest.mark.parametrize(
    ("text", "spelled", "address"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.9.9.9"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8", "::ffff:10.9.9.9"),
        ("::ffff:0:0/96", "0.0.0.0/0", "192.0.2.1"),
    ],
)
def test_ipv4_in_ipv6_means_ipv4_in_rules_too(text: str, spelled: str, address: str) -> None:
    subject = parse_subject(text)
    assert subject.text == spelled
    assert subject.matches(ME, parse_address(address))
