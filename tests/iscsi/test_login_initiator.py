"""The initiator's login against a target that breaks the rules, or is only peculiar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi import chap, text
from san_console.iscsi.chap import ChallengeLedger
from san_console.iscsi.errors import IscsiError, LoginFailed, Redirected, RemoteProtocolError
from san_console.iscsi.login_initiator import LoginInitiator
from san_console.iscsi.login_settings import LoginSettings
from san_console.iscsi.parameters import Offer
from san_console.iscsi.pdu import LoginResponse
from san_console.names.credentials import ChapCredentials, Secret
from tests.iscsi.login_pair import INITIATOR, ISID, TARGET, CountingRandom, RawTarget

ALICE = ChapCredentials("alice", Secret("alice-secret-0123"))
DISK = ChapCredentials("disk", Secret("disk-secret-45678"))
CHALLENGE = "CHAP_A=5 CHAP_I=3 CHAP_C=0x0102030405060708090a0b0c0d0e0f10"


def at_operational(**settings: object) -> RawTarget:
    raw = RawTarget(**settings)
    raw.answer("TargetPortalGroupTag=1 AuthMethod=None", transit=True, nsg=1)
    return raw


def accept(raw: RawTarget) -> str:
    """Answers to all proposals, as offered."""
    return " ".join(
        f"{key}={value.split(',')[0]}" for key, value in raw.keys.items() if key != "MaxRecvDataSegmentLength"
    )


def at_proof(mutual: ChapCredentials | None = DISK) -> RawTarget:
    raw = RawTarget(chap=ALICE, mutual_chap=mutual)
    raw.answer("TargetPortalGroupTag=1 AuthMethod=CHAP")
    raw.answer(CHALLENGE)
    return raw


def proof(raw: RawTarget, secret: Secret = DISK.secret, name: str = "disk") -> str:
    answer = chap.chap_response(5, int(raw.keys["CHAP_I"]), secret, text.decode_binary(raw.keys["CHAP_C"]))
    return f"CHAP_N={name} CHAP_R={text.encode_binary(answer)}"


def test_first_request() -> None:
    raw = RawTarget(initiator_alias="my-host", cmd_sn=8, cid=2)
    assert raw.keys == {
        "InitiatorName": INITIATOR,
        "InitiatorAlias": "my-host",
        "TargetName": TARGET,
        "SessionType": "Normal",
        "AuthMethod": "None",
    }
    assert (raw.request.csg, raw.request.nsg, raw.request.transit) == (0, 1, True)
    assert (raw.request.isid, raw.request.cmd_sn, raw.request.cid) == (ISID, 8, 2)
    assert RawTarget(target_name=None).keys["SessionType"] == "Discovery"
    with_chap = RawTarget(chap=ALICE)
    assert with_chap.keys["AuthMethod"] == "CHAP"
    assert not with_chap.request.transit


def test_target_that_takes_its_time() -> None:
    raw = RawTarget()
    raw.answer("TargetPortalGroupTag=1 AuthMethod=None")
    assert raw.request.transit  # T again, until it is granted (§6.3.3)
    assert raw.keys == {}
    raw.answer(transit=True, nsg=1)
    raw.answer(accept(raw))
    assert raw.request.transit
    raw.answer(transit=True, nsg=3, tsih=1, exp_cmd_sn=1, max_cmd_sn=32)
    assert raw.initiator.done
    assert raw.initiator.result is not None
    assert raw.initiator.result.exp_stat_sn == 104
    assert raw.request.exp_stat_sn == 103


def test_target_that_never_ends() -> None:
    raw = at_operational()
    for _ in range(text.MAX_EXCHANGES - 1):
        raw.answer()
    with pytest.raises(RemoteProtocolError, match="exchanges"):
        raw.answer()


def test_target_without_a_portal_group_tag_is_put_up_with() -> None:
    raw = RawTarget()
    raw.answer(transit=True, nsg=1)
    raw.answer(accept(raw), transit=True, nsg=3, tsih=1)
    assert raw.initiator.result is not None
    assert raw.initiator.result.tpgt is None
    assert raw.initiator.result.auth == "None"


def test_own_offers_of_the_target_are_answered() -> None:
    raw = at_operational(offer=Offer(proposals=("MaxRecvDataSegmentLength",)))
    keys = raw.answer("MaxBurstLength=16776192 IFMarker=No X-com.example.y=1 ImmediateData=Yes")
    assert keys == {
        "MaxBurstLength": "1048576",
        "IFMarker": "No",
        "X-com.example.y": "NotUnderstood",
        "ImmediateData": "Yes",
    }
    raw.answer(transit=True, nsg=3, tsih=1)
    assert raw.initiator.done


def test_offer_in_the_last_response() -> None:
    quiet = Offer(proposals=("MaxRecvDataSegmentLength",))
    raw = at_operational(offer=quiet)
    raw.answer("ImmediateData=No InitialR2T=Yes X-com.example.y=1", transit=True, nsg=3, tsih=1)
    assert raw.initiator.result is not None
    assert not raw.initiator.result.params.immediate_data
    raw = at_operational(offer=quiet)
    with pytest.raises(RemoteProtocolError, match="needs an answer"):
        raw.answer("MaxBurstLength=16776192", transit=True, nsg=3, tsih=1)


def test_unknown_key_in_the_security_stage() -> None:
    raw = RawTarget()
    assert raw.answer("AuthMethod=None X-com.example.z=1 TargetAddress=10.0.0.1:3260") == {
        "X-com.example.z": "NotUnderstood"
    }
    assert raw.answer("X-com.example.w=Reject") == {}


def test_continued_response_is_answered_with_nothing() -> None:
    raw = RawTarget()
    data = b"TargetPortalGroupTag=1\0TargetAlias=Long name\0AuthMethod=None\0"
    for byte in range(0, 40, 4):
        raw.answer(data[byte : byte + 4], continued=True)
        assert raw.keys == {}
        assert not raw.request.transit
    raw.answer(data[40:], transit=True, nsg=1) if raw.request.transit else raw.answer(data[40:])
    assert raw.request.transit
    raw.answer(transit=True, nsg=1)
    raw.answer(accept(raw), transit=True, nsg=3, tsih=1)
    assert raw.initiator.result is not None
    assert raw.initiator.result.target_alias == "Long name"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"itt": 2}, "Initiator Task Tag"),
        ({"csg": 1}, "the target is in LoginOperationalNegotiation"),
        ({"csg": 2}, "current stage 2"),
        ({"transit": True, "nsg": 3}, "not asked for"),
        ({"transit": True, "nsg": 2}, "reserved stage 2"),
        ({"transit": True, "nsg": 0}, "wants to go"),
        ({"transit": True, "nsg": 1, "continued": True}, "both T and C"),
        ({"version_active": 1}, "version 1"),
    ],
)
def test_header_faults(fields: dict[str, int], message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        RawTarget().answer("AuthMethod=None", **fields)


def test_transition_that_was_not_asked_for() -> None:
    raw = RawTarget(chap=ALICE)
    with pytest.raises(RemoteProtocolError, match="not asked for"):
        raw.answer("AuthMethod=None", transit=True, nsg=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("TargetPortalGroupTag=1 TargetPortalGroupTag=1", "twice"),
        ("TargetPortalGroupTag=65536", "65536 is outside"),
        ("TargetPortalGroupTag=x", "TargetPortalGroupTag is wrong"),
        ("InitiatorName=iqn.2026-11.a:b", "not for the target"),
        ("TargetName=iqn.2026-11.a:b", "not for the target"),
        ("MaxBurstLength=512", "not allowed in SecurityNegotiation"),
        ("AuthMethod=KRB5", "“KRB5”, which was not offered"),
        ("CHAP_A=5", "out of order"),
        ("AuthMethod=None CHAP_A=5", "out of order"),
        (f"TargetAlias={'x' * 256}", "longer than 255"),
        ("nonsense", "no “=”"),
    ],
)
def test_text_faults(keys: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        RawTarget().answer(keys)


def test_alias_is_fit_for_display() -> None:
    raw = RawTarget()
    raw.answer("TargetAlias=evil\u202e\x1b[31m\nname\0AuthMethod=None\0".encode(), transit=True, nsg=1)
    raw.answer(accept(raw), transit=True, nsg=3, tsih=1)
    assert raw.initiator.result is not None
    assert raw.initiator.result.target_alias is not None
    assert raw.initiator.result.target_alias.isprintable()


@pytest.mark.parametrize("answer", ["AuthMethod=CHAP", "AuthMethod=Reject"])
def test_target_that_wants_chap_from_us(answer: str) -> None:
    with pytest.raises(LoginFailed, match="demands authentication"):
        RawTarget().answer(answer)


@pytest.mark.parametrize("answer", ["None", "Reject", "Irrelevant"])
def test_downgrade_is_refused(answer: str) -> None:
    with pytest.raises(LoginFailed, match=r"takes no CHAP|only method offered") as caught:
        RawTarget(chap=ALICE).answer(f"AuthMethod={answer}")
    assert caught.value.direction is None


def test_method_that_was_not_offered() -> None:
    with pytest.raises(RemoteProtocolError, match="not offered"):
        RawTarget(chap=ALICE).answer("AuthMethod=SRP")


def test_status_0201_before_the_response_is_not_about_the_secret() -> None:
    raw = RawTarget(chap=ALICE)
    raw.answer("AuthMethod=CHAP")
    with pytest.raises(LoginFailed, match="algorithms") as caught:
        raw.answer(status_class=2, status_detail=1)
    assert caught.value.direction is None
    raw = RawTarget(chap=ALICE)
    raw.answer("AuthMethod=CHAP")
    with pytest.raises(LoginFailed, match="algorithms"):
        raw.answer("CHAP_A=Reject")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("CHAP_A=5 CHAP_I=3", "left out CHAP_C"),
        ("CHAP_A=5", "left out CHAP_C, CHAP_I"),
        ("CHAP_N=x", "out of order"),
        ("CHAP_A=9 CHAP_I=3 CHAP_C=0x11", "which was not offered"),
        ("CHAP_A=7,5 CHAP_I=3 CHAP_C=0x11", "which was not offered"),
        ("CHAP_A=5 CHAP_I=256 CHAP_C=0x11", "CHAP_I is wrong"),
        ("CHAP_A=5 CHAP_I=3 CHAP_C=0x", "CHAP_C is wrong"),
        ("CHAP_A=5 CHAP_I=3 CHAP_C=0x" + "11" * 1025, "CHAP_C is wrong"),
    ],
)
def test_challenge_faults(keys: str, message: str) -> None:
    raw = RawTarget(chap=ALICE)
    raw.answer("AuthMethod=CHAP")
    with pytest.raises(RemoteProtocolError, match=message):
        raw.answer(keys)


@pytest.mark.parametrize("size", [1, 255, 256, 1024])
def test_challenge_of_any_length_is_hashed_whole(size: int) -> None:
    raw = RawTarget(chap=ALICE)
    raw.answer("AuthMethod=CHAP")
    challenge = bytes(i % 251 for i in range(size))
    keys = raw.answer(f"CHAP_A=7 CHAP_I=3 CHAP_C={text.encode_binary(challenge)}")
    expected = chap.chap_response(7, 3, ALICE.secret, challenge)
    assert keys == {"CHAP_N": "alice", "CHAP_R": text.encode_binary(expected)}


def test_mutual_proof() -> None:
    raw = at_proof()
    assert raw.request.transit
    raw.answer(proof(raw), transit=True, nsg=1)
    raw.answer(accept(raw), transit=True, nsg=3, tsih=1)
    assert raw.initiator.result is not None
    assert raw.initiator.result.auth == "CHAP MD5 mutual"


def test_mutual_proof_before_the_transition() -> None:
    raw = at_proof()
    raw.answer(proof(raw))
    raw.answer(transit=True, nsg=1)
    assert "HeaderDigest" in raw.keys
    raw = at_proof()
    raw.answer()  # the target needs one more exchange
    assert raw.keys == {}
    raw = at_proof(None)
    raw.answer()
    raw.answer(transit=True, nsg=1)
    assert "HeaderDigest" in raw.keys


@pytest.mark.parametrize(
    "keys", ["", "CHAP_N=disk", "CHAP_R=0x00", "CHAP_N=disk CHAP_R=0x00", "CHAP_N=disk CHAP_R=0x" + "00" * 16]
)
def test_target_that_does_not_prove_itself(keys: str) -> None:
    raw = at_proof()
    with pytest.raises(LoginFailed, match="prove itself") as caught:
        raw.answer(keys, transit=True, nsg=1)
    assert caught.value.direction == "target"


def test_target_that_only_reflects_our_own_proof() -> None:
    raw = at_proof()
    with pytest.raises(LoginFailed) as caught:
        raw.answer(proof(raw, ALICE.secret), transit=True, nsg=1)
    assert caught.value.direction == "target"


def test_malformed_proof() -> None:
    raw = at_proof()
    with pytest.raises(RemoteProtocolError, match="CHAP_R is wrong"):
        raw.answer("CHAP_N=disk CHAP_R=12")
    raw = at_proof(None)
    with pytest.raises(RemoteProtocolError, match="out of order"):
        raw.answer("CHAP_N=disk CHAP_R=0x00", transit=True, nsg=1)
    raw = at_proof()
    raw.answer(proof(raw))
    with pytest.raises(RemoteProtocolError, match=r"out of order|twice"):
        raw.answer("CHAP_N=disk", transit=True, nsg=1)
    raw = at_proof()
    raw.answer(proof(raw))
    with pytest.raises(RemoteProtocolError, match=r"out of order|twice"):
        raw.answer("AuthMethod=CHAP", transit=True, nsg=1)


def test_our_challenge_is_not_the_target_s() -> None:
    raw = at_proof()
    assert raw.keys["CHAP_C"] != "0x0102030405060708090a0b0c0d0e0f10"


def test_challenge_reflected_on_a_second_connection() -> None:
    # RFC 7143 §9.2.1, the attack of a "Rogue" with two connections.
    ledger, random = ChallengeLedger(), CountingRandom(5)

    def connect() -> LoginInitiator:
        wishes = LoginSettings(INITIATOR, TARGET, ISID, chap=ALICE, mutual_chap=DISK)
        login = LoginInitiator(wishes, ledger=ledger, random=random)
        login.start()
        login.receive(LoginResponse(itt=1), b"AuthMethod=CHAP\0")
        return login

    first, second = connect(), connect()
    [(_, data)] = first.receive(LoginResponse(itt=1), CHALLENGE.replace(" ", "\0").encode() + b"\0")
    ours = dict(text.decode_pairs(data))["CHAP_C"]
    with pytest.raises(RemoteProtocolError, match="our own CHAP challenge"):
        second.receive(LoginResponse(itt=1), f"CHAP_A=5\0CHAP_I=3\0CHAP_C={ours}\0".encode())


def test_address_without_a_redirect_is_of_no_concern() -> None:
    raw = at_operational()
    raw.answer(accept(raw) + " TargetAddress=10.0.0.1:3260", transit=True, nsg=3, tsih=1)
    assert raw.initiator.done


def test_redirects() -> None:
    with pytest.raises(Redirected) as caught:
        RawTarget().answer(
            "TargetAddress=10.0.0.1:3261 TargetAddress=10.0.0.2", status_class=1, status_detail=1
        )
    assert caught.value.address == "10.0.0.1:3261"
    with pytest.raises(Redirected) as caught:
        RawTarget().answer("TargetAddress=[::1]", status_class=1, status_detail=2)
    assert caught.value.permanent
    with pytest.raises(RemoteProtocolError, match="does not say where"):
        RawTarget().answer(status_class=1, status_detail=1)


@pytest.mark.parametrize(
    ("status_class", "status_detail"), [(2, 0), (2, 2), (2, 3), (3, 1), (2, 0x99), (7, 7)]
)
def test_statuses(status_class: int, status_detail: int) -> None:
    with pytest.raises(LoginFailed) as caught:
        # Stage and flags are reserved in a refusal, and not looked at.
        RawTarget().answer(status_class=status_class, status_detail=status_detail, csg=3)
    assert (caught.value.status_class, caught.value.status_detail) == (status_class, status_detail)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tsih": 0}, "session handle"),
        ({"tsih": 1, "nsg": 1}, "wants to go"),
        ({"tsih": 1, "nsg": 0}, "wants to go"),
    ],
)
def test_last_response_faults(fields: dict[str, int], message: str) -> None:
    raw = at_operational()
    with pytest.raises(RemoteProtocolError, match=message):
        raw.answer(accept(raw), transit=True, **{"nsg": 3, **fields})


def test_another_session_than_asked_for() -> None:
    raw = at_operational(tsih=5)
    with pytest.raises(RemoteProtocolError, match="another session"):
        raw.answer(accept(raw), transit=True, nsg=3, tsih=6)


def test_discovery_needs_no_session_handle() -> None:
    raw = at_operational(target_name=None)
    raw.answer(accept(raw), transit=True, nsg=3)
    assert raw.initiator.done


def test_nothing_is_heard_after_the_end() -> None:
    raw = at_operational()
    raw.answer(accept(raw), transit=True, nsg=3, tsih=1)
    with pytest.raises(RemoteProtocolError, match="over"):
        raw.answer()


def test_unanswered_proposals() -> None:
    raw = at_operational()
    with pytest.raises(RemoteProtocolError, match="without answering"):
        raw.answer(transit=True, nsg=3, tsih=1)


def test_text_while_ours_is_not_finished() -> None:
    long_list = (*(f"Y-org.example.digest{i:04}" for i in range(600)), "CRC32C")
    raw = at_operational(offer=Offer(header_digest=long_list))
    assert raw.continues()
    raw.answer()
    assert not raw.continues()
    assert raw.request.transit
    raw = at_operational(offer=Offer(header_digest=long_list))
    with pytest.raises(RemoteProtocolError, match="in the middle of ours"):
        raw.answer("MaxBurstLength=512")


@settings(max_examples=150, deadline=None)
@given(
    responses=st.lists(
        st.tuples(
            st.binary(max_size=40)
            | st.sampled_from(
                [b"AuthMethod=None\0", b"AuthMethod=CHAP\0", b"CHAP_A=5\0CHAP_I=1\0CHAP_C=0x1\0"]
            ),
            st.booleans(),
            st.booleans(),
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        max_size=8,
    )
)
def test_noise_gives_only_declared_errors(
    responses: list[tuple[bytes, bool, bool, int, int, int]],
) -> None:
    raw = RawTarget(chap=ALICE, mutual_chap=DISK)
    try:
        for data, transit, continued, csg, nsg, status in responses:
            raw.answer(
                data, transit=transit, continued=continued, csg=csg, nsg=nsg, status_class=status, tsih=1
            )
    except IscsiError as error:
        assert "alice-secret" not in str(error)  # noqa: PT017  # any of four classes may come
    assert not raw.initiator.done
