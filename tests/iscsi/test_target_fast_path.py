"""The command loop over the receive buffer: it has to answer as the ordinary way does, only faster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import target_fast_path
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Reject, ScsiDataIn, ScsiResponse
from san_console.iscsi.target_fast_path import BHS_BYTES, OUTPUT_BATCH_BYTES, fast_commands
from tests.iscsi.target_harness import FakeUnit, Initiator

PARAMETERS = OperationalParameters(
    initial_r2t=False,
    max_recv_data_segment_bytes=8192,
    peer_max_recv_data_segment_bytes=8192,
    max_burst_bytes=16384,
    first_burst_bytes=8192,
)
DIGESTS = [("None", "None"), ("CRC32C", "None"), ("None", "CRC32C"), ("CRC32C", "CRC32C")]
both_digests = pytest.mark.parametrize(("header", "data"), DIGESTS)


class Watched(Initiator):
    """Counts the commands that took the ordinary way, and can force all of them there."""

    def __init__(self, parameters: OperationalParameters, *, fast: bool = True) -> None:
        super().__init__(parameters, command_window=64)
        self.connection._fast = fast

    def put(self, raw: bytes) -> None:
        """Receive without handling."""
        room = self.framer.writable()
        room[: len(raw)] = raw
        self.framer.wrote(len(raw))

    def sent(self) -> bytes:
        return b"".join(bytes(buffer) for buffer in self.connection.output)


def with_digests(header: str, data: str) -> OperationalParameters:
    return replace(PARAMETERS, header_digest=header, data_digest=data)


@both_digests
@pytest.mark.parametrize("length", [1, 2, 3, 4, 511, 512, 8192])
def test_a_read_is_answered_in_one_pdu_with_its_status(header: str, data: str, length: int) -> None:
    initiator = Watched(with_digests(header, data))
    initiator.put(initiator.read(length, offset=7))
    assert fast_commands(initiator.connection, 10) == 1
    [(pdu, segment)] = initiator.answers()  # checks digests and `output_bytes`
    assert isinstance(pdu, ScsiDataIn)
    assert segment == initiator.unit.memory[7 : 7 + length]
    assert (pdu.stat_sn, pdu.exp_cmd_sn, pdu.residual_count) == (1, 2, 0)
    assert initiator.session.counters.read_bytes == length


@both_digests
@pytest.mark.parametrize("length", [1, 3, 512, 4098, 8192])
def test_immediate_data_is_written_in_place(header: str, data: str, length: int) -> None:
    initiator = Watched(with_digests(header, data))
    wanted = bytes(range(1, 256)) * 33
    initiator.put(initiator.write(length, wanted[:length], offset=5))
    assert fast_commands(initiator.connection, 10) == 1
    [(pdu, _)] = initiator.answers()
    assert isinstance(pdu, ScsiResponse)
    assert initiator.unit.memory[5 : 5 + length] == wanted[:length]


@both_digests
@pytest.mark.parametrize(
    ("length", "segments"),
    [(8193, 2), (16384, 2), (16385, 3), (40000, 5)],
)
def test_a_long_read_is_cut_into_segments_and_bursts(
    header: str, data: str, length: int, segments: int
) -> None:
    initiator = Watched(with_digests(header, data))
    initiator.put(initiator.read(length))
    assert fast_commands(initiator.connection, 10) == 1
    answers = initiator.answers()
    assert b"".join(segment for _, segment in answers) == initiator.unit.memory[:length]
    pdus = [pdu for pdu, _ in answers]
    assert all(isinstance(pdu, ScsiDataIn) for pdu in pdus)
    assert [pdu.data_sn for pdu in pdus if isinstance(pdu, ScsiDataIn)] == list(range(segments))
    ends = [pdu.buffer_offset for pdu in pdus if isinstance(pdu, ScsiDataIn) and pdu.flags & 0x80]
    assert all(offset + 8192 == 16384 * (n + 1) for n, offset in enumerate(ends[:-1]))
    assert isinstance(pdus[-1], ScsiDataIn)
    assert pdus[-1].flags & 0x81 == 0x81
    assert pdus[-1].stat_sn == 1


_STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 20000), st.integers(0, 5000), st.integers(0, 3)), max_size=12
)


@given(
    _STEPS,
    st.sampled_from(DIGESTS),
    st.sampled_from([512, 4096, 8192]),
    st.sampled_from([512, 4096, 16384]),
    st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_both_ways_send_the_same_bytes(
    steps: list[tuple[bool, int, int, int]], digests: tuple[str, str], segment: int, burst: int, limit: int
) -> None:
    sent = []
    memories = []
    for fast in (True, False):
        parameters = with_digests(*digests)
        parameters.peer_max_recv_data_segment_bytes, parameters.max_burst_bytes = segment, burst
        initiator = Watched(parameters, fast=fast)
        raw = b""
        for write, length, offset, special in steps:
            if write:
                data = bytes([length & 0xFF]) * min(length, 8192)
                raw += initiator.write(len(data), data, offset=offset)
            else:
                raw += initiator.read(length, offset, edtl=length + 4 if special == 1 else None)
        room = initiator.framer.writable()
        output = b""
        while raw:
            count = min(len(room), len(raw))
            room[:count] = raw[:count]
            initiator.framer.wrote(count)
            raw = raw[count:]
            while initiator.connection.receive(limit, 0.0):
                output += initiator.sent()
                initiator.answers()
            output += initiator.sent()
            initiator.answers()
            room = initiator.framer.writable()
        sent.append(output)
        memories.append(bytes(initiator.unit.memory))
    assert sent[0] == sent[1]
    assert memories[0] == memories[1]


def test_a_damaged_header_ends_the_connection() -> None:
    initiator = Watched(with_digests("CRC32C", "None"))
    raw = bytearray(initiator.read(512))
    raw[40] ^= 1  # inside of the CDB
    initiator.put(bytes(raw))
    assert fast_commands(initiator.connection, 10) == 0
    with pytest.raises(RemoteProtocolError, match="header digest"):
        initiator.connection.receive(10, 0.0)
    assert not initiator.sent()


def test_damaged_data_is_not_written() -> None:
    initiator = Watched(with_digests("CRC32C", "CRC32C"))
    before = bytes(initiator.unit.memory)
    raw = bytearray(initiator.write(512, b"x" * 512))
    raw[BHS_BYTES + 4 + 100] ^= 0x80
    answers = initiator.feed(bytes(raw))
    assert [type(pdu) for pdu, _ in answers] == [Reject]
    assert bytes(initiator.unit.memory) == before
    assert initiator.session.exp_cmd_sn == 1


def test_what_came_in_pieces_waits_for_its_last_octet() -> None:
    for header, data in DIGESTS:
        initiator = Watched(with_digests(header, data))
        raw = initiator.write(510, b"y" * 510)
        for n in range(len(raw) - 1):
            initiator.put(raw[n : n + 1])
            assert fast_commands(initiator.connection, 10) == 0
            assert not initiator.sent()
        initiator.put(raw[-1:])
        assert fast_commands(initiator.connection, 10) == 1
        assert initiator.unit.memory[:510] == b"y" * 510


def test_no_more_than_the_limit_in_one_turn() -> None:
    initiator = Watched(PARAMETERS)
    initiator.put(b"".join(initiator.read(4) for _ in range(20)))
    assert fast_commands(initiator.connection, 7) == 7
    assert fast_commands(initiator.connection, 100) == 13
    assert len(initiator.answers()) == 20


def test_a_turn_pauses_when_enough_waits_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_fast_path, "OUTPUT_BATCH_BYTES", 10000)
    assert OUTPUT_BATCH_BYTES > 10000
    initiator = Watched(PARAMETERS)
    initiator.put(b"".join(initiator.read(4096) for _ in range(10)))
    assert fast_commands(initiator.connection, 100) == 3
    initiator.answers()
    assert fast_commands(initiator.connection, 100) == 3


class Untouchable(FakeUnit):
    """Must not be asked for anything at once."""

    def read_now(self, *_: object) -> None:
        raise AssertionError

    def write_now(self, *_: object) -> bool:
        raise AssertionError


def test_a_read_too_long_for_the_loop_is_left_to_the_ordinary_way() -> None:
    initiator = Watched(PARAMETERS)
    initiator.nexus.units[0] = Untouchable()
    initiator.put(initiator.read(target_fast_path.MAX_READ_BYTES + 512))
    assert fast_commands(initiator.connection, 10) == 0


@pytest.mark.parametrize("wrong", ["cmd_sn", "tag in use", "reserved tag", "lun", "no data", "opcode"])
def test_anything_unusual_is_left_to_the_ordinary_way(wrong: str) -> None:
    initiator = Watched(PARAMETERS)
    initiator.nexus.units[0] = Untouchable()
    raw = bytearray(initiator.read(512))
    if wrong == "cmd_sn":
        raw[27] ^= 8
    elif wrong == "tag in use":
        initiator.session.tasks[initiator.itt] = object()  # type: ignore[assignment]  # only its key counts
    elif wrong == "reserved tag":
        raw[16:20] = b"\xff" * 4
    elif wrong == "lun":
        raw[9] = 5
    elif wrong == "no data":
        raw[20:24] = bytes(4)
    elif wrong == "opcode":
        raw[0] |= 0x40  # immediate
    initiator.put(bytes(raw))
    assert fast_commands(initiator.connection, 10) == 0
    assert len(initiator.framer) == BHS_BYTES


def test_levels_of_recovery_that_keep_what_was_sent_do_not_use_it() -> None:
    initiator = Initiator(replace(PARAMETERS, error_recovery_level=1))
    assert not initiator.connection._fast
