"""The lab: a small SAN on loopback, so that everything can be tried without one.

An iSNS server and two targets with two LUNs in memory each; one asks for CHAP in both directions. Nothing of
it is kept: it ends with the engine, and what an engine that was killed left in the state is taken out.
"""

from __future__ import annotations

import os
import socket
from typing import Final

import msgspec

from san_console.api.engine_objects import Identity, Job
from san_console.api.initiator_objects import LoginSettings
from san_console.api.initiator_objects import Session as SessionObject
from san_console.api.methods import AddSource, Logout, RemoveLocalTarget, SaveIdentity, SaveLocalTarget
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, Mapping, PortalGroup
from san_console.engine.context import EngineContext
from san_console.engine.discovery import Discovery
from san_console.engine.identities import Identities
from san_console.engine.jobs import JobControl
from san_console.engine.nameservers import EMBEDDED, NameServers
from san_console.engine.serving import Serving
from san_console.engine.sessions import Sessions
from san_console.engine.targets import TargetStore
from san_console.names.credentials import generate_secret

HOST: Final = "127.0.0.1"
OPEN_TARGET: Final = "iqn.2026-11.org.san-console:lab-open"
CHAP_TARGET: Final = "iqn.2026-11.org.san-console:lab-chap"
MIB: Final = 1024 * 1024
LUN_SIZES: Final = {OPEN_TARGET: (64 * MIB, 128 * MIB), CHAP_TARGET: (64 * MIB, 256 * MIB)}
STEPS: Final = 5


class LabRecord(msgspec.Struct, kw_only=True):
    """What the lab has put into lists that are kept."""

    sources: list[str] = []
    targets: list[str] = []


