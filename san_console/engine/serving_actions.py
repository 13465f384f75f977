"""What is done to one thing of a local target (a path, a LUN, a session), and who may do what there."""

from __future__ import annotations

import ipaddress

import msgspec

from san_console.api.methods import AskAccess, GrowLun, LunOf, SetAccessState, SetLunOnline
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import EffectiveAccess, HiddenLun, LocalLun, LocalTarget, SeenLun
from san_console.engine.change_history import as_set
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.engine.serving import Serving
from san_console.engine.serving_config import access_config
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.target.access import EffectiveAccess as Decision
from san_console.target.access import effective_access
from san_console.target.check_condition import CheckCondition
from san_console.target.errors import TargetError


class ServingActions:
    """Works on the targets of `serving`; what outlives the engine is kept when a method returns."""

    def __init__(self, context: EngineContext, identities: Identities, serving: Serving) -> None:
        self._context = context
        self._identities = identities
        self._serving = serving

    async def set_access_state(self, params: SetAccessState) -> LocalTarget:
        """Raises ApiProblem `unknown-object` for a portal group that is not there."""
        async with self._serving.changing:
            target = _copy(self._serving.find(params.target))
            for group in target.portal_groups:
                if group.tag == params.tag:
                    group.access_state = params.access_state
                    group.preferred = group.preferred if params.preferred is None else params.preferred
                    break
            else:
                raise ApiProblem(
                    "unknown-object",
                    f"The target {visible(target.id)} has no portal group {params.tag}.",
                    side="engine",
                    check="the tags of its portal groups",
                )
            text = f"Portal group {params.tag} of {target.id} was set to {params.access_state}"
            await self._serving.transition({target.id: target}, text)
            self._tell("access_state_set", f"{text}.", target.id)
        return target

    async def lun_online(self, params: SetLunOnline) -> LocalTarget:
        """Take a LUN offline, or bring it back. Raises ApiProblem `unknown-object`, `storage` when its medium
        cannot be had; it then comes online by itself once it can.
        """
        async with self._serving.changing:
            target = _copy(self._serving.find(params.target))
            lun = _lun_of(target, params.lun_id)
            if lun.online == params.online:
                if params.online and lun.state == "offline":
                    await self._serving.retry(target.id, lun.id)
                return self._serving.find(params.target)
            lun.online = params.online
            what = "brought online" if params.online else "taken offline"
            text = f"LUN {lun.name or lun.id} of {target.id} was {what}"
            await self._serving.transition({target.id: target}, text)
            self._tell("lun_online" if params.online else "lun_offline", f"{text}.", target.id)
            unit = self._serving.view.unit(target.id, params.lun_id)
            if params.online and unit is not None and unit.offline:
                raise ApiProblem(
                    "storage", f"{unit.offline.rstrip('.')}.", side="this machine", check="its file or device"
                )
        return target

    async def retry_lun(self, params: LunOf) -> LocalTarget:
        """The medium of a LUN was mended: go on with what is there. Raises ApiProblem `storage`."""
        async with self._serving.changing:
            target = self._serving.find(params.target)
            lun = _lun_of(target, params.lun_id)
            if not lun.online:
                raise ApiProblem(
                    "bad-request",
                    "The LUN was taken offline.",
                    side="engine",
                    check="bring it online instead",
                )
            await self._serving.retry(target.id, lun.id)
        return target

    async def grow_lun(self, params: GrowLun) -> LocalTarget:
        """Raises ApiProblem `unknown-object`, `bad-request`, `storage`; then nothing has changed."""
        async with self._serving.changing:
            target = self._serving.find(params.target)
            lun = _lun_of(target, params.lun_id)
            if params.size_bytes % lun.block_bytes:
                raise ApiProblem(
                    "bad-request",
                    f"The size has to be a multiple of {lun.block_bytes} bytes.",
                    side="this side",
                )
            try:
                size_bytes = await self._serving.server.grow_lun(target.id, lun.id, params.size_bytes)
            except TargetError as error:
                raise ApiProblem.from_problem(problem_of(error)) from error
            grown = size_bytes != lun.size_bytes
            lun.size_bytes = size_bytes
            self._serving.history.revision += 1
            await self._serving.keep([target])
            if grown:
                self._tell("lun_grown", f"LUN {lun.name or lun.id} has {size_bytes:,} bytes now.", target.id)
        await self._serving.view.measure()
        return target

    async def clear_reservation(self, params: LunOf) -> None:
        """End the reservation and all registrations of a LUN. Raises ApiProblem `unknown-object`."""
        target = self._serving.find(params.target)
        lun = _lun_of(target, params.lun_id)
        unit = self._serving.view.unit(target.id, lun.id)
        if unit is None:
            self._serving.reservations.forget(target.id, {lun.id})
            await self._context.state.settled()
        else:
            try:
                await unit.reservations.clear()
            except CheckCondition as error:
                await self._context.state.settled()  # raises the real reason
                raise ApiProblem("storage", "The reservation could not be cleared.", side="engine") from error
        self._serving.view.refresh_reservations()
        text = f"The reservations of LUN {lun.name or lun.id} of {target.id} were cleared."
        self._tell("reservation_cleared", text, target.id, severity="warning")

    async def disconnect(self, session_id: str, cid: int | None = None) -> None:
        """End a session, or one connection of it; its initiator may come back. Raises ApiProblem
        `unknown-object`.
        """
        try:
            await self._serving.server.disconnect(self._serving.sessions.library_id(session_id), cid)
        except TargetError as error:
            raise ApiProblem.from_problem(problem_of(error)) from None
        self._serving.sessions.refresh()

    def access(self, params: AskAccess) -> EffectiveAccess:
        """What an initiator may do and see, by the code that the login uses; also of a target that is not
        served. Raises ApiProblem `unknown-object`, `bad-request`.
        """
        target = self._serving.find(params.target)
        names = {lun.id: lun.name or lun.id for lun in target.luns}
        try:
            initiator = normalise(params.initiator, lenient=True)
            if params.address:
                ipaddress.ip_address(params.address.partition("%")[0])
            found = self._decided(target, initiator, params.address)
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

    def _decided(self, target: LocalTarget, initiator: str, address: str) -> Decision:
        """By what is served, or by what would be. Raises ApiProblem `bad-request`."""
        if self._serving.view.config_of(target.id) is not None:
            return self._serving.server.effective_access(target.id, initiator, address)
        try:
            return effective_access(access_config(target, self._identities.users()), initiator, address)
        except TargetError as error:
            raise ApiProblem.from_problem(problem_of(error)) from error

    def _tell(self, kind: str, text: str, name: str, *, severity: str = "info") -> None:
        self._context.events.add(
            kind,
            text,
            severity="warning" if severity == "warning" else "info",
            object_kind="local_target",
            object_id=name,
        )


def _lun_of(target: LocalTarget, lun_id: str) -> LocalLun:
    for lun in target.luns:
        if lun.id == lun_id:
            return lun
    raise ApiProblem(
        "unknown-object", f"The target {visible(target.id)} has no LUN {visible(lun_id)}.", side="engine"
    )


def _copy(target: LocalTarget) -> LocalTarget:
    """With what was set of it; it takes the place of the one that is shown."""
    copy = as_set(target)
    assert copy is not None
    return msgspec.structs.replace(copy, registrations=target.registrations)
