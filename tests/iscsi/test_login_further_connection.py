"""Logins that join a session or take the place of one of its connections (RFC 7143 §6.3.1, §6.3.4, §13)."""

from __future__ import annotations

from typing import Any

import pytest

from san_console.iscsi import login_status
from san_console.iscsi.keys import OPERATIONAL_KEYS
from san_console.iscsi.login_target import SessionDecision, TargetDecision
from san_console.iscsi.opcodes import DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES
from san_console.iscsi.parameters import Offer, OperationalParameters
from san_console.names.credentials import ChapCredentials, Secret
from san_console.wire import serial
from tests.iscsi.login_pair import Policy, RawInitiator, run_login

SESSION = OperationalParameters(
    max_connections=8,
    initial_r2t=False,
    max_recv_data_segment_bytes=131072,
    peer_max_recv_data_segment_bytes=16384,
    max_burst_bytes=65536,
    first_burst_bytes=32768,
    error_recovery_level=2,
    task_reporting="FastAbort",
    protocol_level=2,
)
OFFER = Offer(header_digest=("CRC32C", "None"), max_connections=4, error_recovery_level=1)


def joining(action: Any = "new connection") -> Policy:
    decision = SessionDecision(
        tsih=7, action=action, session_parameters=SESSION, exp_cmd_sn=50, max_cmd_sn=80
    )
    return Policy(TargetDecision(offer=OFFER), decision)


@pytest.mark.parametrize("action", ["new connection", "connection reinstatement"])
def test_the_session_keeps_its_parameters(action: Any) -> None:
    raw = RawInitiator(policy=joining(action))
    keys = raw.begin(
        "HeaderDigest=CRC32C MaxRecvDataSegmentLength=4096", csg=1, nsg=3, transit=True, tsih=7, cid=3
    )
    assert keys == {
        "TargetPortalGroupTag": "1",
        "HeaderDigest": "CRC32C",
        "MaxRecvDataSegmentLength": "262144",
    }
    result = raw.target.result
    assert result is not None
    assert (result.tsih, result.action, result.session.cid) == (7, action, 3)
    assert result.params.header_digest == "CRC32C"
    assert result.params.max_recv_data_segment_bytes == 262144
    assert result.params.peer_max_recv_data_segment_bytes == 4096
    # Scope CO is all that this login has decided; the session itself is untouched.
    assert result.params.for_connection(SESSION) == SESSION
    assert SESSION.header_digest == "None"


def test_what_is_not_negotiated_anew_has_its_default_and_not_the_value_of_the_first_connection() -> None:
    """§13, scope CO: "applies only to one connection"."""
    raw = RawInitiator(policy=joining())
    raw.begin(csg=1, nsg=3, transit=True, tsih=7)
    assert raw.target.result is not None
    assert raw.target.result.params.peer_max_recv_data_segment_bytes == DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES


@pytest.mark.parametrize(
    "pair", ["MaxConnections=8", "MaxBurstLength=65536", "ErrorRecoveryLevel=0", "InitialR2T=No"]
)
def test_keys_of_the_leading_login_are_refused(pair: str) -> None:
    """§13, use LO: even with the value that the session has."""
    name = pair.partition("=")[0]
    assert OPERATIONAL_KEYS[name].use == "LO"
    raw = RawInitiator(policy=joining())
    keys = raw.begin(pair, csg=1, nsg=3, transit=True, tsih=7)
    assert keys[name] == "Reject"
    assert raw.target.result is not None
    assert raw.target.result.params.error_recovery_level == 2


def test_the_window_is_that_of_the_session() -> None:
    """§11.12.8, §4.2.2.1: commands on the other connections are not acknowledged by a login."""
    raw = RawInitiator(policy=joining())
    raw.begin(csg=0, tsih=7, cmd_sn=60)
    early = raw.last
    assert serial.lt(early.exp_cmd_sn, 50)
    assert serial.lt(early.max_cmd_sn, 80)
    assert early.max_cmd_sn == serial.add(early.exp_cmd_sn, -1)  # not less than that: §4.2.2.1
    raw.send(csg=0, nsg=3, transit=True, tsih=7, cmd_sn=60)
    assert (raw.last.exp_cmd_sn, raw.last.max_cmd_sn) == (50, 80)
    assert raw.target.result is not None
    assert (raw.target.result.exp_cmd_sn, raw.target.result.max_cmd_sn) == (50, 80)


def test_the_session_is_not_asked_for_before_the_authentication() -> None:
    """§9.2, B12: neither its parameters nor its numbers are told to somebody without the secret."""
    policy = joining()
    policy.decision = TargetDecision(chap=[ChapCredentials("alice", Secret("alice-secret-0123"))])
    raw = RawInitiator(policy=policy)
    raw.begin("AuthMethod=CHAP", tsih=7)
    raw.send("CHAP_A=5", tsih=7)
    raw.send("CHAP_N=alice CHAP_R=0x00112233445566778899aabbccddeeff", tsih=7)
    assert raw.status == login_status.AUTHENTICATION_FAILURE
    assert policy.sessions == []


def test_both_roles_agree() -> None:
    login = run_login(policy=joining(), tsih=7, cid=2, offer=OFFER, session_parameters=SESSION)
    ours, theirs = login.result.params, login.target_result.params
    assert (ours.error_recovery_level, theirs.error_recovery_level) == (2, 2)
    assert ours.header_digest == theirs.header_digest == "CRC32C"
    assert ours.peer_max_recv_data_segment_bytes == theirs.max_recv_data_segment_bytes
    assert (login.result.exp_cmd_sn, login.result.max_cmd_sn) == (50, 80)
    offered = {name for texts in login.texts[::2] for name, _ in texts}
    assert not {name for name in offered if name in OPERATIONAL_KEYS and OPERATIONAL_KEYS[name].use == "LO"}
