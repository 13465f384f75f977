"""The order of commands over several connections: what is kept, what fills a gap, what is bounded."""

from __future__ import annotations

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi import target_command_order, target_session, target_transfer_memory
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import (
    AsyncMessage,
    NopIn,
    NopOut,
    Pdu,
    ReadyToTransfer,
    Reject,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementResponse,
    TextResponse,
)
from san_console.iscsi.target_command_order import GAP_WAIT_S, MAX_DISCARDED_TAGS
from san_console.iscsi.target_session import MAX_IMMEDIATE_TASKS
from tests.iscsi.target_harness import READ_CDB, WRITE_CDB, FakeUnit, Initiator, Link, cdb


def several(count: int = 2, **changes: object) -> tuple[Initiator, list[Link]]:
    """An initiator with `count` connections."""
    fields: dict[str, object] = {"max_connections": 8, "initial_r2t": False, "max_outstanding_r2t": 2}
    fields |= changes
    one = Initiator(OperationalParameters(**fields), command_window=64)  # type: ignore[arg-type]
    return one, [one.link, *(one.connect(cid) for cid in range(1, count))]


def tags(answers: list[tuple[Pdu, bytes]]) -> list[int]:
    return [pdu.itt for pdu, _ in answers if not isinstance(pdu, AsyncMessage)]


def test_commands_run_in_cmd_sn_order_over_all_connections() -> None:
    """§4.2.2.1: the numbering is session-wide."""
    one, links = several(4)
    writes = [one.write(4, bytes([n]) * 4) for n in range(8)]
    for n in (7, 3, 5, 1, 6, 2, 4):
        assert links[n % 4].feed(writes[n]) == []
    assert one.unit.memory[:4] == FakeUnit().memory[:4]
    assert tags(links[0].feed(writes[0])) == [0x101, 0x105]
    for cid in (1, 2, 3):
        assert tags(links[cid].answers()) == [
            0x101 + cid,
            0x105 + cid,
        ]  # data and status: allegiance, §4.2.5.1
        assert links[cid].woken
    assert one.unit.memory[:4] == bytes([7]) * 4
    assert (one.session.exp_cmd_sn, one.session.max_cmd_sn) == (9, 72)


def test_each_connection_has_its_own_stat_sn() -> None:
    """§4.2.2.2: StatSN is a counter per connection."""
    one, _ = several(1)
    other = one.connect(5, stat_sn=700)
    assert [p.stat_sn for p, _ in one.feed(one.read(4)) if isinstance(p, ScsiDataIn)] == [1]
    assert [p.stat_sn for p, _ in other.feed(one.read(4)) if isinstance(p, ScsiDataIn)] == [700]
    assert [p.stat_sn for p, _ in one.feed(one.read(4)) if isinstance(p, ScsiDataIn)] == [2]


def test_digests_and_segment_lengths_are_of_each_connection() -> None:
    """§13.1, §13.12: scope connection-only."""
    one, _ = several(1)
    digested = one.connect(
        1,
        OperationalParameters(
            max_connections=8,
            header_digest="CRC32C",
            data_digest="CRC32C",
            peer_max_recv_data_segment_bytes=512,
        ),
    )
    one.link, plain = digested, one.link
    assert len(digested.feed(one.read(2048))) == 4
    assert isinstance(digested.feed(one.write(8, b"digested"))[0][0], ScsiResponse)
    one.link = plain
    assert len(plain.feed(one.read(2048))) == 1


def test_immediate_commands_do_not_wait() -> None:
    """§4.2.2.1: they may be delivered as soon as detected, and are limited per connection."""
    one, links = several(2)
    one.read(4)
    assert links[1].feed(one.read(4)) == []
    ping = NopOut(itt=0x900, cmd_sn=one.cmd_sn)
    assert isinstance(links[1].feed(one.bytes_of(ping.pack()))[0][0], NopIn)
    one.unit.fast, one.unit.later = False, True
    raw = b"".join(
        one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, immediate=True)
        for _ in range(MAX_IMMEDIATE_TASKS + 1)
    )
    [(refused, _)] = links[0].feed(raw)
    assert isinstance(refused, Reject)
    assert refused.reason == o.REJECT_TOO_MANY_IMMEDIATE_COMMANDS
    # Another connection has room of its own.
    assert links[1].feed(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, immediate=True)) == []
    assert len(one.unit.running) == MAX_IMMEDIATE_TASKS + 1


