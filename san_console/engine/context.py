"""What every part of the engine works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from san_console.api.engine_objects import EngineInfo
from san_console.engine.events import EventLog
from san_console.engine.jobs import JobRunner
from san_console.engine.objects import ObjectRegistry
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.state import StateStore


@dataclass(slots=True)
class EngineContext:
    """Shared by the parts; each part owns the objects of its own collections."""

    info: EngineInfo
    registry: ObjectRegistry
    state: StateStore
    events: EventLog
    jobs: JobRunner
    secrets: EngineSecrets
    clock: Callable[[], float]
    """Seconds since the epoch."""

    def put_info(self) -> None:
        """Tell clients that something about the engine has changed."""
        self.registry.put("engine", self.info)
