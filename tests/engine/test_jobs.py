from __future__ import annotations

import asyncio

import pytest

from san_console.api.engine_objects import Job
from san_console.api.problems import ApiProblem
from san_console.engine import jobs as jobs_module
from san_console.engine.context import EngineContext
from san_console.engine.jobs import JobControl
from san_console.initiator.errors import ConnectFailed


async def test_a_job_runs_and_tells_how_far_it_is(context: EngineContext) -> None:
    async def work(control: JobControl) -> dict[str, str]:
        control.progress(1, 4, "one of four")
        return {"found": "7"}

    job = context.jobs.start("k", "A job", work, object_id="o", unit="targets")
    assert job.state == "running"
    assert context.jobs.running("k", "o") is job
    ended = await context.jobs.wait(job.id)
    assert (ended.state, ended.done, ended.total, ended.result) == ("done", 4, 4, {"found": "7"})
    assert ended.ended_at is not None
    assert context.jobs.running("k") is None


async def test_what_fails_becomes_the_problem_of_the_job(context: EngineContext) -> None:
    failed: list[Job] = []
    context.jobs.on_failed = failed.append

    async def work(_: JobControl) -> None:
        raise ConnectFailed("nobody answers", "network", "the cable")

    job = context.jobs.start("k", "t", work)
    await context.jobs.wait(job.id)
    assert job.state == "failed"
    assert job.problem is not None
    assert (job.problem.code, job.problem.check) == ("unreachable", "the cable")
    assert failed == [job]


async def test_cancelled_before_and_after_its_first_step(context: EngineContext) -> None:
    started = asyncio.Event()

    async def work(_: JobControl) -> None:
        started.set()
        await asyncio.Event().wait()

    early = context.jobs.start("k", "t", work, object_id="s/1")
    context.jobs.cancel(early.id)
    await context.jobs.wait(early.id)
    late = context.jobs.start("k", "t", work, object_id="s/2")
    await started.wait()
    context.jobs.cancel_for("s")
    await context.jobs.wait(late.id)
    for job in (early, late):
        assert job.state == "cancelled"
        assert job.problem is not None
        assert job.problem.code == "cancelled"
    context.jobs.cancel(late.id)
    context.jobs.dismiss(late.id)
    with pytest.raises(ApiProblem) as caught:
        context.jobs.cancel(late.id)
    assert caught.value.code == "unknown-object"


async def test_limits(context: EngineContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_RUNNING_JOBS", 2)
    monkeypatch.setattr(jobs_module, "MAX_ENDED_JOBS", 3)
    release = asyncio.Event()

    async def work(_: JobControl) -> None:
        await release.wait()

    first = context.jobs.start("k", "t", work)
    context.jobs.start("k", "t", work)
    with pytest.raises(ApiProblem) as caught:
        context.jobs.start("k", "t", work)
    assert caught.value.code == "too-large"
    with pytest.raises(ApiProblem) as caught:
        context.jobs.dismiss(first.id)
    assert caught.value.code == "in-use"
    release.set()
    await context.jobs.wait(first.id)
    for _ in range(6):
        last = context.jobs.start("k", "t", work)
        await context.jobs.wait(last.id)
    assert context.registry.count("jobs") <= 3
    assert context.registry.get("jobs", Job, last.id) is last
