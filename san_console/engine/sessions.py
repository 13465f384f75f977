"""Sessions of our own initiator: logged in on request, kept up, logged out; and everything that happens to
them, told.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from san_console.api.engine_objects import Job, Sample, Severity
from san_console.api.initiator_objects import LoginSettings, Target
from san_console.api.initiator_objects import Session as SessionObject
from san_console.api.methods import ChapSecrets, Login, Logout, SetFavourite, TrialResult
from san_console.api.problems import ApiProblem
from san_console.engine.context import EngineContext
from san_console.engine.favourites import Favourite, Favourites
from san_console.engine.identities import Identities
from san_console.engine.lun_scans import LunScans
from san_console.engine.luns import LunStore
from san_console.engine.problems import problem_of
from san_console.engine.session_objects import describe_session, session_sample
from san_console.engine.targets import TargetStore
from san_console.initiator.counters import SessionCounters
from san_console.initiator.errors import InitiatorError
from san_console.initiator.events import SessionEvent
from san_console.initiator.session import Session
from san_console.initiator.settings import SessionSettings
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal

MAX_SESSIONS: Final = 1000
_SCAN_AFTER: Final = frozenset({"login", "recovered", "luns_changed"})
_SEVERITIES: Final[dict[str, Severity]] = {"info": "info", "warning": "warning", "error": "error"}


@dataclass(slots=True)
class _Held:
    """A session, and the counters at the last sample."""

    session: Session
    before: SessionCounters
    sampled_at: float
    login: asyncio.Task[object] | None = None
    """The task that waits for the first login, while it does."""


class Sessions:
    """Owner of the collection `sessions`."""

    def __init__(
        self,
        context: EngineContext,
        targets: TargetStore,
        identities: Identities,
        luns: LunStore,
    ) -> None:
        self._context = context
        self._targets = targets
        self._identities = identities
        self._luns = luns
        self._scans = LunScans(context, luns)
        self._held: dict[str, _Held] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._favourites = Favourites(context.state)
        targets.on_login_set = self._login_was_set
        targets.on_removed = self.forget_favourites

    async def login(self, params: Login) -> SessionObject:
        """Log in; answers when the session is up. Raises ApiProblem when it has failed, `exists` when there
        is a session to this target through this portal.
        """
        shown, session = await self._prepare(params)
        context = self._context
        context.registry.put("sessions", shown)
        self._link(shown.target)
        held = self._held[shown.id]
        held.login = asyncio.current_task()
        try:
            await session.login()
        except BaseException as error:
            # Failed or given up: the events keep what happened, the list shows what there is.
            await session.drop()
            self._forget(shown.id)
            if isinstance(error, InitiatorError):
                raise ApiProblem.from_problem(problem_of(error)) from error
            raise
        held.login = None
        session.start()
        shown = self._refresh(shown.id)
        if shown.login.favourite:
            self._favourites.put(shown.target, shown.portal, shown.login)
        self._identities.refresh_usage()
        return shown

    async def test(self, params: Login) -> TrialResult:
        """Log in, count the LUNs, log out. What fails is the result; raises ApiProblem for bad parameters."""
        settings = await self._settings(params)
        loop = asyncio.get_running_loop()
        began = loop.time()
        session = Session(settings)
        try:
            result = await session.login()
            luns = await session.report_luns()
            return TrialResult(
                ok=True,
                text=f"The login at {session.portal} worked.",
                auth=result.auth,
                lun_count=len(luns),
                took_ms=(loop.time() - began) * 1000,
            )
        except InitiatorError as error:
            problem = problem_of(error)
            text = " ".join(part for part in (problem.message, problem.check) if part)
            return TrialResult(ok=False, text=text, took_ms=(loop.time() - began) * 1000)
        finally:
            await session.logout()

    async def logout(self, params: Logout) -> None:
        """Log out; the connection is closed even when the target does not answer."""
        held = self._find(params.id)
        if held.login is not None:
            # The login that is under way is given up; it takes its session off the list itself.
            held.login.cancel()
            await asyncio.wait([held.login])
            return
        self._context.jobs.cancel_for(params.id)
        self._scans.stop(params.id)
        await held.session.logout()
        if params.forget:
            self._forget(params.id)
        elif params.id in self._held:
            self._luns.forget_session(params.id)
            self._refresh(params.id)
        self._identities.refresh_usage()

    def retry_now(self, session_id: str) -> None:
        """Do not wait for the next try; a session that has failed is tried again."""
        held = self._find(session_id)
        if held.session.state in ("failed", "logged_out"):
            held.session.start()
        else:
            held.session.retry_now()
        self._refresh(session_id)

    def stop_retrying(self, session_id: str) -> None:
        held = self._find(session_id)
        held.session.stop_retrying()
        self._refresh(session_id)

    def set_favourite(self, params: SetFavourite) -> SessionObject:
        """Whether this login is made again when the engine starts."""
        self._find(params.id)
        shown = self._object(params.id)
        shown.login = msgspec.structs.replace(shown.login, favourite=params.favourite)
        if params.favourite:
            self._favourites.put(shown.target, shown.portal, shown.login)
        else:
            self._favourites.remove(shown.target, shown.portal)
        self._context.registry.put("sessions", shown)
        target = self._targets.get(shown.target)
        if target is not None:
            favourite = any(True for _ in self._favourites.of(shown.target))
            target.login = msgspec.structs.replace(target.login, favourite=favourite)
            self._targets.put(target)
        return shown

    def rescan(self, session_id: str) -> Job:
        """Look at the LUNs of a session again, as a job."""
        held = self._find(session_id)
        return self._scans.job(session_id, self._object(session_id).target, held.session)

    def log_in_favourites(self) -> None:
        """At the start of the engine, and once the keyring can be read: log in again, and go on trying where
        that fails.
        """
        shown = {(one.target, one.portal) for one in self._context.registry.values("sessions", SessionObject)}
        for favourite in self._favourites.all():
            if (favourite.target, favourite.portal) in shown:
                continue
            task = asyncio.get_running_loop().create_task(self._log_in_favourite(favourite))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def forget_favourites(self, target: str) -> None:
        """The target was taken off the list: nothing logs in to it by itself any more."""
        for favourite in list(self._favourites.of(target)):
            self._favourites.remove(favourite.target, favourite.portal)

    async def take_new_secrets(self, identity_id: str) -> None:
        """An identity was changed: sessions that log in again prove themselves by what it is now."""
        for session_id, held in list(self._held.items()):
            login = self._object(session_id).login
            if identity_id in (login.identity_id, login.mutual_identity_id):
                chap, mutual = await self._identities.pair(login.identity_id, login.mutual_identity_id)
                held.session.settings.chap, held.session.settings.mutual_chap = chap, mutual

    def session(self, session_id: str) -> Session:
        """The library's session. Raises ApiProblem `unknown-object`."""
        return self._find(session_id).session

    def own_isids(self) -> set[tuple[str, str]]:
        """(target, ISID) of every session, to know our own ones at the target's side."""
        return {
            (self._object(session_id).target, held.session.isid.hex())
            for session_id, held in self._held.items()
        }

    def samples(self, now: float) -> Iterator[Sample]:
        """The figures of the last second, and every object brought up to date on the way."""
        for session_id, held in list(self._held.items()):
            self._refresh(session_id)
            interval_s = max(now - held.sampled_at, 0.001)
            yield session_sample(session_id, held.session, held.before, now, interval_s)
            held.before = held.session.counters.snapshot()
            held.sampled_at = now

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        for shown in self._context.registry.values("sessions", SessionObject):
            if shown.login.identity_id:
                yield shown.login.identity_id, f"logs in to {shown.target}"
            if shown.login.mutual_identity_id:
                yield shown.login.mutual_identity_id, f"proves {shown.target}"

    async def close(self) -> None:
        """Log out of everything."""
        for task in self._background:
            task.cancel()
        for session_id in self._held:
            self._scans.stop(session_id)
        await asyncio.gather(*(held.session.logout() for held in self._held.values()), return_exceptions=True)
        self._held.clear()

    async def _prepare(self, params: Login) -> tuple[SessionObject, Session]:
        settings = await self._settings(params)
        target, portal = settings.target_name, str(settings.portal)
        for other in self._context.registry.values("sessions", SessionObject):
            if (other.target, other.portal) == (target, portal):
                if other.state not in ("failed", "logged_out"):
                    raise ApiProblem(
                        "exists",
                        f"There is a session to {visible(target)} through {portal} already.",
                        side="engine",
                        check="use that one, or log it out first",
                        details={"session": other.id},
                    )
                self._forget(other.id)
        if len(self._held) >= MAX_SESSIONS:
            raise ApiProblem("too-large", f"There are {MAX_SESSIONS} sessions already.", side="engine")
        session_id = secrets.token_hex(4)
        now = self._context.clock()
        shown = SessionObject(
            id=session_id,
            target=target,
            portal=portal,
            state="logging_in",
            login=msgspec.structs.replace(params.login),
            created_at=now,
        )
        session = Session(settings, on_event=lambda event: self._happened(session_id, event))
        self._held[session_id] = _Held(session, session.counters.snapshot(), now)
        return shown, session

    async def _settings(self, params: Login) -> SessionSettings:
        try:
            name = normalise(params.target)
            portal = Portal.parse(params.portal)
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None
        login = params.login
        chap, mutual = await self._identities.pair(login.identity_id, login.mutual_identity_id, params.chap)
        return SessionSettings(
            self._context.info.initiator_name,
            name,
            portal,
            chap=chap,
            mutual_chap=mutual,
            header_digest=login.header_digest,
            data_digest=login.data_digest,
            source_address=login.source_address or None,
            initiator_alias=self._context.info.host_name or None,
        )

    async def _log_in_favourite(self, favourite: Favourite) -> None:
        params = Login(target=favourite.target, portal=favourite.portal, login=favourite.login)
        try:
            shown, session = await self._prepare(params)
        except ApiProblem as error:
            self._context.events.add_problem(
                "login_failed", error.problem, object_kind="target", object_id=favourite.target
            )
            return
        self._context.registry.put("sessions", shown)
        self._link(shown.target)
        session.start()

    def _login_was_set(self, target: Target) -> None:
        self._favourites.follow(target)
        self._identities.refresh_usage()

    def _happened(self, session_id: str, event: SessionEvent) -> None:
        """An event of the library."""
        held = self._held.get(session_id)
        if held is None:
            return
        shown = self._refresh(session_id)
        where = f"{shown.target} at {shown.portal}"
        self._context.events.add(
            event.kind,
            f"{event.text} ({where})",
            severity=_SEVERITIES.get(event.severity, "info"),
            object_kind="session",
            object_id=session_id,
            cause=event.cause,
            side=event.side,
            check=event.check,
            at=event.at,
        )
        if event.kind in _SCAN_AFTER:
            self._scans.start(session_id, shown.target, held.session)

    def _refresh(self, session_id: str) -> SessionObject:
        shown = self._object(session_id)
        described = describe_session(shown, self._held[session_id].session)
        if described != shown:
            self._context.registry.put("sessions", described)
        return described

    def _forget(self, session_id: str) -> None:
        self._held.pop(session_id, None)
        self._scans.stop(session_id)
        shown = self._context.registry.get("sessions", SessionObject, session_id)
        self._luns.forget_session(session_id)
        self._context.registry.remove("sessions", session_id)
        if shown is not None:
            self._link(shown.target)

    def _link(self, target: str) -> None:
        ids = [
            shown.id
            for shown in self._context.registry.values("sessions", SessionObject)
            if shown.target == target
        ]
        self._targets.set_sessions(target, ids)

    def _find(self, session_id: str) -> _Held:
        held = self._held.get(session_id)
        if held is None:
            raise ApiProblem("unknown-object", "This session does not exist (any more).", side="engine")
        return held

    def _object(self, session_id: str) -> SessionObject:
        shown = self._context.registry.get("sessions", SessionObject, session_id)
        assert shown is not None
        return shown


def login_with(
    target: str, portal: str, identity_id: str, mutual_id: str, chap: ChapSecrets | None = None
) -> Login:
    """A login with default settings and these identities."""
    login = LoginSettings(identity_id=identity_id, mutual_identity_id=mutual_id)
    return Login(target=target, portal=portal, login=login, chap=chap)
