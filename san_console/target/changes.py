"""A change of a target that is served: what has to be opened, taken away, and told, in which order."""

from __future__ import annotations

from dataclasses import replace

from san_console.names.display import visible
from san_console.names.portal import Portal
from san_console.scsi.sense import UNIT_ATTENTION, Condition
from san_console.target.access import may_log_in
from san_console.target.config import LunConfig, TargetConfig, without_luns
from san_console.target.ending import end_connections
from san_console.target.errors import BackstoreError, TargetError
from san_console.target.logical_unit import LogicalUnit
from san_console.target.nexus import ServedTarget
from san_console.target.opening import UnitOpener
from san_console.target.portals import Portals
from san_console.target.session import ServedConnection, ServedSession
from san_console.target.session_table import SessionTable
from san_console.target.units import (
    close_units,
    grow_unit,
    rename_unit,
    set_online,
    set_write_cache,
)

INQUIRY_DATA_CHANGED = Condition(UNIT_ATTENTION, 0x3F, 0x03)

# `create` only matters when a file is opened for the first time; a size may grow.
_MEDIUM = ("kind", "path", "block_bytes", "read_only", "thin")


def same_medium(old: LunConfig, new: LunConfig) -> bool:
    """True when the blocks of both are the same, and no fewer: nothing is to be closed."""
    before, after = old.backstore, new.backstore
    same = all(getattr(before, name) == getattr(after, name) for name in _MEDIUM)
    return same and (after.size_bytes >= before.size_bytes or after.size_bytes == 0)


class TargetChange:
    """One change of `served` to `config`; `carry_out` is called once."""

    def __init__(
        self,
        served: ServedTarget,
        config: TargetConfig,
        portals: Portals,
        table: SessionTable,
        opener: UnitOpener,
    ) -> None:
        self._served = served
        self._old = served.config
        self._new = config
        self._portals = portals
        self._table = table
        self._opener = opener
        self._said: list[str] = []

    async def carry_out(self) -> list[str]:
        """Returns what was done, for the user. Raises TargetError; then nothing has changed."""
        served, old, new = self._served, self._old, self._new
        before = {lun.id: lun for lun in old.luns}
        kept = {
            lun.id: served.units[lun.id]
            for lun in new.luns
            if lun.id in before and lun.id in served.units and same_medium(before[lun.id], lun)
        }
        gone = {lun_id: unit for lun_id, unit in served.units.items() if lun_id not in kept}
        added = [lun for lun in new.luns if lun.id not in kept]
        fresh = await self._open(added, gone)
        # A changed LUN may use the file that it had: its sessions let go of it before it is opened again.
        served.units = kept | fresh
        self._take_config(set(served.units))
        await close_units(gone.values())
        self._said += [f"LUN {visible(unit.config.name)} was closed." for unit in gone.values()]
        failed = []
        for lun in added:
            if lun.id in gone:
                try:
                    served.units |= await self._opener.open(new, [lun])
                except TargetError as error:
                    failed.append(f"LUN {visible(lun.name)} could not be opened again: {error.cause}")
        self._said += [f"LUN {visible(lun.name)} was opened." for lun in added if lun.id in served.units]
        self._said += failed
        for lun in new.luns:
            if lun.id in kept and lun != before[lun.id]:
                await self._change_unit(kept[lun.id], before[lun.id], lun)
        self._take_config(set(served.units))
        self._portals.release(new.name, set(old.portals) - set(new.portals))
        self._end_forbidden()
        await self._end_unreachable()
        return self._said

    async def _open(self, added: list[LunConfig], gone: dict[str, LogicalUnit]) -> dict[str, LogicalUnit]:
        """All that can fail, before anything is changed."""
        old, new = self._old, self._new
        await self._portals.acquire(new.name, new.portals)
        try:
            return await self._opener.open(new, [lun for lun in added if lun.id not in gone])
        except BaseException:
            self._portals.release(new.name, set(new.portals) - set(old.portals))
            raise

    def _take_config(self, there: set[str]) -> None:
        """The configuration holds from now on, for the LUNs that are there."""
        served = self._served
        served.config = without_luns(self._new, there)
        for session in self._table.of_target(served.config.name):
            self._follow_address(session)
        for nexus in list(served.nexuses):
            nexus.group = served.config.group_of_tag(nexus.group.tag) or nexus.group
            nexus.remap()

    def _follow_address(self, session: ServedSession) -> None:
        """What a session sees goes by the address of a connection that may stay."""
        initiator = session.result.session.initiator_name
        addresses = [one.address for one in session.connections.values()] or [session.address]
        allowed = [one for one in addresses if may_log_in(self._served.config, initiator, one)]
        if allowed and session.nexus.address not in allowed:
            session.nexus.address = allowed[0]

    async def _change_unit(self, unit: LogicalUnit, old: LunConfig, new: LunConfig) -> None:
        name = visible(new.name)
        size_bytes = new.backstore.size_bytes
        # What the steps below change stays as it was until they are done.
        now = unit.config
        told = replace(new, backstore=now.backstore, online=now.online, write_cache=now.write_cache)
        rename_unit(unit, told)
        if told != replace(
            old, backstore=now.backstore, online=now.online, write_cache=now.write_cache, name=new.name
        ):
            unit.attention(INQUIRY_DATA_CHANGED)
            self._said.append(f"What LUN {name} says of itself was changed.")
        try:
            if size_bytes > unit.backstore.size_bytes:
                await grow_unit(unit, size_bytes)
                self._said.append(f"LUN {name} was grown to {size_bytes} bytes.")
            if new.write_cache != old.write_cache:
                await set_write_cache(unit, new.write_cache)
                self._said.append(f"The write cache of LUN {name} is {'on' if new.write_cache else 'off'}.")
            if new.online != old.online:
                await set_online(unit, new.online, self._opener.pool)
                self._said.append(f"LUN {name} {'was brought online' if new.online else 'is offline'}.")
        except BackstoreError as error:
            self._said.append(f"LUN {name}: {error.cause}")

    def _end_forbidden(self) -> None:
        config = self._served.config
        for session in self._table.of_target(config.name):
            initiator = session.result.session.initiator_name
            members = list(session.connections.values())
            addresses = [one.address for one in members] or [session.address]
            if not any(may_log_in(config, initiator, one) for one in addresses):
                session.close("its initiator may no longer log in")
                self._said.append(f"The session of {visible(initiator)} was ended.")
                continue
            for one in members:
                if not may_log_in(config, initiator, one.address):
                    why = "its initiator may no longer log in from there"
                elif not session.nexus.sees_the_same(one.address):
                    why = "its initiator sees other LUNs from there than the session does"
                else:
                    continue
                session.close_connection(one, why)
                self._said.append(f"Connection {one.cid} of {visible(initiator)} was ended: {why}.")

    async def _end_unreachable(self) -> None:
        """Connections through a portal that the target no longer has, or that is in another group now: asked
        to log out, then ended.
        """
        config = self._served.config
        reachable: set[tuple[Portal, int]] = {
            (portal, group.tag) for group in config.groups for portal in group.portals
        }
        lost: list[tuple[ServedSession, ServedConnection]] = [
            (session, connection)
            for session in self._table.of_target(config.name)
            for connection in session.connections.values()
            if (connection.listens_at, session.nexus.group.tag) not in reachable
        ]
        if not lost:
            return
        await end_connections(lost, "its portal was removed from the target")
        for session, connection in lost:
            initiator = visible(session.result.session.initiator_name)
            what = "session" if session.over else f"connection {connection.cid}"
            self._said.append(f"The {what} of {initiator} through {connection.listens_at} was ended.")
