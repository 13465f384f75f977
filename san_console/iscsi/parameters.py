"""What a login negotiates: our wishes, the outcome, and the account of it for the user."""

from __future__ import annotations

from dataclasses import dataclass, replace

from san_console.iscsi.errors import LocalProtocolError
from san_console.iscsi.keys import OPERATIONAL_KEYS, Value
from san_console.iscsi.opcodes import DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES

# What an initiator proposes by itself; every other key of §13 is answered when the peer brings it up.
# TaskReporting and iSCSIProtocolLevel are left out: targets older than RFC 5048 refuse them.
DEFAULT_PROPOSALS = (
    "HeaderDigest",
    "DataDigest",
    "MaxConnections",
    "InitialR2T",
    "ImmediateData",
    "MaxRecvDataSegmentLength",
    "MaxBurstLength",
    "FirstBurstLength",
    "DefaultTime2Wait",
    "DefaultTime2Retain",
    "MaxOutstandingR2T",
    "DataPDUInOrder",
    "DataSequenceInOrder",
    "ErrorRecoveryLevel",
)

_DIGEST_LISTS = {
    # "none" still names CRC32C, for a target that insists on it.
    "none": ("None", "CRC32C"),
    "prefer": ("CRC32C", "None"),
    "require": ("CRC32C",),
}


def digest_offer(mode: str) -> tuple[str, ...]:
    """The list for `Offer.header_digest` and `Offer.data_digest` from "none", "prefer" or "require"."""
    try:
        return _DIGEST_LISTS[mode]
    except KeyError:
        raise LocalProtocolError(f"a digest is “none”, “prefer” or “require”, not “{mode}”") from None


@dataclass(slots=True)
class Offer:
    """What we wish for. Lists are in order of preference and hold all that we accept; lengths are in bytes.

    More than one outstanding R2T may be wished for beside a recovery level: what is agreed on then follows
    from both outcomes (RFC 7143 §13.19).

    Raises LocalProtocolError when the wishes break a rule of RFC 7143 §13.
    """

    header_digest: tuple[str, ...] = _DIGEST_LISTS["none"]
    data_digest: tuple[str, ...] = _DIGEST_LISTS["none"]
    max_connections: int = 1
    initial_r2t: bool = False
    immediate_data: bool = True
    max_recv_data_segment_bytes: int = 262144
    max_burst_bytes: int = 1024 * 1024
    first_burst_bytes: int = 262144
    default_time2wait_s: int = 2
    # At recovery level 0 nothing of a lost connection can be taken up again, so nothing is to be retained.
    default_time2retain_s: int = 0
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    # With one connection per session, answers cannot overtake each other: the fence of §4.2.2.3.3 holds.
    task_reporting: tuple[str, ...] = ("RFC3720", "ResponseFence")
    protocol_level: int = 1
    proposals: tuple[str, ...] = DEFAULT_PROPOSALS

    def __post_init__(self) -> None:
        for key, value in self.values().items():
            entry = OPERATIONAL_KEYS[key]
            if entry.kind == "number" and not entry.minimum <= int(value) <= entry.maximum:
                raise LocalProtocolError(f"{key} is from {entry.minimum} to {entry.maximum}, not {value}")
        if self.first_burst_bytes > self.max_burst_bytes:
            raise LocalProtocolError(
                f"FirstBurstLength ({self.first_burst_bytes}) must not exceed "
                f"MaxBurstLength ({self.max_burst_bytes})"
            )
        for name in self.proposals:
            if OPERATIONAL_KEYS.get(name) is None or OPERATIONAL_KEYS[name].rule == "obsolete":
                raise LocalProtocolError(f"“{name}” is not a key that can be proposed")
        if not self.header_digest or not self.data_digest or not self.task_reporting:
            raise LocalProtocolError("a list that is negotiated needs at least one value")

    def values(self) -> dict[str, Value]:
        """Our wish by key; lists are joined as on the wire."""
        return {
            "HeaderDigest": ",".join(self.header_digest),
            "DataDigest": ",".join(self.data_digest),
            "MaxConnections": self.max_connections,
            "InitialR2T": self.initial_r2t,
            "ImmediateData": self.immediate_data,
            "MaxRecvDataSegmentLength": self.max_recv_data_segment_bytes,
            "MaxBurstLength": self.max_burst_bytes,
            "FirstBurstLength": self.first_burst_bytes,
            "DefaultTime2Wait": self.default_time2wait_s,
            "DefaultTime2Retain": self.default_time2retain_s,
            "MaxOutstandingR2T": self.max_outstanding_r2t,
            "DataPDUInOrder": self.data_pdu_in_order,
            "DataSequenceInOrder": self.data_sequence_in_order,
            "ErrorRecoveryLevel": self.error_recovery_level,
            "TaskReporting": ",".join(self.task_reporting),
            "iSCSIProtocolLevel": self.protocol_level,
        }


@dataclass(slots=True)
class OperationalParameters:
    """The outcome, in force from the full feature phase on. The initial values are the defaults of §13."""

    header_digest: str = "None"
    data_digest: str = "None"
    max_connections: int = 1
    initial_r2t: bool = True
    immediate_data: bool = True
    max_recv_data_segment_bytes: int = DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES
    peer_max_recv_data_segment_bytes: int = DEFAULT_MAX_RECV_DATA_SEGMENT_BYTES
    max_burst_bytes: int = 262144
    first_burst_bytes: int = 65536
    default_time2wait_s: int = 2
    default_time2retain_s: int = 20
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    task_reporting: str = "RFC3720"
    protocol_level: int = 1

    def for_connection(self, connection: OperationalParameters) -> OperationalParameters:
        """These, a session's, with the connection-only values (§13, scope CO) of a further login."""
        return replace(
            self,
            header_digest=connection.header_digest,
            data_digest=connection.data_digest,
            max_recv_data_segment_bytes=connection.max_recv_data_segment_bytes,
            peer_max_recv_data_segment_bytes=connection.peer_max_recv_data_segment_bytes,
        )


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key for the user, fit for display. `offered` or `answered` is None where nothing was sent."""

    key: str
    offered: str | None
    answered: str | None
    effective: str
    default: str
    rule: str
    note: str = ""
