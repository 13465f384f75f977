"""Drives a simulated host by a timer, so that `test://…` feels like an engine."""

from __future__ import annotations

import time
from typing import Final

from PySide6.QtCore import QObject, QTimer

from san_console.console.simulated import SimulatedBackend

TICK_MS: Final = 100
WARM_UP_S: Final = 90
"""So many seconds of figures are there from the start: an empty chart shows nothing."""


class SimulationDriver(QObject):
    """Ticks `backend` with the wall clock while it lives."""

    def __init__(self, backend: SimulatedBackend, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._backend = backend
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(lambda: backend.tick(time.time()))
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(backend.deliver)
        backend.on_pending = self._soon.start

    def start(self) -> None:
        self._timer.start()
