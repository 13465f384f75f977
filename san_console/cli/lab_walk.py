"""The lab's walk without a window: the main job from discovery to log-out, each step with its figures."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from san_console.api.engine_objects import Job, Sample
from san_console.api.initiator_objects import LoginSettings, Lun, Session, Source
from san_console.api.methods import (
    AddSource,
    BenchLun,
    ById,
    ChapSecrets,
    FileToLun,
    Login,
    Logout,
    LunToFile,
    QueryEvents,
    RunSource,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalTarget
from san_console.cli.engine_link import EngineView, connect_to_started
from san_console.cli.output import print_failure, print_json, rate_text, size_text
from san_console.names.display import visible

WRITTEN_BYTES: Final = 16 * 1024 * 1024
WRITTEN_NAME: Final = "lab-data.bin"
READ_NAME: Final = "lab-data-read-back.bin"
STEP_TIMEOUT_S: Final = 60.0
FIGURES_S: Final = 3.0
"""How long the LUN is read at random while the figures are watched: two or three samples."""

_WHAT_WIDTH: Final = 44


class Step(NamedTuple):
    what: str
    figure: str
    ok: bool
    took_s: float


class WalkFailed(Exception):
    """A step did not hold; what comes after it would mean nothing. Its text is the reason."""


class Walk:
    """Prints each step when it has ended, and keeps all for the JSON object."""

    def __init__(self, view: EngineView, folder: Path, *, quiet: bool) -> None:
        self.view = view
        self.folder = folder
        self.steps: list[Step] = []
        self._quiet = quiet
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    async def step(self, what: str, work: Callable[[], Awaitable[str]]) -> None:
        """Do one step. Raises WalkFailed."""
        began = time.perf_counter()
        try:
            figure = await work()
        except ApiProblem as problem:
            self._note(Step(what, problem.message, False, time.perf_counter() - began))
            raise WalkFailed(problem.message) from problem
        except WalkFailed as failure:
            self._note(Step(what, str(failure), False, time.perf_counter() - began))
            raise
        self._note(Step(what, figure, True, time.perf_counter() - began))

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        if self._quiet:
            return
        word = "ok" if step.ok else "FAILED"
        if self._colour:
            word = f"\x1b[{32 if step.ok else 31}m{word}\x1b[0m"
        number = len(self.steps)
        print(f"{number:>2}  {step.what:<{_WHAT_WIDTH}}  {word:<6}  {visible(step.figure)}", flush=True)

    # Each step below returns its figures, and raises WalkFailed or ApiProblem when it does not hold.

    async def start_lab(self) -> str:
        await self.finished(await self.view.call("lab.start"))
        targets = self.lab_targets()
        if len(targets) != 2:
            raise WalkFailed(f"{len(targets)} targets are served instead of 2")
        luns = sum(len(target.luns) for target in targets)
        return f"{len(targets)} targets with {luns} LUNs at {', '.join(self.portals())}"

    async def discover(self, kind: str, address: str) -> str:
        # Added without being asked, then asked: that answers with the very job to wait for.
        source: Source = await self.view.call(
            "sources.add",
            AddSource(kind=kind, address=address, run=False),  # type: ignore[arg-type]  # one of its two words
        )
        await self.finished(await self.view.call("sources.run", RunSource(id=source.id)))
        current: Source = self.view.replica.get("sources", source.id)
        if current.problem is not None:
            raise ApiProblem.from_problem(current.problem)
        names = {target.id for target in self.lab_targets()}
        found = {target.id for target in self.view.replica.values("targets") if source.id in target.found_by}
        if not names <= found:
            raise WalkFailed(f"{len(names - found)} of the lab's targets were not named")
        return f"{len(found)} targets from {current.address} in {current.took_s * 1000:.0f} ms"

    async def portals_answer(self) -> str:
        portals = [portal for target in self.view.replica.values("targets") for portal in target.portals]
        silent = [portal.address for portal in portals if portal.reach != "answers"]
        if silent or not portals:
            raise WalkFailed(f"no answer from {', '.join(silent) or 'any portal'}")
        slowest = max(portal.round_trip_ms or 0.0 for portal in portals)
        return f"{len(portals)} of {len(portals)}, {slowest:.2f} ms at most"

    async def refuse_wrong_secret(self) -> str:
        target = self.chap_target()
        wrong = ChapSecrets(user="nobody", secret="a secret that is wrong")  # noqa: S106 - it is no secret
        try:
            await self.view.call(
                "sessions.login", Login(target=target.id, portal=target.portals[0], chap=wrong)
            )
        except ApiProblem as problem:
            direction = problem.problem.details.get("direction", "")
            if problem.code == "authentication" and direction == "initiator":
                return problem.message
            raise
        raise WalkFailed("the target let a wrong secret in")

    async def log_in(self, target: LocalTarget) -> str:
        wish = LoginSettings(header_digest="prefer", data_digest="prefer")
        if target.identity_ids:
            wish.identity_id = target.identity_ids[0]
            wish.mutual_identity_id = target.mutual_identity_id
        began = time.perf_counter()
        session: Session = await self.view.call(
            "sessions.login", Login(target=target.id, portal=target.portals[0], login=wish)
        )
        took_ms = (time.perf_counter() - began) * 1000
        if target.mutual_identity_id and "mutual" not in session.auth:
            raise WalkFailed(f"the target did not prove itself: {session.auth}")
        connection = session.connections[0]
        digests = f"digests {connection.header_digest}/{connection.data_digest}"
        auth = "no CHAP" if session.auth == "None" else session.auth
        return f"{auth}, {digests}, {len(session.keys)} keys, {took_ms:.0f} ms"

    async def see_luns(self) -> str:
        expected = sum(len(target.luns) for target in self.lab_targets())

        def read(replica: Any) -> bool:
            luns = replica.values("luns")
            return len(luns) >= expected and all(lun.state != "reading" for lun in luns)

        await self.view.until(read, STEP_TIMEOUT_S)
        luns: list[Lun] = self.view.replica.values("luns")
        ready = [lun for lun in luns if lun.state == "ready" and lun.size_bytes]
        if len(ready) != expected:
            raise WalkFailed(f"{len(ready)} of {expected} LUNs are ready")
        if len({lun.identity for lun in ready}) != expected:
            raise WalkFailed("two LUNs have one identity")
        return f"{len(ready)} LUNs, {size_text(sum(lun.size_bytes for lun in ready))}, each with its identity"

    async def write(self) -> str:
        source = self.folder / WRITTEN_NAME
        source.write_bytes(os.urandom(WRITTEN_BYTES))
        lun = self.chap_lun()
        confirmed = lun.identity or lun.id
        return await self._copy(
            "luns.from_file", FileToLun(id=lun.id, path=str(source), confirm_identity=confirmed)
        )

    async def read_back(self) -> str:
        lun = self.chap_lun()
        path = str(self.folder / READ_NAME)
        return await self._copy("luns.to_file", LunToFile(id=lun.id, path=path, length_bytes=WRITTEN_BYTES))

    async def _copy(self, method: str, params: Any) -> str:
        began = time.perf_counter()
        await self.finished(await self.view.call(method, params))
        took_s = time.perf_counter() - began
        return f"{size_text(WRITTEN_BYTES)} in {took_s:.2f} s, {rate_text(WRITTEN_BYTES / took_s)}"

    async def compare(self) -> str:
        written, read = (
            hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
            for name in (WRITTEN_NAME, READ_NAME)
        )
        if written != read:
            raise WalkFailed("what was read is not what was written")
        return f"identical, SHA-256 {written[:16]}…"

    async def watch(self) -> str:
        lun = self.chap_lun()
        seen: list[Sample] = []
        stop = self.view.replica.on_samples(
            lambda samples: seen.extend(
                one for one in samples if one.id == lun.session_id and one.read_iops > 0
            )
        )
        try:
            await self.finished(await self.view.call("luns.bench", BenchLun(id=lun.id, seconds=FIGURES_S)))
            await self.view.until(lambda replica: seen, 5)
        finally:
            stop()
        if not seen:
            raise WalkFailed("no figures came while the LUN was read")
        best = max(seen, key=lambda one: one.read_iops)
        lag = self.view.replica.newest_sample("engine")
        loop = f", loop {lag.loop_lag_ms:.1f} ms late" if lag is not None else ""
        return (
            f"{best.read_iops:,.0f} IOPS, {rate_text(best.read_bytes_per_s)}, "
            f"p50 {best.p50_us / 1000:.2f} ms, p99 {best.p99_us / 1000:.2f} ms{loop}"
        )

    async def both_ends(self) -> str:
        own = [one for one in self.view.replica.values("target_sessions") if one.own]
        normal = [one for one in own if one.session_type == "normal"]
        if len(normal) != len(self.lab_targets()):
            raise WalkFailed(f"the targets see {len(normal)} of our sessions")
        return f"{len(normal)} sessions seen from the target's side too"

    async def time_line(self) -> str:
        events = await self.view.call("events.query", QueryEvents(limit=500))
        kinds = {event.kind for event in events}
        missing = {"login", "login_failed"} - kinds
        if missing:
            raise WalkFailed(f"no event of the kind {', '.join(sorted(missing))}")
        return f"{len(events)} events of {len(kinds)} kinds"

    async def log_out(self) -> str:
        ids = [session.id for session in self.view.replica.values("sessions")]
        began = time.perf_counter()
        for session_id in ids:
            await self.view.call("sessions.logout", Logout(id=session_id))

        def gone(replica: Any) -> bool:
            return not replica.values("sessions") and not replica.values("target_sessions")

        if not await self.view.until(gone, 10):
            raise WalkFailed("a session is left")
        return f"{len(ids)} sessions ended at both ends in {(time.perf_counter() - began) * 1000:.0f} ms"

    def lab_targets(self) -> list[LocalTarget]:
        return [target for target in self.view.replica.values("local_targets") if target.lab]

    def portals(self) -> list[str]:
        return list(dict.fromkeys(portal for target in self.lab_targets() for portal in target.portals))

    def chap_target(self) -> LocalTarget:
        for target in self.lab_targets():
            if target.mutual_identity_id:
                return target
        raise WalkFailed("the lab has no target with CHAP in both directions")

    def chap_lun(self) -> Lun:
        name = self.chap_target().id
        luns: list[Lun] = self.view.replica.values("luns")
        return next(lun for lun in luns if lun.target == name and not lun.read_only)

    def isns_address(self) -> str:
        for server in self.view.replica.values("isns_servers"):
            if server.embedded and server.state == "running":
                return str(server.address)
        raise WalkFailed("the lab's iSNS server does not run")

    async def finished(self, job: Job) -> Job:
        return await self.view.finished(job, STEP_TIMEOUT_S)


async def walk(
    engine: subprocess.Popen[bytes], folder: Path, pictures: Path | None, *, as_json: bool, schema: str
) -> int:
    """Walk through the main job on the engine that was started a moment ago; the exit code.

    `folder` takes the files of the write and read-back, `pictures` the pictures, where they are wanted.
    """
    began = time.perf_counter()
    failure = ""
    steps: list[Step] = []
    saved: list[str] = []
    async with await connect_to_started(engine) as client, EngineView(client) as view:
        course = Walk(view, folder, quiet=as_json)
        steps = course.steps
        started_ms = (time.perf_counter() - began) * 1000
        try:
            await course.step(
                "Start an engine of its own", lambda: _done(f"answers after {started_ms:.0f} ms")
            )
            await _main_job(course)
            if pictures is not None:
                await course.step("Save a picture of each page", lambda: _pictures(course, pictures, saved))
            await course.step("Log out", course.log_out)
        except WalkFailed as error:
            failure = str(error)
    if as_json:
        rows = [{**step._asdict(), "took_s": round(step.took_s, 4)} for step in steps]
        print_json(schema, {"ok": not failure, "steps": rows, "pictures": saved})
    elif not failure:
        print(f"All {len(steps)} steps held in {time.perf_counter() - began:.1f} s.")
    if failure:
        print_failure(
            f"The lab ended at step {len(steps)}: {failure}",
            "the step above",
            "Run it again; if it fails again, this is a fault of the console.",
        )
        return 1
    return 0


async def _main_job(course: Walk) -> None:
    await course.step("Start the lab", course.start_lab)
    await course.step("Discover through iSNS", lambda: course.discover("isns", course.isns_address()))
    await course.step("Discover by SendTargets", lambda: course.discover("sendtargets", course.portals()[0]))
    await course.step("See whether the portals answer", course.portals_answer)
    await course.step("Be refused with a wrong secret", course.refuse_wrong_secret)
    for target in sorted(course.lab_targets(), key=lambda one: not one.mutual_identity_id):
        how = "CHAP in both directions" if target.mutual_identity_id else "open to anyone"
        await course.step(f"Log in, {how}", lambda target=target: course.log_in(target))  # type: ignore[misc]  # a bound loop variable
    await course.step("See the LUNs", course.see_luns)
    await course.step("Write to a LUN", course.write)
    await course.step("Read it back", course.read_back)
    await course.step("Compare", course.compare)
    await course.step("Watch live figures", course.watch)
    await course.step("See both ends of the sessions", course.both_ends)
    await course.step("Look at the time line", course.time_line)


async def _done(figure: str) -> str:
    return figure


async def _pictures(course: Walk, folder: Path, saved: list[str]) -> str:
    from san_console.cli.lab_pictures import take_pictures

    # Something to see in the charts: a LUN is read all the while.
    lun = course.chap_lun()
    job = await course.view.call("luns.bench", BenchLun(id=lun.id, seconds=STEP_TIMEOUT_S, queue_depth=8))
    saved += await take_pictures(folder)
    await course.view.call("jobs.cancel", ById(id=job.id))
    return f"{len(saved)} pictures in {folder}"