def test_unsolicited_data_of_a_held_command_is_kept() -> None:
    """§4.2.5.2: the data follows its command at once, whatever the order of commands."""
    one, links = several(2)
    first = one.read(4)
    held = one.write(1024, b"a" * 256, final=False)
    tag = one.itt
    raw = (
        held
        + one.data_out(256, b"b" * 256, ttt=o.RESERVED_TAG, itt=tag, final=False)
        + one.data_out(512, b"c" * 512, ttt=o.RESERVED_TAG, itt=tag, data_sn=1)
    )
    assert links[1].feed(raw) == []
    assert one.session.order.held
    links[0].feed(first)
    [(pdu, _)] = links[1].answers()
    assert isinstance(pdu, ScsiResponse)
    assert pdu.status == 0
    assert one.unit.memory[:1024] == b"a" * 256 + b"b" * 256 + b"c" * 512
    assert not one.session.order.watches_data
    # What comes later for that tag belongs to no command.
    [(pdu, _)] = links[1].feed(one.data_out(0, b"x", ttt=o.RESERVED_TAG, itt=tag))
    assert isinstance(pdu, Reject)


def test_data_for_a_held_command_from_another_connection_is_not_its_own() -> None:
    """§4.2.5.1: data goes over the connection of its command."""
    one, links = several(2)
    one.read(4)
    assert links[1].feed(one.write(512, final=False)) == []
    [(pdu, _)] = links[0].feed(one.data_out(0, b"x" * 512, ttt=o.RESERVED_TAG))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_INVALID_PDU_FIELD


