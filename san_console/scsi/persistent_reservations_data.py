"""Parameter data of PERSISTENT RESERVE IN and OUT (SPC-4 §6.15, §6.16), and how the state is kept over a
loss of power.
"""

from __future__ import annotations

import json
import struct
from typing import TypeAlias

from san_console.scsi import opcodes as op
from san_console.scsi.errors import MalformedData
from san_console.scsi.persistent_reservations import (
    ALL_REGISTRANTS,
    LU_SCOPE,
    MAX_REGISTRATIONS,
    TYPE_NAMES,
    PersistentReservations,
    Refused,
    Request,
)
from san_console.scsi.sense import INVALID_FIELD_IN_PARAMETER_LIST, PARAMETER_LIST_LENGTH_ERROR
from san_console.scsi.transport_ids import (
    ISID_BYTES,
    InitiatorPort,
    NexusId,
    build_transport_id,
    parse_transport_ids,
)

Buffer: TypeAlias = bytes | bytearray | memoryview

LIST_BYTES = 24
# The fixed part and a TransportID of 248 octets for each registration that fits into a unit.
MAX_LIST_BYTES = 28 + 248 * MAX_REGISTRATIONS
MAX_STATE_BYTES = 1 << 20  # what `dump` writes of 512 registrations is well below

_OUT = struct.Struct(">QQ4xBxxx")
_MOVE = struct.Struct(">QQxBHI")
_LENGTH = struct.Struct(">I")
_HEADER = struct.Struct(">II")
_RESERVATION = struct.Struct(">Q5xBxx")
_CAPABILITIES = struct.Struct(">HBBH2x")
_STATUS = struct.Struct(">Q4xBB4xHI")
assert _OUT.size == _MOVE.size == _STATUS.size == LIST_BYTES
assert _RESERVATION.size == 16
assert _CAPABILITIES.size == 8

_SPEC_I_PT, _ALL_TG_PT, _APTPL, _UNREG = 0x08, 0x04, 0x01, 0x02
_R_HOLDER = 0x01
# REPORT CAPABILITIES (§6.15.4): CRH, SIP_C, ATP_C; PTPL_C; TMV; PTPL_A. The mask has a bit for each type.
_ALWAYS, _PTPL_C, _TMV, _PTPL_A = 0x1C, 0x01, 0x80, 0x01
_TYPE_MASK = 0xEA01


def parse_out(data: Buffer, service_action: int) -> Request:
    """The parameter list of PERSISTENT RESERVE OUT. Raises Refused."""
    if service_action == op.SA_REGISTER_AND_MOVE:
        return _parse_move(data)
    if len(data) < LIST_BYTES:
        raise Refused(PARAMETER_LIST_LENGTH_ERROR)
    key, action_key, flags = _OUT.unpack_from(data)
    registers = service_action in (op.SA_REGISTER, op.SA_REGISTER_AND_IGNORE_EXISTING_KEY)
    request = Request(key, action_key)
    if registers:
        request.all_target_ports = bool(flags & _ALL_TG_PT)
        request.aptpl = bool(flags & _APTPL)
        request.spec_i_pt = bool(flags & _SPEC_I_PT)
    if not (request.spec_i_pt and service_action == op.SA_REGISTER):
        if len(data) != LIST_BYTES:
            raise Refused(PARAMETER_LIST_LENGTH_ERROR)
        return request
    if len(data) < LIST_BYTES + _LENGTH.size:
        raise Refused(PARAMETER_LIST_LENGTH_ERROR)
    (length,) = _LENGTH.unpack_from(data, LIST_BYTES)
    _read_ids(request, data, LIST_BYTES + _LENGTH.size, length)
    return request


def _parse_move(data: Buffer) -> Request:
    if len(data) < _MOVE.size:
        raise Refused(PARAMETER_LIST_LENGTH_ERROR)
    key, action_key, flags, port, length = _MOVE.unpack_from(data)
    request = Request(
        key, action_key, aptpl=bool(flags & _APTPL), unregister=bool(flags & _UNREG), target_port=port
    )
    _read_ids(request, data, _MOVE.size, length)
    return request


def _read_ids(request: Request, data: Buffer, start: int, length: int) -> None:
    if len(data) != start + length:
        raise Refused(PARAMETER_LIST_LENGTH_ERROR)
    try:
        request.transport_ids = parse_transport_ids(data[start:])
    except MalformedData:
        raise Refused(INVALID_FIELD_IN_PARAMETER_LIST) from None


