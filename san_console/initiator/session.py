"""A session that stays up: log in, notice the loss, log in again with bounded back-off, log out cleanly."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from san_console.initiator import tcp
from san_console.initiator.connection import Connection, NopTimeout
from san_console.initiator.counters import SessionCounters
from san_console.initiator.errors import (
    CommandRefused,
    CommandTimedOut,
    InitiatorError,
    LoginRefused,
    SessionLost,
)
from san_console.initiator.events import OnEvent, SessionEvent
from san_console.initiator.logical_unit import LogicalUnit, report_luns
from san_console.initiator.login import LoggedIn, log_in
from san_console.initiator.protocol_events import ProtocolEvents
from san_console.initiator.settings import SessionSettings, random_isid
from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import ABORTED, COMPLETED, LOST, REJECTED, Bytes, ScsiTask
from san_console.iscsi.login_initiator import LoginResult
from san_console.iscsi.trace import Direction, Trace
from san_console.names.lun import encode_lun_u64

#: How long a target may take to answer a Logout Request before we close all the same.
LOGOUT_TIMEOUT_S = 5.0

_LOST_CHECK = "Look at the session's events for the reason, and at the target."


class Session:
    """One session to one target. `on_event` is called in the event loop for everything that happens to it.

    `login()` tries once. `start()` keeps the session up in the background from then on (it logs in first
    when that has not happened): after a loss the same ISID logs in again, and reads, writes and other
    commands that may be repeated are sent again. `state` is one of "logging_in", "logged_in", "retrying",
    "logging_out", "logged_out", "failed".
    """

    def __init__(self, settings: SessionSettings, *, on_event: OnEvent | None = None) -> None:
        self.settings = settings
        self.isid = settings.isid if settings.isid is not None else random_isid(os.urandom(5))
        self.on_event = on_event
        self.state = "logged_out"
        #: Seconds since the epoch of the next try, while `state` is "retrying" and it is waiting.
        self.next_retry_at: float | None = None
        #: Tries since the last login that worked.
        self.attempt = 0
        self.last_error: InitiatorError | None = None
        self.result: LoginResult | None = None
        self.counters = SessionCounters()
        self.logged_in_at: float | None = None
        self.portal = settings.portal
        self.lun_addresses: dict[int, int] = {}
        #: By LUN number, how many writes were acknowledged since the last flush.
        self.unflushed: dict[int, int] = {}
        #: LUNs whose target was restarted meanwhile: their next flush has to tell.
        self.writes_lost: set[int] = set()
        #: The last PDUs, CHAP values masked. `traces_commands` decides, from the next login on, whether it
        #: goes on after the login: it costs a tenth of the commands per second.
        self.trace = Trace()
        self.traces_commands = True
        self._connection: Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._retry_after_s = 0.0
        self._been_up = False
        self._protocol_events = ProtocolEvents(self.emit, self._drained_logout, self._hold_retry)

    # ---- what the user sees ----

    def emit(
        self, kind: str, severity: str, text: str, /, error: InitiatorError | None = None, **details: Any
    ) -> None:
        """Tell the watcher."""
        if self.on_event is None:
            return
        event = SessionEvent(time.time(), kind, severity, text, details=details)
        if error is not None:
            event.cause, event.side, event.check = error.cause, error.side, error.check
        self.on_event(event)

    @property
    def window(self) -> tuple[int, int]:
        """(commands under way, commands that the target takes at a time); (0, 0) without a connection."""
        return self._connection.session.window if self._connection is not None else (0, 0)

    @property
    def connections(self) -> list[dict[str, Any]]:
        """One record per connection: `cid local_address peer_address age_s in_flight waiting`."""
        connection = self._connection
        if connection is None:
            return []
        return [
            {
                "cid": 0,
                "local_address": connection.local_address,
                "peer_address": connection.peer_address,
                "age_s": asyncio.get_running_loop().time() - connection.opened_at,
                "in_flight": connection.session.in_flight,
                "waiting": connection.session.waiting,
            }
        ]

    def lun(self, number: int) -> LogicalUnit:
        """The logical unit of that number; nothing is sent yet. Raises names.errors.InvalidLun."""
        # The octets that the target listed win: which addressing method it uses is its own choice.
        address = self.lun_addresses.get(number)
        return LogicalUnit(self, number, address if address is not None else encode_lun_u64(number))

    async def report_luns(self) -> list[int]:
        """The LUN numbers that the target shows to us, ascending."""
        found = await report_luns(self)
        self.lun_addresses = found.addresses
        return found.luns

    # ---- login and logout ----

    async def login(self) -> LoginResult:
        """Log in, once. Raises InitiatorError."""
        if self._connection is not None and self.result is not None:
            return self.result
        self._set_state("logging_in")
        self.attempt += 1
        try:
            logged_in = await log_in(
                self.settings,
                isid=self.isid,
                on_redirect=self._redirected,
                tracer=self._trace_pdu,
            )
        except InitiatorError as error:
            self.last_error = error
            self._set_state("failed")
            self.emit("login_failed", "error", error.cause, error, attempt=self.attempt)
            raise
        except asyncio.CancelledError:
            self._set_state("logged_out")
            raise
        return self._adopt(logged_in)

    def _trace_pdu(self, direction: Direction, bhs: Bytes, data: Bytes) -> None:
        self.trace.add(time.time(), direction, bhs, data)

    def _redirected(self, source: str, destination: str, permanent: bool) -> None:
        how = "for good" if permanent else "for now"
        self.emit(
            "redirected",
            "warning",
            f"{source} sends us on to {destination} {how}",
            source=source,
            destination=destination,
            permanent=permanent,
        )

    def _adopt(self, logged_in: LoggedIn) -> LoginResult:
        settings, result = self.settings, logged_in.result
        session = InitiatorSession(
            logged_in.framer,
            result.params,
            cmd_sn=result.cmd_sn,
            exp_stat_sn=result.exp_stat_sn,
            exp_cmd_sn=result.cmd_sn,
            max_cmd_sn=result.max_cmd_sn,
            fast_abort=result.params.task_reporting == "FastAbort",
            tracer=self._trace_pdu if self.traces_commands else None,
        )
        self.result = result
        self.portal = logged_in.portal
        self._connection = Connection(
            logged_in.sock,
            logged_in.framer,
            session,
            counters=self.counters,
            on_closed=self._connection_closed,
            on_protocol_event=self._protocol_events.handle,
            nop_interval_s=settings.nop_interval_s,
            nop_timeout_s=settings.nop_timeout_s,
            command_timeout_s=settings.command_timeout_s,
        )
        recovered = self._been_up
        if recovered:
            self.counters.reconnects += 1
        kind, text = ("recovered", "logged in again") if recovered else ("login", "logged in")
        attempts, self.attempt = self.attempt, 0
        self._been_up = True
        self.logged_in_at = time.time()
        self.last_error = None
        self._set_state("logged_in")
        self.emit(
            kind,
            "info",
            f"{text} at {self.portal}",
            portal=str(self.portal),
            attempts=attempts,
            tsih=result.tsih,
        )
        return result

    async def logout(self) -> None:
        """Stop keeping the session up and log out; the connection is closed even when nobody answers."""
        await self._stop_keeper()
        connection = self._connection
        if connection is not None:
            self._set_state("logging_out")
            answer = await connection.logout(LOGOUT_TIMEOUT_S)
            self._connection = None
            if answer is None or answer.outcome != COMPLETED:
                self.emit(
                    "logout", "warning", "the target did not answer the logout; the connection is closed"
                )
            elif answer.response != opcodes.LOGOUT_DONE:
                meaning = opcodes.LOGOUT_RESPONSE_NAMES.get(answer.response, f"response {answer.response}")
                self.emit("logout", "warning", f"the target answered the logout: {meaning}")
            else:
                self.emit("logout", "info", "logged out")
        self._been_up = False
        self._set_state("logged_out")

    async def drop(self) -> None:
        """Close the connection at once, without a logout, and stop keeping the session up."""
        await self._stop_keeper()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._set_state("logged_out")

    async def _drained_logout(self, within_s: float) -> None:
        """The target asked for a logout (RFC 7143 §11.9.1): let commands end, log out, come back."""
        connection = self._connection
        if connection is None:
            return
        loop = asyncio.get_running_loop()
        await connection.drained(loop.time() + within_s / 2)
        if connection.closed:
            return
        await connection.logout(max(within_s / 2, 1.0))
        if self._connection is connection:
            self._connection_closed(None, "logged out as the target asked for it")

    # ---- staying up ----

    def start(self) -> None:
        """Keep the session up in the background until `logout`, `drop` or `stop_retrying`."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        """What `start` runs: log in, wait for the loss, try again by the retry policy."""
        self._keeper = self._keeper or asyncio.current_task()
        policy = self.settings.retry
        while True:
            outcome = "up" if self._connection is not None else await self._try_login()
            if outcome == "final":
                self.stop_retrying()
                return
            if outcome == "retry":
                if policy.attempts is not None and self.attempt >= policy.attempts:
                    self.stop_retrying()
                    return
                await self._wait_for_retry(policy.delay_s(self.attempt))
                continue
            self._changed.clear()
            if self._connection is not None:
                await self._changed.wait()
            if self._connection is None:
                # RFC 7143 §7.5: not before Time2Wait has passed.
                await self._wait_for_retry(max(policy.first_s, self._retry_after_s))

    async def _try_login(self) -> str:
        """ "up", "retry", or "final" when another try makes no sense."""
        try:
            await self.login()
        except LoginRefused as error:
            # What cannot succeed unchanged is not repeated (§11.13.5); but a target that just restarts may
            # not know its names yet, so a session that was up before goes on trying, unless secrets differ.
            if error.direction is not None or not (error.may_retry or self._been_up):
                return "final"
            return "retry"
        except InitiatorError:
            return "retry"
        return "up"

    async def _wait_for_retry(self, delay_s: float) -> None:
        self._wake.clear()
        self.next_retry_at = time.time() + delay_s
        self._set_state("retrying")
        text = f"the next try is in {delay_s:.0f} s" if delay_s >= 1 else "trying again"
        self.emit("retry_scheduled", "info", text, delay_s=delay_s, attempt=self.attempt + 1)
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return  # the ordinary end of the wait
        finally:
            self.next_retry_at = None

    def retry_now(self) -> None:
        """Do not wait for the next try."""
        self._wake.set()

    def stop_retrying(self) -> None:
        """Give up: the session is "failed", and commands that wait for it fail."""
        if self._keeper is not None and self._keeper is not asyncio.current_task():
            self._keeper.cancel()
        self._keeper = None
        if self._connection is None:
            self._set_state("failed")
            self.emit("stopped", "warning", "no further try is made", self.last_error)

    async def _stop_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()
            await asyncio.wait([keeper])

    def _hold_retry(self, seconds: float) -> None:
        self._retry_after_s = seconds

    def _connection_closed(self, error: BaseException | None, reason: str | None = None) -> None:
        result = self.result
        self._retry_after_s = max(self._retry_after_s, result.params.default_time2wait_s if result else 0)
        connection, self._connection = self._connection, None
        cause = reason or tcp.describe_loss(error)
        self.last_error = SessionLost(f"the session was lost: {cause}", "target", _LOST_CHECK)
        if connection is not None and connection.session.digest_errors:
            self.counters.digest_errors += connection.session.digest_errors
            self.emit("digest_error", "error", cause, count=connection.session.digest_errors)
        if isinstance(error, NopTimeout):
            self.emit("nop_timeout", "error", cause)
        self.emit("connection_lost", "error", cause, self.last_error)
        self._set_state("retrying" if self._keeper is not None else "failed")

    def _set_state(self, state: str) -> None:
        self.state = state
        self._changed.set()
        if state == "logged_in":
            self._retry_after_s = 0.0

    # ---- commands ----

    @property
    def connection(self) -> Connection | None:
        """The connection in full feature phase, for callers that submit by callback."""
        return self._connection

    async def run_task(self, make: Callable[[], ScsiTask], *, repeatable: bool) -> ScsiTask:
        """Send the command that `make` builds and wait until the target gave a SCSI status.

        A `repeatable` command is sent again after a recovery of the session, within the recovery time-out: it
        gives the same outcome however often it is executed, and by reusing the ISID the target has ended the
        first one before it accepts the second (RFC 7143 §6.3.5), so a late first one cannot undo anything.
        Raises SessionLost, CommandTimedOut, CommandRefused.
        """
        deadline = 0.0
        while True:
            connection = self._connection
            if connection is None:
                connection = await self._wait_until_up(deadline)
            try:
                task = await connection.run(make())
            except LocalProtocolError:
                # The connection is being logged out or lost between two turns.
                if self._keeper is None:
                    raise self._lost() from None
                await self._wait_for_change(connection)
                continue
            if task.outcome == COMPLETED:
                return task
            if task.outcome == ABORTED:
                raise CommandTimedOut(
                    f"the target did not answer a command within {self.settings.command_timeout_s:g} s; "
                    "it was aborted",
                    "target",
                    "Look at the target's load and its storage; raise the command time-out where it is slow.",
                )
            waits_for_logout = (
                task.outcome == REJECTED and task.reject_reason == opcodes.REJECT_WAITING_FOR_LOGOUT
            )
            if task.outcome == LOST or waits_for_logout:
                if not repeatable or self._keeper is None:
                    raise self._lost()
                deadline = deadline or asyncio.get_running_loop().time() + self.settings.recovery_timeout_s
                self.counters.reissued += 1
                if waits_for_logout:
                    await self._wait_for_change(connection)
                continue
            raise _refusal(task)

    def _lost(self) -> InitiatorError:
        error = self.last_error
        if isinstance(error, SessionLost):
            return SessionLost(error.cause, error.side, error.check)
        if error is not None:
            return SessionLost(f"there is no session: {error.cause}", error.side, error.check)
        return SessionLost("there is no session: it is not logged in", "initiator", "Log in first.")

    async def _wait_for_change(self, connection: Connection) -> None:
        while self._connection is connection and not connection.closed:
            self._changed.clear()
            await self._changed.wait()

    async def _wait_until_up(self, deadline: float) -> Connection:
        loop = asyncio.get_running_loop()
        deadline = deadline or loop.time() + self.settings.recovery_timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                while self._connection is None:
                    if self._keeper is None or self._keeper.done():
                        raise self._lost()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise self._lost() from None
        return self._connection

    async def __aenter__(self) -> Session:
        await self.login()
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.logout()


def _refusal(task: ScsiTask) -> CommandRefused:
    if task.outcome == REJECTED:
        reason = opcodes.REJECT_REASON_NAMES.get(task.reject_reason, f"reason 0x{task.reject_reason:02x}")
        cause = f"the target rejected a command: {reason}"
    else:
        cause = f"the target failed to carry out a command (service response 0x{task.response:02x})"
    return CommandRefused(cause, "target", "Look at the target's log.")
