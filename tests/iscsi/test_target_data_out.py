"""Data from the initiator: unsolicited, solicited, in bursts; and every way to get it wrong."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_transfer_memory
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Pdu, ReadyToTransfer, Reject, ScsiDataIn, ScsiResponse
from san_console.iscsi.target_sense import (
    INCORRECT_AMOUNT_OF_DATA,
    PROTOCOL_SERVICE_CRC_ERROR,
    UNEXPECTED_UNSOLICITED_DATA,
)
from tests.iscsi.target_harness import FakeUnit, Initiator


def parameters(**changes: object) -> OperationalParameters:
    values = OperationalParameters(
        initial_r2t=False,
        max_recv_data_segment_bytes=4096,
        first_burst_bytes=2048,
        max_burst_bytes=4096,
        max_outstanding_r2t=2,
    )
    for name, value in changes.items():
        setattr(values, name, value)
    return values


def initiator(**changes: object) -> Initiator:
    return Initiator(parameters(**changes), command_window=32)


def untouched(one: Initiator) -> bool:
    return one.unit.memory == FakeUnit().memory


def data(length: int, seed: int = 3) -> bytes:
    return bytes((i * seed + (i >> 8)) & 0xFF for i in range(length))


def ends_with(one: Initiator, answers: list[tuple[Pdu, bytes]], sense: bytes) -> None:
    """The last answer is CHECK CONDITION with `sense`, and the medium is as it was."""
    pdu, segment = answers[-1]
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 2
    assert segment == b"\0\x12" + sense
    assert untouched(one)
    assert not one.session.tasks
    [(next_pdu, _)] = one.feed(one.read(16))  # the session is as good as before
    assert isinstance(next_pdu, ScsiDataIn)


def test_a_write_of_all_three_kinds_of_data() -> None:
    one = initiator()
    whole = data(12000)
    assert one.feed(one.write(12000, whole[:1024], offset=100, final=False)) == []
    answers = one.feed(one.data_out(1024, whole[1024:2048], ttt=o.RESERVED_TAG))
    r2ts = [pdu for pdu, _ in answers]
    assert [
        (p.buffer_offset, p.desired_data_transfer_length, p.r2t_sn)
        for p in r2ts
        if isinstance(p, ReadyToTransfer)
    ] == [
        (2048, 4096, 0),
        (6144, 4096, 1),
    ]
    first, second = (p for p in r2ts if isinstance(p, ReadyToTransfer))
    assert first.stat_sn == second.stat_sn == one.connection.stat_sn  # shown, not consumed
    # The second burst may come before the first one (DataSequenceInOrder is for the R2Ts' order of sending).
    assert one.feed(one.data_out(6144, whole[6144:8192], ttt=second.ttt, final=False)) == []
    assert one.feed(one.data_out(2048, whole[2048:4096], ttt=first.ttt, final=False)) == []
    [(third, _)] = one.feed(one.data_out(8192, whole[8192:10240], ttt=second.ttt, data_sn=1))
    assert isinstance(third, ReadyToTransfer)
    assert (third.buffer_offset, third.desired_data_transfer_length, third.r2t_sn) == (10240, 1760, 2)
    assert one.feed(one.data_out(10240, whole[10240:], ttt=third.ttt)) == []
    assert untouched(one)
    [(pdu, _)] = one.feed(one.data_out(4096, whole[4096:6144], ttt=first.ttt, data_sn=1))
    assert isinstance(pdu, ScsiResponse)
    assert (pdu.status, pdu.flags, pdu.exp_cmd_sn, pdu.max_cmd_sn) == (0, o.FINAL, 2, 33)
    assert one.unit.memory[100:12100] == whole
    assert one.session.counters.write_bytes == 12000


def test_initial_r2t_solicits_everything() -> None:
    one = initiator(initial_r2t=True, immediate_data=False)
    [(r2t, _)] = one.feed(one.write(512))
    assert isinstance(r2t, ReadyToTransfer)
    [(pdu, _)] = one.feed(one.data_out(0, data(512), ttt=r2t.ttt))
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 0
    assert one.unit.memory[:512] == data(512)


@pytest.mark.parametrize(
    ("length", "edtl", "flag", "residual", "written"),
    [(512, 2048, o.UNDERFLOW, 1536, 512), (2048, 512, o.OVERFLOW, 1536, 512), (512, 0, o.OVERFLOW, 512, 0)],
)
def test_residuals_of_a_write(length: int, edtl: int, flag: int, residual: int, written: int) -> None:
    one = initiator()
    [(pdu, _)] = one.feed(one.write(length, b"\xee" * edtl, edtl=edtl))
    assert isinstance(pdu, ScsiResponse)
    assert pdu.flags == o.FINAL | flag
    assert pdu.residual_count == residual
    assert one.unit.memory[:written] == b"\xee" * written
    assert one.unit.memory[written:] == FakeUnit().memory[written:]


def test_unsolicited_data_beyond_what_the_command_takes_is_dropped() -> None:
    one = initiator()
    assert one.feed(one.write(100, edtl=2048, final=False)) == []
    assert one.feed(one.data_out(0, b"\xee" * 1000, ttt=o.RESERVED_TAG, final=False)) == []
    [(pdu, _)] = one.feed(one.data_out(1000, b"\xee" * 1000, ttt=o.RESERVED_TAG, data_sn=1))
    assert isinstance(pdu, ScsiResponse)
    assert (pdu.status, pdu.residual_count) == (0, 1948)
    assert one.unit.memory[:101] == b"\xee" * 100 + FakeUnit().memory[100:101]


def test_immediate_data_that_was_not_agreed_on() -> None:
    one = initiator(immediate_data=False)
    ends_with(one, one.feed(one.write(512, data(512))), UNEXPECTED_UNSOLICITED_DATA)


def test_unsolicited_data_that_was_not_agreed_on_fails_after_its_last_pdu() -> None:
    one = initiator(initial_r2t=True)
    assert one.feed(one.write(1024, final=False)) == []
    assert one.feed(one.data_out(0, data(512), ttt=o.RESERVED_TAG, final=False)) == []
    ends_with(
        one,
        one.feed(one.data_out(512, data(512), ttt=o.RESERVED_TAG, data_sn=1)),
        UNEXPECTED_UNSOLICITED_DATA,
    )


def test_more_immediate_data_than_the_first_burst() -> None:
    one = initiator()
    ends_with(one, one.feed(one.write(3000, data(3000))), INCORRECT_AMOUNT_OF_DATA)


def test_more_immediate_data_than_expected() -> None:
    one = initiator()
    ends_with(one, one.feed(one.write(100, data(101), edtl=100)), INCORRECT_AMOUNT_OF_DATA)


@pytest.mark.parametrize(
    ("offset", "length", "data_sn", "sense"),
    [
        (0, 1024, 0, INCORRECT_AMOUNT_OF_DATA),  # overlaps the immediate data
        (2048, 512, 0, INCORRECT_AMOUNT_OF_DATA),  # leaves a hole
        (1024, 2000, 0, INCORRECT_AMOUNT_OF_DATA),  # goes beyond the first burst
        (0xFFFFFFFF, 1024, 0, INCORRECT_AMOUNT_OF_DATA),
        (1024, 512, 1, PROTOCOL_SERVICE_CRC_ERROR),  # one Data-Out is missing
    ],
)
def test_unsolicited_data_that_does_not_continue(
    offset: int, length: int, data_sn: int, sense: bytes
) -> None:
    one = initiator()
    assert one.feed(one.write(4096, data(1024), final=False)) == []
    raw = one.data_out(offset, data(length), ttt=o.RESERVED_TAG, data_sn=data_sn, final=False)
    assert one.feed(raw) == []
    ends_with(one, one.feed(one.data_out(1024, b"", ttt=o.RESERVED_TAG, data_sn=data_sn + 1)), sense)


@pytest.mark.parametrize(
    ("offset", "length", "data_sn", "sense"),
    [
        (2047, 2048, 0, INCORRECT_AMOUNT_OF_DATA),
        (4096, 2048, 0, INCORRECT_AMOUNT_OF_DATA),
        (2048, 2049, 0, INCORRECT_AMOUNT_OF_DATA),
        (2048, 2047, 0, INCORRECT_AMOUNT_OF_DATA),  # short, with the F bit
        (0xFFFFF000, 2048, 0, INCORRECT_AMOUNT_OF_DATA),
        (2048, 2048, 7, PROTOCOL_SERVICE_CRC_ERROR),
    ],
)
def test_solicited_data_outside_of_its_r2t(offset: int, length: int, data_sn: int, sense: bytes) -> None:
    one = initiator()
    [(r2t, _)] = one.feed(one.write(4096, data(2048)))
    assert isinstance(r2t, ReadyToTransfer)
    ends_with(one, one.feed(one.data_out(offset, data(length), ttt=r2t.ttt, data_sn=data_sn)), sense)


def test_a_failed_write_waits_for_its_other_bursts() -> None:
    one = initiator()
    answers = one.feed(one.write(8192 + 2048, data(2048)))
    first, second = (pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer))
    assert one.feed(one.data_out(0, data(100), ttt=first.ttt)) == []
    ends_with(one, one.feed(one.data_out(6144, data(4096), ttt=second.ttt)), INCORRECT_AMOUNT_OF_DATA)


@pytest.mark.parametrize("itt", [0x999, o.RESERVED_TAG])
def test_data_for_no_task_is_rejected(itt: int) -> None:
    one = initiator()
    [(pdu, header)] = one.feed(one.data_out(0, data(64), ttt=1, itt=itt))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_INVALID_PDU_FIELD
    assert header[0] == o.SCSI_DATA_OUT


def test_data_for_no_r2t_is_rejected_and_the_task_goes_on() -> None:
    one = initiator()
    [(r2t, _)] = one.feed(one.write(4096, data(2048)))
    assert isinstance(r2t, ReadyToTransfer)
    [(pdu, _)] = one.feed(one.data_out(2048, data(2048), ttt=r2t.ttt + 1))
    assert isinstance(pdu, Reject)
    [(pdu, _)] = one.feed(one.data_out(2048, data(4096)[2048:], ttt=r2t.ttt))
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 0
    assert one.unit.memory[:4096] == data(2048) + data(4096)[2048:]
    [(pdu, _)] = one.feed(one.data_out(2048, data(2048), ttt=r2t.ttt))  # once more, when all is over
    assert isinstance(pdu, Reject)


def test_unsolicited_data_after_the_last_of_it() -> None:
    one = initiator()
    [(r2t, _)] = one.feed(one.write(4096, data(2048)))
    assert isinstance(r2t, ReadyToTransfer)
    assert one.feed(one.data_out(2048, data(64), ttt=o.RESERVED_TAG)) == []
    ends_with(one, one.feed(one.data_out(2048, data(2048), ttt=r2t.ttt)), UNEXPECTED_UNSOLICITED_DATA)


def test_stray_data_for_a_command_that_runs_changes_nothing() -> None:
    one = initiator()
    one.unit.fast = False
    one.unit.later = True
    assert one.feed(one.write(64, data(64))) == []
    assert one.feed(one.data_out(0, b"\xee" * 64, ttt=o.RESERVED_TAG)) == []
    one.unit.finish(one.unit.running[0])
    [(pdu, _)] = one.answers()
    assert isinstance(pdu, ScsiResponse)
    assert one.unit.memory[:64] == data(64)


def test_a_wrong_data_digest_ends_the_write_after_all_its_data() -> None:
    one = initiator(data_digest="CRC32C")
    [(r2t, _)] = one.feed(one.write(4096, data(2048)))
    assert isinstance(r2t, ReadyToTransfer)
    raw = bytearray(one.data_out(2048, data(1024), ttt=r2t.ttt, final=False))
    raw[100] ^= 1
    [(pdu, _)] = one.feed(bytes(raw))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_DATA_DIGEST_ERROR
    ends_with(
        one, one.feed(one.data_out(3072, data(1024), ttt=r2t.ttt, data_sn=1)), PROTOCOL_SERVICE_CRC_ERROR
    )


def test_an_error_of_the_cdb_waits_for_the_unsolicited_data() -> None:
    one = initiator()
    bad = bytes([0xF2]) + bytes(15)
    assert one.feed(one.command(bad, o.WRITE, 1024)) == []
    answers = one.feed(one.data_out(0, data(1024), ttt=o.RESERVED_TAG))
    pdu, segment = answers[-1]
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 2
    assert segment[2:5] == b"\x70\0\x05"
    assert untouched(one)


def test_writes_wait_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 8192)
    one = initiator(initial_r2t=True, immediate_data=False)
    answers = one.feed(b"".join(one.write(4096, offset=4096 * n) for n in range(4)))
    r2ts = [pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer)]
    assert [pdu.itt for pdu in r2ts] == [0x101, 0x102]
    done = 0
    while r2ts:
        r2t = r2ts.pop(0)
        answers = one.feed(one.data_out(0, data(4096), ttt=r2t.ttt, itt=r2t.itt))
        r2ts += [pdu for pdu, _ in answers if isinstance(pdu, ReadyToTransfer)]
        done += sum(isinstance(pdu, ScsiResponse) for pdu, _ in answers)
    assert done == 4
    assert one.unit.memory[: 4 * 4096] == data(4096) * 4


def test_a_write_that_waits_for_memory_can_fail_and_be_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 4096)
    one = initiator(initial_r2t=True, immediate_data=False)
    answers = one.feed(b"".join(one.write(4096) for _ in range(3)))
    assert len(answers) == 1
    # Stray data for the second one, which has no R2T yet.
    [(pdu, _)] = one.feed(one.data_out(0, data(64), ttt=o.RESERVED_TAG, itt=0x102))
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 2
    one.session.abort(one.session.tasks[0x103])
    assert list(one.session.tasks) == [0x101]
    one.session.terminate()
    assert one.session.quiet
