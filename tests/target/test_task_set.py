"""ORDERED commands among SIMPLE ones: who runs, and who waits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from san_console.iscsi.target_task import ABORTED, RUNNING, TRANSFERRING
from san_console.target.task_set import TaskSet


class Task:
    """What the task set looks at."""

    def __init__(self, nexus: Nexus, ordered: bool) -> None:
        self.label = f"{nexus.name}{next(nexus.bench.numbers)}{'!' if ordered else ''}"
        self.nexus = nexus
        self.ordered = ordered
        self.state = TRANSFERRING
        self.on_gone: Callable[[], None] | None = None
        self.on_abort: Callable[[], None] | None = None
        self.started = False

    def abort(self) -> None:
        self.state = ABORTED
        assert self.on_abort is not None
        self.on_abort()
        assert self.on_abort is None

    def runs(self) -> bool:
        return self.started

    def __repr__(self) -> str:
        return self.label


class Nexus:
    """One initiator's tasks."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self.bench = bench
        self.tasks: list[Task] = []

    def receive(self, *, ordered: bool = False) -> Task:
        """A command came; its data has not yet."""
        task = Task(self, ordered)
        self.tasks.append(task)
        if ordered:
            self.bench.set.enter(task, self, self.tasks)  # type: ignore[arg-type] # a task of a few lines
        return task

    def execute(self, task: Task) -> None:
        """All of its data came."""
        task.state = RUNNING
        self.bench.set.run(task, self, start)  # type: ignore[arg-type] # a task of a few lines

    def send(self, *, ordered: bool = False) -> Task:
        task = self.receive(ordered=ordered)
        self.execute(task)
        return task

    def end(self, task: Task) -> None:
        self.tasks.remove(task)
        if task.on_gone is not None:
            task.on_gone()


def start(task: object) -> None:
    assert isinstance(task, Task)
    assert not task.runs()
    task.started = True


class Bench:
    """A unit with two nexuses."""

    def __init__(self) -> None:
        self.changes = 0
        self.numbers = count()
        self.a = Nexus(self, "a")
        self.b = Nexus(self, "b")
        self.set = TaskSet(self.others, self.changed)  # type: ignore[arg-type] # tasks of a few lines

    def changed(self) -> None:
        self.changes += 1

    def others(self, nexus: object) -> list[Task]:
        return [task for one in (self.a, self.b) if one is not nexus for task in one.tasks]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_ordered_command_waits_for_older_ones_and_holds_back_younger_ones(bench: Bench) -> None:
    first = bench.a.send()
    ordered = bench.a.send(ordered=True)
    mine, other = bench.a.send(), bench.b.send()
    assert (first.runs(), ordered.runs(), mine.runs(), other.runs()) == (True, False, False, False)
    assert bench.set.holds_back(bench.a)
    assert bench.set.holds_back(bench.b)
    bench.a.end(first)
    assert ordered.runs()
    assert not mine.runs()
    bench.a.end(ordered)
    assert mine.runs()
    assert other.runs()
    assert not bench.set.barriers
    assert bench.changes >= 2


def test_ordered_commands_run_one_after_the_other(bench: Bench) -> None:
    tasks = [bench.a.send(ordered=True) for _ in range(3)]
    for index, task in enumerate(tasks):
        assert [one.runs() for one in tasks] == [n <= index for n in range(3)]
        bench.a.end(task)


def test_half_a_command_holds_back_nobody_else(bench: Bench) -> None:
    ordered = bench.a.receive(ordered=True)
    assert bench.b.send().runs()
    assert not bench.set.holds_back(bench.b)
    mine = bench.a.send()
    assert not mine.runs()
    bench.a.end(ordered)  # aborted before its data came
    assert mine.runs()


def test_an_ordered_command_waits_for_no_data_of_another_initiator(bench: Bench) -> None:
    bench.b.receive()
    assert bench.a.send(ordered=True).runs()


def test_an_older_command_of_the_nexus_goes_first_however_late_its_data_comes(bench: Bench) -> None:
    older = bench.a.receive()
    ordered = bench.a.send(ordered=True)
    assert not ordered.runs()
    bench.a.execute(older)
    theirs = bench.b.send(ordered=True)
    assert older.runs()
    assert not theirs.runs()
    bench.a.end(older)
    assert ordered.runs()
    bench.a.end(ordered)
    assert theirs.runs()


