"""A registration that stays: made again before its period is over, and after the server forgot it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from san_console.nameserver.client import EntityEntry, IsnsClient, Registered
from san_console.nameserver.errors import IsnsFailure

ASSUMED_PERIOD_S = 600
"""For servers that do not say how long they keep a registration."""
MIN_INTERVAL_S = 1.0
MAX_INTERVAL_S = 300.0
"""A server that lost its database knows us again after five minutes at most."""
FIRST_RETRY_S = 1.0
MAX_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class RegistrationEvent:
    """`kind`: registered, renewed, lost (the server forgot it and gets it again) or failed."""

    kind: str
    registered: Registered | None = None
    failure: IsnsFailure | None = None


class Registration:
    """Keeps `entity` registered through `client` until it is stopped."""

    def __init__(
        self,
        client: IsnsClient,
        entity: EntityEntry,
        *,
        on_event: Callable[[RegistrationEvent], None] | None = None,
    ) -> None:
        self._client = client
        self._entity = entity
        self._on_event = on_event
        self._task: asyncio.Task[None] | None = None
        self.registered: Registered | None = None
        self.last_failure: IsnsFailure | None = None

    @property
    def state(self) -> str:
        """registered, failing, or stopped."""
        if self._task is None or self._task.done():
            return "stopped"
        return "failing" if self.last_failure or not self.registered else "registered"

    async def start(self) -> Registered:
        """Register once, raising IsnsFailure, and keep it from then on."""
        registered = await self._register()
        self._task = asyncio.create_task(self._keep())
        return registered

    def start_later(self) -> None:
        """Keep trying to register in the background; failures are events."""
        self._task = asyncio.create_task(self._keep())

    async def stop(self, *, deregister: bool = True) -> None:
        """Stop renewing, and take the entity off the server. Raises IsnsFailure when it refuses."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        registered, self.registered = self.registered, None
        if deregister and registered is not None:
            await self._client.deregister(entity_id=registered.entity_id, source=self._entity.nodes[0].name)

    async def _register(self) -> Registered:
        self.registered = await self._client.register(self._entity)
        self.last_failure = None
        self._emit(RegistrationEvent("registered", self.registered))
        return self.registered

    async def _renew(self) -> None:
        """Any message renews; asking for the own node also tells whether the server still has it (§6.2.6)."""
        if self.registered is not None:
            if await self._client.is_registered(self._entity.nodes[0].name):
                self.last_failure = None
                self._emit(RegistrationEvent("renewed", self.registered))
                return
            self._emit(RegistrationEvent("lost", self.registered))
        await self._register()

    def _interval_s(self) -> float:
        period_s = self.registered.period_s if self.registered else None
        return min(max((period_s or ASSUMED_PERIOD_S) / 3, MIN_INTERVAL_S), MAX_INTERVAL_S)

    async def _keep(self) -> None:
        retry_s = FIRST_RETRY_S
        delay_s = self._interval_s() if self.registered else 0.0
        while True:
            await asyncio.sleep(delay_s)
            try:
                await self._renew()
                retry_s, delay_s = FIRST_RETRY_S, self._interval_s()
            except IsnsFailure as failure:
                self.last_failure = failure
                self._emit(RegistrationEvent("failed", self.registered, failure))
                delay_s, retry_s = retry_s, min(retry_s * 2, MAX_RETRY_S)

    def _emit(self, event: RegistrationEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)
