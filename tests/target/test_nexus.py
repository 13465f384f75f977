"""What becomes of commands whose nexus ends while the backstore is at work on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import TaskManagementResponse
from san_console.scsi import opcodes as op
from san_console.scsi.status import GOOD
from san_console.target.config import MappingRule
from tests.target.hosts import Array
from tests.target.nodes import BLOCK, WRITE, HeldWrites, Node


@pytest.fixture
async def array() -> AsyncIterator[Array]:
    one = Array()
    yield one
    await one.close()


def log_out(node: Node) -> None:
    """The session is over, whatever its commands do."""
    node.session.terminate()
    node.nexus.close()


def unmap(node: Node) -> None:
    """The LUN is for somebody else from now on."""
    served = node.nexus.target
    assert served is not None
    rule = MappingRule("iqn.2026-11.org.example:b", "lun0", 0)
    served.config = replace(served.config, mappings=[rule])
    node.nexus.remap()


@pytest.mark.parametrize("end", [log_out, unmap])
@pytest.mark.parametrize("action", ["reset", "preempt and abort"])
async def test_who_fences_an_initiator_off_waits_for_its_last_write(
    array: Array, monkeypatch: pytest.MonkeyPatch, end: object, action: str
) -> None:
    a, b = Node(array, "a"), Node(array, "b")
    assert await a.reserve_out(op.SA_REGISTER, 0, 1) == [GOOD]
    assert await b.reserve_out(op.SA_REGISTER, 0, 2) == [GOOD]
    held = HeldWrites(monkeypatch, array.unit.backstore, a, b)
    a.send(WRITE, BLOCK)
    await held.begun.wait()
    assert callable(end)
    end(a)
    if action == "reset":
        b.manage(o.TMF_LOGICAL_UNIT_RESET)
        assert await b.answers() == []
    else:
        assert await b.reserve_out(op.SA_PREEMPT_AND_ABORT, 2, 1) == []
    held.go_on.set()
    [answer] = await b.answers()
    assert held.landed == 1
    assert not array.unit.leaving
    if action == "reset":
        assert isinstance(answer, TaskManagementResponse)
        assert answer.response == o.TMF_FUNCTION_COMPLETE


async def test_data_for_a_lun_that_was_unmapped_is_dropped_and_not_waited_for(array: Array) -> None:
    a, b = Node(array, "a"), Node(array, "b")
    a.send(WRITE, BLOCK[:256], edtl=512)
    unmap(a)
    assert a.session.tasks
    assert not array.unit.leaving
    b.manage(o.TMF_LOGICAL_UNIT_RESET)
    assert len(await b.answers()) == 1
    a.rest(BLOCK[256:], 256)
    assert not a.session.tasks
    assert bytes(await array.unit.backstore.read(0, 512)) == bytes(512)
