"""The engine: its parts put together, its clients, its begin and its end."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import san_console
from san_console.api.engine_objects import EngineInfo, Event, Interface, Job, Keyring, Sample
from san_console.api.initiator_objects import Target
from san_console.api.messages import API_VERSION
from san_console.api.methods import AddTarget, QueryEvents, Subscribed, TrialResult, TryIdentity
from san_console.api.problems import ApiProblem
from san_console.engine.context import EngineContext
from san_console.engine.discovery import Discovery
from san_console.engine.discovery_access import DiscoveryAccess
from san_console.engine.events import EventLog
from san_console.engine.handlers import answer
from san_console.engine.identities import Identities
from san_console.engine.jobs import JobControl, JobRunner
from san_console.engine.lab import Lab
from san_console.engine.lun_jobs import LunJobs
from san_console.engine.luns import LunStore
from san_console.engine.nameservers import NameServers
from san_console.engine.objects import ObjectRegistry
from san_console.engine.probing import probe_portals
from san_console.engine.registrations import Registrations
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.serving import Serving
from san_console.engine.serving_actions import ServingActions
from san_console.engine.sessions import Sessions, login_with
from san_console.engine.state import StateStore
from san_console.engine.statistics import Sampler
from san_console.engine.subscribers import Subscriber
from san_console.engine.target_documents import TargetDocuments
from san_console.engine.targets import TargetStore
from san_console.host import network
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import generate_initiator_name, normalise
from san_console.rpc.dispatch import Handler, Then
from san_console.rpc.server import ClientConnection, RpcServer
from san_console.wire import crc32c

log = logging.getLogger(__name__)

MAX_QUERIED_EVENTS: Final = 1000
INITIATOR_NAME: Final = "initiator_name"


class Engine:
    """Made around an open state; `start`, then `wait_for_stop`, then `close`."""

    context: EngineContext
    sampler: Sampler
    identities: Identities
    targets: TargetStore
    discovery: Discovery
    luns: LunStore
    lun_jobs: LunJobs
    sessions: Sessions
    serving: Serving
    actions: ServingActions
    discovery_access: DiscoveryAccess
    documents: TargetDocuments
    nameservers: NameServers
    lab: Lab

    def __init__(
        self,
        state: StateStore,
        data_dir: Path,
        socket_path: Path,
        *,
        secrets: EngineSecrets | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        registry = ObjectRegistry()
        events = EventLog(registry, state, clock)
        info = EngineInfo(
            version=san_console.__version__,
            api_version=API_VERSION,
            pid=os.getpid(),
            host_name=socket.gethostname(),
            started_at=clock(),
            data_dir=str(data_dir),
            initiator_name=_initiator_name(state),
            keyring=Keyring(),
            digests_accelerated=crc32c.ACCELERATED,
        )
        jobs = JobRunner(registry, clock)
        self.context = EngineContext(
            info, registry, state, events, jobs, secrets if secrets is not None else EngineSecrets(), clock
        )
        self.sampler = Sampler(clock)
        self.identities = Identities(self.context)
        self.targets = TargetStore(self.context)
        self.discovery = Discovery(self.context, self.targets, self.identities)
        self.luns = LunStore(self.context)
        self.lun_jobs = LunJobs(self.context, self.luns)
        self.sessions = Sessions(self.context, self.targets, self.identities, self.luns)
        self.serving = Serving(self.context, self.identities, self.sessions.own_isids)
        self.actions = ServingActions(self.context, self.identities, self.serving)
        self.discovery_access = DiscoveryAccess(self.context, self.identities, self.serving)
        self.documents = TargetDocuments(self.context, self.serving, self.discovery_access)
        self.nameservers = NameServers(self.context)
        self.registrations = Registrations(self.context, self.serving.show)
        self.lab = Lab(
            self.context,
            self.identities,
            self.targets,
            self.discovery,
            self.sessions,
            self.serving,
            self.nameservers,
        )
        self._server = RpcServer(socket_path, self._open_client)
        self._subscribers: dict[ClientConnection, Subscriber] = {}
        self._stop = asyncio.Event()
        self._brought_up = False
        self._background: set[asyncio.Task[Any]] = set()
        self._join_parts()

    def _join_parts(self) -> None:
        for usage in (
            self.targets.identity_usage,
            self.discovery.identity_usage,
            self.sessions.identity_usage,
            self.serving.identity_usage,
            self.discovery_access.identity_usage,
        ):
            self.identities.add_usage(usage)
        self.sampler.add_probe(self.sessions.samples)
        self.sampler.add_probe(self.serving.sessions.samples)
        self.sampler.add_probe(self.serving.view.probe)
        self.sampler.is_counted_elsewhere = self.serving.sessions.is_own
        self.sampler.on_samples = self._send_samples
        self.serving.on_served = lambda target: self._spawn(self.registrations.follow(target))
        self.serving.on_stopped = lambda name: self._spawn(self.registrations.drop(name))
        self.identities.on_changed = self._identity_changed
        self.identities.on_readable = self._secrets_readable
        self.context.jobs.on_failed = self._job_failed
        self.context.state.on_failed = self._state_failed

    async def start(self) -> None:
        """Answer clients, then bring up what is kept. Raises ApiProblem when the socket cannot be made."""
        context = self.context
        if context.state.note:
            context.info.state_note = context.state.note
            context.events.add(
                "state_damaged",
                context.state.note,
                severity="error",
                check="the file that was kept aside; what had been set has to be set again",
            )
        context.put_info()
        self.lab.clean_up()
        self.identities.refresh_usage()
        await self._server.start()
        self.sampler.start()
        context.events.add("engine_started", f"The engine {context.info.version} runs.")
        await self.discovery_access.close_until_known()
        self._spawn(self._watch_network())
        self._spawn(self.serving.view.keep_measuring())
        self._spawn(self._bring_up())

    async def listen_again(self) -> None:
        """The socket has vanished: make it anew. Raises ApiProblem."""
        await self._server.listen_again()

    async def wait_for_stop(self) -> None:
        await self._stop.wait()

    def stop(self) -> None:
        """End the engine, whoever uses it."""
        self._stop.set()

    async def close(self) -> None:
        """Take everything down in order: clients last, so that they see it."""
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.context.jobs.close()
        await self.sampler.close()
        await self.sessions.close()
        await self.registrations.close()
        await self.nameservers.close()
        await self.serving.close()
        self.context.events.add("engine_stopped", "The engine was stopped.")
        self.context.registry.flush()
        await self._server.close()
        await self.context.state.close()

    # ---- what handlers need beyond one part ----

    async def set_initiator_name(self, name: str) -> EngineInfo:
        """Used by logins from now on. Raises ApiProblem `bad-request`."""
        context = self.context
        try:
            context.info.initiator_name = normalise(name)
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None
        context.state.put_text(INITIATOR_NAME, context.info.initiator_name)
        await context.state.settled()
        context.put_info()
        context.events.add("initiator_name_set", f"The initiator is called {context.info.initiator_name}.")
        return context.info

    def request_stop(self, *, force: bool) -> Then:
        """Raises ApiProblem `in-use` while initiators of others use our targets and `force` is not set."""
        foreign = self.serving.sessions.foreign()
        if foreign and not force:
            raise ApiProblem(
                "in-use",
                f"{len(foreign)} initiators of others are logged in to targets here.",
                side="engine",
                check="disconnect them first, or stop the engine all the same",
                details={"initiators": "\n".join(session.initiator for session in foreign)},
            )
        return Then(None, self.stop)

    async def query_events(self, params: QueryEvents) -> list[Event]:
        before = int(params.before_id) if params.before_id.isascii() and params.before_id.isdigit() else 2**62
        limit = max(0, min(params.limit, MAX_QUERIED_EVENTS))
        return await self.context.state.query_events(
            object_id=params.object_id, before_id=min(before, 2**62), limit=limit
        )

    async def test_identity(self, params: TryIdentity) -> TrialResult:
        return await self.sessions.test(login_with(params.target, params.portal, params.id, params.mutual_id))

    def add_target(self, params: AddTarget) -> Target:
        target = self.targets.add(params)
        self.discovery.count_targets()
        return target

    def remove_target(self, name: str) -> None:
        self.targets.remove(name)
        self.discovery.count_targets()
        self.identities.refresh_usage()

    def probe_targets(self, name: str) -> Job:
        targets = [self.targets.find(name)] if name else list(self.targets.all())

        async def work(control: JobControl) -> dict[str, str]:
            return await probe_portals(self.targets, targets, control)

        title = f"Trying the portals of {name}" if name else "Trying all portals"
        return self.context.jobs.start("probe", title, work, object_id=name, unit="portals")

    # ---- clients ----

    def _open_client(self, connection: ClientConnection) -> Handler:
        connection.on_closed = lambda: self._client_gone(connection)
        return functools.partial(self._answer, connection)

    async def _answer(self, connection: ClientConnection, method: str, params: Any) -> Any:
        if method in ("subscribe", "resync"):
            return self._subscribe(connection)
        return await answer(self, method, params)

    def _subscribe(self, connection: ClientConnection) -> Then:
        subscriber = self._subscribers.get(connection)
        if subscriber is None:
            subscriber = Subscriber(connection, self.context.registry)
            self._subscribers[connection] = subscriber
            connection.on_writable = subscriber.send_pending
        return Then(Subscribed(revision=subscriber.next_revision), subscriber.send_snapshot)

    def _client_gone(self, connection: ClientConnection) -> None:
        subscriber = self._subscribers.pop(connection, None)
        if subscriber is not None:
            subscriber.close()

    def _send_samples(self, samples: list[Sample]) -> None:
        self.context.events.end_flood()
        for subscriber in self._subscribers.values():
            subscriber.take_statistics(samples)

    # ---- in the background ----

    async def _bring_up(self) -> None:
        """What was served and logged in before, again. None of it may keep the engine from running."""
        await self.nameservers.start_kept()
        await self.serving.start_enabled(chap=False)
        # What needs no secret is up by now; a keyring may take its time.
        await self.identities.check_keyring()
        self._secrets_readable(first=True)

    def _secrets_readable(self, *, first: bool = False) -> None:
        """Bring up what waits for secrets, or tell that there are none."""
        if first or self._brought_up:
            self._brought_up = True
            self._spawn(self.serving.start_enabled(chap=True))
            self._spawn(self.discovery_access.take_secrets())
            self.sessions.log_in_favourites()

    async def _identity_changed(self, identity_id: str) -> None:
        await self.sessions.take_new_secrets(identity_id)
        await self.serving.take_new_secrets(identity_id)
        if identity_id in (
            *self.discovery_access.current.identity_ids,
            self.discovery_access.current.mutual_identity_id,
        ):
            await self.discovery_access.take_secrets()
        # And what could not be brought up for want of this secret.
        self._secrets_readable()

    async def _watch_network(self) -> None:
        await self._show_interfaces()
        async for _ in network.changes():
            await self._show_interfaces()

    async def _show_interfaces(self) -> None:
        registry = self.context.registry
        found = await network.interfaces()
        names = {one.name for one in found}
        for old in registry.values("interfaces", Interface):
            if old.id not in names:
                registry.remove("interfaces", old.id)
        for one in found:
            shown = Interface(id=one.name, addresses=one.addresses, mtu=one.mtu, up=one.up)
            if registry.get("interfaces", Interface, one.name) != shown:
                registry.put("interfaces", shown)

    def _job_failed(self, job: Job) -> None:
        if job.problem is not None and job.kind not in ("discovery", "probe"):
            self.context.events.add(
                "job_failed",
                f"{job.title}: {job.problem.message}",
                severity="error",
                object_kind="job",
                object_id=job.id,
                side=job.problem.side,
                check=job.problem.check,
            )

    def _state_failed(self, failure: str | None) -> None:
        note = f"The state cannot be written: {failure}." if failure else self.context.state.note
        self.context.info.state_note = note
        self.context.put_info()
        if failure:
            self.context.events.add(
                "state_failed", note, severity="error", check="free space and rights of the data folder"
            )
        else:
            self.context.events.add("state_written", "The state can be written again.")

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work in the background failed", exc_info=task.exception())


def _initiator_name(state: StateStore) -> str:
    name = state.get_text(INITIATOR_NAME)
    if not name:
        name = generate_initiator_name(socket.gethostname(), os.urandom)
        state.put_text(INITIATOR_NAME, name)
    return name
