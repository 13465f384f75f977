"""Text that no login takes, as the initiator would send it (B06, B07, B10; RFC 7143 §6.1, §6.2, §13)."""

from __future__ import annotations

import pytest

from san_console.iscsi import login_status
from san_console.iscsi.login_target import TargetDecision
from san_console.iscsi.parameters import Offer
from san_console.names.iscsi_name import same_name
from tests.iscsi.login_pair import INITIATOR, TARGET, RawInitiator

NAMES = f"InitiatorName={INITIATOR}\0TargetName={TARGET}\0".encode()


@pytest.mark.parametrize(
    "text",
    [
        NAMES[:-1],  # no NUL at the end
        NAMES + b"=value\0",
        NAMES + b"NoEquals\0",
        NAMES + b"headerDigest=None\0",
        NAMES + b"K" * 64 + b"=x\0",
        NAMES + b"Key =x\0",
        NAMES + b"\0HeaderDigest=None\0",
        NAMES + b"HeaderDigest=None\0HeaderDigest=None\0",
        NAMES + b"X-a.b=1\0X-a.b=1\0",
        NAMES + b"HeaderDigest=Reject\0",
        NAMES + b"MaxBurstLength=Irrelevant\0",
        NAMES + b"ImmediateData=NotUnderstood\0",
        NAMES + b"X-never.offered=Reject\0",
        NAMES + b"TargetPortalGroupTag=1\0",
        NAMES + b"SendTargets=All\0",
        NAMES + b"CHAP_A=5\0",
        NAMES + b"MaxRecvDataSegmentLength=\0",
        NAMES + b"MaxRecvDataSegmentLength=0\0",
        NAMES + b"MaxRecvDataSegmentLength=511\0",
        NAMES + b"MaxRecvDataSegmentLength=16777216\0",
        NAMES + b"HeaderDigest=\xff\xfe\0",
        b"InitiatorName=\xc3\x28\0" + NAMES,
        b"InitiatorName=" + INITIATOR.encode() + b"\0x=\0",
    ],
)
def test_protocol_errors_of_the_operational_stage(text: bytes) -> None:
    raw = RawInitiator()
    raw.send(text, csg=1, nsg=3, transit=True)
    assert raw.status == login_status.INITIATOR_ERROR
    assert raw.target.failed
    assert raw.policy.sessions == []


@pytest.mark.parametrize(
    "pair",
    [
        "MaxBurstLength=-1",
        "MaxBurstLength=0x",
        "MaxBurstLength=18446744073709551616",
        "MaxBurstLength=1e3",
        "MaxBurstLength=4096~512",
        "MaxBurstLength=511",
        "MaxBurstLength=007",
        "MaxConnections=0",
        "MaxConnections=65536",
        "MaxOutstandingR2T=0",
        "DefaultTime2Wait=3601",
        "ErrorRecoveryLevel=3",
        "ImmediateData=yes",
        "InitialR2T=1",
        "HeaderDigest=crc32c",
        "DataDigest=,",
        "TaskReporting=fastabort",
        "iSCSIProtocolLevel=32",
    ],
)
def test_impossible_values_are_answered_with_reject(pair: str) -> None:
    """§6.2.2, §6.2.1: the login goes on with the default."""
    raw = RawInitiator(TargetDecision(offer=Offer(protocol_level=2, error_recovery_level=2)))
    name = pair.partition("=")[0]
    keys = raw.begin(pair, csg=1, nsg=3, transit=True)
    assert keys[name] == "Reject"
    assert raw.target.done


@pytest.mark.parametrize(
    "name",
    [
        "iqn.2026-11.org.example:" + "x" * 200,  # 224 bytes
        "iqn.2026-11.org.example:e\u0301",  # not NFC, and beyond ASCII
        "iqn.2026-11.org.example:a\u200bb",
        "iqn.2026-11.org.example:a/../b",
        "IQN",
        "",
    ],
)
def test_impossible_initiator_names(name: str) -> None:
    """§4.2.7.1: 223 bytes at most, after RFC 3722."""
    raw = RawInitiator()
    raw.send(f"InitiatorName={name}\0TargetName={TARGET}\0".encode(), csg=1)
    if raw.status == 0:  # what the profile maps to a legal name is that name
        assert raw.policy.asked[0][0] != name
        assert raw.policy.asked[0][0].isprintable()
    else:
        assert raw.status in (login_status.INITIATOR_ERROR, login_status.MISSING_PARAMETER)
        assert raw.policy.asked == []


def test_capitals_reach_the_policy_as_they_were_sent() -> None:
    """Whether two spellings name one node is asked by `same_name`, not here."""
    raw = RawInitiator()
    raw.send(f"InitiatorName={INITIATOR.upper()}\0TargetName={TARGET.upper()}\0".encode(), csg=1)
    [(initiator, target, _, _)] = raw.policy.asked
    assert target is not None
    assert (initiator, target) == (INITIATOR.upper(), TARGET.upper())
    assert same_name(initiator, INITIATOR)
    assert same_name(target, TARGET)


def test_six_exchanges_at_least() -> None:
    """§6.2: a negotiation of six exchanges must be possible, in each stage and with continued text."""
    raw = RawInitiator()
    raw.begin(csg=0)
    raw.send(csg=0, nsg=1, transit=True)
    for pair in ("ErrorRecoveryLevel=0", "MaxBurstLength=65536", "InitialR2T=No", "ImmediateData=Yes"):
        data = pair.encode() + b"\0"
        assert raw.send(data[:5], csg=1, continued=True) == {}
        assert raw.status == 0
        assert len(raw.send(data[5:], csg=1)) >= 1
    raw.send(csg=1, nsg=3, transit=True)
    assert raw.target.done
