"""The text keys of RFC 7143 §12 and §13 and RFC 7144 §7 as one table: format, default, who, when, rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from san_console.iscsi.opcodes import LOGIN_OPERATIONAL_NEGOTIATION, SECURITY_NEGOTIATION

Role = Literal["initiator", "target"]
Value = int | bool | str

Kind = Literal["number", "boolean", "list", "name", "text", "binary", "choice"]
# §13: how the answer follows from offer and own wish. "declare": no answer, each side for itself.
Rule = Literal["minimum", "maximum", "and", "or", "list", "declare", "exchange", "obsolete"]
# §13: LO leading connection only, IO login only, ALL any time, FFPO full feature phase only
Use = Literal["LO", "IO", "ALL", "FFPO"]
Scope = Literal["session", "connection"]

MAX_24_BIT = 2**24 - 1
_BOTH: frozenset[Role] = frozenset({"initiator", "target"})
_INITIATOR: frozenset[Role] = frozenset({"initiator"})
_TARGET: frozenset[Role] = frozenset({"target"})
_SECURITY = frozenset({SECURITY_NEGOTIATION})
_OPERATIONAL = frozenset({LOGIN_OPERATIONAL_NEGOTIATION})
_ANY_STAGE = _SECURITY | _OPERATIONAL


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the table. `minimum`/`maximum` bound numbers; `default` is in wire form, "" for none.

    `later`: defined after RFC 3720, so that a peer in the field may answer NotUnderstood. RFC 7143 §6.2 calls
    that a protocol error for TaskReporting, but every target older than RFC 5048 does it.
    """

    name: str
    kind: Kind
    rule: Rule
    default: str = ""
    minimum: int = 0
    maximum: int = 0
    use: Use = "LO"
    scope: Scope = "session"
    senders: frozenset[Role] = _BOTH
    stages: frozenset[int] = _OPERATIONAL
    irrelevant_in_discovery: bool = False
    later: bool = False


def _number(name: str, rule: Rule, default: int, low: int, high: int, *, irrelevant: bool = False) -> Key:
    return Key(name, "number", rule, str(default), low, high, irrelevant_in_discovery=irrelevant)


def _boolean(name: str, rule: Rule) -> Key:
    return Key(name, "boolean", rule, "Yes", irrelevant_in_discovery=True)


def _chap(name: str, kind: Kind) -> Key:
    return Key(name, kind, "exchange", use="IO", scope="connection", stages=_SECURITY)


_TABLE = (
    # §13.1
    Key("HeaderDigest", "list", "list", "None", use="IO", scope="connection"),
    Key("DataDigest", "list", "list", "None", use="IO", scope="connection"),
    _number("MaxConnections", "minimum", 1, 1, 65535, irrelevant=True),  # §13.2
    Key("SendTargets", "text", "exchange", use="FFPO", senders=_INITIATOR, stages=frozenset()),  # §13.3
    # §13.4: sent by a target only in answer to SendTargets, hence never during login
    Key("TargetName", "name", "declare", use="IO", senders=_INITIATOR, stages=_ANY_STAGE),
    Key("InitiatorName", "name", "declare", use="IO", senders=_INITIATOR, stages=_ANY_STAGE),  # §13.5
    Key("TargetAlias", "text", "declare", use="ALL", senders=_TARGET, stages=_ANY_STAGE),  # §13.6
    Key("InitiatorAlias", "text", "declare", use="ALL", senders=_INITIATOR, stages=_ANY_STAGE),  # §13.7
    Key("TargetAddress", "text", "declare", use="ALL", senders=_TARGET, stages=_ANY_STAGE),  # §13.8
    Key("TargetPortalGroupTag", "number", "declare", "", 0, 65535, "IO", senders=_TARGET, stages=_ANY_STAGE),
    _boolean("InitialR2T", "or"),  # §13.10
    _boolean("ImmediateData", "and"),  # §13.11
    Key(
        "MaxRecvDataSegmentLength", "number", "declare", "8192", 512, MAX_24_BIT, "ALL", "connection"
    ),  # §13.12
    _number("MaxBurstLength", "minimum", 262144, 512, MAX_24_BIT, irrelevant=True),  # §13.13
    _number("FirstBurstLength", "minimum", 65536, 512, MAX_24_BIT, irrelevant=True),  # §13.14
    _number("DefaultTime2Wait", "maximum", 2, 0, 3600),  # §13.15
    _number("DefaultTime2Retain", "minimum", 20, 0, 3600),  # §13.16
    _number("MaxOutstandingR2T", "minimum", 1, 1, 65535, irrelevant=True),  # §13.17
    _boolean("DataPDUInOrder", "or"),  # §13.18
    _boolean("DataSequenceInOrder", "or"),  # §13.19
    _number("ErrorRecoveryLevel", "minimum", 0, 0, 2),  # §13.20
    # §13.21
    Key("SessionType", "choice", "declare", "Normal", senders=_INITIATOR, stages=_ANY_STAGE),
    # §13.23
    Key("TaskReporting", "list", "list", "RFC3720", irrelevant_in_discovery=True, later=True),
    # RFC 7144 §7.1.1
    Key("iSCSIProtocolLevel", "number", "minimum", "1", 0, 31, irrelevant_in_discovery=True, later=True),
    # §13.25
    Key("IFMarker", "boolean", "obsolete", "No"),
    Key("OFMarker", "boolean", "obsolete", "No"),
    Key("IFMarkInt", "text", "obsolete", "Reject"),
    Key("OFMarkInt", "text", "obsolete", "Reject"),
    # §12.1
    Key("AuthMethod", "list", "exchange", "None", use="IO", scope="connection", stages=_SECURITY),
    # §12.1.3
    _chap("CHAP_A", "list"),
    _chap("CHAP_I", "number"),
    _chap("CHAP_C", "binary"),
    _chap("CHAP_N", "text"),
    _chap("CHAP_R", "binary"),
)
KEYS: dict[str, Key] = {key.name: key for key in _TABLE}

# What a session negotiates with Negotiation; the rest belongs to the login itself.
OPERATIONAL_KEYS: dict[str, Key] = {
    key.name: key
    for key in _TABLE
    if key.rule in ("minimum", "maximum", "and", "or", "list", "obsolete")
    or key.name == "MaxRecvDataSegmentLength"
}

# The responder's choice from the offer and its own wish.
RESULT_FUNCTIONS: dict[Rule, Callable[[int, int], int]] = {
    "minimum": min,
    "maximum": max,  # only DefaultTime2Wait: the time that both sides need
    "and": lambda offered, ours: offered and ours,
    "or": lambda offered, ours: offered or ours,
}

# Which answers the proposer may take (§13: "the selected value cannot exceed the offered value", …).
ADMISSIBLE: dict[Rule, Callable[[int, int], bool]] = {
    "minimum": lambda offered, answered: answered <= offered,
    "maximum": lambda offered, answered: answered >= offered,
    "and": lambda offered, answered: bool(offered or not answered),
    "or": lambda offered, answered: bool(answered or not offered),
}

RULE_TEXTS: dict[Rule, str] = {
    "minimum": "the lower of both",
    "maximum": "the higher of both",
    "and": "Yes only if both say Yes",
    "or": "Yes if either says Yes",
    "list": "the first of the offer that the other side supports",
    "declare": "each side declares its own",
    "exchange": "a step of an exchange",
    "obsolete": "obsolete, always refused",
}
