"""The target's login against an initiator that breaks the rules (B05-B22)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import chap, login_status, text
from san_console.iscsi.chap import ChallengeLedger
from san_console.iscsi.login_target import SessionDecision, TargetDecision
from san_console.iscsi.parameters import Offer
from san_console.iscsi.pdu import LoginRequest
from san_console.names.credentials import ChapCredentials, Secret
from tests.iscsi.login_pair import INITIATOR, ISID, TARGET, CountingRandom, Policy, RawInitiator

ALICE = ChapCredentials("alice", Secret("alice-secret-0123"))
DISK = ChapCredentials("disk", Secret("disk-secret-45678"))
CHAP = TargetDecision(chap=[ALICE], mutual=DISK)


def at_challenge(
    algorithms: str = "5", decision: TargetDecision = CHAP
) -> tuple[RawInitiator, dict[str, str]]:
    raw = RawInitiator(decision)
    assert raw.begin("AuthMethod=CHAP")["AuthMethod"] == "CHAP"
    return raw, raw.send(f"CHAP_A={algorithms}")


def response_to(keys: dict[str, str], secret: Secret = ALICE.secret) -> str:
    answer = chap.chap_response(
        int(keys["CHAP_A"]), int(keys["CHAP_I"]), secret, text.decode_binary(keys["CHAP_C"])
    )
    return text.encode_binary(answer)


def test_login_in_one_request() -> None:
    raw = RawInitiator()
    keys = raw.begin(csg=1, nsg=3, transit=True)
    assert keys == {"TargetPortalGroupTag": "1", "MaxRecvDataSegmentLength": "262144"}
    assert raw.target.done
    assert (raw.last.transit, raw.last.nsg, raw.last.tsih) == (True, 3, 0x4321)
    assert raw.policy.sessions[0].cid == 0
    assert (raw.last.exp_cmd_sn, raw.last.max_cmd_sn) == (9, 9 + 127)


def test_from_security_straight_to_full_feature_phase() -> None:
    raw = RawInitiator()
    assert raw.begin("AuthMethod=None", csg=0, nsg=3, transit=True)["AuthMethod"] == "None"
    assert raw.target.result is not None
    # Nothing was declared, so that the default of the RFC holds for both.
    assert raw.target.result.params.max_recv_data_segment_bytes == 8192


def test_stage_without_authmethod() -> None:
    raw = RawInitiator()
    assert raw.begin(csg=0, nsg=1, transit=True) == {"TargetPortalGroupTag": "1"}
    assert (raw.last.transit, raw.last.nsg) == (True, 1)


def test_empty_requests_are_answered_in_kind() -> None:
    raw = RawInitiator()
    raw.begin(csg=0)
    assert not raw.granted()
    raw.send(csg=0, nsg=1, transit=True)
    raw.send(csg=1)
    assert (raw.last.csg, raw.granted()) == (1, False)
    raw.send(csg=1, nsg=3, transit=True)
    assert raw.target.done


def test_keys_split_in_the_middle_of_a_name() -> None:
    raw = RawInitiator()
    data = f"InitiatorName={INITIATOR}\0TargetName={TARGET}\0AuthMethod=None\0".encode()
    for position in range(0, 60, 5):
        # Trap: a C bit is answered with an empty PDU; the portal group tag comes after the first C=0 only.
        assert raw.send(data[position : position + 5], csg=0, continued=True) == {}
        assert not raw.granted()
    keys = raw.send(data[60:], csg=0, nsg=1, transit=True)
    assert keys == {"TargetPortalGroupTag": "1", "AuthMethod": "None"}


def test_endless_continuation_is_cut_off() -> None:
    raw = RawInitiator()
    sent = 0
    while raw.status == 0:
        raw.send(b"X" * 1000, continued=True)
        sent += 1000
        assert sent <= 2 * text.MAX_NEGOTIATION_BYTES
    assert sent > 8192
    assert raw.status == login_status.INITIATOR_ERROR


def test_endless_exchange_is_cut_off() -> None:
    raw = RawInitiator()
    raw.begin(csg=0)
    for _ in range(5):
        raw.send(csg=0)
        assert raw.status == 0  # six exchanges at least (§6.2)
    for _ in range(100):
        if raw.status:
            break
        raw.send(csg=0)
    assert raw.status == login_status.INITIATOR_ERROR
    assert "exchanges" in (raw.target.failed or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"transit": True, "continued": True, "csg": 0, "nsg": 1},
        {"transit": True, "csg": 1, "nsg": 1},
        {"transit": True, "csg": 1, "nsg": 0},
        {"transit": True, "csg": 0, "nsg": 0},
        {"transit": True, "csg": 0, "nsg": 2},
        {"csg": 2},
        {"csg": 3},
        {"transit": True, "csg": 3, "nsg": 3},
        {"itt": 0xFFFFFFFF},
    ],
)
def test_flags_and_stages_that_do_not_exist(fields: dict[str, Any]) -> None:
    raw = RawInitiator()
    raw.begin(**fields)
    assert raw.status == login_status.INITIATOR_ERROR
    assert raw.target.failed
    assert not raw.granted()
    assert raw.last.tsih == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"itt": 6},
        {"isid": bytes(6)},
        {"cid": 1},
        {"tsih": 1},
        {"version_max": 1},
        {"csg": 1},
    ],
)
def test_nothing_changes_in_the_middle_of_a_login(fields: dict[str, Any]) -> None:
    raw = RawInitiator()
    raw.begin(csg=0)
    raw.send(**fields)
    assert raw.status == login_status.INITIATOR_ERROR


def test_version() -> None:
    raw = RawInitiator()
    raw.begin(version_min=1, version_max=2)
    assert raw.status == login_status.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ("TargetName=" + TARGET, login_status.MISSING_PARAMETER),
        ("InitiatorName=" + INITIATOR, login_status.MISSING_PARAMETER),
        (f"InitiatorName={INITIATOR} SessionType=Weird", login_status.SESSION_TYPE_NOT_SUPPORTED),
        (f"InitiatorName=nonsense TargetName={TARGET}", login_status.INITIATOR_ERROR),
        (f"InitiatorName={INITIATOR} TargetName=../../etc/passwd", login_status.NOT_FOUND),
        (f"InitiatorName={INITIATOR}{'x' * 200} TargetName={TARGET}", login_status.INITIATOR_ERROR),
        (f"InitiatorName={INITIATOR} InitiatorName={INITIATOR}", login_status.INITIATOR_ERROR),
        (f"InitiatorName={INITIATOR} TargetName={TARGET} TargetAlias=x", login_status.INITIATOR_ERROR),
        (f"InitiatorName={INITIATOR} TargetName={TARGET} SendTargets=All", login_status.INITIATOR_ERROR),
        (f"InitiatorName={INITIATOR} TargetName={TARGET} InitialR2T=No", login_status.INITIATOR_ERROR),
        (
            f"InitiatorName={INITIATOR} TargetName={TARGET} InitiatorAlias={'x' * 256}",
            login_status.INITIATOR_ERROR,
        ),
        ("Initiator", login_status.INITIATOR_ERROR),
    ],
)
def test_first_text(keys: str, status: int) -> None:
    raw = RawInitiator()
    raw.send(keys, csg=0)
    assert raw.status == status
    assert raw.target.failed


@pytest.mark.parametrize("character", ["\n", "\x1b", "\u202e", "\u3002", " "])
def test_hostile_names_are_refused_and_shown_harmless(character: str) -> None:
    raw = RawInitiator()
    raw.send(f"InitiatorName={INITIATOR}{character}x\0TargetName={TARGET}\0".encode())
    assert raw.status == login_status.INITIATOR_ERROR
    assert raw.target.failed is not None
    assert raw.target.failed.isprintable()
    assert raw.policy.asked == []


def test_names_reach_the_policy() -> None:
    raw = RawInitiator()
    raw.begin()
    assert raw.policy.asked == [(INITIATOR, TARGET, "Normal", "127.0.0.1")]
    discovery = RawInitiator()
    discovery.send(f"InitiatorName={INITIATOR} SessionType=Discovery TargetName={TARGET}")
    assert discovery.policy.asked[0][1:3] == (TARGET, "Discovery")


@pytest.mark.parametrize("status", [0x0202, 0x0203, 0x0206, 0x0301, 0x0302])
def test_status_of_the_policy_is_sent(status: int) -> None:
    raw = RawInitiator(TargetDecision(status=status))
    assert raw.begin() == {}
    assert raw.status == raw.target.status == status


def test_redirect_has_an_address() -> None:
    raw = RawInitiator(TargetDecision(status=0x0101, redirect="[::1]:3261"))
    assert raw.begin() == {"TargetAddress": "[::1]:3261"}
    assert raw.status == 0x0101


def test_nothing_is_heard_after_the_end() -> None:
    raw = RawInitiator()
    raw.begin(csg=1, nsg=3, transit=True)
    raw.send(csg=1)
    assert raw.status == login_status.INITIATOR_ERROR
    assert "over" in (raw.target.failed or "")


def test_the_caller_may_end_the_login() -> None:
    raw = RawInitiator()
    assert raw.target.refuse(None, "a port scanner") == []
    assert raw.target.failed == "a port scanner"
    raw = RawInitiator()
    raw.begin(csg=0)
    [(response, data)] = raw.target.refuse(None, "too slow", login_status.OUT_OF_RESOURCES)
    assert (response.itt, response.status_class, response.status_detail, data) == (5, 3, 2, b"")
    raw.send(csg=0)
    assert raw.status == login_status.INITIATOR_ERROR


@pytest.mark.parametrize(
    "fields", [{"csg": 1}, {"csg": 1, "nsg": 3, "transit": True}, {"nsg": 1, "transit": True}]
)
def test_security_cannot_be_skipped(fields: dict[str, Any]) -> None:
    raw = RawInitiator(CHAP)
    raw.begin(**fields)
    assert raw.status == login_status.AUTHENTICATION_FAILURE
    assert raw.policy.sessions == []


@pytest.mark.parametrize("methods", ["None", "KRB5,None", "SRP", "chap", ""])
def test_chap_must_be_among_the_methods(methods: str) -> None:
    raw = RawInitiator(CHAP)
    raw.begin(f"AuthMethod={methods}")
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_first_method_that_is_allowed_wins() -> None:
    assert RawInitiator(CHAP).begin("AuthMethod=None,KRB5,CHAP")["AuthMethod"] == "CHAP"
    assert RawInitiator().begin("AuthMethod=CHAP,None")["AuthMethod"] == "None"
    raw = RawInitiator()
    raw.begin("AuthMethod=CHAP")
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_chap_without_a_word_of_the_method() -> None:
    raw = RawInitiator(CHAP)
    raw.begin("CHAP_A=5")
    assert raw.status == login_status.INITIATOR_ERROR
    raw = RawInitiator(CHAP)
    raw.begin("AuthMethod=CHAP CHAP_A=5")
    assert raw.status == login_status.INITIATOR_ERROR


def test_transition_is_not_granted_before_the_proof() -> None:
    raw = RawInitiator(CHAP)
    raw.begin("AuthMethod=CHAP", nsg=1, transit=True)
    assert not raw.granted()
    keys = raw.send("CHAP_A=5", nsg=3, transit=True)
    assert not raw.granted()
    raw.send(f"CHAP_N=alice CHAP_R={response_to(keys)}", nsg=1, transit=True)
    assert raw.granted()
    assert raw.status == 0


@pytest.mark.parametrize("algorithms", ["56", "5x", "", "9,10", "None"])
def test_unknown_algorithms(algorithms: str) -> None:
    raw, _ = at_challenge(algorithms)
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_response_before_the_algorithm() -> None:
    raw = RawInitiator(CHAP)
    raw.begin("AuthMethod=CHAP")
    raw.send("CHAP_N=alice CHAP_R=0x00")
    assert raw.status == login_status.MISSING_PARAMETER


@pytest.mark.parametrize(("algorithms", "chosen"), [("5", "5"), ("6,7,8,5", "6"), ("56,5x,7,5", "7")])
def test_first_known_algorithm_wins(algorithms: str, chosen: str) -> None:
    _, keys = at_challenge(algorithms)
    assert keys["CHAP_A"] == chosen
    assert len(text.decode_binary(keys["CHAP_C"])) == 16


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ("CHAP_N=alice", login_status.MISSING_PARAMETER),
        ("CHAP_R=0x00", login_status.MISSING_PARAMETER),
        ("CHAP_I=1 CHAP_C=0x0011", login_status.MISSING_PARAMETER),  # our response first
        ("CHAP_N=alice CHAP_R=0x00 CHAP_I=1", login_status.MISSING_PARAMETER),
        ("CHAP_N=alice CHAP_R=0x00 CHAP_C=0x11", login_status.MISSING_PARAMETER),
        ("", login_status.MISSING_PARAMETER),
        ("CHAP_N=alice CHAP_R=0x", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=12345", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0bA", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0x" + "00" * 1025, login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0x00 CHAP_I=256 CHAP_C=0x11", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0x00 CHAP_I=-1 CHAP_C=0x11", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0x00 CHAP_I=1 CHAP_C=0xzz", login_status.INITIATOR_ERROR),
        (f"CHAP_N={'n' * 256} CHAP_R=0x00", login_status.INITIATOR_ERROR),
        ("CHAP_A=5", login_status.INITIATOR_ERROR),
        ("AuthMethod=CHAP", login_status.INITIATOR_ERROR),
        ("CHAP_N=alice CHAP_R=0x00", login_status.AUTHENTICATION_FAILURE),
        ("CHAP_N=alice CHAP_R=0x" + "00" * 1024, login_status.AUTHENTICATION_FAILURE),
        ("CHAP_N=bob CHAP_R=0x" + "00" * 16, login_status.AUTHENTICATION_FAILURE),
        (f"CHAP_N={'n' * 255} CHAP_R=0x" + "00" * 16, login_status.AUTHENTICATION_FAILURE),
    ],
)
def test_responses_that_fail(keys: str, status: int) -> None:
    raw, _ = at_challenge()
    answer = raw.send(keys)
    assert raw.status == status
    assert "CHAP_R" not in answer
    assert "secret-" not in (raw.target.failed or "")


def test_skipping_the_response() -> None:
    raw, _ = at_challenge()
    raw.send(nsg=1, transit=True)
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_wrong_secret_and_unknown_user_look_the_same() -> None:
    outcomes = set()
    for user, secret in (("alice", DISK.secret), ("bob", ALICE.secret)):
        raw, keys = at_challenge()
        raw.send(f"CHAP_N={user} CHAP_R={response_to(keys, secret)}")
        outcomes.add((raw.status, (raw.target.failed or "").replace(user, "user")))
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", ["0xAB", "0bAA", "0x616c696365"])
def test_user_names_are_text_and_never_decoded(name: str) -> None:
    raw, keys = at_challenge(decision=TargetDecision(chap=[ChapCredentials(name, ALICE.secret), ALICE]))
    raw.send(f"CHAP_N={name} CHAP_R={response_to(keys)}", nsg=1, transit=True)
    assert raw.granted()
    raw, keys = at_challenge()
    raw.send(f"CHAP_N={name} CHAP_R={response_to(keys)}")
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_base64_and_odd_hex_are_read() -> None:
    raw, keys = at_challenge()
    encoded = base64.b64encode(bytes.fromhex(response_to(keys)[2:])).decode()
    raw.send(f"CHAP_N=alice CHAP_R=0b{encoded} CHAP_I=1 CHAP_C=0xabc")
    assert raw.status == 0


def test_reflected_challenge_on_the_same_connection() -> None:
    raw, keys = at_challenge()
    answer = raw.send(f"CHAP_N=alice CHAP_R={response_to(keys)} CHAP_I=9 CHAP_C={keys['CHAP_C']}")
    assert raw.status == login_status.AUTHENTICATION_FAILURE
    assert answer == {}


def test_reflected_challenge_on_another_connection() -> None:
    ledger, random = ChallengeLedger(), CountingRandom(9)
    first = RawInitiator(CHAP, ledger=ledger, random=random)
    first.begin("AuthMethod=CHAP")
    theirs = first.send("CHAP_A=5")["CHAP_C"]
    second = RawInitiator(CHAP, ledger=ledger, random=random)
    second.begin("AuthMethod=CHAP")
    keys = second.send("CHAP_A=5")
    assert keys["CHAP_C"] != theirs
    second.send(f"CHAP_N=alice CHAP_R={response_to(keys)} CHAP_I=9 CHAP_C={theirs}")
    assert second.status == login_status.AUTHENTICATION_FAILURE


def test_response_made_with_our_own_secret() -> None:
    decision = TargetDecision(chap=[ALICE, ChapCredentials("twin", DISK.secret)], mutual=DISK)
    raw, keys = at_challenge(decision=decision)
    raw.send(f"CHAP_N=twin CHAP_R={response_to(keys, DISK.secret)}")
    assert raw.status == login_status.AUTHENTICATION_FAILURE


def test_no_more_chap_after_the_proof() -> None:
    raw, keys = at_challenge()
    raw.send(f"CHAP_N=alice CHAP_R={response_to(keys)}")
    assert raw.status == 0
    raw.send("CHAP_I=1 CHAP_C=0x11")
    assert raw.status == login_status.INITIATOR_ERROR


def test_unknown_keys_are_not_understood_in_both_stages() -> None:
    raw = RawInitiator()
    keys = raw.begin("AuthMethod=None X-com.example.odd=1", nsg=1, transit=True)
    assert keys["X-com.example.odd"] == "NotUnderstood"
    assert raw.granted()
    keys = raw.send("X-com.example.other=2 InitialR2T=No", csg=1, nsg=3, transit=True)
    assert keys["X-com.example.other"] == "NotUnderstood"
    assert raw.target.done


@pytest.mark.parametrize("key", ["AuthMethod=None", "CHAP_A=5", "InitiatorName=" + INITIATOR])
def test_keys_of_the_wrong_stage_or_time(key: str) -> None:
    raw = RawInitiator()
    raw.begin(csg=1)
    raw.send(key, csg=1)
    assert raw.status == login_status.INITIATOR_ERROR


def test_duplicate_across_requests() -> None:
    raw = RawInitiator()
    raw.begin("InitialR2T=No", csg=1)
    assert raw.status == 0
    raw.send("InitialR2T=No", csg=1)
    assert raw.status == login_status.INITIATOR_ERROR


def test_impossible_values_are_rejected_and_the_login_goes_on() -> None:
    raw = RawInitiator()
    keys = raw.begin("MaxBurstLength=1e3 InitialR2T=yes ErrorRecoveryLevel=7", csg=1, nsg=3, transit=True)
    assert keys["MaxBurstLength"] == keys["InitialR2T"] == keys["ErrorRecoveryLevel"] == "Reject"
    assert raw.target.done


def test_integrity_failure_ends_the_login() -> None:
    raw = RawInitiator()
    raw.begin("FirstBurstLength=65536", csg=1)
    raw.send("MaxBurstLength=512", csg=1, nsg=3, transit=True)
    assert raw.status == login_status.INITIATOR_ERROR
    assert raw.policy.sessions == []


def test_required_digest_with_an_initiator_that_does_not_answer() -> None:
    raw = RawInitiator(TargetDecision(offer=Offer(data_digest=("CRC32C",))))
    keys = raw.begin(csg=1, nsg=3, transit=True)
    assert keys["DataDigest"] == "CRC32C"
    assert not raw.granted()  # the initiator owes an answer
    raw.send("DataDigest=CRC32C", csg=1, nsg=3, transit=True)
    assert raw.target.done


@pytest.mark.parametrize("status", [0x020A, 0x0206, 0x0302])
def test_session_may_be_refused(status: int) -> None:
    raw = RawInitiator(policy=Policy(session=SessionDecision(status=status)))
    raw.begin(csg=1, nsg=3, transit=True, tsih=77)
    assert raw.status == status
    assert not raw.target.done
    assert raw.policy.sessions[0].tsih == 77


def test_long_answer_is_continued() -> None:
    raw = RawInitiator()
    many = " ".join(f"X-{'k' * 55}{i}=" for i in range(60))
    raw.begin(csg=1)
    raw.send(many, csg=1)
    raw.send("MaxBurstLength=4096", csg=1, nsg=3, transit=True)
    assert raw.target.done


def test_text_in_the_middle_of_our_own_is_refused() -> None:
    long_list = (*(f"Y-org.example.digest{i:04}" for i in range(600)), "CRC32C")
    raw = RawInitiator(TargetDecision(offer=Offer(header_digest=long_list)))
    raw.begin(csg=1, nsg=3, transit=True)
    assert raw.last.continued
    assert not raw.granted()
    raw.send(csg=1)
    assert not raw.granted()
    raw = RawInitiator(TargetDecision(offer=Offer(header_digest=long_list)))
    raw.begin(csg=1, nsg=3, transit=True)
    raw.send("MaxBurstLength=4096", csg=1)
    assert raw.status == login_status.INITIATOR_ERROR


NAMES = b"InitiatorName=iqn.2026-11.a:b\0TargetName=iqn.2026-11.a:c\0"
TEXTS = [NAMES, b"AuthMethod=CHAP\0", b"CHAP_A=5\0", b"CHAP_N=a\0CHAP_R=0x1\0"]
REQUEST = st.tuples(
    st.binary(max_size=60) | st.sampled_from(TEXTS),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
    st.integers(0, 3),
)


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(REQUEST, min_size=1, max_size=8), chap_required=st.booleans())
def test_noise_is_answered_and_never_lets_anybody_in(
    requests: list[tuple[bytes, bool, bool, int, int]], chap_required: bool
) -> None:
    raw = RawInitiator(CHAP if chap_required else TargetDecision())
    for data, transit, continued, csg, nsg in requests:
        request = LoginRequest(transit, continued, csg, nsg, isid=ISID, itt=1)
        responses = raw.target.receive(LoginRequest.parse(request.pack(len(data))), data)
        assert len(responses) == 1
        if raw.target.failed:
            assert raw.target.failed.isprintable()
            break
    if chap_required:
        assert raw.policy.sessions == []
