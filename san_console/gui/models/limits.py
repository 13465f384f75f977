"""The operational limits of a target as data: what each is, its unit, its range, the default of the RFC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from san_console.api.serving_objects import OperationalLimits
from san_console.gui import words
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated

LimitKind = Literal["count", "bytes", "seconds", "switch", "digest"]

_BYTES: Final = (512, (1 << 24) - 1)  # RFC 7143 §13.12 to §13.14


@dataclass(frozen=True, slots=True)
class Limit:
    """One field of `OperationalLimits`. `rfc` is the default of RFC 7143 §13 in the field's own type, None
    where the RFC leaves it to the target.
    """

    field: str
    title: str
    kind: LimitKind
    explanation: str
    key: str = ""
    """As RFC 7143 §13 calls it."""
    rfc: int | bool | str | None = None
    least: float = 0
    most: float = 0
    none: str = ""
    """What the least value means, where it is no number."""


GROUPS: Final[tuple[tuple[str, tuple[Limit, ...]], ...]] = (
    (
        QT_TRANSLATE_NOOP("Table", "Sessions"),
        (
            Limit(
                "max_sessions",
                QT_TRANSLATE_NOOP("Table", "Sessions at once"),
                "count",
                QT_TRANSLATE_NOOP("Table", "More are turned away at login, with “out of resources”."),
                least=1,
                most=65535,
            ),
            Limit(
                "max_connections",
                QT_TRANSLATE_NOOP("Table", "Connections per session"),
                "count",
                QT_TRANSLATE_NOOP("Table", "One session over several network paths at once."),
                key="MaxConnections",
                rfc=1,
                least=1,
                most=8,
            ),
            Limit(
                "error_recovery_level",
                QT_TRANSLATE_NOOP("Table", "Error recovery level"),
                "count",
                QT_TRANSLATE_NOOP(
                    "Table",
                    "0: a new session, 1: lost or damaged data is sent again, 2: connections are replaced.",
                ),
                key="ErrorRecoveryLevel",
                rfc=0,
                least=0,
                most=2,
            ),
            Limit(
                "command_window",
                QT_TRANSLATE_NOOP("Table", "Commands at once"),
                "count",
                QT_TRANSLATE_NOOP("Table", "Of one session: how far its initiator may be ahead."),
                least=1,
                most=4096,
            ),
        ),
    ),
    (
        QT_TRANSLATE_NOOP("Table", "Data"),
        (
            Limit(
                "max_recv_data_segment_bytes",
                QT_TRANSLATE_NOOP("Table", "Data segment"),
                "bytes",
                QT_TRANSLATE_NOOP("Table", "The most that the target takes in one PDU."),
                key="MaxRecvDataSegmentLength",
                rfc=8192,
                least=_BYTES[0],
                most=_BYTES[1],
            ),
            Limit(
                "max_burst_bytes",
                QT_TRANSLATE_NOOP("Table", "Burst"),
                "bytes",
                QT_TRANSLATE_NOOP("Table", "The most in one sequence of data, in either direction."),
                key="MaxBurstLength",
                rfc=262144,
                least=_BYTES[0],
                most=_BYTES[1],
            ),
            Limit(
                "first_burst_bytes",
                QT_TRANSLATE_NOOP("Table", "First burst"),
                "bytes",
                QT_TRANSLATE_NOOP("Table", "What an initiator may send before it is asked to."),
                key="FirstBurstLength",
                rfc=65536,
                least=_BYTES[0],
                most=_BYTES[1],
            ),
            Limit(
                "max_outstanding_r2t",
                QT_TRANSLATE_NOOP("Table", "Requests for data at once"),
                "count",
                QT_TRANSLATE_NOOP("Table", "How many R2Ts a write may have open."),
                key="MaxOutstandingR2T",
                rfc=1,
                least=1,
                most=65535,
            ),
            Limit(
                "initial_r2t",
                QT_TRANSLATE_NOOP("Table", "Data only when asked for"),
                "switch",
                QT_TRANSLATE_NOOP("Table", "Off: short writes save one round trip."),
                key="InitialR2T",
                rfc=True,
            ),
            Limit(
                "immediate_data",
                QT_TRANSLATE_NOOP("Table", "Data with the command"),
                "switch",
                QT_TRANSLATE_NOOP("Table", "Small writes are one PDU."),
                key="ImmediateData",
                rfc=True,
            ),
            Limit(
                "data_pdu_in_order",
                QT_TRANSLATE_NOOP("Table", "PDUs in order"),
                "switch",
                QT_TRANSLATE_NOOP("Table", "Off: the PDUs of a sequence may come in any order."),
                key="DataPDUInOrder",
                rfc=True,
            ),
            Limit(
                "data_sequence_in_order",
                QT_TRANSLATE_NOOP("Table", "Sequences in order"),
                "switch",
                QT_TRANSLATE_NOOP("Table", "Off: the sequences of a command may come in any order."),
                key="DataSequenceInOrder",
                rfc=True,
            ),
        ),
    ),
    (
        QT_TRANSLATE_NOOP("Table", "Digests"),
        (
            Limit(
                "header_digest",
                QT_TRANSLATE_NOOP("Table", "Of headers"),
                "digest",
                QT_TRANSLATE_NOOP("Table", "CRC32C over each header: finds what TCP lets pass."),
                key="HeaderDigest",
                rfc="none",
            ),
            Limit(
                "data_digest",
                QT_TRANSLATE_NOOP("Table", "Of data"),
                "digest",
                QT_TRANSLATE_NOOP("Table", "CRC32C over all data; costs some speed."),
                key="DataDigest",
                rfc="none",
            ),
        ),
    ),
    (
        QT_TRANSLATE_NOOP("Table", "Times"),
        (
            Limit(
                "login_timeout_s",
                QT_TRANSLATE_NOOP("Table", "Login"),
                "seconds",
                QT_TRANSLATE_NOOP("Table", "A login that takes longer is ended."),
                least=1,
                most=600,
            ),
            Limit(
                "nop_in_interval_s",
                QT_TRANSLATE_NOOP("Table", "Ask a silent initiator after"),
                "seconds",
                QT_TRANSLATE_NOOP("Table", "A NOP-In finds out whether it is still there."),
                most=3600,
                none=QT_TRANSLATE_NOOP("Table", "never"),
            ),
            Limit(
                "nop_in_timeout_s",
                QT_TRANSLATE_NOOP("Table", "Give it up after"),
                "seconds",
                QT_TRANSLATE_NOOP("Table", "Without an answer its connection is closed."),
                least=1,
                most=3600,
            ),
            Limit(
                "default_time2wait_s",
                QT_TRANSLATE_NOOP("Table", "Wait before coming back"),
                "seconds",
                QT_TRANSLATE_NOOP("Table", "How long an initiator waits after a connection broke."),
                key="DefaultTime2Wait",
                rfc=2,
                most=3600,
            ),
            Limit(
                "default_time2retain_s",
                QT_TRANSLATE_NOOP("Table", "Keep its commands for"),
                "seconds",
                QT_TRANSLATE_NOOP("Table", "So long a broken session can be continued."),
                key="DefaultTime2Retain",
                rfc=20,
                most=3600,
            ),
        ),
    ),
)
LIMITS: Final = {limit.field: limit for _title, limits in GROUPS for limit in limits}
DEFAULTS: Final = OperationalLimits()

DIGESTS: Final[tuple[tuple[str, str], ...]] = (
    ("none", QT_TRANSLATE_NOOP("Table", "Off")),
    ("prefer", QT_TRANSLATE_NOOP("Table", "Preferred")),
    ("require", QT_TRANSLATE_NOOP("Table", "Required")),
)


def value_text(limit: Limit, value: Any) -> str:
    """A value in words: `256 KiB`, `15 s`, `on`."""
    if limit.kind == "switch":
        return translate("limits", "on") if value else translate("limits", "off")
    if limit.kind == "digest":
        return translated(dict(DIGESTS).get(str(value), str(value)))
    if limit.none and value == limit.least:
        return translated(limit.none)
    if limit.kind == "bytes":
        return words.size(value) if value % 1024 == 0 else words.counted(int(value), "byte")
    if limit.kind == "seconds":
        return translate("limits", "{value:g} s").format(value=value)
    return f"{value:,}"


def default_text(limit: Limit) -> str:
    """`RFC: 8.0 KiB, here: 256 KiB.`; `Here: 15 s.` where the RFC has none."""
    ours = value_text(limit, getattr(DEFAULTS, limit.field))
    if limit.rfc is None:
        return translate("limits", "Here: {ours}.").format(ours=ours)
    if limit.rfc == getattr(DEFAULTS, limit.field):
        return translate("limits", "RFC: {rfc}.").format(rfc=value_text(limit, limit.rfc))
    return translate("limits", "RFC: {rfc}, here: {ours}.").format(
        rfc=value_text(limit, limit.rfc), ours=ours
    )


def problem_of(limits: OperationalLimits) -> str:
    """What cannot be, as a sentence; empty when the limits fit each other."""
    if limits.first_burst_bytes > limits.max_burst_bytes:
        return translate("limits", "The first burst cannot be larger than a burst (RFC 7143 §13.14).")
    return ""


def changed_fields(one: OperationalLimits, other: OperationalLimits) -> list[str]:
    return [field for field in LIMITS if getattr(one, field) != getattr(other, field)]


def with_values(limits: OperationalLimits, values: dict[str, Any]) -> OperationalLimits:
    return msgspec.structs.replace(limits, **values)
