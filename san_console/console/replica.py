"""A copy of the engine's objects, kept current by its messages (PROTOCOL.md, "Objects, revisions")."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from san_console.api.engine_objects import Sample
from san_console.api.messages import COLLECTIONS, Delta, Snapshot, Statistics
from san_console.console.backend import BackendMessage, ObjectDelta, ObjectSnapshot

KEPT_SAMPLES: Final = 600
"""Ten minutes at one per second: more than the longest span that a chart shows."""

ENGINE_SAMPLE_ID: Final = "engine"

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(kind) for name, kind in COLLECTIONS.items()
}


@dataclass(slots=True)
class ObjectChange:
    """An object came (`old` is None), went (`new` is None) or changed."""

    id: str
    old: Any
    new: Any


ChangesCallback = Callable[[list[ObjectChange]], None]
SamplesCallback = Callable[[list[Sample]], None]
Unsubscribe = Callable[[], None]


class Replica:
    """The objects of one host by collection and id, in the order in which the engine named them.

    Callbacks run after a whole message was taken in, so that what they look at is of one revision.
    A message that cannot be decoded changes nothing and raises `msgspec.DecodeError`.
    """

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, Any]] = {name: {} for name in COLLECTIONS}
        self.samples: dict[str, deque[Sample]] = {}
        self.revision: int | None = None
        """None until the first snapshot, and while another one is awaited."""
        self.needs_resync: Callable[[], None] = _no_resync
        """Called once for each gap; deltas are left out from then until the next snapshot."""
        self._changed: dict[str, list[ChangesCallback]] = {name: [] for name in COLLECTIONS}
        self._reset: list[Callable[[], None]] = []
        self._sampled: list[SamplesCallback] = []

    def get(self, collection: str, object_id: str) -> Any:
        """The object, or None."""
        return self.collections[collection].get(object_id)

    def values(self, collection: str) -> list[Any]:
        return list(self.collections[collection].values())

    def newest_sample(self, object_id: str) -> Sample | None:
        kept = self.samples.get(object_id)
        return kept[-1] if kept else None

    def subscribe(self, collection: str, callback: ChangesCallback) -> Unsubscribe:
        """`callback` gets the changes of `collection`, all those of one delta at once, each object once."""
        return _register(self._changed[collection], callback)

    def on_reset(self, callback: Callable[[], None]) -> Unsubscribe:
        """`callback` runs when a snapshot replaced everything; no single changes are told then."""
        return _register(self._reset, callback)

    def on_samples(self, callback: SamplesCallback) -> Unsubscribe:
        """`callback` gets the samples of each `statistics` message, after they were kept."""
        return _register(self._sampled, callback)

    def expect_snapshot(self) -> None:
        """The connection was lost: what is shown is stale, and deltas mean nothing before a snapshot."""
        self.revision = None

    def add_history(self, samples: Iterable[Sample]) -> None:
        """Put samples of `statistics.history` before the ones that came since; later ones are left out."""
        older: dict[str, list[Sample]] = {}
        for sample in samples:
            kept = self.samples.get(sample.id)
            if self._is_sampled(sample.id) and (not kept or sample.at < kept[0].at):
                older.setdefault(sample.id, []).append(sample)
        for object_id, past in older.items():
            past.sort(key=lambda sample: sample.at)
            self.samples[object_id] = deque([*past, *self.samples.get(object_id, ())], maxlen=KEPT_SAMPLES)

    def apply(self, message: BackendMessage) -> None:
        match message:
            case Snapshot():
                self._replace(message.revision, _decoded_collections(message))
            case ObjectSnapshot():
                self._replace(message.revision, message.collections)
            case Delta():
                if self._follows(message.revision):
                    self._change(message.revision, _decoded_changes(message))
            case ObjectDelta():
                if self._follows(message.revision):
                    self._change(message.revision, message.changes)
            case Statistics():
                self._keep(message.samples)

    def _replace(self, revision: int, collections: dict[str, list[Any]]) -> None:
        for name in COLLECTIONS:
            self.collections[name] = {item.id: item for item in collections.get(name, ())}
        self.revision = revision
        for object_id in [known for known in self.samples if not self._is_sampled(known)]:
            del self.samples[object_id]
        for callback in tuple(self._reset):
            callback()

    def _follows(self, revision: int) -> bool:
        if self.revision is None or revision <= self.revision:
            return False
        if revision == self.revision + 1:
            return True
        self.revision = None
        self.needs_resync()
        return False

    def _change(self, revision: int, changes: Iterable[tuple[str, str, Any]]) -> None:
        batches: dict[str, dict[str, ObjectChange]] = {}
        for name, object_id, value in changes:
            objects = self.collections.get(name)
            if objects is None:
                continue
            batch = batches.setdefault(name, {})
            if object_id in batch:
                batch[object_id].new = value
            else:
                batch[object_id] = ObjectChange(object_id, objects.get(object_id), value)
            if value is None:
                objects.pop(object_id, None)
            else:
                objects[object_id] = value
        self.revision = revision
        for name in batches.keys() & {"sessions", "target_sessions"}:
            for object_id, change in batches[name].items():
                if change.new is None:
                    self.samples.pop(object_id, None)
        for name, batch in batches.items():
            real = [change for change in batch.values() if change.old != change.new]
            if real:
                for callback in tuple(self._changed[name]):
                    callback(real)

    def _is_sampled(self, object_id: str) -> bool:
        return (
            object_id == ENGINE_SAMPLE_ID
            or object_id in self.collections["sessions"]
            or object_id in self.collections["target_sessions"]
        )

    def _keep(self, samples: list[Sample]) -> None:
        # A sample of an object that is gone again (or not there yet) would stay for ever.
        known = [sample for sample in samples if self._is_sampled(sample.id)]
        for sample in known:
            kept = self.samples.get(sample.id)
            if kept is None:
                kept = self.samples[sample.id] = deque(maxlen=KEPT_SAMPLES)
            kept.append(sample)
        if known:
            for callback in tuple(self._sampled):
                callback(known)


def _no_resync() -> None:
    """Nobody can ask for a snapshot yet."""


def _register(callbacks: list[Any], callback: Any) -> Unsubscribe:
    callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return unsubscribe


def _decoded_collections(message: Snapshot) -> dict[str, list[Any]]:
    return {
        name: [_DECODERS[name].decode(raw) for raw in raws]
        for name, raws in message.collections.items()
        if name in _DECODERS
    }


def _decoded_changes(message: Delta) -> list[tuple[str, str, Any]]:
    decoded = []
    for change in message.changes:
        decoder = _DECODERS.get(change.collection)
        if decoder is None:
            continue
        value = None if change.value is None else decoder.decode(change.value)
        if value is not None and value.id != change.id:
            raise msgspec.ValidationError(f"a change of {change.id!r} carries the object {value.id!r}")
        decoded.append((change.collection, change.id, value))
    return decoded