def build_out(request: Request) -> bytes:
    """The parameter list of every service action but REGISTER AND MOVE, without TransportIDs."""
    flags = (_ALL_TG_PT if request.all_target_ports else 0) | (_APTPL if request.aptpl else 0)
    return _OUT.pack(request.key, request.service_action_key, flags)


def build_move(request: Request, port: InitiatorPort) -> bytes:
    """The parameter list of REGISTER AND MOVE to an initiator port."""
    flags = (_UNREG if request.unregister else 0) | (_APTPL if request.aptpl else 0)
    transport_id = build_transport_id(port)
    return (
        _MOVE.pack(request.key, request.service_action_key, flags, request.target_port, len(transport_id))
        + transport_id
    )


# PERSISTENT RESERVE IN


def build_keys(state: PersistentReservations) -> bytes:
    """READ KEYS: one key for each registration."""
    keys = b"".join(key.to_bytes(8, "big") for key in state.registrations.values())
    return _HEADER.pack(state.generation, len(keys)) + keys


def build_reservation(state: PersistentReservations) -> bytes:
    """READ RESERVATION: the key of the holder, 0 where all registrants hold it."""
    if not state.type:
        return _HEADER.pack(state.generation, 0)
    key = state.registrations[state.holder] if state.holder is not None else 0
    return _HEADER.pack(state.generation, _RESERVATION.size) + _RESERVATION.pack(
        key, LU_SCOPE << 4 | state.type
    )


def build_capabilities(state: PersistentReservations, *, durable: bool) -> bytes:
    """REPORT CAPABILITIES; `durable`: APTPL is possible."""
    return _CAPABILITIES.pack(
        _CAPABILITIES.size,
        _ALWAYS | (_PTPL_C if durable else 0),
        _TMV | (_PTPL_A if state.aptpl else 0),
        _TYPE_MASK,
    )


def build_full_status(state: PersistentReservations) -> bytes:
    """READ FULL STATUS: a descriptor for each registration."""
    rows = []
    for nexus, key in state.registrations.items():
        holder = state.holds(nexus)
        transport_id = build_transport_id(nexus.port)
        rows.append(
            _STATUS.pack(
                key,
                _R_HOLDER if holder else 0,
                LU_SCOPE << 4 | state.type if holder else 0,
                nexus.target_port,
                len(transport_id),
            )
            + transport_id
        )
    data = b"".join(rows)
    return _HEADER.pack(state.generation, len(data)) + data


# The state over a loss of power (§5.13.5): all but the generation, which begins at 0 again.

_VERSION = 1


def dump(state: PersistentReservations) -> bytes:
    """The state as JSON."""
    rows = [
        [nexus.port.name, nexus.port.isid.hex(), nexus.target_port, f"{key:016x}"]
        for nexus, key in state.registrations.items()
    ]
    holder = list(state.registrations).index(state.holder) if state.holder is not None else -1
    return json.dumps(
        {"version": _VERSION, "registrations": rows, "type": state.type, "holder": holder}
    ).encode()


def load(data: bytes) -> PersistentReservations:
    """What `dump` wrote. Raises MalformedData."""
    if len(data) > MAX_STATE_BYTES:
        raise MalformedData(f"{len(data)} octets are no state of reservations")
    state = PersistentReservations()
    state.aptpl = True
    try:
        content = json.loads(data)
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}")
        for name, isid, port, key in content["registrations"]:
            nexus = NexusId(InitiatorPort(str(name), bytes.fromhex(isid)), int(port))
            state.registrations[nexus] = int(key, 16)
        state.type, position = int(content["type"]), int(content["holder"])
        if position >= 0:
            state.holder = list(state.registrations)[position]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise MalformedData(f"the state of reservations cannot be read: {error}") from None
    _check(state)
    return state


def _check(state: PersistentReservations) -> None:
    single = state.type != 0 and state.type not in ALL_REGISTRANTS
    if (
        (state.type and state.type not in TYPE_NAMES)
        or single != (state.holder is not None)
        or (state.type and not state.registrations)
        or len(state.registrations) > MAX_REGISTRATIONS
        or any(len(nexus.port.isid) != ISID_BYTES for nexus in state.registrations)
        or not all(0 < key < 1 << 64 for key in state.registrations.values())
    ):
        raise MalformedData("the state of reservations contradicts itself")
