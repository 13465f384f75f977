"""What one session sees of a logical unit: its unit attentions, its access, and the order of its commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from san_console.iscsi.opcodes import ATTR_ACA, ATTR_HEAD_OF_QUEUE, ATTR_MASK, ATTR_ORDERED
from san_console.iscsi.target_device import Arena
from san_console.iscsi.target_task import ABORTED, TargetTask
from san_console.scsi import alua
from san_console.scsi import opcodes as op
from san_console.scsi.cdb_formats import FLAG_DPO, RW_10, RW_16
from san_console.scsi.opcodes import READ_10, READ_16, WRITE_10, WRITE_16
from san_console.scsi.sense import (
    INTERNAL_TARGET_FAILURE,
    INVALID_MESSAGE,
    INVALID_OPCODE,
    LUN_OFFLINE,
    REPORTED_LUNS_DATA_CHANGED,
    Condition,
)
from san_console.scsi.status import CHECK_CONDITION, GOOD
from san_console.scsi.transport_ids import InitiatorPort, NexusId
from san_console.target.attentions import Attentions
from san_console.target.backstore import Buffer
from san_console.target.check_condition import CheckCondition
from san_console.target.range_lock import Hold, shared_range

if TYPE_CHECKING:
    from san_console.target.device_server import Command
    from san_console.target.logical_unit import LogicalUnit

Result = Buffer | Coroutine[Any, Any, Buffer]

_NOT_PLAIN = ~FLAG_DPO  # any other flag, NACA and the vendor's bits of CONTROL
_WELL_KNOWN_ONLY = 1  # SELECT REPORT: none of the numbers that the attention is about
# What needs no medium (SPC-4 §5.2), hence works while the unit is offline.
_WITHOUT_MEDIUM = frozenset(
    {
        op.INQUIRY,
        op.REPORT_LUNS,
        op.REQUEST_SENSE,
        op.MODE_SENSE_6,
        op.MODE_SENSE_10,
        op.LOG_SENSE,
        op.PERSISTENT_RESERVE_IN,
        op.PERSISTENT_RESERVE_OUT,
        op.RESERVE_6,
        op.RESERVE_10,
        op.RELEASE_6,
        op.RELEASE_10,
        op.PREVENT_ALLOW_MEDIUM_REMOVAL,
        op.MAINTENANCE_IN,
        op.MAINTENANCE_OUT,
        op.RECEIVE_COPY_RESULTS,
    }
)


class Groups(Protocol):
    """The target port groups through which a unit is reached (`port_groups.PortGroups`)."""

    def tags(self) -> list[int]:
        """The relative target ports, which are the groups' tags."""
        ...

    def state_of(self, tag: int) -> int:
        """The access state of a group."""
        ...

    def report(self) -> list[alua.TargetPortGroup]:
        """What REPORT TARGET PORT GROUPS tells."""
        ...

    def set_by_initiator(self, states: Mapping[int, int], sender: NexusId) -> None:
        """SET TARGET PORT GROUPS: `states` by tag, all of them possible ones."""
        ...


class OnePort:
    """One group that is always active: for a unit without a configured target around it."""

    def __init__(self, tag: int) -> None:
        self._group = alua.TargetPortGroup(tag, alua.ACTIVE_OPTIMIZED)

    def tags(self) -> list[int]:
        return [self._group.tag]

    def state_of(self, tag: int) -> int:
        return self._group.state

    def report(self) -> list[alua.TargetPortGroup]:
        return [self._group]

    def set_by_initiator(self, states: Mapping[int, int], sender: NexusId) -> None:
        self._group.state = states.get(self._group.tag, self._group.state)


async def _no_tasks(but: TargetTask) -> None:
    """A nexus without a session has none."""


async def _failed(fault: Exception) -> Buffer:
    """The result of a handler that has failed at once."""
    raise fault


NO_PORT = InitiatorPort("", bytes(6))


