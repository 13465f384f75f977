"""Long work that clients see in the collection `jobs`: progress, result, cancelling."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from san_console.api.engine_objects import Job
from san_console.api.problems import ApiProblem, Problem
from san_console.engine.objects import ObjectRegistry
from san_console.engine.problems import problem_of

log = logging.getLogger(__name__)

MAX_ENDED_JOBS: Final = 50
"""Kept so that their results can be read; the oldest go first."""

MAX_RUNNING_JOBS: Final = 64
"""Of all clients together. Each is work of the user's own; more is a program that runs wild."""

PROGRESS_INTERVAL_S: Final = 0.1
"""Between two progress reports of one job."""


class JobControl:
    """What running work uses to tell of itself."""

    def __init__(self, job: Job, registry: ObjectRegistry) -> None:
        self.job = job
        self._registry = registry
        self._reported_at = 0.0

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the work is. May be called as often as it suits the work."""
        self.job.done = done
        if total is not None:
            self.job.total = total
        if message is not None:
            self.job.message = message
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= PROGRESS_INTERVAL_S:
            self._reported_at = now
            self._registry.put("jobs", self.job)


Work = Callable[[JobControl], Awaitable[dict[str, str] | None]]
"""The work itself; gives the job's result. Raises ApiProblem or an error of the libraries."""


class JobRunner:
    """Starts, shows and cancels jobs."""

    def __init__(self, registry: ObjectRegistry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._ids = itertools.count(1)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.on_failed: Callable[[Job], None] | None = None

    def start(
        self, kind: str, title: str, work: Work, *, object_id: str = "", total: float = 0.0, unit: str = ""
    ) -> Job:
        """Start `work` and return its job at once. Raises ApiProblem `too-large`."""
        if len(self._tasks) >= MAX_RUNNING_JOBS:
            raise ApiProblem(
                "too-large",
                f"{MAX_RUNNING_JOBS} jobs are running.",
                side="engine",
                check="wait, or cancel some",
            )
        job = Job(
            id=str(next(self._ids)),
            kind=kind,
            title=title,
            object_id=object_id,
            total=total,
            unit=unit,
            started_at=self._clock(),
        )
        self._registry.put("jobs", job)
        task = asyncio.get_running_loop().create_task(self._run(job, work), name=f"job {kind}")
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._ended(job))
        return job

    def running(self, kind: str, object_id: str | None = None) -> Job | None:
        """A running job of that kind (and object), if there is one."""
        for job in self._registry.values("jobs", Job):
            if job.id in self._tasks and job.kind == kind and object_id in (None, job.object_id):
                return job
        return None

    def cancel(self, job_id: str) -> None:
        """Raises ApiProblem `unknown-object`. Nothing happens to a job that has ended."""
        self._find(job_id)
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()

    def cancel_for(self, object_id: str) -> None:
        """Cancel the jobs of an object, or of the objects below it, that goes away."""
        for job in self._registry.values("jobs", Job):
            if job.id in self._tasks and (
                job.object_id == object_id or job.object_id.startswith(object_id + "/")
            ):
                self._tasks[job.id].cancel()

    def dismiss(self, job_id: str) -> None:
        """Take an ended job off the list. Raises ApiProblem `unknown-object`, `in-use` while it runs."""
        job = self._find(job_id)
        if job_id in self._tasks:
            raise ApiProblem(
                "in-use", f"“{job.title}” is still running.", side="engine", check="cancel it first"
            )
        self._registry.remove("jobs", job_id)

    async def wait(self, job_id: str) -> Job:
        """Wait for the end of a job."""
        task = self._tasks.get(job_id)
        if task is not None:
            await asyncio.wait([task])
        return self._find(job_id)

    async def close(self) -> None:
        """Cancel everything and wait for it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _find(self, job_id: str) -> Job:
        job = self._registry.get("jobs", Job, job_id)
        if job is None:
            raise ApiProblem("unknown-object", f"There is no job {job_id}.", side="engine")
        return job

    async def _run(self, job: Job, work: Work) -> None:
        try:
            job.result = await work(JobControl(job, self._registry)) or {}
            job.state = "done"
            if job.total:
                job.done = job.total
        except asyncio.CancelledError:
            # Ends here: the cancellation was meant for the work, whose end is what is recorded.
            job.state = "cancelled"
            job.problem = Problem(code="cancelled", message=f"“{job.title}” was cancelled.", side="this side")
        except Exception as error:
            # Whatever a library raises becomes the job's problem; faults of our own go to the log as well.
            job.state = "failed"
            job.problem = problem_of(error)

    def _ended(self, job: Job) -> None:
        del self._tasks[job.id]
        if job.state == "running":
            # Cancelled before its first step.
            job.state = "cancelled"
            job.problem = Problem(code="cancelled", message=f"“{job.title}” was cancelled.", side="this side")
        job.ended_at = self._clock()
        self._registry.put("jobs", job)
        if job.state == "failed" and self.on_failed is not None:
            self.on_failed(job)
        ended = [one.id for one in self._registry.values("jobs", Job) if one.id not in self._tasks]
        for job_id in ended[: max(0, len(ended) - MAX_ENDED_JOBS)]:
            self._registry.remove("jobs", job_id)
