"""Whole logins, our initiator and our target back to back in memory."""

from __future__ import annotations

from typing import Any

import pytest

from san_console.iscsi import chap, opcodes
from san_console.iscsi.errors import LocalProtocolError, LoginFailed, Redirected, RemoteProtocolError
from san_console.iscsi.login_target import SessionDecision, TargetDecision
from san_console.iscsi.parameters import Offer, digest_offer
from san_console.iscsi.pdu import LoginRequest, LoginResponse
from san_console.names.credentials import ChapCredentials, Secret
from tests.iscsi.login_pair import INITIATOR, ISID, TARGET, Policy, run_login

ALICE = ChapCredentials("alice", Secret("alice-secret-0123"))
DISK = ChapCredentials("disk", Secret("disk-secret-45678"))
WRONG = Secret("wrong-secret-9999")


def test_login_without_authentication() -> None:
    login = run_login(
        TargetDecision(tpgt=0, alias="Disk one", chap=None), initiator_alias="my host", cmd_sn=77
    )
    result, target = login.result, login.target_result
    assert (result.tsih, result.tpgt, result.target_alias, result.auth) == (0x4321, 0, "Disk one", "None")
    assert (target.tsih, target.action, target.initiator_alias, target.auth) == (
        0x4321,
        "new",
        "my host",
        "None",
    )
    assert result.params == target.params
    assert result.params.max_recv_data_segment_bytes == 262144
    assert (result.cmd_sn, result.exp_cmd_sn, result.max_cmd_sn) == (77, 77, 77 + 127)
    assert result.exp_stat_sn == target.stat_sn
    assert target.session.initiator_name == INITIATOR
    assert target.session.target_name == TARGET
    assert target.session.isid == ISID
    # Two exchanges: security with nothing to prove, then all keys at once.
    assert len(login.transcript) == 4


def test_stages_are_those_of_the_rfc() -> None:
    login = run_login()
    stages = [(pdu.csg, pdu.nsg if pdu.transit else None, pdu.continued) for pdu in login.transcript]
    assert stages == [(0, 1, False), (0, 1, False), (1, 3, False), (1, 3, False)]
    assert [pdu.tsih for pdu in login.transcript] == [0, 0, 0, 0x4321]  # the handle comes last (§11.13.3)
    stat_sns = [pdu.stat_sn for pdu in login.transcript if isinstance(pdu, LoginResponse)]
    assert stat_sns == [1, 2]
    acknowledged = [pdu.exp_stat_sn for pdu in login.transcript if isinstance(pdu, LoginRequest)]
    assert acknowledged == [0, 2]


def test_portal_group_tag_is_sent_exactly_once_first() -> None:
    login = run_login(TargetDecision(tpgt=7, chap=[ALICE], mutual=DISK), chap=ALICE, mutual_chap=DISK)
    answers = login.texts[1::2]
    assert answers[0][0] == ("TargetPortalGroupTag", "7")
    assert sum(key == "TargetPortalGroupTag" for answer in answers for key, _ in answer) == 1


@pytest.mark.parametrize("algorithm", chap.PREFERENCE)
@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("discovery", [False, True])
def test_chap(algorithm: int, mutual: bool, discovery: bool) -> None:
    login = run_login(
        TargetDecision(chap=[DISK, ALICE], mutual=ChapCredentials("disk", WRONG) if not mutual else DISK),
        chap=ALICE,
        mutual_chap=DISK if mutual else None,
        algorithms=(algorithm,),
        target_name=None if discovery else TARGET,
    )
    name = f"CHAP {chap.ALGORITHM_NAMES[algorithm]}" + (" mutual" if mutual else "")
    assert login.result.auth == login.target_result.auth == name
    assert login.target_result.session.chap_user == "alice"
    assert login.target_result.session.session_type == ("Discovery" if discovery else "Normal")
    offered = dict(login.texts[2])["CHAP_A"].split(",")
    assert offered[0] == str(algorithm)
    assert "5" in offered  # §12.1.3: always


