"""The replica against a model: any run of deltas leads to what the engine has."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from san_console.api.engine_objects import Job, Sample
from san_console.api.initiator_objects import Session, Target
from san_console.api.messages import Change, Delta, Snapshot, Statistics, decode_message, encode_message
from san_console.console.backend import ObjectDelta, ObjectSnapshot
from san_console.console.replica import KEPT_SAMPLES, ObjectChange, Replica


def raw(value: msgspec.Struct) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def target(name: str, alias: str = "") -> Target:
    return Target(id=name, alias=alias)


def job(job_id: str, title: str = "") -> Job:
    return Job(id=job_id, kind="test", title=title)


def session(session_id: str) -> Session:
    return Session(id=session_id, target="iqn.2026-11.example:t", portal="127.0.0.1:3260", state="logged_in")


_ids = st.sampled_from(["a", "b", "c", "d"])
_change = st.tuples(st.sampled_from(["targets", "jobs"]), _ids, st.one_of(st.none(), st.sampled_from("xyz")))
_deltas = st.lists(st.lists(_change, max_size=6), max_size=8)


def _value(collection: str, object_id: str, text: str | None) -> Any:
    if text is None:
        return None
    return target(object_id, text) if collection == "targets" else job(object_id, text)


@settings(max_examples=60, deadline=None)
@given(_deltas, st.booleans())
def test_random_deltas_lead_to_the_state_of_a_model(
    deltas: list[list[tuple[str, str, str | None]]], encoded: bool
) -> None:
    model: dict[str, dict[str, Any]] = {"targets": {"a": target("a")}, "jobs": {}}
    followed: dict[str, dict[str, Any]] = {"targets": {"a": target("a")}, "jobs": {}}
    replica = Replica()
    replica.apply(Snapshot(revision=7, collections={"targets": [raw(target("a"))]}))

    def follow(collection: str, changes: list[ObjectChange]) -> None:
        assert len({change.id for change in changes}) == len(changes)
        for change in changes:
            assert followed[collection].get(change.id) == change.old
            assert change.old != change.new
            if change.new is None:
                del followed[collection][change.id]
            else:
                followed[collection][change.id] = change.new

    replica.subscribe("targets", lambda changes: follow("targets", changes))
    replica.subscribe("jobs", lambda changes: follow("jobs", changes))
    for number, delta in enumerate(deltas):
        changes = [(name, object_id, _value(name, object_id, text)) for name, object_id, text in delta]
        for name, object_id, value in changes:
            if value is None:
                model[name].pop(object_id, None)
            else:
                model[name][object_id] = value
        if encoded:
            message = Delta(
                revision=8 + number,
                changes=[
                    Change(collection=name, id=object_id, value=None if value is None else raw(value))
                    for name, object_id, value in changes
                ],
            )
            arrived = decode_message(encode_message(message))
            assert isinstance(arrived, Delta)
            replica.apply(arrived)
        else:
            replica.apply(ObjectDelta(8 + number, changes))
        assert replica.collections["targets"] == model["targets"] == followed["targets"]
        assert replica.collections["jobs"] == model["jobs"] == followed["jobs"]


def test_a_gap_asks_once_and_waits_for_the_snapshot() -> None:
    replica, asked, resets = Replica(), [], []
    replica.needs_resync = lambda: asked.append(1)
    replica.on_reset(lambda: resets.append(replica.revision))
    replica.apply(ObjectSnapshot(1, {}))
    replica.apply(ObjectDelta(3, [("targets", "a", target("a"))]))
    replica.apply(ObjectDelta(4, [("targets", "b", target("b"))]))
    assert asked == [1]
    assert replica.values("targets") == []
    replica.apply(ObjectSnapshot(4, {"targets": [target("a"), target("b")]}))
    replica.apply(ObjectDelta(4, [("targets", "a", None)]))
    assert [item.id for item in replica.values("targets")] == ["a", "b"]
    assert resets == [1, 4]


def test_after_a_loss_deltas_wait_for_the_snapshot_of_a_new_engine() -> None:
    replica, asked = Replica(), []
    replica.needs_resync = lambda: asked.append(1)
    replica.apply(ObjectSnapshot(50, {"targets": [target("a")]}))
    replica.expect_snapshot()
    assert replica.get("targets", "a") is not None
    replica.apply(ObjectDelta(1, [("targets", "b", target("b"))]))
    replica.apply(ObjectSnapshot(2, {"targets": [target("c")]}))
    assert [item.id for item in replica.values("targets")] == ["c"]
    assert asked == []


def test_a_damaged_delta_changes_nothing() -> None:
    replica = Replica()
    replica.apply(ObjectSnapshot(1, {}))
    good = Change(collection="targets", id="a", value=raw(target("a")))
    for bad in (
        Change(collection="targets", id="b", value=msgspec.Raw(b'{"alias": 3}')),
        Change(collection="targets", id="b", value=raw(target("c"))),
    ):
        with pytest.raises(msgspec.ValidationError):
            replica.apply(Delta(revision=2, changes=[good, bad]))
        assert replica.values("targets") == []
        assert replica.revision == 1


def test_collections_of_a_newer_engine_are_left_out() -> None:
    replica = Replica()
    replica.apply(Snapshot(revision=1, collections={"moons": [msgspec.Raw(b'{"id": "x"}')]}))
    replica.apply(Delta(revision=2, changes=[Change(collection="moons", id="x", value=msgspec.Raw(b"{}"))]))
    assert replica.revision == 2
    assert "moons" not in replica.collections


def test_samples_are_bounded_and_go_with_their_session() -> None:
    replica = Replica()
    heard: list[str] = []
    replica.on_samples(lambda samples: heard.extend(sample.id for sample in samples))
    replica.apply(ObjectSnapshot(1, {"sessions": [session("s1")]}))
    for second in range(KEPT_SAMPLES + 5):
        replica.apply(
            Statistics(samples=[Sample(id=name, at=float(second)) for name in ("s1", "engine", "gone")])
        )
    assert len(replica.samples["s1"]) == KEPT_SAMPLES
    newest = replica.newest_sample("s1")
    assert newest is not None
    assert newest.at == KEPT_SAMPLES + 4
    assert set(heard) == {"s1", "engine"}
    replica.apply(ObjectDelta(2, [("sessions", "s1", None)]))
    assert set(replica.samples) == {"engine"}
    replica.apply(ObjectSnapshot(3, {"sessions": [session("s2")]}))
    assert set(replica.samples) == {"engine"}


def test_unsubscribed_callbacks_are_not_called() -> None:
    replica = Replica()
    seen: list[ObjectChange] = []
    stop = replica.subscribe("targets", seen.extend)
    replica.apply(ObjectSnapshot(1, {}))
    replica.apply(ObjectDelta(2, [("targets", "a", target("a"))]))
    stop()
    stop()
    replica.apply(ObjectDelta(3, [("targets", "a", None)]))
    assert [change.id for change in seen] == ["a"]
