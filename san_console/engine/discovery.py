"""Where targets are looked for: SendTargets portals and iSNS servers, asked when the user says so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Source
from san_console.api.methods import AddSource, ChapSecrets
from san_console.api.problems import ApiProblem, Problem
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.jobs import JobControl
from san_console.engine.probing import probe_portals
from san_console.engine.problems import problem_of
from san_console.engine.target_merge import FoundTarget
from san_console.engine.targets import MANUAL_SOURCE, TargetStore
from san_console.initiator.discovery import send_targets
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import ISCSI_PORT, ISNS_PORT, Portal
from san_console.nameserver.client import IsnsClient

DISCOVERY_TIMEOUT_S: Final = 15.0
"""Of one source, as of a login."""

CONCURRENT_SOURCES: Final = 4
MAX_SOURCES: Final = 1000

_DEFAULT_PORTS: Final = {"sendtargets": ISCSI_PORT, "isns": ISNS_PORT}


class Discovery:
    """Owner of the collection `sources`."""

    def __init__(self, context: EngineContext, store: TargetStore, identities: Identities) -> None:
        self._context = context
        self._store = store
        self._identities = identities
        for source in context.state.load("source", Source):
            if source.state == "running":
                source.state = "idle"
            context.registry.put("sources", source)
        if context.registry.get("sources", Source, MANUAL_SOURCE) is None:
            context.registry.put("sources", Source(id=MANUAL_SOURCE, kind="manual", address=""))
        self.count_targets()

    async def add(self, params: AddSource) -> Source:
        """Add a source, or change how one is asked that is there already; asks it when `run` says so.

        Raises ApiProblem `bad-request`, `too-large`, and those of the identities.
        """
        try:
            address = str(Portal.parse(params.address, _DEFAULT_PORTS[params.kind]))
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None
        for identity_id in (params.identity_id, params.mutual_identity_id):
            if identity_id:
                self._identities.find(identity_id)
        if params.chap is not None:
            # Refused here, with the reason, rather than in a job that starts later.
            await self._identities.pair("", "", params.chap)
        registry = self._context.registry
        source_id = f"{params.kind}:{address}"
        source = registry.get("sources", Source, source_id)
        if source is None:
            if registry.count("sources") >= MAX_SOURCES:
                raise ApiProblem("too-large", f"There are {MAX_SOURCES} sources already.", side="engine")
            source = Source(id=source_id, kind=params.kind, address=address)
        source.identity_id = params.identity_id
        source.mutual_identity_id = params.mutual_identity_id
        source.source_address = params.source_address
        self._put(source)
        self._identities.refresh_usage()
        if params.run:
            self.run(source_id, params.chap)
        return source

    def run(self, source_id: str, chap: ChapSecrets | None = None) -> Job:
        """Ask one source, or all; the portals that were found are tried as well.

        A source that is being asked already is not asked twice: its job is returned. Raises ApiProblem
        `unknown-object`.
        """
        running = self._context.jobs.running("discovery", source_id)
        if running is not None:
            return running
        if source_id:
            sources = [self.find(source_id)]
            title = f"Discovery at {sources[0].address}" if sources[0].address else "Manual targets"
        else:
            sources = list(self._context.registry.values("sources", Source))
            title = "Discovery at all sources"

        async def work(control: JobControl) -> dict[str, str]:
            return await self._run(sources, chap, control)

        return self._context.jobs.start("discovery", title, work, object_id=source_id, unit="sources")

    def remove(self, source_id: str) -> None:
        """Raises ApiProblem `unknown-object`, `bad-request` for the manual source."""
        source = self.find(source_id)
        if source.kind == "manual":
            raise ApiProblem("bad-request", "The source of targets typed in by hand stays.", side="engine")
        self._context.jobs.cancel_for(source_id)
        self._context.registry.remove("sources", source_id)
        self._context.state.delete("source", source_id)
        self._store.forget_source(source_id)
        self._identities.refresh_usage()

    def has(self, source_id: str) -> bool:
        return self._context.registry.get("sources", Source, source_id) is not None

    def find(self, source_id: str) -> Source:
        source = self._context.registry.get("sources", Source, source_id)
        if source is None:
            raise ApiProblem("unknown-object", f"There is no source {visible(source_id)}.", side="engine")
        return source

    def count_targets(self) -> None:
        """Bring the counts of all sources up to date."""
        counts: dict[str, int] = {}
        for target in self._store.all():
            for source_id in target.found_by:
                counts[source_id] = counts.get(source_id, 0) + 1
        for source in self._context.registry.values("sources", Source):
            if source.target_count != counts.get(source.id, 0):
                source.target_count = counts.get(source.id, 0)
                self._context.registry.put("sources", source)

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        for source in self._context.registry.values("sources", Source):
            if source.identity_id:
                yield source.identity_id, f"discovers at {source.address}"
            if source.mutual_identity_id:
                yield source.mutual_identity_id, f"proves {source.address}"

    async def _run(
        self, sources: list[Source], chap: ChapSecrets | None, control: JobControl
    ) -> dict[str, str]:
        control.progress(0, len(sources), "asking")
        places = asyncio.Semaphore(CONCURRENT_SOURCES)
        problems: list[Problem] = []
        done = 0

        async def one(source: Source) -> None:
            nonlocal done
            async with places:
                problem = await self._ask(source, chap)
                if problem is not None:
                    problems.append(problem)
            done += 1
            control.progress(done)

        async with asyncio.TaskGroup() as group:
            for source in sources:
                if source.kind != "manual":
                    group.create_task(one(source))
        self.count_targets()
        asked = {source.id for source in sources}
        targets = [target for target in self._store.all() if asked & set(target.found_by)]
        # The job is about the sources; a portal that does not answer is shown at its target.
        result = await probe_portals(self._store, targets, control)
        result["targets"] = str(len(targets))
        if problems and len(problems) == sum(source.kind != "manual" for source in sources):
            raise ApiProblem.from_problem(problems[0])
        return result

    async def _ask(self, source: Source, chap: ChapSecrets | None) -> Problem | None:
        context = self._context
        source.state = "running"
        source.problem = None
        context.registry.put("sources", source)
        began = asyncio.get_running_loop().time()
        try:
            found, skipped, truncated = await (
                self._ask_isns(source) if source.kind == "isns" else self._ask_portal(source, chap)
            )
        except asyncio.CancelledError:
            source.state = "idle"
            context.registry.put("sources", source)
            raise
        except Exception as error:
            # Whatever went wrong belongs to this source; the others are asked all the same.
            source.problem = problem_of(error)
            source.state = "failed"
            source.took_s = asyncio.get_running_loop().time() - began
            source.last_run_at = context.clock()
            self._put(source)
            context.events.add_problem(
                "discovery_failed", source.problem, object_kind="source", object_id=source.id
            )
            return source.problem
        if context.registry.get("sources", Source, source.id) is not source:
            return None
        new, left_out = self._store.merge(source.id, found, complete=not truncated)
        source.state = "ok"
        source.took_s = asyncio.get_running_loop().time() - began
        source.last_run_at = context.clock()
        source.skipped = skipped + left_out
        source.truncated = truncated or left_out > 0
        source.target_count = len(found)
        self._put(source)
        more = f", {new} of them new" if new else ""
        cut = "; the list was cut short" if source.truncated else ""
        context.events.add(
            "discovered",
            f"{source.address} named {len(found)} targets{more}{cut}.",
            severity="warning" if cut or source.skipped else "info",
            object_kind="source",
            object_id=source.id,
            cause=f"{source.skipped} records were no valid targets." if source.skipped else "",
        )
        return None

    async def _ask_portal(
        self, source: Source, chap: ChapSecrets | None
    ) -> tuple[list[FoundTarget], int, bool]:
        ours, theirs = await self._identities.pair(source.identity_id, source.mutual_identity_id, chap)
        result = await send_targets(
            Portal.parse(source.address),
            initiator_name=self._context.info.initiator_name,
            chap=ours,
            mutual_chap=theirs,
            timeout_s=DISCOVERY_TIMEOUT_S,
            source_address=source.source_address or None,
        )
        found = [
            # A target without an address is where it was named (RFC 7143 Appendix C).
            FoundTarget(record.name, "", _addresses(record.addresses) or [(source.address, None)])
            for record in result.targets
        ]
        return found, result.skipped, result.truncated

    async def _ask_isns(self, source: Source) -> tuple[list[FoundTarget], int, bool]:
        name = self._context.info.initiator_name
        async with IsnsClient(
            Portal.parse(source.address, ISNS_PORT), source_name=name, timeout_s=DISCOVERY_TIMEOUT_S
        ) as client:
            answer = await client.query_targets(name)
        found: list[FoundTarget] = []
        bad = 0
        for target in answer:
            try:
                normal = normalise(target.name)
            except NamesError:
                bad += 1
                continue
            found.append(FoundTarget(normal, target.alias, _addresses(target.portals)))
        return found, answer.skipped + bad, answer.truncated

    def _put(self, source: Source) -> None:
        self._context.registry.put("sources", source)
        self._context.state.put("source", source.id, source)


def _addresses(portals: Iterable[tuple[Portal, int | None]]) -> list[tuple[str, int | None]]:
    return [(str(portal), tag) for portal, tag in portals]