class UnitNexus:
    """One LUN as one session sees it. Implements `iscsi.target_device.LogicalUnit`."""

    def __init__(
        self,
        unit: LogicalUnit,
        commands: dict[int, Command],
        *,
        lun: int,
        read_only: bool,
        lun_list: Callable[[], list[int]],
        port: InitiatorPort = NO_PORT,
        group_tag: int = 0,
        siblings: Callable[[], Iterable[UnitNexus]] = tuple,
        tasks: Callable[[], Iterable[TargetTask]] = tuple,
        abort_tasks: Callable[[TargetTask], Awaitable[None]] = _no_tasks,
        groups: Groups | None = None,
    ) -> None:
        self.unit = unit
        self.lun = lun
        self.mapped_read_only = read_only
        self.lun_list = lun_list
        """The LUN numbers of the session, for REPORT LUNS."""
        self.port = port
        self.group_tag = group_tag or unit.tpgt
        """Portal group, target port group and relative target port in one."""
        self.id = NexusId(port, self.group_tag)
        self.initiator_id = str(port)
        self.siblings = siblings
        """All LUNs of the same I_T nexus, this one too."""
        self.tasks = tasks
        """The commands of the session to this unit that have not ended."""
        self.abort_tasks = abort_tasks
        """End all of them but that one, on behalf of another nexus."""
        self.groups: Groups = groups if groups is not None else OnePort(self.group_tag)
        self.attentions = Attentions(self.refresh)
        self._commands = commands
        self.refresh()

    def target_ports(self) -> list[int]:
        """The relative target ports of the target."""
        return self.groups.tags()

    def add_attention(self, condition: Condition) -> None:
        """Establish a unit attention; the same one is not queued twice (SAM-5 §5.14)."""
        self.attentions.add(condition)

    def refresh(self) -> None:
        """Decide anew what may take the fast path: the unit, or what this nexus may do, has changed."""
        unit = self.unit
        self.read_only = self.mapped_read_only or unit.backstore.read_only
        self._blocks = unit.blocks
        self._block_bytes = unit.block_bytes
        self._read_nowait = unit.backstore.read_nowait
        self._write_nowait = unit.backstore.write_nowait
        self._access_state = self.groups.state_of(self.group_tag)
        reads, writes = unit.reservations.allows(self.id)
        plain = unit.device.plain and alua.serves_all(self._access_state)
        plain = plain and not (self.attentions or unit.offline)
        self._may_read = plain and reads
        self._may_write = plain and writes and not self.read_only
        self.gate()

    def gate(self) -> None:
        """Commands of others came that this nexus may have to wait for, or they are gone."""
        unit = self.unit
        free = not (unit.ranges.busy or (unit.task_set.barriers and unit.task_set.holds_back(self)))
        self._plain_reads = free and self._may_read
        self._plain_writes = free and self._may_write

    # The fast path: READ and WRITE in their two common forms, with nothing special about them.

    def read_now(self, cdb: bytes, length: int, arena: Arena) -> Buffer | None:
        if cdb[0] == READ_10:
            _, flags, lba, _, blocks, control = RW_10.unpack_from(cdb)
        elif cdb[0] == READ_16:
            _, flags, lba, blocks, _, control = RW_16.unpack_from(cdb)
        else:
            return None
        if (
            not self._plain_reads
            or (flags | control) & _NOT_PLAIN
            or blocks * self._block_bytes != length
            or lba + blocks > self._blocks
            or not length
        ):
            return None
        return self._read_nowait(lba * self._block_bytes, length, arena)

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        if cdb[0] == WRITE_10:
            _, flags, lba, _, blocks, control = RW_10.unpack_from(cdb)
        elif cdb[0] == WRITE_16:
            _, flags, lba, blocks, _, control = RW_16.unpack_from(cdb)
        else:
            return False
        if (
            not self._plain_writes
            or (flags | control) & _NOT_PLAIN
            or blocks * self._block_bytes != len(data)
            or lba + blocks > self._blocks
        ):
            return False
        return self._write_nowait(lba * self._block_bytes, data)

    # Everything else goes through the command table.

    def prepare(self, task: TargetTask) -> int:
        try:
            command = self._admit(task)
            wanted = command.data_out_bytes(self, task.cdb) if command.data_out_bytes else 0
        except CheckCondition as answer:
            self._refuse(task, answer)
            return 0
        if task.flags & ATTR_MASK == ATTR_ORDERED:
            self.unit.task_set.enter(task, self, self.tasks())
        return wanted

    def _admit(self, task: TargetTask) -> Command:
        """The command, when nothing forbids it: in the order in which SPC-4 and SAM-5 look at it."""
        cdb = task.cdb
        command = self._commands.get(cdb[0])
        if self.attentions and not (command and command.ignores_attention):
            raise CheckCondition(self.attentions.pop(0))
        if command is None:
            raise CheckCondition(INVALID_OPCODE)
        if task.flags & ATTR_MASK == ATTR_ACA:
            raise CheckCondition(INVALID_MESSAGE)  # there is no ACA condition (SAM-5 §8.6.5)
        if cdb[0] == op.REPORT_LUNS and cdb[2] != _WELL_KNOWN_ONLY:
            # What the attention says is told by the answer (SPC-4 §6.33).
            for nexus in self.siblings():
                nexus.attentions.discard(REPORTED_LUNS_DATA_CHANGED)
        self.check_access(cdb)
        return command

    def check_access(self, cdb: bytes) -> None:
        """Whether this nexus may have the command run, now. Raises CheckCondition."""
        unit = self.unit
        unit.reservations.check(self.id, cdb)
        refusal = alua.refusal(self._access_state, cdb)
        if refusal is not None:
            raise CheckCondition(refusal)
        if unit.offline and cdb[0] not in _WITHOUT_MEDIUM:
            raise CheckCondition(LUN_OFFLINE)
        unit.device.check(cdb)

    def execute(self, task: TargetTask) -> None:
        unit = self.unit
        if unit.task_set.barriers and task.flags & ATTR_MASK != ATTR_HEAD_OF_QUEUE:
            unit.task_set.run(task, self, self._execute)
        else:
            self._execute(task)

    def _execute(self, task: TargetTask) -> None:
        unit = self.unit
        if task.state == ABORTED:  # while it waited for its turn
            task.complete(CHECK_CONDITION)
            return
        try:
            self._look_again(task)
            if unit.ranges.busy and (extent := shared_range(task.cdb, unit.blocks)) is not None:
                hold = unit.ranges.shared(*extent)
                unit.run(
                    self._wait(task, extent) if hold is None else self._finish(task, self._begin(task), hold)
                )
                return
            result = self._commands[task.cdb[0]].run(self, task)
        except CheckCondition as answer:
            self._refuse(task, answer)
            return
        except Exception as fault:
            result = _failed(fault)  # ours: `_finish` answers, and lets the loop's handler hear of it
        if isinstance(result, (bytes, bytearray, memoryview)):
            task.complete(GOOD, result)
        else:
            shared = shared_range(task.cdb, unit.blocks)
            unit.run(self._finish(task, result, unit.ranges.shared(*shared) if shared else None))

    async def _wait(self, task: TargetTask, extent: tuple[int, int]) -> None:
        hold = await self.unit.ranges.acquire(*extent, alone=False)
        if task.state == ABORTED:
            self.unit.ranges.release(hold)
            task.complete(CHECK_CONDITION)
            return
        await self._finish(task, self._begin(task), hold)

    def _look_again(self, task: TargetTask) -> None:
        """While it waited for its data or its turn, the initiator may have been fenced off, or the medium
        taken away. Raises CheckCondition.
        """
        if not self._may_write:
            self.check_access(task.cdb)

    async def _begin(self, task: TargetTask) -> Buffer:
        self._look_again(task)
        result = self._commands[task.cdb[0]].run(self, task)
        return result if isinstance(result, (bytes, bytearray, memoryview)) else await result

    async def _finish(self, task: TargetTask, result: Coroutine[Any, Any, Buffer], hold: Hold | None) -> None:
        answered = False
        try:
            data = await result
            answered = True
            task.complete(GOOD, data)
        except CheckCondition as answer:
            answered = True
            self._refuse(task, answer)
        finally:
            if hold is not None:
                self.unit.ranges.release(hold)
            if (
                not answered
            ):  # an error of ours, on its way to the loop's handler: the initiator must not wait for ever
                self._refuse(task, CheckCondition(INTERNAL_TARGET_FAILURE))

    def _refuse(self, task: TargetTask, answer: CheckCondition) -> None:
        task.complete(answer.status, b"", answer.sense_data(self.unit.device.mode.descriptor_sense))
