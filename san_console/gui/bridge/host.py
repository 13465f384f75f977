"""One host in the window: its backend, the replica of its objects, and signals when they change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import shiboken6
from PySide6.QtCore import QObject, QTimer, Signal

from san_console.api.engine_objects import EngineInfo
from san_console.api.methods import METHODS
from san_console.api.problems import Problem
from san_console.console.backend import Backend, BackendMessage, BackendState
from san_console.console.replica import ObjectChange, Replica

log = logging.getLogger(__name__)

BATCH_MS: Final = 40
"""Changes of this long are shown together: 25 pictures a second are enough for a table."""


class QtHost(QObject):
    """Signals arrive in batches of `BATCH_MS`, on the window's thread."""

    state_changed = Signal(str, str)
    """`BackendState` and its text."""
    reset = Signal()
    """Everything was replaced."""
    changed = Signal(str, list)
    """Collection, and a list of `ObjectChange`, each object once."""
    sampled = Signal()
    """Newer statistics are in `replica.samples`."""
    failed = Signal(object)
    """A `Problem` of a call that nobody else took."""

    def __init__(self, backend: Backend, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.backend = backend
        self.replica = Replica()
        self.state: BackendState = "connecting"
        self.state_text = ""
        self.state_since = time.time()
        self.open_calls = 0
        """Calls that were not answered yet."""
        self._waiting: dict[str, dict[str, ObjectChange]] = {}
        self._has_samples = False
        self._batch = QTimer(self, singleShot=True, interval=BATCH_MS)
        self._batch.timeout.connect(self._flush)
        backend.on_message = self._take
        backend.on_state = self._take_state
        self.replica.needs_resync = self._resync
        self.replica.on_reset(self._take_reset)
        self.replica.on_samples(self._take_samples)
        for name in self.replica.collections:
            self.replica.subscribe(name, partial(self._collect, name))

    def start(self) -> None:
        self.backend.start()

    def close(self) -> None:
        self._batch.stop()
        self.backend.close()

    # asking

    @property
    def engine(self) -> EngineInfo | None:
        info = self.replica.get("engine", "engine")
        return info if isinstance(info, EngineInfo) else None

    @property
    def connected(self) -> bool:
        return self.state == "connected" and self.replica.revision is not None

    @property
    def batching(self) -> bool:
        """Whether changes wait to be told."""
        return self._batch.isActive()

    def values(self, collection: str) -> list[Any]:
        return self.replica.values(collection)

    def get(self, collection: str, identifier: str) -> Any:
        return self.replica.get(collection, identifier)

    def call(
        self,
        method: str,
        params: msgspec.Struct | None = None,
        done: Callable[[Any], object] | None = None,
        failed: Callable[[Problem], object] | None = None,
        *,
        owner: QObject | None = None,
    ) -> Callable[[], None]:
        """Ask the engine. Callbacks are left out once `owner` is deleted. Returns a function that gives
        the call up.

        A problem that `failed` does not take is emitted as the signal `failed`. Never raises: a call that
        cannot even be sent is a problem like others.
        """

        def alive() -> bool:
            return owner is None or shiboken6.isValid(owner)

        def take_done(value: Any) -> None:
            self.open_calls -= 1
            if done is not None and alive():
                done(value)

        def take_failed(problem: Problem) -> None:
            self.open_calls -= 1
            if failed is not None:
                if alive():
                    failed(problem)
            elif problem.code != "cancelled":
                self.failed.emit(problem)

        asked = params if params is not None else METHODS[method].params()
        self.open_calls += 1
        return self.backend.call(method, asked, take_done, take_failed)

    # hearing

    def _take(self, message: BackendMessage) -> None:
        try:
            self.replica.apply(message)
        except msgspec.DecodeError as error:
            log.error("a message of the engine cannot be used: %s", error)
            self.replica.expect_snapshot()
            self._resync()

    def _take_state(self, state: BackendState, text: str) -> None:
        if state != self.state:
            self.state_since = time.time()
        self.state, self.state_text = state, text
        if state in ("lost", "refused", "incompatible"):
            self.replica.expect_snapshot()
        self.state_changed.emit(state, text)

    def _resync(self) -> None:
        self.call("resync")

    def _take_reset(self) -> None:
        self._waiting.clear()
        self.reset.emit()

    def _take_samples(self, _samples: list[Any]) -> None:
        self._has_samples = True
        self._start_batch()

    def _collect(self, name: str, changes: list[ObjectChange]) -> None:
        waiting = self._waiting.setdefault(name, {})
        for change in changes:
            known = waiting.get(change.id)
            if known is None:
                waiting[change.id] = ObjectChange(change.id, change.old, change.new)
            else:
                known.new = change.new
        self._start_batch()

    def _start_batch(self) -> None:
        if not self._batch.isActive():
            self._batch.start()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for name, changes in waiting.items():
            self.changed.emit(name, list(changes.values()))
        if self._has_samples:
            self._has_samples = False
            self.sampled.emit()
