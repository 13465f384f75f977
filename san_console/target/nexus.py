"""Targets that are served, and the nexus of a session with one: which units it reaches, and what resets
touch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from san_console.iscsi import opcodes
from san_console.iscsi.target_device import LogicalUnit as UnitInterface
from san_console.iscsi.target_session import TargetSession
from san_console.iscsi.target_task import TargetTask
from san_console.names.lun import encode_lun_u64
from san_console.scsi.sense import (
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
    NEXUS_LOSS_OCCURRED,
    POWER_ON_RESET,
    REPORTED_LUNS_DATA_CHANGED,
    UNIT_ATTENTION,
    Condition,
)
from san_console.scsi.transport_ids import InitiatorPort
from san_console.target.access import mapped_luns
from san_console.target.config import PortalGroup, TargetConfig
from san_console.target.copy_commands import CopyRecord
from san_console.target.device_server import COMMANDS
from san_console.target.logical_unit import LogicalUnit, UnitNexus
from san_console.target.port_groups import PortGroups
from san_console.target.primary_commands import UnmappedUnit

# RFC 7143 §11.14.5; SPC-4 calls it SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT.
COMMANDS_CLEARED_BY_ISCSI_EVENT = Condition(UNIT_ATTENTION, 0x47, 0x7F)


class ServedTarget:
    """A target with its logical units, by LUN id, and its sessions."""

    def __init__(self, config: TargetConfig, units: dict[str, LogicalUnit]) -> None:
        self.config = config
        self.units = units
        self.nexuses: list[SessionNexus] = []
        self.port_groups = PortGroups(self)


class SessionNexus:
    """The SCSI side of one session. Implements `iscsi.target_device.Nexus`. A discovery session has no
    `target`.
    """

    def __init__(
        self,
        target: ServedTarget | None,
        initiator_name: str,
        isid: bytes,
        send_targets: Callable[[str], bytes | None],
        *,
        address: str,
        group: PortalGroup,
    ) -> None:
        self.target = target
        self.initiator_name = initiator_name
        self.isid = isid
        self.address = address
        self.group = group
        self.units: dict[int, UnitInterface] = {}
        self.by_lun: dict[int, UnitNexus] = {}
        self.unmapped: UnitInterface = UnmappedUnit(self._report_luns)
        self.session: TargetSession | None = None
        self._send_targets = send_targets
        if target is not None:
            target.nexuses.append(self)
            self.map()

    def lun_list(self) -> list[int]:
        """The LUN numbers that this session sees. LUN 0 always answers REPORT LUNS, mapped or not (SAM-5
        §4.7.4).
        """
        return sorted(self.by_lun)

    def _report_luns(self) -> list[int]:
        """For REPORT LUNS to a LUN that is not there: what the attention says is told by the answer."""
        for nexus in self.by_lun.values():
            nexus.attentions.discard(REPORTED_LUNS_DATA_CHANGED)
        return self.lun_list()

    def map(self) -> bool:
        """Take the mappings as they are configured now. True when something changed for this session."""
        if self.target is None:
            return False
        wanted = {
            rule.lun: (self.target.units[rule.lun_id], rule.read_only)
            for rule in mapped_luns(self.target.config, self.initiator_name, self.address)
        }
        changed = False
        for lun, nexus in list(self.by_lun.items()):
            unit, read_only = wanted.get(lun, (None, False))
            if unit is not nexus.unit or read_only != nexus.mapped_read_only:
                self._unmap(lun)
                changed = True
        for lun, (unit, read_only) in wanted.items():
            if lun not in self.by_lun:
                self._add(lun, unit, read_only)
                changed = True
        return changed

    def sees_the_same(self, address: str) -> bool:
        """Whether the session's initiator would see just what the session does if it came from `address`."""
        if self.target is None or address == self.address:
            return True
        config, name = self.target.config, self.initiator_name
        mine, its = (
            {(rule.lun, rule.lun_id, rule.read_only) for rule in mapped_luns(config, name, where)}
            for where in (self.address, address)
        )
        return mine == its

    def remap(self) -> None:
        """The configuration of the target changed: follow it, and tell the initiator."""
        if self.target is not None:
            self.target.port_groups.follow()
        if self.map():
            for nexus in self.by_lun.values():
                nexus.add_attention(REPORTED_LUNS_DATA_CHANGED)

    def _add(self, lun: int, unit: LogicalUnit, read_only: bool) -> None:
        nexus = UnitNexus(
            unit,
            COMMANDS,
            lun=lun,
            read_only=read_only,
            lun_list=self.lun_list,
            port=InitiatorPort(self.initiator_name, self.isid),
            group_tag=self.group.tag,
            siblings=self.by_lun.values,
            tasks=lambda: self._tasks(lun),
            abort_tasks=lambda but: self._abort_tasks(unit, lun, but),
            groups=self.target.port_groups if self.target is not None else None,
        )
        # RFC 7143 §4.4.3.2: the end of a session is an I_T nexus loss to the initiator port that comes back.
        nexus.add_attention(NEXUS_LOSS_OCCURRED if nexus.id in unit.seen_ports else POWER_ON_RESET)
        unit.remember_port(nexus.id)
        unit.nexuses.add(nexus)
        self.by_lun[lun] = nexus
        self.units[encode_lun_u64(lun)] = nexus

    def _tasks(self, lun: int) -> list[TargetTask]:
        return self.session.tasks_of(encode_lun_u64(lun)) if self.session is not None else []

    async def _abort_tasks(self, unit: LogicalUnit, lun: int, but: TargetTask) -> None:
        if self.session is None:
            return
        done = asyncio.get_running_loop().create_future()

        def ended() -> None:
            if not done.done():
                done.set_result(None)

        report = unit.device.mode.task_aborted_status and self.session is not but.connection.session
        self.session.abort_set(encode_lun_u64(lun), report=report, but=but, then=ended)
        await done

    def _unmap(self, lun: int) -> None:
        nexus = self.by_lun.pop(lun)
        del self.units[encode_lun_u64(lun)]
        if self.session is not None:
            self.session.abort_set(encode_lun_u64(lun), report=False)
        self._lose(nexus)

    def _lose(self, nexus: UnitNexus) -> None:
        """I_T nexus loss (SAM-5 §6.3.4); its commands were aborted before."""
        unit = nexus.unit
        unit.nexuses.discard(nexus)
        unit.reservations.nexus_lost(nexus.id)
        unit.device.prevented.discard(nexus)
        unfinished = [task for task in nexus.tasks() if task.with_unit]
        if unfinished and self.session is not None:
            # Who fences this initiator off, or resets the unit, has to wait for them all the same.
            unit.leaving.add(nexus)
            self.session.wait_for(unfinished, lambda: unit.leaving.discard(nexus), transfers_until=None)

    def close(self) -> None:
        """The session is over."""
        for nexus in self.by_lun.values():
            self._lose(nexus)
        if self.target is not None and self in self.target.nexuses:
            self.target.nexuses.remove(self)

    # iscsi.target_device.Nexus

    def send_targets(self, value: str) -> bytes | None:
        return self._send_targets(value)

    def _reached(self, lun: int | None) -> list[UnitNexus]:
        return [
            nexus for number, nexus in self.by_lun.items() if lun is None or encode_lun_u64(number) == lun
        ]

    def reset_scope(self, lun: int | None) -> Iterable[tuple[TargetSession, int]]:
        units = {nexus.unit for nexus in self._reached(lun)}
        for other in self.target.nexuses if self.target is not None else ():
            if other.session is not None:
                for number, nexus in other.by_lun.items():
                    if nexus.unit in units:
                        yield other.session, encode_lun_u64(number)
        for nexus in [nexus for unit in units for nexus in unit.leaving]:
            for session in {task.connection.session for task in nexus.tasks()}:
                yield session, encode_lun_u64(nexus.lun)

    def reset(self, lun: int | None, function: int, then: Callable[[], None]) -> None:
        ending: set[CopyRecord] = set()
        for nexus in self._reached(lun):
            if function == opcodes.TMF_CLEAR_TASK_SET:
                # Only nexuses whose commands were cleared by somebody else are told (SAM-5 §7.4, TST 000b),
                # and with TAS the status of each command has told it.
                if not nexus.unit.device.mode.task_aborted_status:
                    nexus.unit.attention(COMMANDS_CLEARED_BY_ANOTHER_INITIATOR, but=nexus)
            elif function == opcodes.TMF_I_T_NEXUS_RESET:
                nexus.unit.reservations.nexus_lost(nexus.id)
                nexus.unit.device.prevented.discard(nexus)
                nexus.add_attention(NEXUS_LOSS_OCCURRED)
            elif function != opcodes.TMF_ABORT_TASK_SET:
                nexus.unit.reset()
                ending |= nexus.unit.copies
        if not ending:
            then()
            return
        left = len(ending)

        def one_over() -> None:
            nonlocal left
            left -= 1
            if not left:
                then()

        for copy in ending:
            copy.on_over.append(one_over)

    def all_sessions(self) -> Iterable[TargetSession]:
        for nexus in self.target.nexuses if self.target is not None else ():
            if nexus.session is not None:
                yield nexus.session

    def commands_cleared(self, lun: int) -> None:
        for nexus in self._reached(lun):
            nexus.add_attention(COMMANDS_CLEARED_BY_ISCSI_EVENT)

    def reports_aborted(self, lun: int) -> bool:
        return any(nexus.unit.device.mode.task_aborted_status for nexus in self._reached(lun))

    def pending_attention(self, lun: int) -> tuple[int, int, int, int] | None:
        for nexus in self._reached(lun):
            if nexus.attentions:
                first = next(iter(nexus.attentions))
                return len(nexus.attentions), first.key, first.asc, first.ascq
        return None