class Lab:
    """Builds the lab out of the engine's own parts, and takes it down again."""

    def __init__(
        self,
        context: EngineContext,
        identities: Identities,
        targets: TargetStore,
        discovery: Discovery,
        sessions: Sessions,
        serving: Serving,
        nameservers: NameServers,
    ) -> None:
        self._context = context
        self._identities = identities
        self._targets = targets
        self._discovery = discovery
        self._sessions = sessions
        self._serving = serving
        self._nameservers = nameservers
        self._identity_ids: list[str] = []
        self._own_isns = False
        self._record = LabRecord()

    def clean_up(self) -> None:
        """At the start of the engine: take out what a lab left behind that was never stopped."""
        for record in self._context.state.load("lab", LabRecord):
            self._record = record
            self._forget_found()

    def start(self) -> Job:
        """Build it. Raises ApiProblem `exists`."""
        if self._context.info.lab or self._context.jobs.running("lab") is not None:
            raise ApiProblem("exists", "The lab runs already.", side="engine")
        return self._context.jobs.start("lab", "Building the lab", self._build, total=STEPS, unit="steps")

    async def stop(self) -> None:
        """Take everything down that `start` has made. Raises ApiProblem `unknown-object`."""
        if not self._context.info.lab:
            raise ApiProblem("unknown-object", "The lab does not run.", side="engine")
        await self._tear_down()

    async def _build(self, control: JobControl) -> dict[str, str]:
        self._context.info.lab = True
        self._context.put_info()
        try:
            return await self._build_steps(control)
        except BaseException:
            await self._tear_down()
            raise

    async def _build_steps(self, control: JobControl) -> dict[str, str]:
        initiator, target = await self._make_identities()
        control.progress(1, message="starting the iSNS server")
        isns = await self._start_isns()
        control.progress(2, message="serving two targets")
        ports = _free_ports(2)
        await self._serve(OPEN_TARGET, "Lab disks", [ports[0]], isns, [], "")
        await self._serve(CHAP_TARGET, "Lab vault", ports, isns, [initiator.id], target.id)
        control.progress(3, message="adding the sources")
        portal = f"{HOST}:{ports[0]}"
        # Noted before they are made: a kill in between leaves a note too many, not a source.
        self._record.sources = [f"sendtargets:{portal}", f"isns:{isns}"]
        self._record.targets = [OPEN_TARGET, CHAP_TARGET]
        self._context.state.put("lab", "lab", self._record)
        await self._discovery.add(AddSource(kind="sendtargets", address=portal, run=False))
        await self._discovery.add(AddSource(kind="isns", address=isns, run=False))
        control.progress(4, message="discovering")
        for source_id in self._record.sources:
            await self._context.jobs.wait(self._discovery.run(source_id).id)
        if self._targets.get(CHAP_TARGET) is not None:
            login = LoginSettings(identity_id=initiator.id, mutual_identity_id=target.id)
            self._targets.set_login(CHAP_TARGET, login)
        self._context.events.add("lab_started", "The lab runs.")
        return {"portal": portal, "isns": isns, "open_target": OPEN_TARGET, "chap_target": CHAP_TARGET}

    async def _make_identities(self) -> tuple[Identity, Identity]:
        made: list[Identity] = []
        for user, note in (("lab-initiator", "the initiator of the lab"), ("lab-target", "the lab's target")):
            secret = generate_secret(os.urandom).reveal().decode("ascii")
            identity = await self._identities.save(
                SaveIdentity(user=user, note=note, secret=secret), this_run_only=True
            )
            self._identity_ids.append(identity.id)
            made.append(identity)
        return made[0], made[1]

    async def _start_isns(self) -> str:
        try:
            server = await self._nameservers.start(f"{HOST}:0", this_run_only=True)
        except ApiProblem as error:
            if error.code != "exists":
                raise
            return self._nameservers.embedded_address()
        self._own_isns = True
        return server.address

    async def _serve(
        self, name: str, alias: str, ports: list[int], isns: str, identity_ids: list[str], mutual_id: str
    ) -> None:
        luns = [
            LocalLun(id=f"lab{number}", name=f"Lab LUN {number}", kind="memory", size_bytes=size)
            for number, size in enumerate(LUN_SIZES[name])
        ]
        who = self._context.info.initiator_name if identity_ids else "*"
        target = LocalTarget(
            id=name,
            alias=alias,
            portal_groups=[PortalGroup(portals=[f"{HOST}:{port}" for port in ports])],
            luns=luns,
            access=[InitiatorAccess(subject=who)],
            mappings=[Mapping(initiator=who, lun_id=lun.id, lun=number) for number, lun in enumerate(luns)],
            identity_ids=identity_ids,
            mutual_identity_id=mutual_id,
            register_with=[isns],
        )
        await self._serving.create(SaveLocalTarget(target=target), lab=True)

    async def _tear_down(self) -> None:
        for session in list(self._context.registry.values("sessions", SessionObject)):
            if session.target in (OPEN_TARGET, CHAP_TARGET):
                await self._sessions.logout(Logout(id=session.id))
        for target in list(self._context.registry.values("local_targets", LocalTarget)):
            if target.lab:
                await self._serving.remove(RemoveLocalTarget(id=target.id, force=True))
        if self._own_isns:
            self._own_isns = False
            if self._nameservers.runs(EMBEDDED):
                await self._nameservers.stop()
        self._forget_found()
        for identity_id in self._identity_ids:
            await self._identities.drop(identity_id)
        self._identity_ids = []
        self._context.info.lab = False
        self._context.put_info()
        self._context.events.add("lab_stopped", "The lab was taken down.")

    def _forget_found(self) -> None:
        for source_id in self._record.sources:
            if self._discovery.has(source_id):
                self._discovery.remove(source_id)
        for name in self._record.targets:
            target = self._targets.get(name)
            if target is not None and not target.session_ids:
                self._targets.remove(name)
        self._record = LabRecord()
        self._context.state.delete("lab", "lab")


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listened on a moment ago."""
    held = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in held]
    for sock in held:
        sock.close()
    return ports
