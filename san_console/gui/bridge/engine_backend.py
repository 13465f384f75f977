"""The engine of this computer behind its local socket. Starts one when none answers; comes back when it is
lost.

Nothing here blocks: QLocalSocket and timers only. `rpc.peer` knows the protocol, this file moves bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from PySide6.QtCore import QObject, QTimer
from PySide6.QtNetwork import QLocalSocket

from san_console.api.messages import Delta, Failure, Message, Result, Snapshot, Statistics
from san_console.api.methods import METHODS, Nothing
from san_console.api.problems import ApiProblem, Problem
from san_console.console.backend import Backend, BackendState, Canceller, Done, Failed
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate
from san_console.rpc.calls import CallTable
from san_console.rpc.errors import RpcError, VersionMismatch
from san_console.rpc.paths import check_private_dir, runtime_dir, socket_path
from san_console.rpc.peer import Peer

log = logging.getLogger(__name__)

FIRST_RETRY_MS: Final = 60
MAX_RETRY_MS: Final = 2_000
STARTING_RETRY_MS: Final = 50
"""While an engine comes up; it takes some 300 ms."""

START_PATIENCE_MS: Final = 10_000
"""An engine that was started and does not answer for so long is said to have failed; trying goes on."""

Waiter = tuple[Done | None, Failed | None]


def _start_engine() -> object:
    # Late import: a window on a running engine needs none of it.
    from san_console.console.engine_process import start_engine_process

    return start_engine_process()


class EngineBackend(Backend):
    """`start_engine` starts an engine process and returns at once; None: only connect."""

    def __init__(
        self,
        start_engine: Callable[[], object] | None = _start_engine,
        name: str = QT_TRANSLATE_NOOP("Table", "This computer"),
    ) -> None:
        super().__init__(name)
        self._start_engine = start_engine
        self._owner = QObject()
        self._socket: QLocalSocket | None = None
        self._peer = Peer("window")
        self._calls: CallTable[Waiter] = CallTable(self._peer)
        self._retry = QTimer(self._owner, singleShot=True)
        self._retry.timeout.connect(self._connect)
        self._patience = QTimer(self._owner, singleShot=True, interval=START_PATIENCE_MS)
        self._patience.timeout.connect(self._give_up_waiting)
        self._delay_ms = FIRST_RETRY_MS
        self._started_engine = False
        self._process: object = None
        """Kept while the window lives: the engine outlives it, and is nobody's to wait for."""
        self._closed = False

    def start(self) -> None:
        self._tell("connecting", translate("EngineBackend", "Connecting to the engine"))
        self._retry.start(0)

    def close(self) -> None:
        self._closed = True
        self._retry.stop()
        self._patience.stop()
        self._calls.drop_all()
        self._drop_socket()

    def call(
        self, method: str, params: msgspec.Struct, done: Done | None = None, failed: Failed | None = None
    ) -> Canceller:
        if not isinstance(params, METHODS[method].params):
            raise TypeError(f"{method} takes {METHODS[method].params.__name__}, not {type(params).__name__}")
        if self.state != "connected" or self._socket is None:
            self._later(failed, _disconnected())
            return _nothing_to_cancel
        try:
            call_id = self._calls.start(method, params, (done, failed))
        except ApiProblem as error:
            self._later(failed, error.problem)
            return _nothing_to_cancel
        self._flush()
        calls = self._calls

        def cancel() -> None:
            calls.cancel(call_id)
            if calls is self._calls:
                self._flush()

        return cancel

    # the connection

    def _tell(self, state: BackendState, text: str) -> None:
        self.state = state
        self.on_state(state, text)

    def _later(self, failed: Failed | None, problem: Problem) -> None:
        """Callbacks never come from inside `call`."""
        if failed is not None:
            QTimer.singleShot(0, self._owner, lambda: None if self._closed else failed(problem))

    def _connect(self) -> None:
        if self._closed:
            return
        try:
            check_private_dir(runtime_dir())
            path = socket_path()
        except FileNotFoundError:
            self._nobody_answers()
            return
        except ApiProblem as error:
            self._tell(
                "refused",
                translate("EngineBackend", "{message} Check {check}.").format(
                    message=error.problem.message, check=error.problem.check
                ),
            )
            self._retry.start(MAX_RETRY_MS)
            return
        self._peer = Peer("window")
        self._calls = CallTable(self._peer)
        socket = QLocalSocket(self._owner)
        self._socket = socket
        socket.connected.connect(self._connected)
        socket.readyRead.connect(self._read)
        socket.errorOccurred.connect(lambda _error: self._ended(socket))
        socket.disconnected.connect(lambda: self._ended(socket))
        socket.connectToServer(str(path))

    def _connected(self) -> None:
        # The engine may still refuse the version: it counts as connected once it has answered `subscribe`.
        self._calls.start("subscribe", Nothing(), (None, None))
        self._flush()

    def _flush(self) -> None:
        if self._socket is not None:
            data = self._peer.outgoing()
            if data:
                self._socket.write(data)

    def _read(self) -> None:
        if self._socket is None:
            return
        data = self._socket.readAll().data()
        try:
            messages = self._peer.receive(bytes(data))
        except VersionMismatch as error:
            self._refuse("incompatible", error.problem)
            return
        except RpcError as error:
            log.error("the engine sent something that is no message: %s", error)
            self._refuse("incompatible", error.problem)
            return
        for message in messages:
            self._handle(message)
            if self._closed:
                return
        self._flush()

    def _handle(self, message: Message) -> None:
        match message:
            case Snapshot() | Delta() | Statistics():
                self.on_message(message)
            case Failure(id=0):
                self._refuse("incompatible", message.problem)
            case Result() | Failure():
                answer = self._calls.finish(message)
                if self.state != "connected" and isinstance(message, Result):
                    self._patience.stop()
                    self._delay_ms = FIRST_RETRY_MS
                    self._started_engine = False
                    self._tell("connected", translate("EngineBackend", "Engine running"))
                if answer is not None:
                    self._answer(answer.waiter, answer.value, answer.problem)

    @staticmethod
    def _answer(waiter: Waiter, value: Any, problem: Problem | None) -> None:
        done, failed = waiter
        if problem is None:
            if done is not None:
                done(value)
        elif failed is not None:
            failed(problem)

    def _refuse(self, state: BackendState, problem: Problem) -> None:
        self._drop_socket()
        self._fail_open_calls()
        self._tell(state, f"{problem.message} {problem.check}".strip())
        self._retry.start(MAX_RETRY_MS)

    def _ended(self, socket: QLocalSocket) -> None:
        if self._closed or socket is not self._socket:
            return
        was_connected = self.state == "connected"
        self._drop_socket()
        self._fail_open_calls()
        if was_connected:
            self._tell("lost", translate("EngineBackend", "The connection to the engine was lost"))
            self._retry.start(self._delay_ms)
        elif self.state == "incompatible":
            self._retry.start(MAX_RETRY_MS)
        else:
            self._nobody_answers()

    def _nobody_answers(self) -> None:
        if not self._started_engine and self._start_engine is not None:
            self._started_engine = True
            self._tell("starting", translate("EngineBackend", "Starting the engine"))
            self._patience.start()
            try:
                self._process = self._start_engine()
            except OSError as error:
                self._tell(
                    "lost",
                    translate("EngineBackend", "The engine cannot be started: {strerror}").format(
                        strerror=error.strerror or error
                    ),
                )
            except ApiProblem as error:
                self._tell(
                    "refused",
                    translate("EngineBackend", "{message} Check {check}.").format(
                        message=error.problem.message, check=error.problem.check
                    ),
                )
        if self.state == "starting":
            self._retry.start(STARTING_RETRY_MS)
            return
        self._retry.start(self._delay_ms)
        self._delay_ms = min(self._delay_ms * 2, MAX_RETRY_MS)

    def _give_up_waiting(self) -> None:
        if self.state == "starting":
            self._started_engine = False
            self._tell(
                "lost",
                translate(
                    "EngineBackend",
                    "The engine was started but does not answer; see engine.log in its data folder",
                ),
            )

    def _fail_open_calls(self) -> None:
        for _done, failed in self._calls.drop_all():
            if failed is not None:
                failed(_disconnected())

    def _drop_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.abort()
            socket.deleteLater()


def _nothing_to_cancel() -> None:
    """The call was never sent."""


def _disconnected() -> Problem:
    return Problem(
        code="disconnected",
        message=translate("engine_backend", "There is no connection to the engine."),
        side=translate("engine_backend", "this side"),
        check=translate("engine_backend", "the state of the engine at the lower left of the window"),
    )
