"""Asymmetric logical unit access: states, and REPORT and SET TARGET PORT GROUPS (SPC-4 §5.11, §6.37, §6.45).

A target here has one target port per target port group; the group and the relative target port have the
same number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData
from san_console.scsi.sense import (
    ACCESS_STATE_TRANSITION,
    LUN_OFFLINE,
    TARGET_PORT_IN_STANDBY,
    TARGET_PORT_UNAVAILABLE,
    Condition,
)

Buffer: TypeAlias = bytes | bytearray | memoryview

ACTIVE_OPTIMIZED = 0x0
ACTIVE_NON_OPTIMIZED = 0x1
STANDBY = 0x2
UNAVAILABLE = 0x3
OFFLINE = 0xE
TRANSITIONING = 0xF

STATE_NAMES: dict[int, str] = {
    ACTIVE_OPTIMIZED: "active/optimized",
    ACTIVE_NON_OPTIMIZED: "active/non-optimized",
    STANDBY: "standby",
    UNAVAILABLE: "unavailable",
    OFFLINE: "offline",
    TRANSITIONING: "transitioning",
}
STATES: dict[str, int] = {name: state for state, name in STATE_NAMES.items()}
SETTABLE = frozenset({ACTIVE_OPTIMIZED, ACTIVE_NON_OPTIMIZED, STANDBY, UNAVAILABLE})

STATUS_NONE, STATUS_BY_SET, STATUS_BY_ITSELF = 0, 1, 2
"""STATUS CODE: never changed; by SET TARGET PORT GROUPS; implicitly, by the target."""

_SUPPORTED = 0x80 | 0x40 | 0x08 | 0x04 | 0x02 | 0x01  # T_SUP, O_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP
_PREFERRED = 0x80
_HEADER = struct.Struct(">I")
_EXTENDED = struct.Struct(">BB2x")
_GROUP = struct.Struct(">BBHxBBB")
_PORT = struct.Struct(">2xH")
_SET = struct.Struct(">BxH")
assert (_GROUP.size, _PORT.size, _SET.size, _EXTENDED.size) == (8, 4, 4, 4)
_FORMAT_EXTENDED = 0x10
SET_HEADER_BYTES = 4
MAX_SET_BYTES = 4096  # descriptors for more groups than a target has


@dataclass(slots=True)
class TargetPortGroup:
    """A group with its one port; `tag` is both numbers."""

    tag: int
    state: int
    preferred: bool = False
    status: int = STATUS_NONE


def build_report(groups: Iterable[TargetPortGroup], *, extended: bool) -> bytes:
    """REPORT TARGET PORT GROUPS; `extended`: with the header that tells how long a transition takes."""
    rows = b"".join(
        _GROUP.pack((_PREFERRED if one.preferred else 0) | one.state, _SUPPORTED, one.tag, one.status, 0, 1)
        + _PORT.pack(one.tag)
        for one in groups
    )
    if extended:
        rows = _EXTENDED.pack(_FORMAT_EXTENDED, 0) + rows  # transitions take no time
    return _HEADER.pack(len(rows)) + rows


def parse_set(data: Buffer) -> list[tuple[int, int]]:
    """(group, state) of each descriptor of SET TARGET PORT GROUPS. Raises MalformedData."""
    rows = data[SET_HEADER_BYTES:]
    if len(rows) % _SET.size:
        raise MalformedData(f"{len(data)} octets are no list of target port groups")
    return [(tag, state & 0x0F) for state, tag in _SET.iter_unpack(rows)]


# What is served in the states that serve little, and how the rest is refused (§5.11.2.5 to .8).
_ALWAYS = frozenset({op.INQUIRY, op.REPORT_LUNS, op.REQUEST_SENSE})
_GROUP_COMMANDS = frozenset(
    {
        (op.MAINTENANCE_IN, op.SA_REPORT_TARGET_PORT_GROUPS),
        (op.MAINTENANCE_OUT, op.SA_SET_TARGET_PORT_GROUPS),
    }
)
_IN_STANDBY = _ALWAYS | {
    op.LOG_SELECT,
    op.LOG_SENSE,
    op.MODE_SELECT_6,
    op.MODE_SELECT_10,
    op.MODE_SENSE_6,
    op.MODE_SENSE_10,
    op.PERSISTENT_RESERVE_IN,
    op.PERSISTENT_RESERVE_OUT,
    op.RECEIVE_DIAGNOSTIC_RESULTS,
    op.SEND_DIAGNOSTIC,
}
_RULES: dict[int, tuple[frozenset[int], Condition]] = {
    STANDBY: (frozenset(_IN_STANDBY), TARGET_PORT_IN_STANDBY),
    UNAVAILABLE: (_ALWAYS, TARGET_PORT_UNAVAILABLE),
    OFFLINE: (_ALWAYS, LUN_OFFLINE),
    TRANSITIONING: (_ALWAYS, ACCESS_STATE_TRANSITION),
}


def serves_all(state: int) -> bool:
    """True for the two active states."""
    return state not in _RULES


def refusal(state: int, cdb: bytes) -> Condition | None:
    """Why a port in this state does not serve the command; None: it does."""
    if state not in _RULES:
        return None
    served, condition = _RULES[state]
    if cdb[0] in served or (cdb[0], cdb[1] & 0x1F) in _GROUP_COMMANDS:
        return None
    return condition