def test_data_that_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No unbounded buffering behind a gap, not even of empty PDUs."""
    monkeypatch.setattr(target_command_order, "MAX_HELD_BYTES", 3000)
    one = Initiator()
    one.read(4)
    one.feed(one.write(4096, final=False))
    empty = one.data_out(0, b"", ttt=o.RESERVED_TAG, final=False)
    with pytest.raises(RemoteProtocolError):
        one.feed(empty * 20)


def test_a_digest_error_on_immediate_data_leaves_a_gap_that_a_retry_fills() -> None:
    """§7.3, §7.8: the command is discarded, its CmdSN not received, its stale data dropped silently."""
    one = Initiator(OperationalParameters(data_digest="CRC32C", initial_r2t=False))
    good = one.write(1024, b"a" * 512, final=False)
    tag = one.itt
    rest = one.data_out(512, b"b" * 512, ttt=o.RESERVED_TAG, itt=tag)
    [(pdu, _)] = one.feed(good[:-1] + bytes([good[-1] ^ 1]))
    assert isinstance(pdu, Reject)
    assert pdu.reason == o.REJECT_DATA_DIGEST_ERROR
    later = one.read(4)
    assert one.feed(rest + later) == []  # the data of the discarded command is no error of its own
    answers = one.feed(good + rest)
    assert [type(pdu) for pdu, _ in answers] == [ScsiDataIn, ScsiResponse]
    assert one.unit.memory[:1024] == b"a" * 512 + b"b" * 512
    assert not one.session.order.watches_data


def test_a_retry_before_the_stale_data_has_ended_takes_it() -> None:
    """§7.8: a command that runs owns the data under its tag."""
    one = Initiator(OperationalParameters(data_digest="CRC32C", initial_r2t=False))
    good = one.write(512, b"a" * 256, final=False)
    one.feed(good[:-1] + bytes([good[-1] ^ 1]))
    assert one.feed(good) == []
    [(pdu, _)] = one.feed(one.data_out(256, b"b" * 256, ttt=o.RESERVED_TAG))
    assert isinstance(pdu, ScsiResponse)


def test_discarded_tags_are_bounded() -> None:
    one = Initiator(OperationalParameters(data_digest="CRC32C", initial_r2t=False))
    for number in range(MAX_DISCARDED_TAGS + 20):
        raw = one.command(cdb(WRITE_CDB, 512), o.WRITE, 512, b"a" * 8, cmd_sn=1, itt=number)
        one.feed(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert len(one.session.order._discarded) == MAX_DISCARDED_TAGS


def test_an_aborted_held_command_drops_its_data_too() -> None:
    """§11.6.1 b: a command that waits counts as received; data that still comes for it is no fault."""
    one = Initiator(command_window=16)
    first = one.read(4)
    assert one.feed(one.write(512, final=False)) == []
    tag = one.itt
    answers = one.feed(one.task_management(o.TMF_ABORT_TASK, referenced=tag, ref_cmd_sn=2))
    assert isinstance(answers[0][0], TaskManagementResponse)
    assert one.feed(one.data_out(0, b"x" * 512, ttt=o.RESERVED_TAG, itt=tag)) == []
    assert tags(one.feed(first)) == [0x101]
    assert one.session.exp_cmd_sn == 3


def test_a_lost_connection_takes_its_held_commands_along_and_a_retry_elsewhere_fills_the_gap() -> None:
    """§11.14, §7.2.1: not acknowledged by ExpCmdSN is discarded; the initiator sends it again."""
    one, links = several(3)
    lost = one.write(4, b"lost")
    held = one.write(4, b"held")
    assert links[1].feed(held) == []
    assert links[2].feed(one.read(4)) == []
    links[1].drop()
    assert list(one.session.order.held) == [3]
    assert tags(links[0].feed(lost)) == [0x101]
    assert tags(links[0].feed(held)) == [0x102]
    assert tags(links[2].answers()) == [0x103]
    assert one.unit.memory[:4] == b"held"


def test_data_expected_from_a_lost_connection_is_forgotten() -> None:
    one = Initiator(OperationalParameters(data_digest="CRC32C", initial_r2t=False, max_connections=2))
    other = one.connect(1)
    good = one.write(512, b"a" * 256, final=False)
    other.feed(good[:-1] + bytes([good[-1] ^ 1]))
    assert one.session.order.watches_data
    other.drop()
    assert not one.session.order.watches_data


def test_a_gap_that_stays_ends_the_session() -> None:
    """§7.3 leaves it to the initiator to fill the gap; the wait for it is bounded."""
    one, links = several(2)
    one.read(4)
    links[1].feed(one.read(4))
    one.tick(1.0)
    deadline = 1.0 + GAP_WAIT_S + 2 + 20  # a lost connection may be the reason: Time2Wait and Time2Retain
    assert one.session.next_deadline() == deadline
    one.tick(deadline - 0.5)
    assert one.session.may_continue
    one.tick(deadline)
    assert one.session.terminated
    for link in links:
        [(pdu, _)] = link.answers()
        assert isinstance(pdu, AsyncMessage)
        assert (pdu.async_event, pdu.parameter2, pdu.parameter3) == (o.ASYNC_SESSION_DROP, 2, 0)
        assert link.connection.closing
    assert [cid for cid, _ in one.closed] == [0, 1]


def test_no_gap_counts_while_nothing_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reads of the session wait for a slow medium: what would fill the gap waits unread."""
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 4096)
    one, links = several(2)
    one.unit.fast, one.unit.later = False, True
    reads = one.read(4096) + one.read(4096)
    missing = one.read(4)
    links[1].feed(one.read(4))
    links[0].feed(reads)
    links[0].feed(missing)
    assert len(one.unit.running) == 2
    one.tick(1.0)
    one.tick(1000.0)
    assert one.session.may_continue
    for task in one.unit.running[:]:
        one.unit.finish(task)
    links[0].connection.receive(10, 1000.0)
    one.tick(1001.0)
    assert len(one.unit.running) == 4
    assert one.session.may_continue


