"""The trace keeps no secret, no data, and never fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.iscsi.pdu import LoginRequest, LoginResponse, NopOut, ScsiDataIn, TextResponse
from san_console.iscsi.trace import Trace
from tests.iscsi.login_pair import run_login


def test_ring_keeps_the_last_and_counts_all() -> None:
    trace = Trace(records=3)
    for number in range(10):
        trace.add(float(number), "out", NopOut(itt=number).pack())
    assert [record.at for record in trace.records()] == [7.0, 8.0, 9.0]
    assert trace.seen == 10
    trace.clear()
    assert trace.records() == []


def test_data_is_counted_and_not_kept() -> None:
    trace = Trace()
    trace.add(1.0, "in", memoryview(ScsiDataIn(flags=0x80).pack(9)), b"private!!")
    trace.add(2.0, "in", ScsiDataIn(flags=0x80).pack(4096), data_bytes=4096)
    [first, second] = trace.records()
    assert (first.data_bytes, second.data_bytes) == (9, 4096)
    assert first.text == ""
    assert first.summary.startswith("SCSI Data-In flags=F")
    assert "data=9" in first.summary


def test_challenge_and_response_are_masked() -> None:
    trace = Trace()
    text = b"CHAP_N=alice\0CHAP_R=0x6162636465\0CHAP_I=3\0CHAP_C=0b6162\0"
    trace.add(1.0, "out", LoginRequest().pack(len(text)), text)
    [record] = trace.records()
    assert record.text == "CHAP_N=alice CHAP_R=*** CHAP_I=3 CHAP_C=***"
    assert "6162" not in record.summary
    assert "6162" not in repr(record).replace(record.bhs.hex(), "")


@given(cut=st.integers(1, 39), direction=st.sampled_from(["in", "out"]))
def test_masked_text_cut_anywhere_stays_masked(cut: int, direction: str) -> None:
    text = b"CHAP_R=0xdeadbeefdeadbeefdeadbeefdeadbeef\0"
    trace = Trace()
    way = "in" if direction == "in" else "out"
    trace.add(1.0, way, LoginRequest(continued=True).pack(cut), text[:cut])  # type: ignore[arg-type]  # either
    trace.add(2.0, way, LoginRequest().pack(len(text) - cut), text[cut:])  # type: ignore[arg-type]  # either
    assert [record.text for record in trace.records()] == ["(part of a longer text)"] * 2
    other = b"AuthMethod=CHAP\0"
    trace.add(3.0, way, LoginRequest().pack(len(other)), other)  # type: ignore[arg-type]  # either
    assert trace.records()[-1].text == "AuthMethod=CHAP"


def test_hostile_text_is_made_visible() -> None:
    trace = Trace()
    text = "TargetAlias=a\n\x1b[31m\u202e\0".encode()
    trace.add(1.0, "in", LoginResponse().pack(len(text)), text)
    trace.add(2.0, "in", TextResponse().pack(3), b"\xff\xfe\0")
    [alias, broken] = trace.records()
    assert "\n" not in alias.summary
    assert "\x1b" not in alias.summary
    assert "\\u{202e}" in alias.summary
    assert broken.text == "(text that cannot be read)"


@pytest.mark.parametrize("opcode", [0x1C, 0x3E])
def test_unknown_opcode_is_shown(opcode: int) -> None:
    trace = Trace()
    trace.add(1.0, "in", bytes([opcode]) + bytes(47))
    assert f"0x{opcode:02x}" in trace.records()[0].summary


def test_login_can_be_read_in_the_trace() -> None:
    trace = Trace()
    for number, pdu in enumerate(run_login().transcript):
        trace.add(float(number), "out", pdu.pack())
    summaries = [record.summary for record in trace.records()]
    assert "csg=SecurityNegotiation nsg=LoginOperationalNegotiation" in summaries[0]
    assert "nsg=FullFeaturePhase" in summaries[-1]