def test_all_algorithms_are_offered() -> None:
    login = run_login(TargetDecision(chap=[ALICE]), chap=ALICE)
    # 7 behind 5: tgt takes it for SHA-1, and must not come to choose it.
    assert dict(login.texts[2])["CHAP_A"] == "8,6,5,7"
    assert login.result.auth == "CHAP SHA3-256"


def test_the_target_proves_itself_only_after_the_initiator() -> None:
    login = run_login(TargetDecision(chap=[ALICE], mutual=DISK), chap=ALICE, mutual_chap=DISK)
    keys = [[key for key, _ in pairs] for pairs in login.texts]
    assert keys[3] == ["CHAP_A", "CHAP_I", "CHAP_C"]
    assert keys[4] == ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"]
    assert keys[5] == ["CHAP_N", "CHAP_R"]


@pytest.mark.parametrize(
    "offered", [ChapCredentials("alice", WRONG), ChapCredentials("bob", ALICE.secret)], ids=["secret", "user"]
)
@pytest.mark.parametrize("mutual", [None, DISK])
def test_wrong_secret_of_the_initiator_names_the_direction(
    offered: ChapCredentials, mutual: ChapCredentials | None
) -> None:
    with pytest.raises(LoginFailed) as caught:
        run_login(TargetDecision(chap=[ALICE], mutual=DISK), chap=offered, mutual_chap=mutual)
    assert caught.value.direction == "initiator"
    assert (caught.value.status_class, caught.value.status_detail) == (2, 1)
    assert caught.value.explanation.side == "target"
    assert offered.user in str(caught.value)


def test_wrong_secret_of_the_target_names_the_direction() -> None:
    with pytest.raises(LoginFailed, match="failed to prove itself") as caught:
        run_login(
            TargetDecision(chap=[ALICE], mutual=DISK),
            chap=ALICE,
            mutual_chap=ChapCredentials("disk", WRONG),
        )
    assert caught.value.direction == "target"
    assert caught.value.explanation.side == "initiator"


def test_name_of_the_target_is_bound_to_its_secret() -> None:
    expected = ChapCredentials("other", DISK.secret)
    with pytest.raises(LoginFailed, match="“disk”") as caught:
        run_login(TargetDecision(chap=[ALICE], mutual=DISK), chap=ALICE, mutual_chap=expected)
    assert caught.value.direction == "target"
    anybody = ChapCredentials("", DISK.secret)
    assert run_login(TargetDecision(chap=[ALICE], mutual=DISK), chap=ALICE, mutual_chap=anybody).result


def test_target_without_a_mutual_secret_refuses_to_be_authenticated() -> None:
    with pytest.raises(LoginFailed, match="0201") as caught:
        run_login(TargetDecision(chap=[ALICE]), chap=ALICE, mutual_chap=DISK)
    assert "mutual" in caught.value.explanation.check


@pytest.mark.parametrize("secret", [Secret("short"), ALICE.secret])
def test_target_does_not_prove_itself_with_a_bad_secret(secret: Secret) -> None:
    policy = Policy(TargetDecision(chap=[ALICE], mutual=ChapCredentials("disk", secret)))
    with pytest.raises(LoginFailed):
        run_login(policy=policy, chap=ALICE, mutual_chap=DISK)
    assert policy.sessions == []


def test_short_secret_of_the_target_is_sent_under_ipsec() -> None:
    short = ChapCredentials("disk", Secret("short"))
    login = run_login(
        TargetDecision(chap=[ALICE], mutual=short, allow_short_secret=True), chap=ALICE, mutual_chap=short
    )
    assert login.target.done


def test_no_secret_where_one_is_demanded() -> None:
    with pytest.raises(LoginFailed, match="no CHAP secret is set") as caught:
        run_login(TargetDecision(chap=[ALICE]))
    assert caught.value.direction is None
    assert "user" in caught.value.explanation.check


