"""What each subscribed client still has to be sent, folded while it is slow.

Revisions are counted per client, since what one slow client gets folded into one delta, another gets as
ten. Values of one object fold into the newest; that an object came or went is never folded away.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from san_console.api.engine_objects import Sample
from san_console.api.messages import Change, Delta, Message, Snapshot, Statistics
from san_console.engine.objects import Changes, ObjectRegistry

MAX_PENDING_BYTES: Final = 32 * 1024 * 1024
"""Then the client is dropped; it comes back and takes a snapshot, which is smaller than this."""

MAX_DELTA_BYTES: Final = 1024 * 1024
"""A frame stays far below its limit, and the window repaints in between."""

MAX_SNAPSHOT_BYTES: Final = 12 * 1024 * 1024
"""About 20,000 targets. The frame limit is 16 MiB."""


class Connection(Protocol):
    writable: bool

    def send(self, message: Message) -> None: ...

    def abort(self) -> None: ...


class Subscriber:
    """One client's subscription."""

    def __init__(self, connection: Connection, registry: ObjectRegistry) -> None:
        self._connection = connection
        self._registry = registry
        self.revision = 0
        self._listening = False
        self._pending: list[tuple[str, str, msgspec.Raw | None]] = []
        self._last: dict[tuple[str, str], int] = {}
        self._pending_bytes = 0
        self._limit_bytes = MAX_PENDING_BYTES

    @property
    def next_revision(self) -> int:
        """The revision of a snapshot that is sent now."""
        return self.revision + 1

    def send_snapshot(self) -> None:
        """Send everything, and from now on what changes. What was pending is in it, and dropped.

        What does not fit into one frame comes right after it, as objects that came.
        """
        # Not told of the changes that the snapshot flushes: they are in it, and its revision was announced.
        self.close()
        collections: dict[str, list[msgspec.Raw]] = {}
        rest: list[tuple[str, str, msgspec.Raw | None]] = []
        room = MAX_SNAPSHOT_BYTES
        for name, objects in self._registry.snapshot().items():
            fitting = collections[name] = []
            for object_id, raw in objects:
                room -= _size(raw)
                if room > 0:
                    fitting.append(raw)
                else:
                    rest.append((name, object_id, raw))
        self._keep(rest)
        self._limit_bytes = MAX_PENDING_BYTES + self._pending_bytes
        self.revision += 1
        self._connection.send(Snapshot(revision=self.revision, collections=collections))
        self._listening = True
        self._registry.listen(self.take)
        self.send_pending()

    def close(self) -> None:
        """The client is gone."""
        if self._listening:
            self._listening = False
            self._registry.unlisten(self.take)

    def take(self, changes: Changes) -> None:
        """Take changes of the registry, and send what can be sent."""
        for collection, object_id, value in changes:
            key = (collection, object_id)
            at = self._last.get(key)
            if at is not None and value is not None and self._pending[at][2] is not None:
                self._pending_bytes -= _size(self._pending[at][2])
                self._pending[at] = (collection, object_id, value)
            else:
                self._last[key] = len(self._pending)
                self._pending.append((collection, object_id, value))
            self._pending_bytes += _size(value)
        self.send_pending()

    def send_pending(self) -> None:
        """Send deltas while the client takes them; called again when it has caught up."""
        while self._pending and self._connection.writable:
            count = self._fitting()
            part = self._pending[:count]
            self._keep(self._pending[count:])
            self.revision += 1
            changes = [
                Change(collection=collection, id=object_id, value=value)
                for collection, object_id, value in part
            ]
            self._connection.send(Delta(revision=self.revision, changes=changes))
        if self._pending_bytes > self._limit_bytes:
            self._clear()
            self._connection.abort()

    def take_statistics(self, samples: list[Sample]) -> None:
        """Send the newest figures; a client that is slow misses them."""
        if self._listening and self._connection.writable and not self._pending:
            self._connection.send(Statistics(samples=samples))

    def _fitting(self) -> int:
        """How many of the pending changes make one delta."""
        total = 0
        for count, (_, _, value) in enumerate(self._pending):
            total += _size(value)
            if count and total > MAX_DELTA_BYTES:
                return count
        return len(self._pending)

    def _clear(self) -> None:
        self._keep([])

    def _keep(self, pending: list[tuple[str, str, msgspec.Raw | None]]) -> None:
        self._pending = pending
        self._last = {(collection, object_id): n for n, (collection, object_id, _) in enumerate(pending)}
        self._pending_bytes = sum(_size(value) for _, _, value in pending)


def _size(value: msgspec.Raw | None) -> int:
    # 100 bytes for the change around it, with a name of usual length.
    return 100 + (len(bytes(value)) if value is not None else 0)