def test_progress_starts_the_wait_anew() -> None:
    one, links = several(2)
    first, _, third = one.read(4), one.read(4), one.read(4)
    links[1].feed(third)
    one.tick(1.0)
    links[0].feed(first)
    one.tick(50.0)
    one.tick(100.0)
    assert not one.session.terminated
    links[0].feed(one.command(cdb(READ_CDB, 4), o.FINAL | o.READ, 4, cmd_sn=2))
    one.tick(101.0)
    assert one.session.next_deadline() is None


def test_a_function_acts_before_commands_that_were_sent_after_it() -> None:
    """§11.5.1: ABORT TASK SET reaches the commands with a lower CmdSN, and no other."""
    one, links = several(2)
    one.unit.fast, one.unit.later = False, True
    first = one.read(4)
    second = one.read(4)
    abort = one.task_management(o.TMF_ABORT_TASK_SET)
    after = one.read(4)
    assert links[1].feed(second + after) == []
    assert links[0].feed(abort) == []
    links[0].feed(first)
    assert [task.itt for task in one.unit.running] == [0x101, 0x102, 0x104]
    assert one.session.counters.aborted_tasks == 2
    for task in one.unit.running:
        one.unit.finish(task)
    assert isinstance(links[0].answers()[0][0], TaskManagementResponse)
    assert links[1].answers() == []  # §4.2.2.3.2: not before the fenced response has arrived
    links[0].acknowledge()
    assert [type(p) for p, _ in links[1].answers()] == [ScsiDataIn]


def test_text_and_nop_keep_the_order_too() -> None:
    """§4.2.2.1: every non-immediate request is numbered."""
    one, links = several(2)
    first = one.read(4)
    text = one.text("X-a=b\0")
    ping = NopOut(immediate=False, itt=one.next_itt(), cmd_sn=one.cmd_sn)
    assert links[1].feed(text + one.bytes_of(ping.pack())) == []
    links[0].feed(first)
    assert [type(p) for p, _ in links[1].answers()] == [TextResponse, NopIn]
    assert one.session.exp_cmd_sn == 4


def test_writes_wait_for_memory_across_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_transfer_memory, "MAX_TRANSFER_BYTES", 4096)
    one, links = several(2, initial_r2t=True)
    [(r2t, _)] = links[0].feed(one.write(4096))
    assert isinstance(r2t, ReadyToTransfer)
    first = one.itt
    assert links[1].feed(one.write(4096)) == []
    links[0].feed(one.data_out(0, bytes(4096), ttt=r2t.ttt, itt=first))
    [(second, _)] = links[1].answers()
    assert isinstance(second, ReadyToTransfer)


def test_a_gap_that_is_filled_releases_no_more_than_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: a window of long reads behind one gap pauses until answers have left."""
    monkeypatch.setattr(target_command_order, "MAX_RELEASED_BYTES", 4096)
    one, links = several(2, peer_max_recv_data_segment_bytes=65536)
    first = one.read(4)
    assert links[1].feed(b"".join(one.read(4096) for _ in range(5))) == []
    assert len(links[0].feed(first)) == 1
    seen = []
    while answers := links[1].answers():
        assert len(answers) == 1
        seen += tags(answers)
        one.tick(1.0)  # whoever sends resumes at once; a tick does it too
    assert seen == [0x102, 0x103, 0x104, 0x105, 0x106]
    assert one.session.straight


def test_a_filled_gap_waits_for_memory_for_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_session, "MAX_PENDING_READ_BYTES", 4096)
    one, links = several(2)
    one.unit.fast, one.unit.later = False, True
    first = one.read(4)
    links[1].feed(b"".join(one.read(4096) for _ in range(3)))
    links[0].feed(first)
    assert len(one.unit.running) == 2
    one.unit.finish(one.unit.running[1])
    assert len(one.unit.running) == 3
    one.unit.finish(one.unit.running[2])
    assert len(one.unit.running) == 4
