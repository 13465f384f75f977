"""The objects that clients see, and who is told when one of them changes.

Owners change an object in place and `put` it again. All changes of a short while are encoded once and
handed to every listener together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeVar

import msgspec

from san_console.api.messages import COLLECTIONS

FLUSH_INTERVAL_S: Final = 0.02
"""Between two deltas. Below what a person sees; above it a busy session would make a delta per command."""


class ApiObject(Protocol):
    id: str


O = TypeVar("O", bound=msgspec.Struct)  # noqa: E741 - an object of a collection

Changes = list[tuple[str, str, msgspec.Raw | None]]
"""(collection, id, encoded value or None when the object is gone)."""

_encode = msgspec.json.Encoder().encode


class ObjectRegistry:
    """All collections of `COLLECTIONS`. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Any]] = {name: {} for name in COLLECTIONS}
        self._encoded: dict[str, dict[str, msgspec.Raw]] = {name: {} for name in COLLECTIONS}
        self._listeners: list[Callable[[Changes], None]] = []
        self._changes: list[tuple[str, str, bool]] = []
        """In order; True for a value, False for gone. Values of one object are folded."""
        self._last: dict[tuple[str, str], bool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0

    def get(self, collection: str, kind: type[O], object_id: str) -> O | None:
        found = self._objects[collection].get(object_id)
        assert found is None or isinstance(found, kind)
        return found

    def values(self, collection: str, kind: type[O]) -> Iterator[O]:
        """The objects in the order in which they came."""
        del kind
        return iter(list(self._objects[collection].values()))

    def count(self, collection: str) -> int:
        return len(self._objects[collection])

    def put(self, collection: str, value: ApiObject) -> None:
        """Add an object, or say that it has changed."""
        self._objects[collection][value.id] = value
        self._encoded[collection].pop(value.id, None)
        self._note(collection, value.id, alive=True)

    def remove(self, collection: str, object_id: str) -> None:
        if self._objects[collection].pop(object_id, None) is not None:
            self._encoded[collection].pop(object_id, None)
            self._note(collection, object_id, alive=False)

    def listen(self, listener: Callable[[Changes], None]) -> None:
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[Changes], None]) -> None:
        self._listeners.remove(listener)

    def snapshot(self) -> dict[str, list[tuple[str, msgspec.Raw]]]:
        """Every object with its id, encoded. Changes that wait for the next delta are flushed first."""
        self.flush()
        return {
            name: [(object_id, self._encoding(name, object_id)) for object_id in objects]
            for name, objects in self._objects.items()
        }

    def flush(self) -> None:
        """Hand the changes to the listeners now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._changes:
            return
        noted, self._changes, self._last = self._changes, [], {}
        self._flushed_at = asyncio.get_running_loop().time()
        changes: Changes = []
        for collection, object_id, alive in noted:
            if not alive:
                changes.append((collection, object_id, None))
            elif object_id in self._objects[collection]:
                changes.append((collection, object_id, self._encoding(collection, object_id)))
        for listener in list(self._listeners):
            listener(changes)

    def _encoding(self, collection: str, object_id: str) -> msgspec.Raw:
        encoded = self._encoded[collection]
        raw = encoded.get(object_id)
        if raw is None:
            raw = encoded[object_id] = msgspec.Raw(_encode(self._objects[collection][object_id]))
        return raw

    def _note(self, collection: str, object_id: str, *, alive: bool) -> None:
        if not self._listeners:
            return  # whoever comes later takes a snapshot first
        key = (collection, object_id)
        if self._last.get(key) is alive:
            return
        self._last[key] = alive
        self._changes.append((collection, object_id, alive))
        if self._timer is None:
            loop = asyncio.get_running_loop()
            delay_s = max(0.0, self._flushed_at + FLUSH_INTERVAL_S - loop.time())
            self._timer = loop.call_later(delay_s, self.flush)