def test_initiator_with_a_secret_never_goes_on_without_chap() -> None:
    policy = Policy(TargetDecision(chap=None))
    with pytest.raises(LoginFailed, match="takes no CHAP"):
        run_login(policy=policy, chap=ALICE)
    assert policy.sessions == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mutual_chap": DISK}, "authenticates itself too"),
        ({"chap": ALICE, "mutual_chap": ChapCredentials("disk", ALICE.secret)}, "same secret"),
        ({"chap": ChapCredentials("alice", Secret("12345678901"))}, "11 bytes"),
        ({"chap": ChapCredentials("a" * 256, ALICE.secret)}, "255 bytes"),
        ({"isid": b"short"}, "6 bytes"),
        ({"initiator_alias": "x" * 256}, "InitiatorAlias"),
        ({"target_name": "iqn.2026-11.org.example:a\0b"}, "NUL"),
    ],
)
def test_what_must_not_be_sent_is_refused_first(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message) as caught:
        run_login(**settings)
    assert "secret-" not in str(caught.value)


def test_short_secret_is_sent_under_ipsec() -> None:
    short = ChapCredentials("alice", Secret("short"))
    assert run_login(TargetDecision(chap=[short]), chap=short, allow_short_secret=True).result


def test_a_node_may_log_in_to_itself() -> None:
    # Separate ledgers by role: our own target's challenge is no reflection.
    login = run_login(TargetDecision(chap=[ALICE], mutual=DISK), chap=ALICE, mutual_chap=DISK)
    assert login.initiator.done
    assert login.target.done


@pytest.mark.parametrize(
    ("initiator", "target", "expected"),
    [
        ("none", "none", "None"),
        ("none", "prefer", "None"),
        ("none", "require", "CRC32C"),
        ("prefer", "none", "CRC32C"),
        ("prefer", "require", "CRC32C"),
        ("require", "none", "CRC32C"),
    ],
)
def test_digests(initiator: str, target: str, expected: str) -> None:
    login = run_login(
        TargetDecision(offer=Offer(header_digest=digest_offer(target), data_digest=digest_offer(target))),
        offer=Offer(header_digest=digest_offer(initiator), data_digest=digest_offer(initiator)),
    )
    assert login.result.params.header_digest == login.target_result.params.header_digest == expected
    assert login.result.params.data_digest == login.target_result.params.data_digest == expected


def test_digest_that_only_one_side_has_fails_with_its_name() -> None:
    with pytest.raises(RemoteProtocolError, match="HeaderDigest is required"):
        run_login(
            TargetDecision(offer=Offer(header_digest=("None",))), offer=Offer(header_digest=("CRC32C",))
        )
    with pytest.raises(LoginFailed, match="0200"):
        run_login(
            TargetDecision(offer=Offer(header_digest=("CRC32C",))), offer=Offer(header_digest=("None",))
        )


def test_target_brings_up_a_digest_that_it_insists_on() -> None:
    # Trap: offers of the target must be answered, and it holds back T until they are.
    quiet = tuple(name for name in Offer().proposals if name != "HeaderDigest")
    login = run_login(TargetDecision(offer=Offer(header_digest=("CRC32C",))), offer=Offer(proposals=quiet))
    assert login.result.params.header_digest == login.target_result.params.header_digest == "CRC32C"
    record = next(record for record in login.result.keys if record.key == "HeaderDigest")
    assert (record.offered, record.answered, record.effective) == ("CRC32C", "CRC32C", "CRC32C")
    assert record.note == "offered by the target"
    assert len(login.transcript) == 6


