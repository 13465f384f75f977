"""The simulated host behind the interface that the window uses for every host."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from san_console.api import methods as api
from san_console.api.engine_objects import Sample
from san_console.api.messages import Statistics
from san_console.api.methods import METHODS
from san_console.api.problems import ApiProblem, Problem
from san_console.console.backend import (
    Backend,
    BackendState,
    Canceller,
    Done,
    Failed,
    ObjectDelta,
    ObjectSnapshot,
)
from san_console.console.simulated import discovery_methods as discovery
from san_console.console.simulated import document_methods as documents
from san_console.console.simulated import engine_methods as engine
from san_console.console.simulated import lun_methods as luns
from san_console.console.simulated import serving_methods as serving
from san_console.console.simulated import serving_states as states
from san_console.console.simulated import session_methods as sessions
from san_console.console.simulated.demo_initiator import LOADS, LOSS_S
from san_console.console.simulated.demo_serving import TARGET_LOADS
from san_console.console.simulated.figures import HISTORY_S, IDLE, LIGHT, Load, engine_sample, sample
from san_console.console.simulated.scenarios import SCENARIOS
from san_console.console.simulated.session_methods import Later
from san_console.console.simulated.world import World

SCHEME: Final = "test://"
DEFAULT_NOW: Final = 1_795_240_800.0
"""Where time starts unless it is given: a Saturday in November 2026, 06:00 UTC."""

MAX_STATISTICS_STEPS: Final = 120
"""After a long pause (a suspended laptop) the figures of the last two minutes are enough."""

_HANDLERS: Final[dict[str, Callable[[World, Any], Any]]] = {
    "engine.info": engine.engine_info,
    "engine.set_initiator_name": engine.set_initiator_name,
    "events.query": engine.events_query,
    "jobs.cancel": engine.cancel_job,
    "jobs.dismiss": engine.dismiss_job,
    "keyring.check": engine.keyring_check,
    "keyring.use_memory": engine.keyring_use_memory,
    "identities.save": engine.save_identity,
    "identities.remove": engine.remove_identity,
    "identities.test": sessions.test_identity,
    "sources.add": discovery.add_source,
    "sources.run": discovery.run_source,
    "sources.remove": discovery.remove_source,
    "targets.add": discovery.add_target,
    "targets.remove": discovery.remove_target,
    "targets.probe": discovery.probe_targets,
    "targets.acknowledge": discovery.acknowledge,
    "targets.set_login": discovery.set_login,
    "sessions.login": sessions.login,
    "sessions.test": sessions.test_login,
    "sessions.logout": sessions.logout,
    "sessions.retry_now": sessions.retry_now,
    "sessions.stop_retrying": sessions.stop_retrying,
    "sessions.set_favourite": sessions.set_favourite,
    "sessions.rescan": sessions.rescan,
    "luns.read": luns.read,
    "luns.vpd": luns.vpd,
    "luns.to_file": luns.to_file,
    "luns.from_file": luns.from_file,
    "luns.bench": luns.bench,
    "serving.plan": serving.plan,
    "serving.create": serving.create,
    "serving.change": serving.change,
    "serving.set_enabled": serving.set_enabled,
    "serving.remove": serving.remove,
    "serving.disconnect": states.disconnect,
    "serving.access": states.access,
    "serving.set_access_state": states.set_access_state,
    "serving.lun_online": states.lun_online,
    "serving.retry_lun": states.retry_lun,
    "serving.grow_lun": states.grow_lun,
    "serving.clear_reservation": states.clear_reservation,
    "serving.set_discovery_chap": states.set_discovery_chap,
    "serving.export_targets": documents.export_targets,
    "serving.plan_targets": documents.plan_targets,
    "serving.apply_targets": documents.apply_targets,
    "serving.undo_steps": documents.undo_steps,
    "serving.plan_undo": documents.plan_undo,
    "serving.undo_targets": documents.undo_targets,
    "isns.start": serving.isns_start,
    "isns.stop": serving.isns_stop,
    "isns.add": serving.isns_add,
    "isns.remove": serving.isns_remove,
    "isns.objects": serving.isns_objects,
    "lab.start": serving.lab_start,
    "lab.stop": serving.lab_stop,
}
"""All methods but those that are about the backend itself: subscribing, figures and stopping."""


class SimulatedBackend(Backend):
    """A made-up host. The owner calls `tick(now)` as often as it likes; nothing else lets time pass.

    Answers to calls are delivered by the next `tick` or `deliver`. `on_pending` is called when there is one,
    so that an event loop can call `deliver` soon.
    """

    def __init__(
        self,
        scenario: str = "demo",
        *,
        targets: int | None = None,
        now: float = DEFAULT_NOW,
        seed: int = 1,
    ) -> None:
        """`scenario` is one of `SCENARIOS`, also as `test://demo`. `targets`: how many a large host has.

        Raises ValueError for a scenario that does not exist.
        """
        name = scenario.removeprefix(SCHEME).rstrip("/")
        if name not in SCENARIOS:
            raise ValueError(f"there is no scenario {name!r}; there are {', '.join(SCENARIOS)}")
        super().__init__(f"{SCHEME}{name}")
        self.scenario = name
        self.world = World(now, seed)
        self.revision = 0
        self.on_pending: Callable[[], None] = _nothing_to_do
        self._pending: deque[Callable[[], None]] = deque()
        self._running = False
        self._began = self._second = int(now)
        SCENARIOS[name](self.world, targets)
        self.world.take_changes()

    def start(self) -> None:
        self._running = True
        self._say("connecting", "")
        self._say("connected", "Simulated host")
        self._send_snapshot()

    def close(self) -> None:
        self._running = False
        self._pending.clear()

    def lose(self, state: BackendState = "lost", text: str = "The engine ended.") -> None:
        """Pretend that the connection ended, for tests and pictures; `start` brings it back."""
        self.close()
        self._say(state, text)

    def call(
        self, method: str, params: msgspec.Struct, done: Done | None = None, failed: Failed | None = None
    ) -> Canceller:
        wanted = METHODS[method].params
        if type(params) is not wanted:
            raise TypeError(f"{method} takes {wanted.__name__}, not {type(params).__name__}")
        answered = False

        def answer(work: Callable[[], Any]) -> None:
            nonlocal answered
            if answered:
                return
            try:
                result = work()
            except ApiProblem as error:
                answered = True
                self._flush()
                if failed is not None:
                    failed(error.problem)
                return
            if isinstance(result, Later):
                later = result
                self.world.after(later.delay_s, lambda: answer(later.finish))
                self._flush()
                return
            answered = True
            self._flush()
            if done is not None:
                done(result)

        def cancel() -> None:
            nonlocal answered
            if answered:
                return
            answered = True
            problem = Problem(code="cancelled", message="The call was given up.", side="you, in the console")
            if failed is not None:
                self._soon(lambda: failed(problem))

        if self._running:
            self._soon(lambda: answer(lambda: self._answer(method, params)))
        elif failed is not None:
            lost = Problem(
                code="disconnected", message="There is no connection to the engine.", side="engine"
            )
            self._soon(lambda: failed(lost))
        return cancel

    def deliver(self) -> None:
        """Deliver what has been answered, without letting time pass."""
        for _ in range(len(self._pending)):
            if self._pending:
                self._pending.popleft()()
        self._flush()

    def tick(self, now: float) -> None:
        """Let time pass up to `now` (seconds since the epoch): answers, changes and figures come out."""
        self.deliver()
        if not self._running:
            return
        self.world.advance(now)
        self._flush()
        first = max(self._second + 1, int(now) - MAX_STATISTICS_STEPS)
        for second in range(first, int(now) + 1):
            self.on_message(Statistics(samples=self._samples(second)))
        self._second = max(self._second, int(now))

    def _soon(self, work: Callable[[], None]) -> None:
        self._pending.append(work)
        self.on_pending()

    def _say(self, state: BackendState, text: str) -> None:
        self.state = state
        self.on_state(state, text)

    def _send_snapshot(self) -> None:
        self._flush()
        self.revision += 1
        objects = {name: list(items.values()) for name, items in self.world.collections.items()}
        self.on_message(ObjectSnapshot(self.revision, objects))

    def _flush(self) -> None:
        changes = self.world.take_changes()
        if changes and self._running:
            self.revision += 1
            self.on_message(ObjectDelta(self.revision, changes))

    def _answer(self, method: str, params: Any) -> Any:
        if method in ("subscribe", "resync"):
            self._pending.append(self._send_snapshot)
            return api.Subscribed(revision=self.revision)
        if method == "statistics.history":
            return self._history(params)
        if method == "engine.stop":
            return self._stop(params)
        return _HANDLERS[method](self.world, params)

    def _stop(self, params: api.StopEngine) -> None:
        others = [session for session in self.world.values("target_sessions") if not session.own]
        if others and not params.force:
            raise ApiProblem(
                "in-use",
                f"{len(others)} initiators of others are logged in to targets of this computer.",
                side="engine",
                check="let them log out first, or stop it with force",
                details={"initiators": "\n".join(session.initiator for session in others)},
            )
        self._pending.append(lambda: self.lose("lost", "The engine was stopped."))

    def _history(self, params: api.StatisticsOf) -> list[Sample]:
        seconds = max(0, min(params.seconds, HISTORY_S))
        wanted = set(params.ids)
        return [
            one
            for second in range(self._second - seconds + 1, self._second + 1)
            for one in self._samples(second)
            if one.id in wanted
        ]

    def _samples(self, second: int) -> list[Sample]:
        # The loss that the demo's events tell of, seen from where time started.
        ago = self._began - second
        ours = []
        for session in self.world.values("sessions"):
            load = LOADS.get(session.id, LIGHT) if self.scenario == "demo" else LIGHT
            lost = session.state != "logged_in" or (session.id == "s3" and LOSS_S[1] <= ago < LOSS_S[0])
            ours.append(sample(session.id, load, second, lost=lost, errors=session.command_errors))
        samples = [engine_sample(ours, second), *ours]
        for served in self.world.values("target_sessions"):
            samples.append(sample(served.id, self._target_load(served.id), second))
        return samples

    def _target_load(self, session_id: str) -> Load:
        return TARGET_LOADS.get(session_id, IDLE if self.scenario == "hostile" else LIGHT)


def _nothing_to_do() -> None:
    """Nobody waits for answers before the next tick."""
