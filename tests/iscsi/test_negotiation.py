"""Negotiation of every key of RFC 7143 §13, seen from both roles (B07, B08)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.keys import ADMISSIBLE, KEYS, OPERATIONAL_KEYS, RESULT_FUNCTIONS, Rule
from san_console.iscsi.negotiation import Negotiation
from san_console.iscsi.parameters import DEFAULT_PROPOSALS, Offer, OperationalParameters, digest_offer


def both(
    ours: Offer, theirs: Offer, *, discovery: bool = False
) -> tuple[OperationalParameters, OperationalParameters]:
    initiator = Negotiation("initiator", ours, discovery=discovery)
    target = Negotiation("target", theirs, discovery=discovery)
    answers = target.receive(initiator.propose())
    back = initiator.receive(answers + target.missing())
    target.receive(back)
    return initiator.finish(), target.finish()


def mirrored(parameters: OperationalParameters) -> OperationalParameters:
    ours, peer = parameters.max_recv_data_segment_bytes, parameters.peer_max_recv_data_segment_bytes
    parameters.max_recv_data_segment_bytes, parameters.peer_max_recv_data_segment_bytes = peer, ours
    return parameters


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    level = draw(st.integers(0, 2))
    in_order = draw(st.booleans())
    burst = draw(st.integers(512, 2**24 - 1))
    return Offer(
        header_digest=draw(st.sampled_from([("None", "CRC32C"), ("CRC32C", "None")])),
        max_connections=draw(st.integers(1, 65535)),
        initial_r2t=draw(st.booleans()),
        immediate_data=draw(st.booleans()),
        max_recv_data_segment_bytes=draw(st.integers(512, 2**24 - 1)),
        max_burst_bytes=burst,
        first_burst_bytes=draw(st.integers(512, burst)),
        default_time2wait_s=draw(st.integers(0, 3600)),
        default_time2retain_s=draw(st.integers(0, 3600)),
        max_outstanding_r2t=draw(st.integers(1, 65535)),
        data_pdu_in_order=draw(st.booleans()),
        data_sequence_in_order=in_order,
        error_recovery_level=level,
        proposals=(*DEFAULT_PROPOSALS, "TaskReporting", "iSCSIProtocolLevel"),
    )


@settings(max_examples=150)
@given(ours=offers(), theirs=offers(), discovery=st.booleans())
def test_both_sides_come_to_the_same(ours: Offer, theirs: Offer, discovery: bool) -> None:
    initiator, target = both(ours, theirs, discovery=discovery)
    assert initiator == mirrored(target)
    assert initiator.first_burst_bytes <= initiator.max_burst_bytes
    if initiator.error_recovery_level and initiator.data_sequence_in_order:
        assert initiator.max_outstanding_r2t == 1
    assert initiator.default_time2wait_s == max(ours.default_time2wait_s, theirs.default_time2wait_s)
    assert initiator.default_time2retain_s == min(ours.default_time2retain_s, theirs.default_time2retain_s)
    if discovery:
        assert (initiator.error_recovery_level, initiator.max_connections) == (0, 1)
        assert initiator.max_burst_bytes == 262144
    else:
        assert initiator.initial_r2t == (ours.initial_r2t or theirs.initial_r2t)
        assert initiator.immediate_data == (ours.immediate_data and theirs.immediate_data)
        assert initiator.max_connections == min(ours.max_connections, theirs.max_connections)


def test_every_key_of_the_rfc_is_in_the_table() -> None:
    section_13 = (
        "HeaderDigest DataDigest MaxConnections SendTargets TargetName InitiatorName TargetAlias "
        "InitiatorAlias TargetAddress TargetPortalGroupTag InitialR2T ImmediateData "
        "MaxRecvDataSegmentLength MaxBurstLength FirstBurstLength DefaultTime2Wait "
        "DefaultTime2Retain MaxOutstandingR2T DataPDUInOrder DataSequenceInOrder ErrorRecoveryLevel "
        "SessionType TaskReporting iSCSIProtocolLevel IFMarker OFMarker IFMarkInt OFMarkInt "
    )
    assert set(section_13.split()) <= KEYS.keys()
    assert {"AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"} <= KEYS.keys()


def test_defaults_are_those_of_the_rfc() -> None:
    target = Negotiation("target")
    parameters = target.finish()
    assert parameters == OperationalParameters()


@pytest.mark.parametrize("rule", ["minimum", "maximum", "and", "or"])
def test_our_answers_are_admissible_by_our_own_rule(rule: Rule) -> None:
    values = (False, True) if rule in ("and", "or") else (0, 1, 7)
    for offered, wished in itertools.product(values, values):
        assert ADMISSIBLE[rule](offered, RESULT_FUNCTIONS[rule](offered, wished))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MaxBurstLength", "-1"),
        ("MaxBurstLength", "0x"),
        ("MaxBurstLength", str(2**64)),
        ("MaxBurstLength", "1e3"),
        ("MaxBurstLength", "511"),
        ("FirstBurstLength", str(2**24)),
        ("MaxConnections", "0"),
        ("MaxConnections", "65536"),
        ("DefaultTime2Wait", "3601"),
        ("ErrorRecoveryLevel", "3"),
        ("InitialR2T", "yes"),
        ("ImmediateData", "true"),
        ("HeaderDigest", "crc32c"),
        ("DataDigest", "CRC32C,,None"),
        ("TaskReporting", "Sometimes"),
        ("MaxOutstandingR2T", ""),
    ],
)
def test_impossible_offer_is_rejected_and_the_default_stays(key: str, value: str) -> None:
    target = Negotiation("target")
    assert target.receive([(key, value)]) == [(key, "Reject")]
    assert target.finish() == OperationalParameters()
    record = next(record for record in target.records() if record.key == key)
    assert record.answered == "Reject"
    assert record.note.startswith("offered by the initiator; refused")


@pytest.mark.parametrize("value", ["0", "511", str(2**24), "-1", "8192~9000", "Reject"])
@pytest.mark.parametrize("role", ["initiator", "target"])
def test_impossible_segment_length_ends_the_login(role: str, value: str) -> None:
    negotiation = Negotiation("initiator" if role == "initiator" else "target")
    with pytest.raises(RemoteProtocolError) as caught:
        negotiation.receive([("MaxRecvDataSegmentLength", value)])
    assert caught.value.login_status == 0x0200


def test_first_burst_is_kept_within_max_burst() -> None:
    target = Negotiation("target")
    # In whichever order they come.
    answers = target.receive([("FirstBurstLength", "262144"), ("MaxBurstLength", "131072")])
    assert answers == [("FirstBurstLength", "131072"), ("MaxBurstLength", "131072")]
    assert target.finish().first_burst_bytes == 131072


def test_integrity_is_checked_after_all_keys() -> None:
    target = Negotiation("target")
    target.receive([("FirstBurstLength", "262144")])
    target.receive([("MaxBurstLength", "131072")])
    with pytest.raises(RemoteProtocolError, match="exceeds MaxBurstLength"):
        target.finish()
    # A target that takes a level and several R2Ts, but wants its sequences in order (§13.19).
    initiator = Negotiation(
        "initiator",
        Offer(
            header_digest=("None",),
            data_digest=("None",),
            error_recovery_level=2,
            max_outstanding_r2t=8,
            data_sequence_in_order=False,
        ),
    )
    answers = dict(initiator.propose())
    del answers["MaxRecvDataSegmentLength"]
    assert (answers["MaxOutstandingR2T"], answers["DataSequenceInOrder"]) == ("8", "No")
    initiator.receive({**answers, "DataSequenceInOrder": "Yes"}.items())
    with pytest.raises(RemoteProtocolError, match="MaxOutstandingR2T must be 1"):
        initiator.finish()


def test_default_first_burst_is_lowered_silently() -> None:
    target = Negotiation("target")
    target.receive([("MaxBurstLength", "4096")])
    assert target.finish().first_burst_bytes == 4096
    record = next(record for record in target.records() if record.key == "FirstBurstLength")
    assert record.note == "lowered to MaxBurstLength"


def test_recovery_level_forces_one_r2t() -> None:
    target = Negotiation("target", Offer(error_recovery_level=1, max_outstanding_r2t=1))
    answers = dict(target.receive([("MaxOutstandingR2T", "16"), ("ErrorRecoveryLevel", "2")]))
    assert answers == {"MaxOutstandingR2T": "1", "ErrorRecoveryLevel": "1"}
    loose = Offer(error_recovery_level=1, max_outstanding_r2t=8, data_sequence_in_order=False)
    target = Negotiation("target", loose)
    answers = dict(
        target.receive(
            [("MaxOutstandingR2T", "16"), ("ErrorRecoveryLevel", "2"), ("DataSequenceInOrder", "Yes")]
        )
    )
    assert answers["MaxOutstandingR2T"] == "1"


def test_a_recovery_level_and_many_r2ts_may_be_wished_for_together() -> None:
    """§13.17, §13.19: which of the two holds is a matter of the outcome."""
    wishes = Offer(error_recovery_level=2, max_outstanding_r2t=8)
    initiator, target = both(wishes, wishes)
    assert (initiator.error_recovery_level, initiator.max_outstanding_r2t) == (2, 1)
    assert (target.error_recovery_level, target.max_outstanding_r2t) == (2, 1)
    initiator, _ = both(Offer(max_outstanding_r2t=8), wishes)
    assert (initiator.error_recovery_level, initiator.max_outstanding_r2t) == (0, 8)
    any_order = Offer(error_recovery_level=2, max_outstanding_r2t=8, data_sequence_in_order=False)
    initiator, _ = both(any_order, any_order)
    assert (initiator.error_recovery_level, initiator.max_outstanding_r2t) == (2, 8)
    assert not initiator.data_sequence_in_order


def test_a_level_that_comes_after_many_r2ts_is_not_taken() -> None:
    """§13.19: what was answered holds (§6.3: nothing is negotiated twice), so that only level 0 is left."""
    target = Negotiation("target", Offer(error_recovery_level=2, max_outstanding_r2t=8))
    assert target.receive([("MaxOutstandingR2T", "8")]) == [("MaxOutstandingR2T", "8")]
    assert target.receive([("ErrorRecoveryLevel", "2")]) == [("ErrorRecoveryLevel", "0")]
    parameters = target.finish()
    assert (parameters.max_outstanding_r2t, parameters.error_recovery_level) == (8, 0)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("FastAbort,ResponseFence,RFC3720", "FastAbort"),
        ("RFC3720,ResponseFence,FastAbort", "RFC3720"),
        ("X-odd,ResponseFence,RFC3720", "ResponseFence"),
        ("X-odd", "Reject"),
    ],
)
def test_task_reporting(offered: str, chosen: str) -> None:
    """§13.23, §6.2.1: the first of the offer that the target supports."""
    offer = Offer(task_reporting=("FastAbort", "ResponseFence", "RFC3720"))
    target = Negotiation("target", offer)
    assert target.receive([("TaskReporting", offered)]) == [("TaskReporting", chosen)]
    assert target.finish().task_reporting == (chosen if chosen != "Reject" else "RFC3720")


@pytest.mark.parametrize(("offered", "chosen"), [("31", "2"), ("2", "2"), ("1", "1"), ("0", "0")])
def test_protocol_level(offered: str, chosen: str) -> None:
    """RFC 7144 §7.1.1: the minimum."""
    target = Negotiation("target", Offer(protocol_level=2))
    assert target.receive([("iSCSIProtocolLevel", offered)]) == [("iSCSIProtocolLevel", chosen)]
    assert target.finish().protocol_level == int(chosen)


@pytest.mark.parametrize(("pdus", "sequences"), [("Yes", "No"), ("No", "Yes"), ("No", "No")])
def test_orders_of_data(pdus: str, sequences: str) -> None:
    """§13.18, §13.19: Yes if either side wants it."""
    target = Negotiation("target", Offer(data_pdu_in_order=False, data_sequence_in_order=False))
    pairs = [("DataPDUInOrder", pdus), ("DataSequenceInOrder", sequences)]
    assert target.receive(pairs) == pairs
    assert target.finish().data_pdu_in_order == (pdus == "Yes")
    assert target.finish().data_sequence_in_order == (sequences == "Yes")
    strict = Negotiation("target")
    assert strict.receive(pairs) == [("DataPDUInOrder", "Yes"), ("DataSequenceInOrder", "Yes")]


def test_a_further_connection_negotiates_only_its_own_keys() -> None:
    """§13: what has the use LO is refused on it."""
    wishes = Offer(header_digest=("CRC32C", "None"), max_connections=8, error_recovery_level=2)
    initiator = Negotiation("initiator", wishes, leading=False)
    assert [name for name, _ in initiator.propose()] == [
        "HeaderDigest",
        "DataDigest",
        "MaxRecvDataSegmentLength",
    ]
    leading_only = [(key.name, key.default) for key in OPERATIONAL_KEYS.values() if key.use == "LO"]
    pairs = [pair for pair in leading_only if OPERATIONAL_KEYS[pair[0]].rule != "obsolete"]
    assert len(pairs) == 13
    target = Negotiation("target", wishes, leading=False)
    assert target.receive(pairs) == [(name, "Reject") for name, _ in pairs]
    assert target.receive([("HeaderDigest", "CRC32C")]) == [("HeaderDigest", "CRC32C")]
    record = next(record for record in target.records() if record.key == "MaxBurstLength")
    assert "first connection" in record.note


def test_unknown_keys_are_not_understood_and_bounded() -> None:
    target = Negotiation("target")
    assert target.receive([("X-com.example.odd", "1"), ("FutureKey", "2"), ("InitialR2T", "No")]) == [
        ("X-com.example.odd", "NotUnderstood"),
        ("FutureKey", "NotUnderstood"),
        ("InitialR2T", "No"),
    ]
    shown = [record for record in target.records() if record.answered == "NotUnderstood"]
    assert [record.key for record in shown] == ["X-com.example.odd", "FutureKey"]
    with pytest.raises(RemoteProtocolError, match="unknown keys"):
        target.receive([(f"X-{i}", "") for i in range(100)])


@pytest.mark.parametrize("word", ["Reject", "Irrelevant", "NotUnderstood"])
@pytest.mark.parametrize("key", ["MaxBurstLength", "X-com.example.odd"])
def test_reserved_words_are_not_offered(word: str, key: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        Negotiation("target").receive([(key, word)])
    assert caught.value.login_status == 0x0200


def test_a_key_comes_once() -> None:
    target = Negotiation("target")
    target.receive([("InitialR2T", "No")])
    with pytest.raises(RemoteProtocolError, match="twice"):
        target.receive([("InitialR2T", "No")])
    with pytest.raises(RemoteProtocolError, match="twice"):
        Negotiation("target").receive(
            [("MaxRecvDataSegmentLength", "512"), ("MaxRecvDataSegmentLength", "512")]
        )


@pytest.mark.parametrize("value", ["No", "Yes"])
def test_markers_are_declined(value: str) -> None:
    target = Negotiation("target")
    offered = [("IFMarker", value), ("OFMarker", value), ("IFMarkInt", "1~100"), ("OFMarkInt", "1~100")]
    assert target.receive(offered) == [
        ("IFMarker", "No"), ("OFMarker", "No"), ("IFMarkInt", "Reject"), ("OFMarkInt", "Reject"),
    ]  # fmt: skip
    assert [r.key for r in target.records() if r.rule.startswith("obsolete")] == [key for key, _ in offered]


def test_discovery_answers_irrelevant() -> None:
    target = Negotiation("target", discovery=True)
    for name, key in OPERATIONAL_KEYS.items():
        if key.irrelevant_in_discovery:
            assert target.receive([(name, key.default)]) == [(name, "Irrelevant")]
    assert target.receive([("ErrorRecoveryLevel", "2")]) == [("ErrorRecoveryLevel", "0")]
    assert target.finish().max_connections == 1


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("MaxBurstLength", "2097152"),  # above the offer
        ("MaxBurstLength", "100"),
        ("MaxBurstLength", "many"),
        ("DefaultTime2Wait", "1"),  # below the offer, where the rule is maximum
        ("DefaultTime2Retain", "1"),  # above the offer of 0
        ("InitialR2T", "no"),
        ("HeaderDigest", "CRC64"),
        ("HeaderDigest", "None,CRC32C"),
        ("MaxConnections", "2"),
    ],
)
def test_inadmissible_answer_is_a_protocol_error(key: str, answer: str) -> None:
    initiator = Negotiation("initiator")
    initiator.propose()
    with pytest.raises(RemoteProtocolError, match=key):
        initiator.receive([(key, answer)])


def test_inadmissible_booleans() -> None:
    initiator = Negotiation("initiator", Offer(immediate_data=False, initial_r2t=True))
    initiator.propose()
    with pytest.raises(RemoteProtocolError, match="ImmediateData"):
        initiator.receive([("ImmediateData", "Yes")])
    with pytest.raises(RemoteProtocolError, match="InitialR2T"):
        initiator.receive([("InitialR2T", "No")])


@pytest.mark.parametrize("word", ["Reject", "Irrelevant"])
def test_reject_and_irrelevant_leave_the_default(word: str) -> None:
    initiator = Negotiation("initiator", Offer(max_burst_bytes=2**20))
    answers = [(name, word) for name, _ in initiator.propose() if name != "MaxRecvDataSegmentLength"]
    assert initiator.receive(answers) == []
    parameters = initiator.finish()
    assert parameters.max_burst_bytes == 262144
    assert parameters.initial_r2t
    assert next(r for r in initiator.records() if r.key == "MaxBurstLength").note.startswith(
        f"the target answered {word}"
    )


def test_not_understood_is_an_error_for_a_key_of_the_rfc() -> None:
    initiator = Negotiation(
        "initiator", Offer(proposals=("InitialR2T", "TaskReporting", "iSCSIProtocolLevel"))
    )
    initiator.propose()
    # Targets older than RFC 5048 and RFC 7144 do not know these two.
    initiator.receive([("TaskReporting", "NotUnderstood"), ("iSCSIProtocolLevel", "NotUnderstood")])
    with pytest.raises(RemoteProtocolError, match="does not understand InitialR2T"):
        initiator.receive([("InitialR2T", "NotUnderstood")])


def test_offers_of_the_target_are_answered() -> None:
    initiator = Negotiation("initiator", Offer(proposals=("MaxRecvDataSegmentLength",)))
    initiator.propose()
    answers = initiator.receive(
        [("MaxBurstLength", "65536"), ("ImmediateData", "No"), ("DefaultTime2Wait", "0")]
    )
    assert answers == [("MaxBurstLength", "65536"), ("ImmediateData", "No"), ("DefaultTime2Wait", "2")]
    assert initiator.finish().max_burst_bytes == 65536


def test_the_first_of_the_list_that_is_supported_wins() -> None:
    target = Negotiation("target", Offer(header_digest=("None", "CRC32C")))
    assert target.receive([("HeaderDigest", "Y-x,CRC32C,None")]) == [("HeaderDigest", "CRC32C")]
    assert target.receive([("TaskReporting", "FastAbort,ResponseFence,RFC3720")]) == [
        ("TaskReporting", "ResponseFence")
    ]
    assert target.receive([("iSCSIProtocolLevel", "2")]) == [("iSCSIProtocolLevel", "1")]


def test_silence_about_a_proposal_is_noticed() -> None:
    initiator = Negotiation("initiator")
    initiator.propose()
    assert initiator.waiting
    with pytest.raises(RemoteProtocolError, match="without answering DataDigest"):
        initiator.finish()


def test_nothing_is_proposed_twice() -> None:
    initiator = Negotiation("initiator")
    initiator.propose()
    with pytest.raises(LocalProtocolError, match="twice"):
        initiator.propose()
    initiator = Negotiation("initiator")
    initiator.receive([("InitialR2T", "No")])
    with pytest.raises(LocalProtocolError, match="InitialR2T"):
        initiator.propose()


def test_target_without_the_digest_that_we_require() -> None:
    initiator = Negotiation("initiator", Offer(header_digest=("CRC32C",)))
    initiator.propose()
    with pytest.raises(RemoteProtocolError, match="HeaderDigest is required here"):
        initiator.receive([("HeaderDigest", "None")])


def test_required_digest_is_not_given_up() -> None:
    target = Negotiation("target", Offer(data_digest=("CRC32C",)))
    assert target.receive([("DataDigest", "None")]) == [("DataDigest", "Reject")]
    with pytest.raises(RemoteProtocolError, match="DataDigest is required"):
        target.finish()


def test_records_are_fit_for_display() -> None:
    target = Negotiation("target")
    target.receive([("MaxBurstLength", "\x1b[31m\n\u202e"), ("X-odd", "\x07" * 1000)])
    for record in target.records():
        for shown in (record.key, record.offered or "", record.answered or "", record.note, record.effective):
            assert shown.isprintable()
            assert len(shown) < 600


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"max_burst_bytes": 100}, "512 to"),
        ({"max_burst_bytes": 512, "first_burst_bytes": 1024}, "must not exceed"),
        ({"max_recv_data_segment_bytes": 2**24}, "MaxRecvDataSegmentLength"),
        ({"proposals": ("IFMarker",)}, "can be proposed"),
        ({"proposals": ("Nonsense",)}, "can be proposed"),
        ({"header_digest": ()}, "at least one"),
    ],
)
def test_offer_obeys_the_rules_itself(wishes: dict[str, object], message: str) -> None:
    with pytest.raises(LocalProtocolError, match=message):
        Offer(**wishes)  # type: ignore[arg-type]  # wrong on purpose


def test_digest_modes() -> None:
    assert digest_offer("none")[0] == "None"
    assert "CRC32C" in digest_offer("none")
    assert digest_offer("require") == ("CRC32C",)
    with pytest.raises(LocalProtocolError, match="maybe"):
        digest_offer("maybe")
