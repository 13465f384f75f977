from __future__ import annotations

import msgspec
import pytest

from san_console.api.engine_objects import Job, Sample
from san_console.api.messages import Change, Delta, Message, Snapshot, Statistics
from san_console.engine import subscribers
from san_console.engine.objects import ObjectRegistry
from san_console.engine.subscribers import Subscriber


class Client:
    def __init__(self) -> None:
        self.writable = True
        self.sent: list[Message] = []
        self.aborted = False

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def abort(self) -> None:
        self.aborted = True

    def changes(self) -> list[Change]:
        return [change for message in self.sent if isinstance(message, Delta) for change in message.changes]


def job(number: int, done: float = 0.0) -> Job:
    return Job(id=str(number), kind="k", title="t", done=done)


@pytest.fixture
async def parts() -> tuple[ObjectRegistry, Client, Subscriber]:
    registry, client = ObjectRegistry(), Client()
    registry.put("jobs", job(0))
    return registry, client, Subscriber(client, registry)


async def test_revisions_grow_by_one_from_the_snapshot_on(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    registry, client, subscriber = parts
    expected = subscriber.next_revision
    subscriber.send_snapshot()
    for number in range(1, 4):
        registry.put("jobs", job(number))
        registry.flush()
    subscriber.send_snapshot()
    registry.put("jobs", job(9))
    registry.flush()
    revisions = [message.revision for message in client.sent if isinstance(message, Snapshot | Delta)]
    assert revisions == list(range(expected, expected + 6))
    assert isinstance(client.sent[0], Snapshot)
    assert len(client.sent[0].collections["jobs"]) == 1


async def test_a_slow_client_gets_the_newest_value_once(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    registry, client, subscriber = parts
    subscriber.send_snapshot()
    client.writable = False
    for done in range(100):
        registry.put("jobs", job(0, done))
        registry.flush()
    assert client.changes() == []
    client.writable = True
    subscriber.send_pending()
    (change,) = client.changes()
    assert change.value is not None
    assert msgspec.json.decode(change.value, type=Job).done == 99


async def test_coming_and_going_is_never_folded_away(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    registry, client, subscriber = parts
    subscriber.send_snapshot()
    client.writable = False
    for _ in range(3):
        registry.put("jobs", job(5))
        registry.flush()
        registry.remove("jobs", "5")
        registry.flush()
    client.writable = True
    subscriber.send_pending()
    assert [change.value is None for change in client.changes()] == [False, True] * 3


async def test_a_resync_drops_what_was_pending_since_it_is_in_it(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    registry, client, subscriber = parts
    subscriber.send_snapshot()
    client.writable = False
    registry.put("jobs", job(1))
    registry.flush()
    client.writable = True
    subscriber.send_snapshot()
    subscriber.send_pending()
    assert client.changes() == []
    assert isinstance(client.sent[-1], Snapshot)
    assert len(client.sent[-1].collections["jobs"]) == 2


async def test_many_changes_are_split_and_the_client_may_slow_down_between(
    parts: tuple[ObjectRegistry, Client, Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers, "MAX_DELTA_BYTES", 10 * subscribers._size(msgspec.Raw(bytes(270))))
    registry, client, subscriber = parts
    subscriber.send_snapshot()
    client.writable = False
    for number in range(1, 26):
        registry.put("jobs", job(number))
    registry.flush()
    client.writable = True
    subscriber.send_pending()
    sizes = [len(message.changes) for message in client.sent if isinstance(message, Delta)]
    assert len(sizes) == 2
    assert sum(sizes) == 25
    assert [change.id for change in client.changes()] == [str(number) for number in range(1, 26)]


async def test_a_client_that_hangs_is_dropped(
    parts: tuple[ObjectRegistry, Client, Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers, "MAX_PENDING_BYTES", 5000)
    registry, client, subscriber = parts
    subscriber = Subscriber(client, registry)
    subscriber.send_snapshot()
    client.writable = False
    for number in range(100):
        registry.put("jobs", job(number))
    registry.flush()
    assert client.aborted
    subscriber.close()
    registry.put("jobs", job(7))
    registry.flush()
    assert subscriber._pending == []


async def test_statistics_are_only_for_those_who_keep_up(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    _, client, subscriber = parts
    sample = Sample(id="engine", at=1.0)
    subscriber.take_statistics([sample])
    assert client.sent == []
    subscriber.send_snapshot()
    subscriber.take_statistics([sample])
    client.writable = False
    subscriber.take_statistics([sample])
    assert [type(message) for message in client.sent] == [Snapshot, Statistics]


async def test_a_resync_has_the_revision_that_was_announced(
    parts: tuple[ObjectRegistry, Client, Subscriber],
) -> None:
    registry, client, subscriber = parts
    subscriber.send_snapshot()
    registry.put("jobs", job(1))
    announced = subscriber.next_revision
    subscriber.send_snapshot()
    assert isinstance(client.sent[-1], Snapshot)
    assert client.sent[-1].revision == announced
    assert client.changes() == []
    registry.put("jobs", job(2))
    registry.flush()
    assert [change.id for change in client.changes()] == ["2"]


async def test_what_does_not_fit_into_the_snapshot_follows_it(
    parts: tuple[ObjectRegistry, Client, Subscriber], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers, "MAX_SNAPSHOT_BYTES", 3000)
    monkeypatch.setattr(subscribers, "MAX_PENDING_BYTES", 1000)
    registry, client, subscriber = parts
    for number in range(1, 100):
        registry.put("jobs", job(number))
    client.writable = False
    subscriber.send_snapshot()
    assert not client.aborted
    client.writable = True
    subscriber.send_pending()
    assert isinstance(client.sent[0], Snapshot)
    first = [msgspec.json.decode(raw, type=Job).id for raw in client.sent[0].collections["jobs"]]
    assert 0 < len(first) < 100
    assert first + [change.id for change in client.changes()] == [str(number) for number in range(100)]
    revisions = [message.revision for message in client.sent if isinstance(message, Snapshot | Delta)]
    assert revisions == list(range(1, len(revisions) + 1))
