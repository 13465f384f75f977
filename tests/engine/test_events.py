from __future__ import annotations

import logging

import pytest

from san_console.api.engine_objects import Event
from san_console.api.problems import Problem
from san_console.engine import events as events_module
from san_console.engine.context import EngineContext
from san_console.engine.events import EventLog
from san_console.engine.objects import ObjectRegistry
from tests.engine.conftest import Clock


async def test_ids_go_on_over_runs_and_the_newest_are_shown(
    context: EngineContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "SHOWN_EVENTS", 5)
    for number in range(8):
        context.events.add("k", f"event {number}")
    shown = [event.id for event in context.registry.values("events", Event)]
    assert shown == ["4", "5", "6", "7", "8"]
    await context.state.settled()
    registry = ObjectRegistry()
    again = EventLog(registry, context.state, context.clock)
    assert [event.id for event in registry.values("events", Event)] == shown
    assert again.add("k", "next").id == "9"


async def test_hostile_text_is_one_visible_line(
    context: EngineContext, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        event = context.events.add(
            "login", "a\nb\x1b[31m\u202e" + "x" * 9000, cause="c\0d", side="s\r", check="\u2066"
        )
    for text in (event.text, event.cause, event.side, event.check):
        assert text.isprintable()
    assert len(event.text) <= events_module.MAX_TEXT_CHARACTERS
    assert "\n" not in caplog.records[-1].getMessage()


async def test_problems_become_events(context: EngineContext) -> None:
    problem = Problem(code="timeout", message="late", side="target", check="its log")
    event = context.events.add_problem("login_failed", problem, object_kind="session", object_id="7")
    assert (event.severity, event.text, event.side, event.check) == ("error", "late", "target", "its log")


async def test_a_flood_is_counted_and_told_once(context: EngineContext, clock: Clock) -> None:
    for _ in range(1000):
        context.events.add("target_login_failed", "refused", object_id="t1")
    context.events.add("connection_lost", "of another kind", object_id="s1")
    context.events.end_flood()
    shown = [event.kind for event in context.registry.values("events", Event)]
    assert shown.count("target_login_failed") == events_module.MAX_OF_OBJECT
    assert shown[-1] == "connection_lost"
    clock.now += events_module.FLOOD_INTERVAL_S
    context.events.end_flood()
    (told,) = [one for one in context.registry.values("events", Event) if one.kind == "events_left_out"]
    assert told.text.startswith(f"{1000 - events_module.MAX_OF_OBJECT} more")
    context.events.add("target_login_failed", "again", object_id="t1")
    assert [event.text for event in context.registry.values("events", Event)][-1] == "again"


async def test_an_outage_of_many_sessions_is_told_whole(context: EngineContext) -> None:
    for number in range(events_module.MAX_OF_KIND):
        context.events.add("connection_lost", "lost", object_id=f"session {number}")
    assert context.registry.count("events") == events_module.MAX_OF_KIND
