"""Local targets: kept in the state, served by the target library, changed while initiators are at work."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from san_console.api.methods import AskAccess, RemoveLocalTarget, SaveLocalTarget, SetEnabled
from san_console.api.problems import ApiProblem, Problem
from san_console.api.serving_objects import (
    Consequence,
    EffectiveAccess,
    HiddenLun,
    LocalLun,
    LocalTarget,
    SeenLun,
)
from san_console.engine.consequences import consequences
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.engine.serving_config import access_config, backstore_spec, checked, target_config
from san_console.engine.target_sessions import TargetSessions
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.target.access import effective_access
from san_console.target.backstores import open_backstore
from san_console.target.config import TargetConfig, without_luns
from san_console.target.errors import BackstoreError, TargetError
from san_console.target.events import TargetEvent
from san_console.target.server import TargetServer

log = logging.getLogger(__name__)

_NOT_OPEN: Final = Problem(
    code="storage",
    message="The LUN is not open.",
    side="this machine",
    check="its file or device, then serve the target again",
)


class Serving:
    """Owner of the collection `local_targets`."""

    def __init__(
        self,
        context: EngineContext,
        identities: Identities,
        own_isids: Callable[[], set[tuple[str, str]]],
    ) -> None:
        self._context = context
        self._identities = identities
        self.server = TargetServer(self._happened)
        self.sessions = TargetSessions(context, self.server, own_isids)
        self.on_served: Callable[[LocalTarget], None] | None = None
        """Called when a target is served or has changed."""
        self.on_stopped: Callable[[str], None] | None = None
        self._changing = asyncio.Lock()
        for target in context.state.load("local_target", LocalTarget):
            target.state = "stopped"
            target.problem = None
            target.registrations = []
            for lun in target.luns:
                lun.problem = None
            context.registry.put("local_targets", target)

    async def start_enabled(self, *, chap: bool) -> None:
        """Serve what is enabled and not served: with `chap` the targets that need secrets, without it the
        others, which do not wait for a keyring. What is broken is shown, not fatal.
        """
        for target in list(self._all()):
            async with self._changing:
                if target.enabled and bool(target.identities_in_use()) == chap and target.state != "serving":
                    await self._serve_what_works(target)

    async def take_new_secrets(self, identity_id: str) -> None:
        """An identity was changed: the next login has to prove what it is now."""
        for target in list(self._all()):
            if identity_id not in target.identities_in_use():
                continue
            async with self._changing:
                served = self._config_of(target.id)
                if served is None:
                    continue
                config = await target_config(target, self._identities, served=served)
                await self.server.update(without_luns(config, {lun.id for lun in served.luns}))

    def plan(self, params: SaveLocalTarget) -> list[Consequence]:
        """What `create` or `change` with this target would do. Raises ApiProblem `bad-request`."""
        new = checked(params.target)
        old = self._get(new.id)
        return consequences(old, new, self.sessions.of(new.id), self._identities.users())

    async def create(self, params: SaveLocalTarget, *, lab: bool = False) -> LocalTarget:
        """Raises ApiProblem `exists`, `bad-request`, `storage`, `port-taken`, `secret-unavailable`; then
        there is no such target.
        """
        target = checked(params.target)
        target.lab = lab
        if self._get(target.id) is not None:
            raise ApiProblem(
                "exists",
                f"There is a local target {visible(target.id)} already.",
                side="engine",
                check="choose another name, or change that one",
            )
        async with self._changing:
            try:
                config = await target_config(target, self._identities)
                if target.enabled:
                    await self.server.add(config)
            except TargetError as error:
                raise ApiProblem.from_problem(problem_of(error)) from error
            await self._keep(target)
        return target

    async def change(self, params: SaveLocalTarget) -> LocalTarget:
        """Raises the same as `create`, and `unknown-object`; then nothing has changed."""
        target = checked(params.target)
        old = self.find(target.id)
        target.lab = old.lab
        async with self._changing:
            served = self._config_of(target.id)
            try:
                config = await target_config(target, self._identities, served=served)
                if not target.enabled:
                    if served is not None:
                        await self._stop(target.id)
                elif served is not None:
                    await self.server.update(config)
                else:
                    await self.server.add(config)
            except TargetError as error:
                self._refresh(old)
                raise ApiProblem.from_problem(problem_of(error)) from error
            await self._keep(target)
        return target

    async def set_enabled(self, params: SetEnabled) -> LocalTarget:
        """Start or stop serving; LUNs that cannot be opened are shown as offline."""
        target = self.find(params.id)
        async with self._changing:
            target.enabled = params.enabled
            if not params.enabled:
                if self._config_of(target.id) is not None:
                    await self._stop(target.id)
                target.state = "stopped"
                target.problem = None
            elif self._config_of(target.id) is None or any(lun.state == "offline" for lun in target.luns):
                await self._serve_what_works(target)
            await self._keep(target)
        return target

    async def remove(self, params: RemoveLocalTarget) -> None:
        """Raises ApiProblem `unknown-object`, `in-use` while initiators are logged in and `force` is not set.
        The files of its LUNs stay.
        """
        target = self.find(params.id)
        async with self._changing:
            hit = [one for one in self.sessions.of(target.id) if one.session_type == "normal"]
            if hit and not params.force:
                raise ApiProblem(
                    "in-use",
                    f"{len(hit)} initiators are logged in to {visible(target.id)}.",
                    side="engine",
                    check="log them out first, or remove the target all the same",
                    details={"initiators": "\n".join(one.initiator for one in hit)},
                )
            if self._config_of(target.id) is not None:
                await self._stop(target.id)
            self._context.registry.remove("local_targets", target.id)
            self._context.state.delete("local_target", target.id)
            await self._context.state.settled()
        self._identities.refresh_usage()

    async def disconnect(self, session_id: str, cid: int | None = None) -> None:
        """End a session, or one connection of it; its initiator may come back. Raises ApiProblem
        `unknown-object`.
        """
        try:
            await self.server.disconnect(self.sessions.library_id(session_id), cid)
        except TargetError as error:
            raise ApiProblem.from_problem(problem_of(error)) from None
        self.sessions.refresh()

    def access(self, params: AskAccess) -> EffectiveAccess:
        """What an initiator may do and see, by the code that the login uses; also of a target that is not
        served. Raises ApiProblem `unknown-object`, `bad-request`.
        """
        target = self.find(params.target)
        names = {lun.id: lun.name or lun.id for lun in target.luns}
        try:
            initiator = normalise(params.initiator, lenient=True)
            if params.address:
                ipaddress.ip_address(params.address.partition("%")[0])
            found = effective_access(
                access_config(target, self._identities.users()), initiator, params.address
            )
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None
        except ValueError:
            raise ApiProblem(
                "bad-request", f"{visible(params.address, 60)} is no address.", side="this side"
            ) from None
        return EffectiveAccess(
            allowed=found.allowed,
            why=found.why,
            rule=found.rule,
            chap_users=found.chap_users,
            mutual_user=found.mutual_user,
            luns=[
                SeenLun(
                    lun=seen.lun,
                    lun_id=seen.lun_id,
                    name=names[seen.lun_id],
                    read_only=seen.read_only,
                    why=seen.why,
                )
                for seen in found.luns
            ],
            hidden=[HiddenLun(lun_id=lun_id, name=names[lun_id], why=why) for lun_id, why in found.hidden],
        )

    def find(self, name: str) -> LocalTarget:
        target = self._get(name)
        if target is None:
            raise ApiProblem("unknown-object", f"There is no local target {visible(name)}.", side="engine")
        return target

    def show(self, target: LocalTarget) -> None:
        """Tell clients that something about a target has changed that need not be kept."""
        if self._get(target.id) is target:
            self._context.registry.put("local_targets", target)

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        for target in self._all():
            proofs = [(target.identity_ids, target.mutual_identity_id)]
            proofs += [(row.identity_ids, row.mutual_identity_id) for row in target.access]
            for identity_ids, mutual_id in proofs:
                for identity_id in identity_ids:
                    yield identity_id, f"accepted by {target.id}"
                if mutual_id:
                    yield mutual_id, f"proves the local target {target.id}"

    async def close(self) -> None:
        await self.server.close()

    def _all(self) -> Iterator[LocalTarget]:
        return self._context.registry.values("local_targets", LocalTarget)

    def _get(self, name: str) -> LocalTarget | None:
        return self._context.registry.get("local_targets", LocalTarget, name)

    def _config_of(self, name: str) -> TargetConfig | None:
        return next((config for config in self.server.targets() if config.name == name), None)

    async def _stop(self, name: str) -> None:
        await self.server.remove(name, force=True)
        self.sessions.refresh()
        if self.on_stopped is not None:
            self.on_stopped(name)

    async def _keep(self, target: LocalTarget) -> None:
        """A target is as the user wants it: show it, and keep it unless it is the lab's."""
        for lun in target.luns:
            # From now on a missing file is a problem, and never made anew and empty.
            lun.create = False
        self._refresh(target)
        if not target.lab:
            self._context.state.put("local_target", target.id, target)
            await self._context.state.settled()
        self._identities.refresh_usage()
        if target.state == "serving" and self.on_served is not None:
            self.on_served(target)

    async def _serve_what_works(self, target: LocalTarget) -> None:
        """Serve a target without the LUNs whose storage is missing; these are offline, with the reason."""
        if self._config_of(target.id) is not None:
            await self._stop(target.id)
        broken: dict[str, LocalLun] = {}
        try:
            for lun in target.luns:
                lun.problem = None
                try:
                    await self._try_backstore(lun)
                except TargetError as error:
                    lun.problem = problem_of(error)
                    broken[lun.id] = lun
            if broken and len(broken) == len(target.luns):
                first = next(iter(broken.values()))
                assert first.problem is not None
                raise ApiProblem.from_problem(first.problem)
            config = await target_config(target, self._identities)
            await self.server.add(without_luns(config, {lun.id for lun in target.luns} - broken.keys()))
        except (TargetError, ApiProblem, OSError) as error:
            target.state = "failed"
            target.problem = problem_of(error)
            self._context.events.add_problem(
                "serving_failed", target.problem, object_kind="local_target", object_id=target.id
            )
        else:
            for lun in broken.values():
                assert lun.problem is not None
                self._context.events.add_problem(
                    "lun_offline", lun.problem, object_kind="local_target", object_id=target.id
                )
        self._refresh(target)
        if target.state == "serving" and self.on_served is not None:
            self.on_served(target)

    async def _try_backstore(self, lun: LocalLun) -> None:
        """Raises TargetError when the LUN cannot be opened. Memory is not tried: it can."""
        if lun.kind not in ("file", "block"):
            return
        spec = backstore_spec(msgspec.structs.replace(lun, create=False))

        def try_it() -> None:
            with ThreadPoolExecutor(1) as pool:
                open_backstore(spec, pool).close()

        await asyncio.to_thread(try_it)

    def _refresh(self, target: LocalTarget) -> None:
        """Bring what is shown of a target up to date with what is served."""
        config = self._config_of(target.id)
        if config is not None:
            target.state = "serving"
            target.problem = None
        elif target.state == "serving":
            target.state = "stopped"
        online = {lun.id for lun in config.luns} if config is not None else set()
        for lun in target.luns:
            if lun.id in online:
                lun.identity, lun.unit_serial = self.server.unit_identity(target.id, lun.id)
                failure = self.server.backstore_failure(target.id, lun.id)
                lun.problem = problem_of(BackstoreError(failure)) if failure else None
                lun.state = "offline" if failure else "online"
                lun.size_bytes = _size(lun)
            elif config is not None or lun.problem is not None:
                lun.state = "offline"
                lun.problem = lun.problem or _NOT_OPEN
        self._context.registry.put("local_targets", target)

    def _happened(self, event: TargetEvent) -> None:
        """An event of the library."""
        details = event.details
        if event.kind == "target_login_failed" and not details.get("initiator"):
            # Somebody connected and said nothing that makes him an initiator: a probe, a port scan. One
            # event each would bury the others.
            log.info("a connection to a portal ended before a login", extra={"fields": dict(details)})
            return
        session_id = details.get("session", "")
        # The name in a refused login is whatever the peer has sent.
        name = details.get("target", "")
        name = name if self._get(name) is not None else ""
        self._context.events.add(
            event.kind,
            event.text,
            severity=event.severity,
            object_kind="target_session" if session_id else "local_target",
            object_id=self.sessions.shown_id(session_id) if session_id else name,
            cause=event.cause,
            side=event.side,
            check=event.check,
            at=event.at,
        )
        self.sessions.refresh()
        target = self._get(name)
        if event.kind == "backstore_error" and target is not None:
            self._refresh(target)


def _size(lun: LocalLun) -> int:
    if lun.kind == "file":
        try:
            return os.stat(lun.path).st_size
        except OSError:
            return lun.size_bytes
    return lun.size_bytes