def test_discovery_session() -> None:
    policy = Policy(TargetDecision(alias="not for discovery"))
    login = run_login(policy=policy, target_name=None)
    assert policy.asked == [(INITIATOR, None, "Discovery", "127.0.0.1")]
    assert login.result.target_alias is None
    assert login.result.params.error_recovery_level == 0
    offered = {key for key, _ in login.texts[2]}
    assert "MaxConnections" not in offered
    assert "MaxRecvDataSegmentLength" in offered


def test_time2wait_is_the_maximum_and_time2retain_the_minimum() -> None:
    login = run_login(
        TargetDecision(offer=Offer(default_time2wait_s=30, default_time2retain_s=60)),
        offer=Offer(default_time2wait_s=5, default_time2retain_s=20),
    )
    assert login.result.params.default_time2wait_s == login.target_result.params.default_time2wait_s == 30
    assert login.result.params.default_time2retain_s == login.target_result.params.default_time2retain_s == 20


@pytest.mark.parametrize(
    ("status", "words"),
    [(0x0202, "does not allow this initiator"), (0x0203, "no target of this name"), (0x0302, "no room")],
)
def test_refusals_are_explained(status: int, words: str) -> None:
    with pytest.raises(LoginFailed, match=words) as caught:
        run_login(TargetDecision(status=status))
    assert caught.value.status_class << 8 | caught.value.status_detail == status
    assert caught.value.explanation.side == "target"
    assert caught.value.explanation.check


@pytest.mark.parametrize(("status", "permanent"), [(0x0101, False), (0x0102, True)])
def test_redirect(status: int, permanent: bool) -> None:
    with pytest.raises(Redirected) as caught:
        run_login(TargetDecision(status=status, redirect="10.0.0.9:3260"))
    assert (caught.value.address, caught.value.permanent) == ("10.0.0.9:3260", permanent)


def test_session_decision_may_refuse_at_the_end() -> None:
    policy = Policy(session=SessionDecision(status=0x020A))
    with pytest.raises(LoginFailed, match="session that this connection was to join"):
        run_login(policy=policy, tsih=9)


def test_session_is_asked_for_only_after_authentication() -> None:
    # A forged reinstatement without the secret must not reach the session (B12).
    policy = Policy(TargetDecision(chap=[ALICE]))
    for forged in (None, ChapCredentials("alice", WRONG)):
        with pytest.raises(LoginFailed):
            run_login(policy=policy, chap=forged)
    assert policy.sessions == []
    run_login(policy=policy, chap=ALICE)
    assert [session.chap_user for session in policy.sessions] == ["alice"]


def test_text_longer_than_a_pdu_is_continued_both_ways() -> None:
    # A list of digests of our own making is longer than MaxRecvDataSegmentLength during login.
    long_list = (*(f"Y-org.example.digest{i:04}" for i in range(600)), "CRC32C", "None")
    login = run_login(offer=Offer(header_digest=long_list))
    requests = [pdu for pdu in login.transcript if isinstance(pdu, LoginRequest)]
    assert any(request.continued for request in requests)
    assert not any(request.continued and request.transit for request in requests)
    assert login.result.params.header_digest == "CRC32C"
    assert login.transcript[-1].nsg == opcodes.FULL_FEATURE_PHASE


def test_the_account_for_the_user() -> None:
    login = run_login(TargetDecision(offer=Offer(max_burst_bytes=512 * 1024, immediate_data=False)))
    ours = {record.key: record for record in login.result.keys}
    theirs = {record.key: record for record in login.target_result.keys}
    burst = ours["MaxBurstLength"]
    assert (burst.offered, burst.answered, burst.effective, burst.default) == (
        "1048576", "524288", "524288", "262144",
    )  # fmt: skip
    assert theirs["MaxBurstLength"].note == "offered by the initiator"
    assert ours["ImmediateData"].effective == "No"
    assert ours["TaskReporting"].note == "not negotiated"
    assert ours["MaxRecvDataSegmentLength"].effective == "262144 to us, 262144 to the target"
    assert "IFMarker" not in ours
