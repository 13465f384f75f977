"""The table of ISID and TSIH (RFC 7143 §6.3.1), entry by entry, and the indices behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from san_console.iscsi import login_status
from san_console.iscsi.login_policy import SessionRequest
from san_console.target import session_table
from san_console.target.session_table import Place, SessionTable, key_of

ME = "iqn.2026-11.org.example:me"
DISKS = "iqn.2026-11.org.example:disks"
ISID = b"\x80isid."
HERE = Place(DISKS, "1", 10)
THERE = Place(DISKS, "2", 10)
DISCOVERY = Place("", "127.0.0.1:3260")


@dataclass
class Protocol:
    """What the table asks of a session's protocol."""

    exp_cmd_sn: int = 17
    max_cmd_sn: int = 99
    discovery: bool = False
    quiet: bool = True
    connections: dict[int, object] = field(default_factory=dict)


@dataclass
class Params:
    max_connections: int = 2


@dataclass
class Result:
    tsih: int
    session: SessionRequest
    params: Params = field(default_factory=Params)


class Session:
    """What the table asks of a session."""

    def __init__(self, id_: str, tsih: int, request: SessionRequest, cids: tuple[int, ...]) -> None:
        self.id = id_
        self.result = Result(tsih, request)
        self.protocol = Protocol()
        self.connections = dict.fromkeys(cids)
        self.waiting: list[Callable[[], None]] = []

    @property
    def max_connections(self) -> int:
        return self.result.params.max_connections

    def when_quiet(self, then: Callable[[], None]) -> None:
        self.waiting.append(then)


def request(**changes: Any) -> SessionRequest:
    fields: dict[str, Any] = {
        "initiator_name": ME,
        "target_name": DISKS,
        "session_type": "Normal",
        "isid": ISID,
        "tsih": 0,
        "cid": 0,
        "chap_user": None,
    }
    return SessionRequest(**(fields | changes))


def table_with(
    place: Place = HERE, cids: tuple[int, ...] = (0,), **changes: Any
) -> tuple[SessionTable, Session]:
    table = SessionTable()
    mine = request(**changes)
    session = Session("t1", 0x77, mine, cids)
    table.add(session, key_of(mine, place))  # type: ignore[arg-type]  # a stand-in
    return table, session


@pytest.mark.parametrize(
    ("changes", "place", "outcome"),
    [
        # ISID new
        ({"isid": b"\x80other", "tsih": 0x77}, HERE, login_status.SESSION_DOES_NOT_EXIST),
        ({"isid": b"\x80other"}, HERE, "new"),
        # ISID existing
        ({}, HERE, "session reinstatement"),
        ({"tsih": 0x77, "cid": 1}, HERE, "new connection"),
        ({"tsih": 0x77, "cid": 0}, HERE, "connection reinstatement"),
        ({"tsih": 0x78}, HERE, login_status.SESSION_DOES_NOT_EXIST),
        # Another initiator, another spelling of this one, another portal group
        ({"initiator_name": ME + "2"}, HERE, "new"),
        ({"initiator_name": ME + "2", "tsih": 0x77, "cid": 1}, HERE, login_status.SESSION_DOES_NOT_EXIST),
        ({"initiator_name": ME.upper()}, HERE, "session reinstatement"),
        ({}, THERE, "new"),
        ({"tsih": 0x77, "cid": 1}, THERE, login_status.CANNOT_INCLUDE_IN_SESSION),
        # Another identity (§9.2): not for a connection, not for a reinstatement, and no hint either
        ({"chap_user": "bob"}, HERE, login_status.AUTHORIZATION_FAILURE),
        ({"chap_user": "bob", "tsih": 0x77, "cid": 1}, HERE, login_status.AUTHORIZATION_FAILURE),
        ({"chap_user": "bob", "tsih": 0x77, "cid": 1}, THERE, login_status.SESSION_DOES_NOT_EXIST),
    ],
)
def test_the_table(changes: dict[str, Any], place: Place, outcome: str | int) -> None:
    table, _ = table_with()
    decision = table.decide(request(**changes), place)
    if isinstance(outcome, int):
        assert (decision.status, decision.tsih) == (outcome, 0)
        return
    assert (decision.status, decision.action) == (0, outcome)
    assert (decision.tsih == 0x77) is ("connection" in outcome)
    assert decision.tsih
    assert (decision.exp_cmd_sn, decision.max_cmd_sn) == (
        (17, 99) if "connection" in outcome else (None, None)
    )


