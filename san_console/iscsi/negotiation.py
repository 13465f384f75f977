"""Negotiation of the operational keys, the same code for both roles (RFC 7143 §6.2, §13)."""

from __future__ import annotations

from collections.abc import Iterable

from san_console.iscsi import text
from san_console.iscsi.errors import LocalProtocolError, RemoteProtocolError
from san_console.iscsi.keys import (
    ADMISSIBLE,
    OPERATIONAL_KEYS,
    RESULT_FUNCTIONS,
    RULE_TEXTS,
    Key,
    Role,
    Value,
)
from san_console.iscsi.parameters import KeyRecord, Offer, OperationalParameters, digest_offer
from san_console.iscsi.text import IRRELEVANT, NOT_UNDERSTOOD, REJECT, MalformedValue, Pairs, protocol_error
from san_console.names.display import visible

__all__ = ["KeyRecord", "Negotiation", "Offer", "OperationalParameters", "digest_offer"]

_MRDSL = "MaxRecvDataSegmentLength"
_DIGESTS = ("HeaderDigest", "DataDigest")
# Answered first and in this order, since ErrorRecoveryLevel, FirstBurstLength and MaxOutstandingR2T depend
# on them.
_FIRST = ("DataSequenceInOrder", "ErrorRecoveryLevel", "MaxBurstLength")
_ORDER = {name: position for position, name in enumerate(_FIRST)}

_UNKNOWN_KEYS_MAX = 64  # a peer that makes up more keys than this is not negotiating


def _wire(value: Value) -> str:
    return text.encode_boolean(value) if isinstance(value, bool) else str(value)


