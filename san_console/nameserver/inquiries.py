"""Entity status inquiries: asking registered portals whether they are still there (RFC 4171 §5.6.5.13)."""

import asyncio
from collections.abc import Callable

from san_console.isns.admission import callback_allowed, callback_port
from san_console.isns.attributes import SCN_OBJECT_REMOVED, Kind, Tag, read_address
from san_console.isns.changes import Moment, change_of
from san_console.isns.database import Key, StoredObject
from san_console.isns.name_server import NameServer, Outcome, ServerEvent
from san_console.isns.notification import Callback, inquiry, notifications
from san_console.isns.registration import refresh
from san_console.names.display import visible
from san_console.nameserver.callbacks import CallbackSender

MIN_INTERVAL_S = 10
"""A client that asks for shorter intervals would have the server do nothing else."""
TRIES = 3
_LOOK_EVERY_S = 1.0


class Inquirer:
    """Asks each portal that has an ESI interval and an ESI port, and removes those that do not answer."""

    def __init__(
        self,
        names: NameServer,
        sender: CallbackSender,
        moment: Callable[[], Moment],
        apply: Callable[[Outcome], None],
    ) -> None:
        self._names = names
        self._sender = sender
        self._moment = moment
        self._apply = apply
        self._due: dict[Key, float] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._transaction = 0

    async def run(self) -> None:
        """Look for due inquiries until cancelled."""
        try:
            while True:
                self.look()
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    def look(self) -> None:
        """Start the inquiries that are due."""
        now = self._moment().monotonic_s
        watched = {portal.key: portal for portal in self._watched()}
        self._due = {key: due for key, due in self._due.items() if key in watched}
        for key, portal in watched.items():
            # The first inquiry comes one interval after the registration was seen.
            due = self._due.setdefault(key, now + self._interval_s(portal))
            if due <= now and key not in self._running:
                task = asyncio.create_task(self._inquire(portal))
                self._running[key] = task
                task.add_done_callback(lambda _, key=key: self._running.pop(key))  # type: ignore[misc]  # mypy cannot infer lambda defaults

    def _interval_s(self, portal: StoredObject) -> int:
        return max(portal.number(Tag.ESI_INTERVAL) or 0, MIN_INTERVAL_S)

    def _watched(self) -> list[StoredObject]:
        policy, database = self._names.policy, self._names.database
        return [
            portal
            for portal in database.objects(Kind.PORTAL)
            if portal.number(Tag.ESI_INTERVAL)
            and callback_allowed(
                policy, portal.attributes, Tag.ESI_PORT, database.entities[portal.entity].owner_address
            )
        ]

    async def _inquire(self, portal: StoredObject) -> None:
        """Ask one portal; all tries end within twice the interval (§6.3.4)."""
        database = self._names.database
        interval_s = self._interval_s(portal)
        for attempt in range(TRIES):
            entity = database.entities.get(portal.entity)
            port = callback_port(portal.attributes, Tag.ESI_PORT)
            if entity is None or port is None or database.get(Kind.PORTAL, portal.key) is not portal:
                return
            self._transaction = self._transaction % 0xFFFF + 1
            message = inquiry(entity, portal, self._moment().unix_s)
            message.transaction = self._transaction
            address = read_address(portal.attributes[Tag.PORTAL_ADDRESS])
            if await self._sender.ask(message, Callback(address, port)):
                moment = self._moment()
                refresh(entity, moment)
                self._due[portal.key] = moment.monotonic_s + interval_s
                return
            if attempt < TRIES - 1:
                await asyncio.sleep(interval_s / (2 * TRIES))
        self._lost(portal)

    def _lost(self, portal: StoredObject) -> None:
        database = self._names.database
        entity = database.entities.get(portal.entity)
        if entity is None or database.get(Kind.PORTAL, portal.key) is not portal:
            return
        outcome = Outcome()
        change = change_of(database, portal, SCN_OBJECT_REMOVED)
        others = [other for other in self._watched() if other.entity == entity.key and other is not portal]
        if others:
            outcome.changes.append(change)
            database.remove(portal)
        else:
            self._names.remove(entity.key, outcome)
        moment = self._moment()
        outcome.notifications += notifications(database, self._names.policy, outcome.changes, moment.unix_s)
        text = f"Portal {change.label} of {visible(entity.name)} did not answer {TRIES} inquiries."
        outcome.events.append(ServerEvent("expired", text, entity.name, entity.owner_address))
        self._apply(outcome)
