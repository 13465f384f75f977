"""SendTargets lists: what is built is read back; a hostile list is bounded, never lost as a whole (B39)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import send_targets
from san_console.iscsi.send_targets import (
    DiscoveredTargetRecord,
    build_request,
    build_response,
    parse_response,
)
from san_console.names.portal import Portal

A, B = "iqn.2026-11.org.example:a", "iqn.2026-11.org.example:b"
V4, V6 = Portal("10.0.0.1"), Portal("fe80::1", 3261)


def test_request() -> None:
    assert build_request() == b"SendTargets=All\0"
    assert build_request("") == b"SendTargets=\0"
    assert build_request(A) == b"SendTargets=" + A.encode() + b"\0"


def test_list_travels() -> None:
    text = build_response([(A, [(V4, 1), (V6, 2)]), (B, [])])
    assert text.split(b"\0")[1:3] == [b"TargetAddress=10.0.0.1:3260,1", b"TargetAddress=[fe80::1]:3261,2"]
    result = parse_response(text)
    assert result.targets == [
        DiscoveredTargetRecord(A, [(V4, 1), (V6, 2)]),
        DiscoveredTargetRecord(B, []),
    ]
    assert (result.truncated, result.skipped) == (False, 0)


def test_empty_list() -> None:
    assert parse_response(b"").targets == []
    assert not parse_response(b"").truncated


def test_a_name_listed_twice_is_one_target() -> None:
    text = build_response([(A, [(V4, 1)]), (B, [(V4, 1)]), (A, [(V6, 2), (V4, 1)])])
    assert parse_response(text).targets == [
        DiscoveredTargetRecord(A, [(V4, 1), (V6, 2)]),
        DiscoveredTargetRecord(B, [(V4, 1)]),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        "TargetName=iqn.2026-11.org.example:a\nb",
        "TargetName=iqn.2026-11.org.example:\u202etxt",
        "TargetName=no name at all",
        "TargetName=iqn.2026-11.org.example:" + "x" * 300,
        "TargetName=",
        "TargetName",
        "Garbage=1",
    ],
)
def test_bad_record_is_skipped_alone(bad: str) -> None:
    text = build_response([(A, [(V4, 1)])]) + bad.encode() + b"\0" + build_response([(B, [(V6, 2)])])
    result = parse_response(text)
    assert [target.name for target in result.targets] == [A, B]
    assert result.skipped == 1
    assert not result.truncated


def test_addresses_of_a_bad_name_go_to_nobody() -> None:
    text = b"TargetAddress=10.0.0.9:3260,1\0TargetName=bad name\0TargetAddress=10.0.0.8:3260,1\0"
    result = parse_response(build_response([(A, [])]) + text)
    # The first one follows a good name and belongs to it.
    assert result.targets == [DiscoveredTargetRecord(A, [(Portal("10.0.0.9"), 1)])]
    assert result.skipped == 2
    assert parse_response(text).targets == []


@pytest.mark.parametrize(
    "address", ["[fe80::1%eth9]:3260,1", "10.0.0.1:99999,1", "<b>,1", "10.0.0.1:3260,99999", ""]
)
def test_bad_address_is_skipped_alone(address: str) -> None:
    text = f"TargetName={A}\0TargetAddress={address}\0TargetAddress=10.0.0.1:3260,1\0"
    result = parse_response(text.encode())
    assert result.targets == [DiscoveredTargetRecord(A, [(V4, 1)])]
    assert result.skipped == 1


def test_address_without_a_tag_is_taken() -> None:
    result = parse_response(f"TargetName={A}\0TargetAddress=10.0.0.1\0".encode())
    assert result.targets == [DiscoveredTargetRecord(A, [(V4, None)])]


def test_invalid_utf8_does_not_end_the_list() -> None:
    result = parse_response(b"TargetName=iqn.2026-11.org.example:\xff\xfe\0" + build_response([(B, [])]))
    assert [target.name for target in result.targets] == [B]
    assert result.skipped == 1


def test_cut_text_says_so() -> None:
    text = build_response([(A, [(V4, 1)]), (B, [])])[:-3]
    result = parse_response(text)
    assert [target.name for target in result.targets] == [A]
    assert result.truncated
    assert parse_response(build_response([(A, [])]), truncated=True).truncated


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_targets, "MAX_TARGETS", 10)
    monkeypatch.setattr(send_targets, "MAX_ADDRESSES_PER_TARGET", 2)
    many = [
        (f"iqn.2026-11.org.example:{i}", [(Portal("10.0.0.1", p), 1) for p in (1, 2, 3)]) for i in range(12)
    ]
    result = parse_response(build_response(many))
    assert len(result.targets) == 10
    assert all(len(target.addresses) == 2 for target in result.targets)
    assert result.truncated
    # A target that was listed already may still get an address.
    again = parse_response(build_response([*many[:10], (many[0][0], []), ("iqn.2026-11.org.example:z", [])]))
    assert len(again.targets) == 10
    monkeypatch.setattr(send_targets, "MAX_LIST_BYTES", 100)
    assert parse_response(build_response(many)).truncated


@settings(max_examples=100)
@given(data=st.binary(max_size=300))
def test_noise_gives_a_list(data: bytes) -> None:
    result = parse_response(data)
    assert result.targets == [] or b"TargetName=" in data


def test_long_list() -> None:
    text = build_response((f"iqn.2026-11.org.example:{i}", [(V4, 1), (V6, 2)]) for i in range(2000))
    assert len(parse_response(text).targets) == 2000