class Negotiation:
    """One login's operational negotiation, seen from `role`.

    `discovery`: the session is one, so that some keys are Irrelevant and the recovery level is 0. `leading`
    False: the connection joins a session, whose own parameters (use LO) are not negotiated again (§13). The
    values take effect only when `finish()` has checked them together.
    """

    def __init__(
        self, role: Role, offer: Offer | None = None, *, discovery: bool = False, leading: bool = True
    ) -> None:
        self.role: Role = role
        self.offer = offer or Offer()
        self.discovery = discovery
        self.leading = leading
        self._peer: Role = "target" if role == "initiator" else "initiator"
        self._wishes = self.offer.values()
        if discovery:
            self._wishes["ErrorRecoveryLevel"] = 0  # §7.4.1
            self._wishes["MaxConnections"] = 1  # §13.21
        if role == "initiator" and self.offer.error_recovery_level and self.offer.data_sequence_in_order:
            self._wishes["MaxOutstandingR2T"] = 1  # §13.19: an offer of more could be taken at its word
        self._proposed: dict[str, str] = {}
        self._unanswered: set[str] = set()
        #: What the peer sent, by key.
        self.from_peer: dict[str, str] = {}
        self._our_answers: dict[str, str] = {}
        self._effective: dict[str, Value] = {}
        self._notes: dict[str, str] = {}
        self._unknown = 0

    # what we propose

    def propose(self) -> Pairs:
        """An initiator's proposals, once, at the begin of the operational stage."""
        return [
            self._propose(name)
            for name in self.offer.proposals
            if not (self.discovery and OPERATIONAL_KEYS[name].irrelevant_in_discovery)
            and (self.leading or OPERATIONAL_KEYS[name].use != "LO")
        ]

    def _propose(self, name: str) -> tuple[str, str]:
        if name in self._proposed or (name in self.from_peer and name != _MRDSL):
            raise LocalProtocolError(f"{name} must not be negotiated twice in a login (RFC 7143 §6.3)")
        self._proposed[name] = value = _wire(self._wishes[name])
        if name != _MRDSL:
            self._unanswered.add(name)
        return name, value

    def missing(self) -> Pairs:
        """What a target must bring up itself: its own segment length, and digests that it insists on."""
        names = [_MRDSL] if _MRDSL not in self._proposed else []
        for name in _DIGESTS:
            wanted = str(self._wishes[name]).split(",")
            if text.NONE not in wanted and name not in self._proposed and name not in self.from_peer:
                names.append(name)
        return [self._propose(name) for name in names]

    @property
    def waiting(self) -> bool:
        """True while a proposal of ours has no answer."""
        return bool(self._unanswered)

    # what the peer sends

    def receive(self, pairs: Iterable[tuple[str, str]]) -> Pairs:
        """Take the peer's offers and answers; returns our answers, in the order of its offers.

        Raises RemoteProtocolError for a key sent twice, a reserved word offered, an answer out of the offer.
        """
        arrived = list(pairs)
        answers: dict[str, str] = {}
        for name, value in sorted(arrived, key=lambda pair: _ORDER.get(pair[0], len(_ORDER))):
            if name in self.from_peer:
                raise protocol_error(f"the {self._peer} sent {visible(name, 63)} twice (RFC 7143 §6.3)")
            self.from_peer[name] = value
            if name in self._unanswered:
                self._unanswered.discard(name)
                self._take_answer(OPERATIONAL_KEYS[name], value)
            elif (answer := self._answer(name, value)) is not None:
                answers[name] = self._our_answers[name] = answer
        return [(name, answers[name]) for name, _ in arrived if name in answers]

    def _take_answer(self, key: Key, value: str) -> None:
        if value == NOT_UNDERSTOOD and not key.later:
            raise protocol_error(
                f"the {self._peer} does not understand {key.name}, which RFC 7143 §6.2 forbids"
            )
        if value in text.ANSWERS_ONLY:
            self._notes[key.name] = f"the {self._peer} answered {value}; the default holds"
            return
        offered = self._proposed[key.name]
        try:
            if key.kind == "list":
                if value == text.NONE and key.name in _DIGESTS and value not in offered.split(","):
                    raise self._digest_missing(key.name)
                if value not in offered.split(","):
                    raise MalformedValue(f"“{visible(value, 80)}” was not offered")
                self._effective[key.name] = value
                return
            typed = self._typed(key, value)
            if not ADMISSIBLE[key.rule](int(self._typed(key, offered)), int(typed)):
                raise MalformedValue(f"{value} is no possible answer to {offered} ({RULE_TEXTS[key.rule]})")
        except MalformedValue as error:
            raise protocol_error(f"the {self._peer}'s answer to {key.name} is wrong: {error}") from None
        self._effective[key.name] = typed

    def _answer(self, name: str, value: str) -> str | None:
        key = OPERATIONAL_KEYS.get(name)
        if key is None:
            if value in text.ANSWERS_ONLY:
                raise protocol_error(
                    f"the {self._peer} answered {visible(name, 63)}, which was never offered"
                )
            self._unknown += 1
            if self._unknown > _UNKNOWN_KEYS_MAX:
                raise protocol_error(f"the {self._peer} sent more than {_UNKNOWN_KEYS_MAX} unknown keys")
            self._notes[name] = "not a key of RFC 7143"
            return NOT_UNDERSTOOD
        if value in text.ANSWERS_ONLY:
            raise protocol_error(
                f"the {self._peer} offered {name}={value}; the word is reserved for answers (§6.2)"
            )
        if name == _MRDSL:
            self._declared(key, value)
            return None
        if key.rule == "obsolete":
            return REJECT if key.kind == "text" else "No"  # §13.25
        if not self.leading and key.use == "LO":
            self._notes[name] = "refused: only the first connection of a session negotiates it"
            return REJECT
        if self.discovery and key.irrelevant_in_discovery:
            return IRRELEVANT
        try:
            chosen = self._choose(key, value)
        except MalformedValue as error:
            self._notes[name] = f"refused: {error}"
            return REJECT
        self._effective[name] = chosen
        return _wire(chosen)

    def _declared(self, key: Key, value: str) -> None:
        try:
            self._effective[key.name] = text.decode_number(value, key.minimum, key.maximum)
        except MalformedValue as error:
            # A declaration has no answer, and the same key is ours to declare: only the login can fail.
            raise protocol_error(f"the {self._peer}'s {key.name} is not possible: {error}") from None

    def _choose(self, key: Key, value: str) -> Value:
        wish = self._wishes[key.name]
        if key.kind == "list":
            ours = str(wish).split(",")
            for item in text.decode_list(value):
                if item in ours:  # §6.2.1: the first of the offer, not the one we like best
                    return item
            raise MalformedValue("none of the values offered is supported or allowed here")
        typed = self._typed(key, value)
        if key.kind == "boolean":
            return bool(RESULT_FUNCTIONS[key.rule](bool(typed), bool(wish)))
        chosen = RESULT_FUNCTIONS[key.rule](int(typed), int(wish))
        if key.name == "FirstBurstLength":
            return min(chosen, int(self._current("MaxBurstLength")))
        if key.name == "MaxOutstandingR2T" and self._one_r2t_only():
            return 1
        if key.name == "ErrorRecoveryLevel" and chosen and self._several_r2ts_agreed():
            return 0
        return chosen

    @staticmethod
    def _typed(key: Key, value: str) -> Value:
        if key.kind == "boolean":
            return text.decode_boolean(value)
        return text.decode_number(value, key.minimum, key.maximum)

    # the outcome

    def _current(self, name: str) -> Value:
        if name in self._effective:
            return self._effective[name]
        key = OPERATIONAL_KEYS[name]
        return key.default if key.kind in ("list", "text") else self._typed(key, key.default)

    def _one_r2t_only(self) -> bool:
        # §13.19
        return bool(self._current("ErrorRecoveryLevel")) and bool(self._current("DataSequenceInOrder"))

    def _several_r2ts_agreed(self) -> bool:
        # In an earlier request, before the level was known; §13.19 leaves only level 0 for such a session.
        agreed = int(self._current("MaxOutstandingR2T"))
        return agreed > 1 and bool(self._current("DataSequenceInOrder"))

    def finish(self) -> OperationalParameters:
        """The parameters, after the integrity rules that concern several keys (§6.2: only now).

        Raises RemoteProtocolError when the outcome is not admissible, or a required digest is missing.
        """
        if self._unanswered:
            names = ", ".join(sorted(self._unanswered))
            raise protocol_error(f"the {self._peer} ended the negotiation without answering {names}")
        for name in _DIGESTS:
            if str(self._current(name)) not in str(self._wishes[name]).split(","):
                raise self._digest_missing(name)
        if self._one_r2t_only() and int(self._current("MaxOutstandingR2T")) > 1:
            raise protocol_error("MaxOutstandingR2T must be 1 at this ErrorRecoveryLevel (RFC 7143 §13.19)")
        max_burst, first_burst = int(self._current("MaxBurstLength")), int(self._current("FirstBurstLength"))
        if first_burst > max_burst:
            if self.role == "target" and "FirstBurstLength" in self._effective:
                raise protocol_error("FirstBurstLength exceeds MaxBurstLength (RFC 7143 §13.14)")
            # A default that nobody spoke of, or a target that broke the rule: the lower one is safe for both.
            self._effective["FirstBurstLength"] = max_burst
            self._notes["FirstBurstLength"] = "lowered to MaxBurstLength"
        return OperationalParameters(
            header_digest=str(self._current("HeaderDigest")),
            data_digest=str(self._current("DataDigest")),
            max_connections=1 if self.discovery else int(self._current("MaxConnections")),
            initial_r2t=bool(self._current("InitialR2T")),
            immediate_data=bool(self._current("ImmediateData")),
            max_recv_data_segment_bytes=int(self._proposed.get(_MRDSL, OPERATIONAL_KEYS[_MRDSL].default)),
            peer_max_recv_data_segment_bytes=int(self._current(_MRDSL)),
            max_burst_bytes=max_burst,
            first_burst_bytes=int(self._current("FirstBurstLength")),
            default_time2wait_s=int(self._current("DefaultTime2Wait")),
            default_time2retain_s=int(self._current("DefaultTime2Retain")),
            max_outstanding_r2t=int(self._current("MaxOutstandingR2T")),
            data_pdu_in_order=bool(self._current("DataPDUInOrder")),
            data_sequence_in_order=bool(self._current("DataSequenceInOrder")),
            error_recovery_level=int(self._current("ErrorRecoveryLevel")),
            task_reporting=str(self._current("TaskReporting")),
            protocol_level=int(self._current("iSCSIProtocolLevel")),
        )

    def _digest_missing(self, name: str) -> RemoteProtocolError:
        return protocol_error(
            f"{name} is required here, but the {self._peer} does not use it: "
            "turn it on there, or allow None here"
        )

    def records(self) -> list[KeyRecord]:
        """Every operational key, then what the peer brought that is none, for the user's view."""
        known = [self._record(name) for name, key in OPERATIONAL_KEYS.items() if self._is_shown(name, key)]
        others = [name for name in self.from_peer if name not in OPERATIONAL_KEYS]
        return known + [
            KeyRecord(
                visible(name, 63),
                visible(self.from_peer[name], 255),
                NOT_UNDERSTOOD,
                "",
                "",
                "",
                self._notes[name],
            )
            for name in others
        ]

    def _is_shown(self, name: str, key: Key) -> bool:
        return key.rule != "obsolete" or name in self.from_peer

    def _record(self, name: str) -> KeyRecord:
        key = OPERATIONAL_KEYS[name]
        peer = self.from_peer.get(name)
        offered, answered = self._proposed.get(name), None if peer is None else visible(peer, 255)
        note = self._notes.get(name, "")
        effective = _wire(self._current(name))
        if name == _MRDSL:
            ours = offered or key.default
            effective = f"{ours} to us, {effective} to the {self._peer}"
        elif name in self._our_answers:
            offered, answered = answered, self._our_answers[name]
            note = f"offered by the {self._peer}" + (f"; {note}" if note else "")
        elif offered is None and not note:
            note = "not negotiated"
        return KeyRecord(name, offered, answered, effective, key.default, RULE_TEXTS[key.rule], note)
