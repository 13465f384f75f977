"""The messages on the wire. Frame: u32 length, big-endian, then one JSON object with a `type`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from san_console.api.engine_objects import EngineInfo, Event, Identity, Interface, Job, Sample
from san_console.api.initiator_objects import Lun, Session, Source, Target
from san_console.api.problems import Problem
from san_console.api.serving_objects import IsnsServer, LocalTarget, Reservation, TargetSession

API_VERSION: Final = 2
OLDEST_API_VERSION: Final = 2
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""A snapshot of 10,000 targets is about 6 MB; more than this is a fault or an attack."""

COLLECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "engine": EngineInfo,
    "interfaces": Interface,
    "sources": Source,
    "targets": Target,
    "sessions": Session,
    "luns": Lun,
    "local_targets": LocalTarget,
    "target_sessions": TargetSession,
    "reservations": Reservation,
    "isns_servers": IsnsServer,
    "identities": Identity,
    "events": Event,
    "jobs": Job,
}
"""Collections of a snapshot, each with the struct of its objects. Every object has an `id`."""


class Hello(msgspec.Struct, tag="hello", kw_only=True):
    """The first message of both sides."""

    api_oldest: int
    api_newest: int
    version: str
    role: str
    """`engine`, `window`, `cli` or `relay`."""


class Call(msgspec.Struct, tag="call", kw_only=True):
    id: int
    method: str
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Cancel(msgspec.Struct, tag="cancel", kw_only=True):
    """Give up a call; it still gets its answer, mostly the problem `cancelled`."""

    id: int


class Result(msgspec.Struct, tag="result", kw_only=True):
    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")


class Failure(msgspec.Struct, tag="failure", kw_only=True):
    id: int
    problem: Problem


class Snapshot(msgspec.Struct, tag="snapshot", kw_only=True):
    """Everything, at a revision. Sent after `subscribe`, and again after `resync`."""

    revision: int
    collections: dict[str, list[msgspec.Raw]]


if TYPE_CHECKING:
    _OptionalRaw = msgspec.Raw | None
else:
    # msgspec takes `Raw | None` for None alone; a member that is left out keeps its default unchecked.
    _OptionalRaw = msgspec.Raw


class Change(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One object came, changed (whole value) or went (no member `value`)."""

    collection: str
    id: str
    value: _OptionalRaw = None


class Delta(msgspec.Struct, tag="delta", kw_only=True):
    """Changes that lead from `revision - 1` to `revision`. A gap: ask for `resync`."""

    revision: int
    changes: list[Change]


class Statistics(msgspec.Struct, tag="statistics", kw_only=True):
    """The newest figures of each object; a slow reader misses older ones, never changes."""

    samples: list[Sample]


Message = Hello | Call | Cancel | Result | Failure | Snapshot | Delta | Statistics

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def encode_message(message: Message) -> bytes:
    """The JSON body of a frame, without its length."""
    return _encoder.encode(message)


def decode_message(body: bytes | memoryview) -> Message:
    """Raises `msgspec.DecodeError` (or its subclass `ValidationError`) for anything that is no message."""
    message: Message = _decoder.decode(body)
    return message
