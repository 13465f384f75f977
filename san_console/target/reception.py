"""From an accepted connection to a session: the login, what has to be over before it is answered, and the
session or connection that begins.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from san_console.iscsi import login_status
from san_console.iscsi.login_policy import SessionDecision, SessionRequest, TargetLoginResult
from san_console.names.display import visible
from san_console.names.iscsi_name import comparison_key
from san_console.names.portal import Portal
from san_console.target.access import chap_for, may_log_in
from san_console.target.admission import Admission, Visit
from san_console.target.config import ChapConfig, PortalGroup
from san_console.target.ending import quiet
from san_console.target.events import Reporter
from san_console.target.listener import Listener
from san_console.target.login import (
    DISCOVERY_LIMITS,
    LoginOutcome,
    PortalPolicy,
    Reached,
    log_in,
    send_responses,
)
from san_console.target.nexus import ServedTarget, SessionNexus
from san_console.target.send_targets import Asker, Directory
from san_console.target.session import ServedConnection, ServedSession
from san_console.target.session_news import SessionNews
from san_console.target.session_table import Place, SessionTable, key_of

NO_GROUP = PortalGroup(1, [])  # of a discovery session, which reaches no unit
MAX_REMOVED_NAMES = 1024  # of targets that initiators are told have been removed, and not just unknown


class Reception:
    """Takes connections in for all portals of a server. `targets` and `table` are shared with it."""

    def __init__(
        self,
        targets: Mapping[str, ServedTarget],
        table: SessionTable,
        directory: Directory,
        reporter: Reporter,
    ) -> None:
        self.discovery_chap: ChapConfig | None = None
        self.closing = False
        self.removed: dict[str, None] = {}
        self.admission = Admission(self._log_in)
        self._targets = targets
        self._table = table
        self._directory = directory
        self._reporter = reporter
        self._news = SessionNews(reporter)
        self._session_number = 0

    def target_removed(self, name: str) -> None:
        """Logins to it are told so from now on (status 0204)."""
        self.removed[name] = None
        if len(self.removed) > MAX_REMOVED_NAMES:
            del self.removed[next(iter(self.removed))]

    # The login

    async def _log_in(self, listener: Listener, sock: socket.socket, visit: Visit) -> bool:
        """Run the login on a new connection. True when a session has the socket now."""
        address = visit.address
        place = Place("", str(listener.bound))
        reached: Reached | None = None

        def find(name: str) -> Reached | int:
            nonlocal place, reached
            found = self._reach(listener, name)
            if isinstance(found, int):
                return found
            reached = found
            visit.timeout_s = found.config.limits.login_timeout_s
            place = Place(found.config.name, str(found.group.tag), found.config.limits.max_sessions)
            return found

        def session_for(request: SessionRequest) -> SessionDecision:
            stale = None if place.target else self._table.stale_discovery(time.time())
            if stale is not None:
                stale.close("others want to ask as well")
            return self._table.decide(request, place, self._may_replace)

        policy = PortalPolicy(find, session_for, self.discovery_chap)
        outcome = await log_in(sock, policy, visit, DISCOVERY_LIMITS.command_window)
        if outcome.result is None:
            if outcome.status == login_status.AUTHENTICATION_FAILURE:
                await self.admission.authentication_failed(address)
            await send_responses(sock, outcome.answer)
            self._news.refused(outcome, address)
            return False
        if outcome.result.session.chap_user is not None:
            self.admission.authenticated(address)
        try:
            return await self._admit(sock, listener, address, outcome, outcome.result, place, reached)
        except TooLate as late:
            await send_responses(sock, outcome.refuse(str(late), late.status))
            self._news.refused(outcome, address)
            return False

    def _reach(self, listener: Listener, name: str) -> Reached | int:
        """The target as it is reached through a portal, or the status of the refusal."""
        if self.closing:
            return login_status.SERVICE_UNAVAILABLE
        name = comparison_key(name)
        served = self._targets.get(name)
        if served is None:
            return login_status.TARGET_REMOVED if name in self.removed else login_status.NOT_FOUND
        # In the middle of a change the listener may know of the target what its configuration does not say
        # yet, or no more.
        group = served.config.group_at(listener.portal) if name in listener.users else None
        return Reached(served.config, group) if group is not None else login_status.NOT_FOUND

    def _may_replace(self, existing: ServedSession) -> bool:
        """Whether a session may be ended by another identity of its initiator: the one that it has proved is
        no longer asked for, so that nobody could come back with it (a new secret, or CHAP turned on).
        """
        served = existing.nexus.target
        name = existing.result.session.initiator_name
        chap = self.discovery_chap if served is None else chap_for(served.config, name, existing.address)
        users = {one.user for one in chap.accepted} if chap is not None else {None}
        return existing.result.session.chap_user not in users

    def _check_still_welcome(self, arrival: Arrival, target: str, group: PortalGroup | None) -> None:
        """What holds now, not what held when the login began: it may have taken as long as its deadline, and
        have waited for a backstore. Raises TooLate.
        """
        if self.closing:
            raise TooLate(login_status.SERVICE_UNAVAILABLE, "the target is being stopped")
        chap = self.discovery_chap
        request = arrival.result.session
        if target:
            served = self._targets.get(target)
            now = served.config.group_of_tag(group.tag) if served is not None and group is not None else None
            if served is None or now is None or arrival.listens_at not in now.portals:
                raise TooLate(login_status.TARGET_REMOVED, "the target was removed during the login")
            if not may_log_in(served.config, request.initiator_name, arrival.address):
                raise TooLate(
                    login_status.AUTHORIZATION_FAILURE, "its access was taken away during the login"
                )
            chap = chap_for(served.config, request.initiator_name, arrival.address)
        proved = [one for one in arrival.result.decision.chap or () if one.user == request.chap_user]
        if chap is not None and not any(one in chap.accepted for one in proved):
            raise TooLate(
                login_status.AUTHENTICATION_FAILURE, "what it has to prove was changed during the login"
            )

    # After the login

    async def _admit(
        self,
        sock: socket.socket,
        listener: Listener,
        address: str,
        outcome: LoginOutcome,
        result: TargetLoginResult,
        place: Place,
        reached: Reached | None,
    ) -> bool:
        """Give the connection to its session. False when the initiator is gone; raises TooLate when there is
        no place for it any more.
        """
        arrival = Arrival(sock, outcome, result, address, _local_portal(sock), listener.portal)
        if result.session.tsih:
            return await self._join(arrival)
        group = reached.group if reached is not None else None
        # Before it ends what the initiator has, and after it has waited for that.
        self._check_still_welcome(arrival, place.target, group)
        if not await self._earlier_over(sock, result.session, place):
            return False
        self._check_still_welcome(arrival, place.target, group)
        served = self._targets.get(place.target)
        if self._table.is_full(place) or self._table.with_tsih(result.tsih) is not None:
            raise TooLate(login_status.OUT_OF_RESOURCES, "others were quicker")
        return await self._begin(arrival, served, place, reached.group if reached is not None else NO_GROUP)

    async def _begin(
        self, arrival: Arrival, served: ServedTarget | None, place: Place, group: PortalGroup
    ) -> bool:
        result, request = arrival.result, arrival.result.session
        asker = Asker(request.initiator_name, arrival.address, arrival.portal, place.target)
        nexus = SessionNexus(
            served,
            request.initiator_name,
            request.isid,
            lambda value: self._directory.answer(value, asker),
            address=arrival.address,
            group=group,
        )
        self._session_number += 1
        session = ServedSession(
            f"t{self._session_number}",
            result,
            nexus,
            served.config.limits if served is not None else DISCOVERY_LIMITS,
            logged_in_at=time.time(),
            on_closed=self._session_closed,
            on_connection_lost=self._news.connection_ended,
        )
        session.address = arrival.address
        self._table.add(session, key_of(request, place))
        with session.held():
            connection = await self._answer(session, arrival)
        if connection is None:
            return False
        if place.target:
            self._news.logged_in(session, connection, f"logged in to {visible(place.target)}")
        connection.pump.start()
        return True

    async def _answer(self, session: ServedSession, arrival: Arrival) -> ServedConnection | None:
        """Send the last login response, and only then let the connection carry anything of its session. None
        when the session ended meanwhile.
        """
        cid = arrival.result.session.cid
        session.answered.append(cid)
        try:
            await send_responses(arrival.sock, arrival.outcome.answer)
        finally:
            session.answered.remove(cid)
        arrival.outcome.answer = []
        if session.over:
            return None
        replaced = session.connections.get(cid)
        if replaced is not None:  # by a login that came at the same time
            replaced.pump.close("the initiator logged this connection in again", error=False)
        connection = session.attach(
            arrival.sock,
            arrival.result,
            arrival.outcome.leftover,
            address=arrival.address,
            portal=arrival.portal,
            listens_at=arrival.listens_at,
            logged_in_at=time.time(),
        )
        self._table.connection_count += 1
        connection.ended.add_done_callback(self._one_connection_less)
        return connection

    def _one_connection_less(self, _: object) -> None:
        self._table.connection_count -= 1

    async def _join(self, arrival: Arrival) -> bool:
        """A further connection of a session, or one in the place of another (RFC 7143 §6.3.4)."""
        result = arrival.result
        session = self._table.with_tsih(result.tsih)
        if session is None or session.over:
            raise TooLate(login_status.SESSION_DOES_NOT_EXIST, "its session ended during the login")
        self._check_may_join(arrival, session)
        with session.held():
            if not await self._replaced(session, arrival):
                return False
            self._check_may_join(arrival, session)
            if not session.has_place(result.session.cid):
                raise TooLate(login_status.TOO_MANY_CONNECTIONS, "another connection was quicker")
            connection = await self._answer(session, arrival)
        if connection is None:
            return False
        self._news.logged_in(
            session,
            connection,
            f"logged in to {visible(session.target)} with connection {connection.cid}, "
            f"{len(session.connections)} in all",
        )
        connection.pump.start()
        return True

    def _check_may_join(self, arrival: Arrival, session: ServedSession) -> None:
        self._check_still_welcome(arrival, session.target, session.nexus.group)
        if not session.nexus.sees_the_same(arrival.address):
            # §11.13.5: no session spans these addresses. What one of them may see is not for the other.
            raise TooLate(
                login_status.CANNOT_INCLUDE_IN_SESSION,
                "from its address the initiator sees other LUNs than its session does",
            )

    async def _replaced(self, session: ServedSession, arrival: Arrival) -> bool:
        """The old connection of this CID, if there is one, is over. Below recovery level 2 its commands end
        with it, and must have let go of the backstore before a new one may write; at level 2 they wait for
        their new connection.
        """
        cid = arrival.result.session.cid
        old = session.connections.get(cid)
        leaving = session.protocol.leaving(cid)  # it may have broken before, with a write under way
        session.protocol.reinstate(cid)
        if old is not None:
            old.pump.close("the initiator logged this connection in again", error=False)
        if leaving is not None and session.result.params.error_recovery_level < 2:
            if not await quiet(session.connection_quiet(leaving)):
                raise self._waits_for_storage(session.target, session.result.session.initiator_name)
            return not _closed_by_peer(arrival.sock)
        return True

    async def _earlier_over(self, sock: socket.socket, request: SessionRequest, place: Place) -> bool:
        """Wait, before the login is answered, until no command of the initiator's earlier sessions is with a
        backstore: a late write of one must not land on top of what the new session writes (RFC 7143 §6.3.5).
        The connection of the earlier one may have broken long before, and a restarted initiator has a new
        ISID. False when the login cannot go on.
        """
        while True:
            existing = self._table.find(key_of(request, place))
            if existing is not None:
                existing.close("the initiator logged in again")
            ending = self._table.ending(request.initiator_name, place.target)
            if ending is None:
                return True
            # Letting it in all the same would trade its data for its patience; it tries again.
            if not await quiet(ending.quiet()):
                raise self._waits_for_storage(place.target, request.initiator_name)
            if _closed_by_peer(sock):
                return False  # it gave up, and its next login may be through already

    def _waits_for_storage(self, target: str, initiator: str) -> TooLate:
        self._reporter.backstore_error(
            target,
            f"A login of {initiator} has to wait: the storage has not finished what its last session wrote.",
        )
        return TooLate(
            login_status.SERVICE_UNAVAILABLE, "the storage has not finished what its last session wrote"
        )

    def _session_closed(self, session: ServedSession, reason: str, error: bool) -> None:
        self._table.discard(session)
        self._news.session_ended(session, reason, error)


class TooLate(Exception):
    """The login was in order, and cannot become a session all the same. `status` is what is answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Arrival:
    """A connection whose login has succeeded, on its way to a session."""

    __slots__ = ("address", "listens_at", "outcome", "portal", "result", "sock")

    def __init__(
        self,
        sock: socket.socket,
        outcome: LoginOutcome,
        result: TargetLoginResult,
        address: str,
        portal: Portal,
        listens_at: Portal,
    ) -> None:
        self.sock = sock
        self.outcome = outcome
        self.result = result
        self.address = address
        self.portal = portal
        self.listens_at = listens_at


def _local_portal(sock: socket.socket) -> Portal:
    host, port, *_ = sock.getsockname()
    return Portal(str(host).partition("%")[0], port)


def _closed_by_peer(sock: socket.socket) -> bool:
    """True when the other side has closed the connection; what it sent stays to be received."""
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
