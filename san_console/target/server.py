"""The target server: targets on portals, their sessions, and changes while initiators are at work."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from san_console.iscsi.errors import RemoteProtocolError
from san_console.names.display import visible
from san_console.names.errors import InvalidName
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal
from san_console.target.access import EffectiveAccess, effective_access
from san_console.target.changes import TargetChange
from san_console.target.config import AccessState, ChapConfig, PortalGroup, TargetConfig
from san_console.target.ending import end_connections, end_sessions
from san_console.target.errors import ConfigError, TargetBusy, TargetError, UnknownTarget
from san_console.target.events import Reporter, TargetEvent, TargetSessionInfo
from san_console.target.listener import Listener
from san_console.target.logical_unit import LogicalUnit
from san_console.target.nexus import ServedTarget
from san_console.target.opening import UnitOpener
from san_console.target.portals import Portals
from san_console.target.reception import Reception
from san_console.target.reservations import ReservationStore
from san_console.target.send_targets import Directory
from san_console.target.session_table import SessionTable
from san_console.target.unit_watch import UnitNews, UnitWatch
from san_console.target.units import close_units, grow_unit, retry_offline

IO_THREADS = 32  # as many calls wait for media at once; one medium takes a quarter of them at most
TICK_S = 1.0
OPENED_AT_ONCE = 64  # targets of `add_many`; more only wait for the same threads


def _ignore(_: TargetEvent) -> None:
    """Nobody listens."""


class TargetServer:
    """Serves targets. All methods belong to one event loop.

    `discovery_chap` is asked of discovery sessions; None lets anybody ask, who then sees only what its
    name and address may log in to. `on_event` hears of logins, losses and errors. `reservation_store` keeps
    persistent reservations over a restart; None: they cannot be kept, and initiators are told so.
    """

    def __init__(
        self,
        on_event: Callable[[TargetEvent], None] | None = None,
        *,
        discovery_chap: ChapConfig | None = None,
        reservation_store: ReservationStore | None = None,
    ) -> None:
        self._reporter = Reporter(on_event or _ignore)
        self._targets: dict[str, ServedTarget] = {}
        self._table = SessionTable()
        self._portals = Portals(self._connected)
        self._reception = Reception(
            self._targets, self._table, Directory(self._targets, self._portals), self._reporter
        )
        self._reception.discovery_chap = discovery_chap
        self._pool = ThreadPoolExecutor(IO_THREADS, thread_name_prefix="backstore")
        self._opener = UnitOpener(self._pool, self._reporter.backstore_error, reservation_store)
        self._watch = UnitWatch(self._units, self._pool, self._medium_news)
        self._ticker: asyncio.TimerHandle | None = None
        self._changing: dict[str, asyncio.Lock] = {}
        self._changes: Counter[str] = Counter()
        """How many changes of a target run or wait."""

    # Targets

    async def add(self, config: TargetConfig, *, strict: bool = True) -> None:
        """Serve a target. Raises TargetError; then nothing has changed. Without `strict`, a LUN whose medium
        cannot be had is offline, and no file is created.
        """
        if config.name in self._targets or config.name in self._changing:
            raise ConfigError(
                f"The target {visible(config.name)} is served already.", check="Choose another name."
            )
        async with self._change(config.name):
            await self._add(config, strict)

    async def _add(self, config: TargetConfig, strict: bool) -> None:
        units = await self._opener.open(config, config.luns, strict=strict)
        try:
            await self._portals.acquire(config.name, config.portals)
        except BaseException:
            await close_units(units.values())
            raise
        self._targets[config.name] = served = ServedTarget(config, units)
        served.port_groups.on_set = partial(self._access_state_set, config.name)
        self._reception.removed.pop(config.name, None)
        if self._ticker is None:
            self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)
            self._watch.start()
        self._reporter.tell(
            "target_added", "info", f"Target {visible(config.name)} is served.", target=config.name
        )

    async def add_many(self, configs: Iterable[TargetConfig]) -> dict[str, TargetError]:
        """Serve many targets, as at the start of an engine; those that cannot be served are returned with
        the reason, and the others are there. A LUN whose medium cannot be had is offline.
        """
        failed: dict[str, TargetError] = {}
        waiting = iter(configs)

        async def work() -> None:
            for config in waiting:
                try:
                    await self.add(config, strict=False)
                except TargetError as error:
                    failed[config.name] = error

        await asyncio.gather(*(work() for _ in range(OPENED_AT_ONCE)))
        return failed

    async def update(self, config: TargetConfig) -> list[str]:
        """Change a target that is served; sessions go on where they may. Returns what it did, for the user.

        Raises TargetError when a portal or a new LUN cannot be had; then nothing has changed.
        """
        async with self._change(config.name):
            served = self._target(config.name)
            change = TargetChange(served, config, self._portals, self._table, self._opener)
            said = await change.carry_out()
        self._reporter.tell(
            "target_changed", "info", f"Target {visible(config.name)} was changed.", target=config.name
        )
        return said

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Stop serving a target. Raises UnknownTarget; TargetBusy when it has sessions and `force` is not
        set.
        """
        served = self._target(name)
        sessions = self._table.of_target(served.config.name)
        if sessions and not force:
            raise TargetBusy(
                f"{len(sessions)} initiator(s) are logged in to {visible(name)}.",
                check="Log them out first, or remove the target by force.",
            )
        async with self._change(served.config.name):
            if self._targets.pop(served.config.name, None) is None:
                return  # somebody else was quicker
            self._reception.target_removed(served.config.name)
            self._portals.release(served.config.name, served.config.portals)
            await end_sessions(self._table.of_target(served.config.name), "the target was removed")
            await close_units(served.units.values())
        self._reporter.tell(
            "target_removed", "info", f"Target {visible(name)} is no longer served.", target=name
        )

    async def set_discovery_chap(self, chap: ChapConfig | None) -> None:
        """Whom discovery sessions have to prove to be from now on; those that are there go on."""
        self._reception.discovery_chap = chap

    async def set_access_state(self, target: str, tag: int, state: AccessState) -> None:
        """Change the ALUA state of a portal group. Raises UnknownTarget, ConfigError."""
        served = self._target(target)
        async with self._change(served.config.name):
            served.port_groups.set_by_operator(tag, state)
        self._reporter.tell(
            "target_changed", "info", f"Portal group {tag} of {visible(target)} is {state}.", target=target
        )

    def _access_state_set(self, target: str, group: PortalGroup) -> None:
        """An initiator has changed the state of a portal group."""
        self._reporter.tell(
            "access_state_changed",
            "info",
            f"An initiator made portal group {group.tag} of {visible(target)} {group.access_state}.",
            side="initiator",
            target=target,
            tag=str(group.tag),
            state=group.access_state,
        )

    async def close(self) -> None:
        """Ask all initiators to log out, end all sessions, make all data durable, let go of everything."""
        self._reception.closing = True
        self._portals.close()
        await self._reception.admission.close()
        await end_sessions(list(self._table), "the target was stopped")
        await self._watch.stop()
        for served in self._targets.values():
            await close_units(served.units.values())
        self._targets.clear()
        if self._ticker is not None:
            self._ticker.cancel()
        self._pool.shutdown(wait=False)

    # What is shown

    def targets(self) -> list[TargetConfig]:
        """The targets that are served."""
        return [served.config for served in self._targets.values()]

    def config(self, name: str) -> TargetConfig | None:
        """How a target is served; None: it is not."""
        served = self._targets.get(name)
        return served.config if served is not None else None

    def sessions(self) -> list[TargetSessionInfo]:
        """Everybody who is logged in, discovery sessions too."""
        return [session.info() for session in self._table]

    def bound_portals(self, name: str | None = None) -> list[Portal]:
        """Where the server (or one target) listens, with the ports that the system chose for 0."""
        return self._portals.bound(None if name is None else self._target(name).config)

    def effective_access(self, target: str, initiator: str, address: str = "") -> EffectiveAccess:
        """What `initiator` may do and see when it comes from `address`, by the code that the login uses.

        Raises UnknownTarget, ConfigError.
        """
        served = self._target(target)
        try:
            name = normalise(initiator, lenient=True)
        except InvalidName as error:
            raise ConfigError(str(error), check="Check the initiator name.") from error
        return effective_access(served.config, name, address)

    def unit(self, target: str, lun_id: str) -> LogicalUnit:
        """A logical unit of a target. Raises UnknownTarget, also for a LUN that is not there."""
        unit = self._target(target).units.get(lun_id)
        if unit is None:
            raise UnknownTarget(
                f"The target {visible(target)} has no LUN “{visible(lun_id, 60)}”.", check="Check the LUN."
            )
        return unit

    def unit_identity(self, target: str, lun_id: str) -> tuple[str, str]:
        """(identity, serial number) of a LUN, as its VPD pages tell."""
        unit = self.unit(target, lun_id)
        return f"naa.{unit.naa.hex()}", unit.serial

    def backstore_failure(self, target: str, lun_id: str) -> str:
        """Why nothing can be written to the LUN any more; empty when it works."""
        return self.unit(target, lun_id).backstore.failed

    # Media

    async def grow_lun(self, target: str, lun_id: str, size_bytes: int = 0) -> int:
        """Make a LUN larger, or with 0 let it take what its file or device has by now. Returns its size.

        Raises UnknownTarget; BackstoreError, and then nothing has changed.
        """
        unit = self.unit(target, lun_id)
        async with self._change(unit.target_name):
            size_bytes = await grow_unit(unit, size_bytes)
            served = self._target(target)
            luns = [
                replace(lun, backstore=unit.config.backstore) if lun.id == lun_id else lun
                for lun in served.config.luns
            ]
            served.config = replace(served.config, luns=luns)
        return size_bytes

    async def retry_lun(self, target: str, lun_id: str) -> None:
        """The medium of a LUN was mended: go on with what is there now. Raises UnknownTarget; BackstoreError
        with what is still wrong.
        """
        await retry_offline(self.unit(target, lun_id), self._pool)

    def _units(self) -> list[LogicalUnit]:
        return [unit for served in self._targets.values() for unit in served.units.values()]

    def _medium_news(self, news: UnitNews) -> None:
        unit = news.unit
        self._reporter.tell(
            news.kind,
            news.severity,
            news.text,
            side="this machine",
            check=news.check,
            target=unit.target_name,
            lun=unit.config.id,
        )

    # Sessions

    async def disconnect(self, session_id: str, cid: int | None = None) -> None:
        """End a session, or with `cid` one connection of it; its initiator will hear of it and may come back.

        Raises UnknownTarget.
        """
        session = self._table.get(session_id)
        if session is None:
            raise UnknownTarget(
                "There is no such session.", check="It may have ended meanwhile; look at the list."
            )
        if cid is None:
            await end_sessions([session], "it was disconnected")
            return
        connection = session.connections.get(cid)
        if connection is None:
            raise UnknownTarget(f"The session has no connection {cid}.", check="It may have ended meanwhile.")
        await end_connections([(session, connection)], "it was disconnected")

    # Inside

    def _target(self, name: str) -> ServedTarget:
        served = self._targets.get(name)
        if served is None:
            raise UnknownTarget(f"The target {visible(name)} is not served here.", check="Check the name.")
        return served

    @asynccontextmanager
    async def _change(self, name: str) -> AsyncIterator[None]:
        """One change of a target at a time; the next one sees what this one has made of it."""
        lock = self._changing.setdefault(name, asyncio.Lock())
        self._changes[name] += 1
        try:
            async with lock:
                yield
        finally:
            self._changes[name] -= 1
            if not self._changes[name]:
                del self._changes[name], self._changing[name]

    def _connected(self, listener: Listener, sock: socket.socket) -> None:
        self._reception.admission.connected(listener, sock)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for session in self._table:
            try:
                session.tick(now)
            except RemoteProtocolError as error:  # in what it had sent long before
                session.close(str(error))
            except Exception as fault:
                # Ours, and the loop's handler hears of it; the other sessions go on.
                session.close("an internal error")
                loop.call_exception_handler({"message": "the care for a session failed", "exception": fault})
        self._ticker = loop.call_later(TICK_S, self._tick)
