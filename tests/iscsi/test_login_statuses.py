"""Every login status of RFC 7143 §11.13.5: what brings it about, and that it ends the login."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from san_console.iscsi import login_status as s
from san_console.iscsi.errors import RemoteProtocolError
from san_console.iscsi.framing import Framer
from san_console.iscsi.login_target import SessionDecision, TargetDecision
from san_console.iscsi.opcodes import LOGIN_REQUEST
from san_console.iscsi.pdu import ScsiCommand
from san_console.names.credentials import ChapCredentials, Secret
from tests.iscsi.login_pair import INITIATOR, TARGET, Policy, RawInitiator

CHAP = TargetDecision(chap=[ChapCredentials("alice", Secret("alice-secret-0123"))])


def _wrong_stage(raw: RawInitiator) -> None:
    raw.begin(csg=2)


def _no_security(raw: RawInitiator) -> None:
    raw.begin(csg=1)


def _version(raw: RawInitiator) -> None:
    raw.begin(version_min=1, version_max=1)


def _no_name(raw: RawInitiator) -> None:
    raw.send(f"TargetName={TARGET}")


def _odd_type(raw: RawInitiator) -> None:
    raw.send(f"InitiatorName={INITIATOR} SessionType=Odd")


def _whole(raw: RawInitiator) -> None:
    raw.begin(csg=1, nsg=3, transit=True, tsih=5)


def _said_by_the_target(status: int) -> Policy:
    return Policy(TargetDecision(status=status, redirect="192.0.2.7:3260" if status >> 8 == 1 else None))


def _said_by_the_session(status: int) -> Policy:
    return Policy(session=SessionDecision(status=status))


# status, the target as it is set up, what the initiator does. The first half comes of the login protocol by
# itself, the rest is decided by whoever serves the target, before or after the authentication.
TABLE: list[tuple[int, Policy, Callable[[RawInitiator], object]]] = [
    (s.INITIATOR_ERROR, Policy(), _wrong_stage),
    (s.AUTHENTICATION_FAILURE, Policy(CHAP), _no_security),
    (s.UNSUPPORTED_VERSION, Policy(), _version),
    (s.MISSING_PARAMETER, Policy(), _no_name),
    (s.SESSION_TYPE_NOT_SUPPORTED, Policy(), _odd_type),
    (s.TARGET_MOVED_TEMPORARILY, _said_by_the_target(s.TARGET_MOVED_TEMPORARILY), _whole),
    (s.TARGET_MOVED_PERMANENTLY, _said_by_the_target(s.TARGET_MOVED_PERMANENTLY), _whole),
    (s.AUTHORIZATION_FAILURE, _said_by_the_target(s.AUTHORIZATION_FAILURE), _whole),
    (s.NOT_FOUND, _said_by_the_target(s.NOT_FOUND), _whole),
    (s.TARGET_REMOVED, _said_by_the_target(s.TARGET_REMOVED), _whole),
    (s.TARGET_ERROR, _said_by_the_target(s.TARGET_ERROR), _whole),
    (s.SERVICE_UNAVAILABLE, _said_by_the_target(s.SERVICE_UNAVAILABLE), _whole),
    (s.TOO_MANY_CONNECTIONS, _said_by_the_session(s.TOO_MANY_CONNECTIONS), _whole),
    (s.CANNOT_INCLUDE_IN_SESSION, _said_by_the_session(s.CANNOT_INCLUDE_IN_SESSION), _whole),
    (s.SESSION_DOES_NOT_EXIST, _said_by_the_session(s.SESSION_DOES_NOT_EXIST), _whole),
    (s.OUT_OF_RESOURCES, _said_by_the_session(s.OUT_OF_RESOURCES), _whole),
]
EVERY_STATUS = {
    value for name, value in vars(s).items() if name.isupper() and isinstance(value, int) and value
}


@pytest.mark.parametrize(("status", "policy", "act"), TABLE, ids=[f"{row[0]:04x}" for row in TABLE])
def test_status(status: int, policy: Policy, act: Callable[[RawInitiator], object]) -> None:
    raw = RawInitiator(policy=policy)
    act(raw)
    assert raw.status == raw.target.status == status
    assert raw.target.failed
    assert not raw.target.done
    # §11.13.3 and the table of §6.3.1: a refused login hands out no session.
    assert not raw.granted()
    assert raw.last.tsih in (0, 5)


def test_another_pdu_during_the_login() -> None:
    """020b, §6.3: the framer knows it at the first byte; nothing of the PDU is read."""
    framer = Framer(expected_opcodes=frozenset({LOGIN_REQUEST}))
    room = framer.writable()
    bhs = ScsiCommand().pack()
    room[: len(bhs)] = bhs
    framer.wrote(len(bhs))
    with pytest.raises(RemoteProtocolError) as caught:
        framer.next_frame()
    assert caught.value.login_status == s.INVALID_DURING_LOGIN
    raw = RawInitiator()
    raw.begin(csg=0)
    [(response, _)] = raw.target.refuse(None, str(caught.value), s.INVALID_DURING_LOGIN)
    assert (response.status_class, response.status_detail) == (2, 0x0B)


def test_the_table_is_complete() -> None:
    assert {status for status, _, _ in TABLE} | {s.INVALID_DURING_LOGIN} == EVERY_STATUS


@pytest.mark.parametrize("status", [s.TARGET_MOVED_TEMPORARILY, s.TARGET_MOVED_PERMANENTLY])
def test_a_redirect_names_the_new_address(status: int) -> None:
    """§11.13.5: one TargetAddress or more; §13.8: without a tag. No session is asked for."""
    policy = _said_by_the_target(status)
    raw = RawInitiator(policy=policy)
    assert raw.begin() == {"TargetAddress": "192.0.2.7:3260"}
    assert raw.status == status
    assert policy.sessions == []