def test_no_more_connections_than_agreed_on() -> None:
    table, session = table_with(cids=(0, 1))
    assert table.decide(request(tsih=0x77, cid=2), HERE).status == login_status.TOO_MANY_CONNECTIONS
    assert table.decide(request(tsih=0x77, cid=1), HERE).action == "connection reinstatement"
    # One that the protocol still has, without a socket, is reinstated too.
    session.protocol.connections = {5: object()}
    assert table.decide(request(tsih=0x77, cid=5), HERE).action == "connection reinstatement"
    table.connection_count = session_table.MAX_CONNECTIONS
    session.result.params.max_connections = 8
    assert table.decide(request(tsih=0x77, cid=3), HERE).status == login_status.OUT_OF_RESOURCES


def test_a_discovery_session_has_one_connection_and_belongs_to_its_portal() -> None:
    changes: dict[str, Any] = {"target_name": None, "session_type": "Discovery"}
    table, session = table_with(DISCOVERY, **changes)
    session.protocol.discovery = True
    assert (
        table.decide(request(tsih=0x77, cid=1, **changes), DISCOVERY).status
        == login_status.TOO_MANY_CONNECTIONS
    )
    assert table.decide(request(**changes), DISCOVERY).action == "session reinstatement"
    assert table.decide(request(**changes), Place("", "[::1]:3260")).action == "new"


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = table_with()
    other = request(isid=b"\x80other")
    assert not table.is_full(HERE)
    assert table.decide(other, Place(DISKS, "1", 1)).status == login_status.OUT_OF_RESOURCES
    # Who has a session may have it again.
    assert table.decide(request(), Place(DISKS, "1", 1)).action == "session reinstatement"
    monkeypatch.setattr(session_table, "MAX_DISCOVERY_SESSIONS", 0)
    assert table.is_full(DISCOVERY)
    monkeypatch.setattr(session_table, "MAX_SESSIONS", 1)
    assert table.decide(other, HERE).status == login_status.OUT_OF_RESOURCES


def test_sessions_are_found_and_forgotten() -> None:
    table, session = table_with()
    wanted: Any = session
    key = key_of(request(), HERE)
    assert [table.find(key)] == [wanted]
    assert table.with_tsih(0x77) is wanted
    assert table.get("t1") is wanted
    assert table.of_target(DISKS) == [wanted] == list(table)
    assert len(table) == 1
    session.protocol.quiet = False
    for _ in range(2):
        table.discard(session)  # type: ignore[arg-type]  # a stand-in
    assert (len(table), table.find(key), table.with_tsih(0x77), table.of_target(DISKS)) == (0, None, None, [])
    # Its last commands are waited for, by whatever spelling and ISID its initiator comes back.
    assert table.ending(ME.upper(), DISKS) is wanted
    assert table.ending(ME, "") is None
    session.waiting.pop()()
    assert table.ending(ME, DISKS) is None
    assert (table._by_target, table._ending, table._keys) == ({}, {}, {})


def test_a_session_that_was_replaced_does_not_take_its_successor_along() -> None:
    table, old = table_with()
    key = key_of(request(), HERE)
    new: Any = Session("t2", 0x78, request(), (0,))
    table.add(new, key)
    stale: Any = old
    table.discard(stale)
    assert table.find(key) is new
    assert table.of_target(DISKS) == [new]


def test_tsihs_are_never_zero_and_never_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = table_with()
    drawn = iter([0x76, 0x76, 0])  # 0x77 is taken
    monkeypatch.setattr("san_console.target.session_table.secrets.randbelow", lambda _: next(drawn))
    assert table.new_tsih() == 1