@pytest.mark.parametrize("comes", [True, False])
def test_nobody_waits_for_what_stands_before_an_ordered_command_of_another(bench: Bench, comes: bool) -> None:
    half = bench.a.receive()
    ordered = bench.a.send(ordered=True)
    theirs = bench.b.send()
    assert theirs.runs()
    assert not bench.set.holds_back(bench.b)
    if comes:
        bench.a.execute(half)
        assert half.runs()
        assert bench.set.holds_back(bench.b)
    bench.a.end(half)
    assert not ordered.runs()
    bench.b.end(theirs)
    assert ordered.runs()


def test_the_data_of_two_ordered_commands_comes_in_the_wrong_order(bench: Bench) -> None:
    first = bench.a.receive(ordered=True)
    between = bench.a.receive()
    second = bench.a.receive(ordered=True)
    bench.a.execute(second)
    bench.a.execute(between)
    assert not second.runs()
    assert not between.runs()
    bench.a.execute(first)
    assert first.runs()
    bench.a.end(first)
    assert between.runs()
    assert not second.runs()
    bench.a.end(between)
    assert second.runs()


def test_who_is_aborted_in_the_queue_waits_no_longer(bench: Bench) -> None:
    first = bench.a.send()
    ordered = bench.a.send(ordered=True)
    parked = bench.a.send()
    for task in (parked, ordered):
        assert not task.runs()
        task.abort()
        assert task.runs()
        bench.a.end(task)
    assert not bench.set.barriers
    bench.a.end(first)


class Machine(RuleBasedStateMachine):
    """Whatever comes: order is kept, and when all data is there, nobody waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.arrived: list[Task] = []

    @rule(nexus=st.sampled_from("ab"), ordered=st.booleans())
    def receive(self, nexus: str, ordered: bool) -> None:
        one: Nexus = getattr(self.bench, nexus)
        self.arrived.append(one.receive(ordered=ordered))

    @precondition(lambda self: any(task.state == TRANSFERRING for task in self.arrived))
    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from([task for task in self.arrived if task.state == TRANSFERRING]))
        task.nexus.execute(task)

    @precondition(lambda self: any(task.runs() or task.state == TRANSFERRING for task in self.arrived))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """It ended, or was aborted before its data came."""
        candidates = [task for task in self.arrived if task.runs() or task.state == TRANSFERRING]
        task = data.draw(st.sampled_from(candidates))
        self.arrived.remove(task)
        task.nexus.end(task)

    @precondition(lambda self: any(task.state == RUNNING and not task.runs() for task in self.arrived))
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        """It was aborted while it waited for its turn: it is let go of at once."""
        waiting = [task for task in self.arrived if task.state == RUNNING and not task.runs()]
        task = data.draw(st.sampled_from(waiting))
        self.arrived.remove(task)
        task.abort()
        assert task.runs()
        task.nexus.end(task)

    @invariant()
    def order_is_kept(self) -> None:
        for nexus in (self.bench.a, self.bench.b):
            for position, task in enumerate(nexus.tasks):
                if not task.runs():
                    continue
                older = nexus.tasks[:position]
                assert not (task.ordered and older), "an ordered command overtook"
                assert not any(one.ordered for one in older), "an ordered command was overtaken"
        running = [task for task in self.arrived if task.runs()]
        assert len([task for task in running if task.ordered]) < 2

    def teardown(self) -> None:
        self.finish(self.bench.a)
        assert not self.bench.a.tasks, "it waits for data of another initiator"
        self.finish(self.bench.b)
        assert not self.arrived, "nobody can go on"
        assert not self.bench.set.barriers

    def finish(self, nexus: Nexus) -> None:
        """All data of one initiator comes, and all that can end does."""
        for task in nexus.tasks[:]:
            if task.state == TRANSFERRING:
                nexus.execute(task)
        while started := [task for task in self.arrived if task.runs()]:
            self.arrived.remove(started[0])
            started[0].nexus.end(started[0])


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
