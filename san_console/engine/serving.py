"""Local targets: kept in the state, served by the target library, changed while initiators are at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from san_console.api.methods import (
    RemoveLocalTarget,
    SaveLocalTarget,
    SetEnabled,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import (
    Consequence,
    LocalTarget,
)
from san_console.engine.change_history import ChangeHistory, DiscoveryChap
from san_console.engine.consequences import consequences
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.engine.reservation_store import Forgotten, StateReservations
from san_console.engine.serving_config import checked, storage_of, target_config
from san_console.engine.serving_view import ServingView
from san_console.engine.target_sessions import TargetSessions
from san_console.engine.target_transition import Transition, Wanted
from san_console.names.display import visible
from san_console.target.config import TargetConfig
from san_console.target.errors import TargetError
from san_console.target.events import TargetEvent
from san_console.target.server import TargetServer

log = logging.getLogger(__name__)

_MEDIUM_EVENTS = frozenset({"backstore_error", "lun_offline", "lun_online", "threshold_reached"})


class Alongside(Protocol):
    """What is changed together with targets."""

    def put(self) -> None:
        """Put it into the state."""
        ...

    def put_back(self) -> None:
        """Put what was before into the state."""
        ...


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
        self.reservations = StateReservations(context.state, self._is_kept)
        self.server = TargetServer(self._happened, reservation_store=self.reservations)
        self.sessions = TargetSessions(context, self.server, own_isids)
        self.view = ServingView(context, self.server, self.sessions.all)
        self.history = ChangeHistory(context)
        self.on_served: Callable[[LocalTarget], None] | None = None
        """Called when a target is served or has changed."""
        self.on_stopped: Callable[[str], None] | None = None
        self.changing = asyncio.Lock()
        """Held while targets change: what was looked at under it stays so."""
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
        async with self.changing:
            wanted = [
                target
                for target in self.all()
                if target.enabled and bool(target.identities_in_use()) == chap and target.state != "serving"
            ]
            await self._serve_kept(wanted)

    async def take_new_secrets(self, identity_id: str) -> None:
        """An identity was changed: the next login has to prove what it is now."""
        failed: ApiProblem | None = None
        for name in [one.id for one in self.all() if identity_id in one.identities_in_use()]:
            async with self.changing:
                target, served = self.get(name), self.view.config_of(name)
                if target is None or served is None:
                    continue
                try:
                    config = await target_config(target, self._identities, old=target, served=served)
                    await self.server.update(config)
                except (TargetError, ApiProblem) as error:
                    # The others must not go on with the old secret for that.
                    failed = failed or ApiProblem.from_problem(problem_of(error))
                    self._context.events.add_problem(
                        "serving_failed", problem_of(error), object_kind="local_target", object_id=name
                    )
        if failed is not None:
            raise failed

    def plan(self, params: SaveLocalTarget) -> list[Consequence]:
        """What `create` or `change` with this target would do. Raises ApiProblem `bad-request`."""
        new = checked(params.target)
        return consequences(self.get(new.id), new, self.sessions.of(new.id), self._identities.users())

    async def create(self, params: SaveLocalTarget, *, lab: bool = False) -> LocalTarget:
        """Raises ApiProblem `exists`, `bad-request`, `storage`, `port-taken`, `secret-unavailable`; then
        there is no such target.
        """
        target = checked(params.target)
        target.lab = lab
        async with self.changing:
            if self.get(target.id) is not None:
                raise ApiProblem(
                    "exists",
                    f"There is a local target {visible(target.id)} already.",
                    side="engine",
                    check="choose another name, or change that one",
                )
            await self.transition({target.id: target}, "" if lab else f"{target.id} was created")
        return target

    async def change(self, params: SaveLocalTarget) -> LocalTarget:
        """Raises the same as `create`, and `unknown-object`; then nothing has changed."""
        target = checked(params.target)
        async with self.changing:
            target.lab = self.find(target.id).lab
            await self.transition({target.id: target}, f"{target.id} was changed")
        return target

    async def set_enabled(self, params: SetEnabled) -> LocalTarget:
        """Start or stop serving; LUNs that cannot be opened are shown as offline."""
        async with self.changing:
            target = self.find(params.id)
            if params.enabled and not target.enabled and any(lun.create for lun in target.luns):
                # It was never served, and its files are still to be made.
                new = msgspec.structs.replace(target, enabled=True)
                await self.transition({target.id: new}, f"{target.id} was enabled")
                return new
            if target.enabled != params.enabled:
                self._note(f"{target.id} was {'enabled' if params.enabled else 'disabled'}", [target])
            target.enabled = params.enabled
            if not params.enabled:
                if self.view.config_of(target.id) is not None:
                    await self._stop(target.id)
                target.state = "stopped"
                target.problem = None
            elif self.view.config_of(target.id) is None:
                await self._serve_kept([target])
            else:
                await self._retry_all(target)
            await self.keep([target])
        return target

    async def remove(self, params: RemoveLocalTarget) -> None:
        """Raises ApiProblem `unknown-object`, `in-use` while initiators are logged in and `force` is not set.
        The files of its LUNs stay.
        """
        async with self.changing:
            target = self.find(params.id)
            hit = [one for one in self.sessions.of(target.id) if one.session_type == "normal"]
            if hit and not params.force:
                raise ApiProblem(
                    "in-use",
                    f"{len(hit)} initiators are logged in to {visible(target.id)}.",
                    side="engine",
                    check="log them out first, or remove the target all the same",
                    details={"initiators": "\n".join(one.initiator for one in hit)},
                )
            await self.transition({target.id: None}, "" if target.lab else f"{target.id} was removed")

    # what there is

    def all(self) -> Iterator[LocalTarget]:
        return self._context.registry.values("local_targets", LocalTarget)

    def get(self, name: str) -> LocalTarget | None:
        return self._context.registry.get("local_targets", LocalTarget, name)

    def find(self, name: str) -> LocalTarget:
        """Raises ApiProblem `unknown-object`."""
        target = self.get(name)
        if target is None:
            raise ApiProblem("unknown-object", f"There is no local target {visible(name)}.", side="engine")
        return target

    def show(self, target: LocalTarget) -> None:
        """Tell clients that something about a target has changed that need not be kept."""
        if self.get(target.id) is target:
            self._context.registry.put("local_targets", target)

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        for target in self.all():
            proofs = [(target.identity_ids, target.mutual_identity_id)]
            proofs += [(row.identity_ids, row.mutual_identity_id) for row in target.access]
            for identity_ids, mutual_id in proofs:
                for identity_id in identity_ids:
                    yield identity_id, f"accepted by {target.id}"
                if mutual_id:
                    yield mutual_id, f"proves the local target {target.id}"

    async def close(self) -> None:
        await self.server.close()

    # inside

    def _is_kept(self, name: str) -> bool:
        target = self.get(name)
        return target is None or not target.lab

    async def transition(
        self,
        wanted: Wanted,
        text: str,
        discovery: DiscoveryChap | None = None,
        alongside: Alongside | None = None,
    ) -> None:
        """Change targets and keep them, or raise ApiProblem and leave everything as it was. The caller holds
        `changing`.

        `text` tells of it in the list of what can be undone; empty: it cannot. `discovery`: what it was
        before, where that is changed with it. `alongside` is kept in the same commit of the state: an engine
        that is killed has made all of it, or nothing.
        """
        current: Wanted = {name: self.get(name) for name in wanted}
        work = Transition(self.server, self._identities, current, wanted)
        try:
            await work.carry_out()
        except ApiProblem:
            self._refresh_all(current)
            raise
        kept = any(target is not None and not target.lab for target in (*current.values(), *wanted.values()))
        kept = kept or discovery is not None
        step = self.history.add(text, current, discovery) if text and kept else None
        forgotten: Forgotten = {}
        for name, target in wanted.items():
            forgotten |= self._forget_gone(name, current[name], target)
            _carry_over(current[name], target)
            self._put(name, target)
        if alongside is not None:
            alongside.put()
        try:
            await self._context.state.settled()
        except ApiProblem:
            # First, since a target that is served again asks for them.
            self.reservations.restore(forgotten)
            await work.take_back()
            if alongside is not None:
                alongside.put_back()
            if step is not None:
                self.history.drop(step)
            for name, target in current.items():
                self._put(name, target)
            raise
        finally:
            self.sessions.refresh()
            self.view.refresh_reservations()
            self._identities.refresh_usage()
        self._tell_registrations(current, wanted)

    def _put(self, name: str, target: LocalTarget | None) -> None:
        """A target is as the user wants it (None: there is none): show it, and keep it but for the lab's."""
        if target is None:
            self._context.registry.remove("local_targets", name)
            self._context.state.delete("local_target", name)
            return
        if self.view.config_of(name) is not None:
            for lun in target.luns:
                # From now on a missing file is a problem, and never made anew and empty.
                lun.create = False
        self.view.refresh(target)
        if not target.lab:
            self._context.state.put("local_target", target.id, target)

    def _forget_gone(self, name: str, old: LocalTarget | None, new: LocalTarget | None) -> Forgotten:
        """What was reserved of LUNs that go: in the same commit, or one of the same id would inherit it."""
        if new is None:
            return self.reservations.forget(name)
        if old is None:
            return {}
        return self.reservations.forget(name, {lun.id for lun in old.luns} - {lun.id for lun in new.luns})

    async def keep(self, targets: list[LocalTarget]) -> None:
        """Targets have changed: show and keep them. Raises ApiProblem `storage`."""
        for target in targets:
            self._put(target.id, target)
        await self._context.state.settled()
        self._identities.refresh_usage()
        for target in targets:
            if target.state == "serving" and self.on_served is not None:
                self.on_served(target)

    def _tell_registrations(self, current: Wanted, wanted: Wanted) -> None:
        for name, target in wanted.items():
            old = current[name]
            if target is not None and target.state == "serving":
                if self.on_served is not None:
                    self.on_served(target)
            elif old is not None and old.state == "serving" and self.on_stopped is not None:
                self.on_stopped(name)

    def _refresh_all(self, targets: Wanted) -> None:
        for target in targets.values():
            if target is not None:
                self.view.refresh(target)

    def _note(self, text: str, targets: list[LocalTarget]) -> None:
        kept = {target.id: target for target in targets if not target.lab}
        if kept:
            self.history.add(text, dict(kept))

    async def _stop(self, name: str) -> None:
        await self.server.remove(name, force=True)
        self.sessions.refresh()
        if self.on_stopped is not None:
            self.on_stopped(name)

    async def _serve_kept(self, targets: list[LocalTarget]) -> None:
        """Serve targets as they were configured; LUNs whose storage is missing are offline."""
        configs: list[TargetConfig] = []
        failed: dict[str, BaseException] = {}
        for target in targets:
            try:
                configs.append(await target_config(target, self._identities))
            except (TargetError, ApiProblem) as error:
                failed[target.id] = error
        failed.update(await self.server.add_many(configs))
        for target in targets:
            why = failed.get(target.id)
            if why is not None:
                target.state = "failed"
                target.problem = problem_of(why)
                self._context.events.add_problem(
                    "serving_failed", target.problem, object_kind="local_target", object_id=target.id
                )
            self.view.refresh(target)
            if target.state == "serving" and self.on_served is not None:
                self.on_served(target)
        self.view.refresh_reservations()

    async def _retry_all(self, target: LocalTarget) -> None:
        for lun in target.luns:
            if lun.online and lun.state == "offline":
                try:
                    await self.server.retry_lun(target.id, lun.id)
                except TargetError as error:
                    log.info("a LUN stays offline", extra={"fields": {"lun": lun.id, "why": str(error)}})

    async def retry(self, name: str, lun_id: str) -> None:
        """Raises ApiProblem with what is still wrong."""
        try:
            await self.server.retry_lun(name, lun_id)
        except TargetError as error:
            raise ApiProblem.from_problem(problem_of(error)) from error
        finally:
            self.view.refresh(self.find(name))

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
        name = name if self.get(name) is not None else ""
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
        target = self.get(name)
        if event.kind in _MEDIUM_EVENTS and target is not None:
            self.view.refresh(target)
        if event.kind == "access_state_changed" and target is not None:
            self._take_access_states(target)

    def _take_access_states(self, target: LocalTarget) -> None:
        """An initiator has changed the state of a portal group: it stands in what is kept as well, or the
        next change of the target would take it back.
        """
        config = self.view.config_of(target.id)
        for group in target.portal_groups:
            served = config.group_of_tag(group.tag) if config is not None else None
            if served is not None:
                group.access_state = served.access_state
        self.history.revision += 1
        self._put(target.id, target)


def _carry_over(old: LocalTarget | None, new: LocalTarget | None) -> None:
    """What was measured of a LUN that stays, until it is measured again."""
    before = {lun.id: lun for lun in old.luns} if old is not None else {}
    for lun in new.luns if new is not None else ():
        was = before.get(lun.id)
        if was is not None and storage_of(was) == storage_of(lun):
            lun.used_bytes, lun.threshold_reached = was.used_bytes, was.threshold_reached
