"""All sessions of a server, and the decision which of them a login is for (RFC 7143 §6.3.1)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from san_console.iscsi import login_status
from san_console.iscsi.login_policy import SessionDecision, SessionRequest
from san_console.names.iscsi_name import comparison_key
from san_console.target.session import ServedSession

MAX_SESSIONS = 1024  # of all targets; SPDK's limit on connections
# Discovery needs no secret unless CHAP is set for it: whoever asks must not keep those out who do work.
MAX_DISCOVERY_SESSIONS = 128
# A discovery takes milliseconds. One that has been there for so long goes when there is no place for others:
# anybody may ask, and whoever keeps asking must not keep the rest from it.
DISCOVERY_STAYS_S = 10.0
MAX_CONNECTIONS = 4096  # of all sessions; below the descriptors that systemd gives a service (524,288)

Key = tuple[str, bytes, str, str]
"""(initiator, ISID, target, portal group): what makes a session the one of its initiator (§4.4.3)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a login happens. `group` is the portal group tag; for discovery, which has no target, the portal:
    nobody's discovery at one portal ends what he asks at another.
    """

    target: str
    group: str
    max_sessions: int = 0


def key_of(request: SessionRequest, place: Place) -> Key:
    """The key of the session that a login asks for."""
    return comparison_key(request.initiator_name), request.isid, place.target, place.group


class SessionTable:
    """Sessions by id, TSIH, key and target: a login looks none of them through."""

    def __init__(self) -> None:
        self.connection_count = 0
        self._by_id: dict[str, ServedSession] = {}
        self._by_tsih: dict[int, ServedSession] = {}
        self._by_key: dict[Key, ServedSession] = {}
        self._keys: dict[str, Key] = {}
        self._by_target: dict[str, dict[str, ServedSession]] = {}
        self._ending: dict[tuple[str, str], dict[str, ServedSession]] = {}

    def __iter__(self) -> Iterator[ServedSession]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, session_id: str) -> ServedSession | None:
        """The session with this id."""
        return self._by_id.get(session_id)

    def of_target(self, target: str) -> list[ServedSession]:
        """The normal sessions of a target; with an empty name the discovery sessions."""
        return list(self._by_target.get(target, {}).values())

    def find(self, key: Key) -> ServedSession | None:
        """The session that an initiator port has with a portal group of a target."""
        return self._by_key.get(key)

    def with_tsih(self, tsih: int) -> ServedSession | None:
        """The session with this TSIH."""
        return self._by_tsih.get(tsih)

    def ending(self, initiator_name: str, target: str) -> ServedSession | None:
        """A session of that initiator that is over, with commands that a backstore has not finished yet."""
        return next(iter(self._ending.get((comparison_key(initiator_name), target), {}).values()), None)

    def add(self, session: ServedSession, key: Key) -> None:
        """A session begins; what its key had before is over."""
        self._by_id[session.id] = session
        self._by_tsih[session.result.tsih] = session
        self._by_key[key] = session
        self._keys[session.id] = key
        self._by_target.setdefault(key[2], {})[session.id] = session

    def discard(self, session: ServedSession) -> None:
        """A session is over; while a backstore works for it, `ending` still finds it."""
        if self._by_id.pop(session.id, None) is None:
            return
        key = self._keys.pop(session.id)
        if self._by_tsih.get(session.result.tsih) is session:
            del self._by_tsih[session.result.tsih]
        if self._by_key.get(key) is session:
            del self._by_key[key]
        mates = self._by_target[key[2]]
        del mates[session.id]
        if not mates:
            del self._by_target[key[2]]
        if not session.protocol.quiet:
            self._ending.setdefault((key[0], key[2]), {})[session.id] = session
            session.when_quiet(lambda: self._ended(session, (key[0], key[2])))

    def _ended(self, session: ServedSession, whose: tuple[str, str]) -> None:
        rest = self._ending.get(whose)
        if rest is not None:
            rest.pop(session.id, None)
            if not rest:
                del self._ending[whose]

    def new_tsih(self) -> int:
        """A TSIH that no session has; never 0, which is what a new session is asked for with."""
        while True:
            tsih = secrets.randbelow(0xFFFF) + 1
            if tsih not in self._by_tsih:
                return tsih

    def is_full(self, place: Place) -> bool:
        """True when one more session at `place` would be too many."""
        most = place.max_sessions if place.target else MAX_DISCOVERY_SESSIONS
        return (
            len(self._by_id) >= MAX_SESSIONS
            or self.connection_count >= MAX_CONNECTIONS
            or len(self._by_target.get(place.target, ())) >= most
        )

    def stale_discovery(self, now: float) -> ServedSession | None:
        """The discovery session that goes to make place for another one. `now` is wall time."""
        there = self._by_target.get("", {})
        oldest = next(iter(there.values()), None)
        if oldest is None or len(there) < MAX_DISCOVERY_SESSIONS:
            return None
        return oldest if now - oldest.logged_in_at >= DISCOVERY_STAYS_S else None

    def decide(
        self,
        request: SessionRequest,
        place: Place,
        may_replace: Callable[[ServedSession], bool] = lambda _: False,
    ) -> SessionDecision:
        """The table of ISID and TSIH. Authentication is over, so that nobody else can touch a session.

        `may_replace` says of a session whether another identity may end it.
        """
        existing = self._by_key.get(key_of(request, place))
        if (
            existing is not None
            and existing.result.session.chap_user != request.chap_user
            and (request.tsih or not may_replace(existing))
        ):
            return SessionDecision(login_status.AUTHORIZATION_FAILURE)  # §9.2: the same identity as before
        if request.tsih:
            return self._join(request, place, existing)
        if existing is not None:
            return SessionDecision(tsih=self.new_tsih(), action="session reinstatement")
        if self.is_full(place):
            return SessionDecision(login_status.OUT_OF_RESOURCES)
        return SessionDecision(tsih=self.new_tsih(), action="new")

    def _join(self, request: SessionRequest, place: Place, existing: ServedSession | None) -> SessionDecision:
        if existing is None or existing.result.tsih != request.tsih:
            return SessionDecision(self._why_not_there(request, place))
        protocol = existing.protocol
        if request.cid in existing.connections or request.cid in protocol.connections:
            action = "connection reinstatement"
        elif protocol.discovery or len(existing.connections) >= existing.max_connections:
            return SessionDecision(login_status.TOO_MANY_CONNECTIONS)
        elif self.connection_count >= MAX_CONNECTIONS:
            return SessionDecision(login_status.OUT_OF_RESOURCES)
        else:
            action = "new connection"
        return SessionDecision(
            tsih=request.tsih,
            action="new connection" if action == "new connection" else "connection reinstatement",
            session_parameters=existing.result.params,
            exp_cmd_sn=protocol.exp_cmd_sn,
            max_cmd_sn=protocol.max_cmd_sn,
        )

    def _why_not_there(self, request: SessionRequest, place: Place) -> int:
        """A session of another portal group cannot take the connection in (§4.4.1): that is worth its own
        status, but only for its owner.
        """
        other = self._by_tsih.get(request.tsih)
        if other is not None and place.target:
            key = self._keys[other.id]
            mine = key_of(request, place)
            if key[:3] == mine[:3] and other.result.session.chap_user == request.chap_user:
                return login_status.CANNOT_INCLUDE_IN_SESSION
        return login_status.SESSION_DOES_NOT_EXIST
