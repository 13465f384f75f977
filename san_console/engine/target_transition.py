"""Changing several local targets at once: all of it, or nothing.

Storage and portals are held by whoever serves them, so what moves from one target to another is let go of by
the first before the second takes it; and a target that goes, goes last, since it cannot come back whole when
a later step fails.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalTarget
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.engine.serving_config import refuse_shrinking, storage_of, target_config
from san_console.names.display import visible
from san_console.target.config import TargetConfig, without_luns
from san_console.target.errors import TargetError
from san_console.target.server import TargetServer

log = logging.getLogger(__name__)

Wanted = dict[str, LocalTarget | None]
"""By name: the target as it is to be (checked), None where it is to go."""


@dataclass(slots=True)
class _Step:
    """One target on its way from `old` to `new`."""

    name: str
    old: LocalTarget | None
    new: LocalTarget | None
    served: TargetConfig | None
    config: TargetConfig | None = None
    """None: it is not to be served."""


class Transition:
    """One change of what `server` serves. `carry_out`, then `take_back` if the rest of the work failed."""

    def __init__(self, server: TargetServer, identities: Identities, current: Wanted, wanted: Wanted) -> None:
        served = {config.name: _without_creating(config) for config in server.targets()}
        self._server = server
        self._identities = identities
        self._steps = [_Step(name, current.get(name), new, served.get(name)) for name, new in wanted.items()]
        self._undo: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    async def carry_out(self) -> None:
        """Raises ApiProblem, which names the target where there are several; then nothing has changed."""
        for step in self._steps:
            with _told_of(step.name, len(self._steps)):
                await self._prepare(step)
        try:
            for work in (self._let_go, self._serve, self._stop):
                for step in self._steps:
                    with _told_of(step.name, len(self._steps)):
                        await work(step)
        except BaseException:
            await self.take_back()
            raise

    async def take_back(self) -> None:
        """Everything as it was before; what cannot be brought back is logged, and shown by its target."""
        while self._undo:
            name, work = self._undo.pop()
            try:
                await work()
            except (TargetError, OSError) as error:
                log.error(
                    "a target could not be brought back",
                    extra={"fields": {"target": name, "why": str(error)}},
                )

    async def _prepare(self, step: _Step) -> None:
        """All that can be found out before anything is touched."""
        if step.new is None:
            return
        if step.old is not None:
            refuse_shrinking(step.old, step.new)
        config = await target_config(step.new, self._identities, old=step.old, served=step.served)
        step.config = config if step.new.enabled else None

    async def _let_go(self, step: _Step) -> None:
        """LUNs whose storage another LUN takes over."""
        if step.served is None:
            return
        taken = {
            lun.backstore.path: (other.name, lun.id)
            for other in self._steps
            for lun in (other.config.luns if other.config is not None else ())
            if lun.backstore.path
        }
        moving = {
            lun.id
            for lun in step.served.luns
            if taken.get(lun.backstore.path, (step.name, lun.id)) != (step.name, lun.id)
        }
        if not moving:
            return
        served = step.served
        self._undo.append((step.name, lambda: self._server.update(served)))
        await self._server.update(without_luns(served, {lun.id for lun in served.luns} - moving))

    async def _serve(self, step: _Step) -> None:
        config, served, name = step.config, step.served, step.name
        if config is None:
            return
        if served is not None:
            self._undo.append((name, lambda: self._server.update(served)))
            said = await self._server.update(config)
            self._check(config, said)
            return
        await self._server.add(config, strict=_is_new(step))
        self._undo.append((name, lambda: self._server.remove(name, force=True)))

    async def _stop(self, step: _Step) -> None:
        served = step.served
        if served is None or step.config is not None:
            return
        await self._server.remove(step.name, force=True)
        self._undo.append((step.name, lambda: self._server.add(served, strict=False)))

    def _check(self, config: TargetConfig, said: list[str]) -> None:
        """Raises ApiProblem `storage` where a LUN is not what it was to be. The library goes on without it,
        as it does when a medium fails; a change that was asked for is not made by half.
        """
        for lun in config.luns:
            wrong = ""
            try:
                unit = self._server.unit(config.name, lun.id)
            except TargetError:
                wrong = "it could not be opened again"
            else:
                if unit.backstore.size_bytes < lun.backstore.size_bytes and not unit.offline:
                    wrong = "it could not be made larger"
            if wrong:
                raise ApiProblem(
                    "storage",
                    f"LUN {visible(lun.name)}: {wrong}. {' '.join(said)}".strip(),
                    side="this machine",
                    check="its file or device, and the free space",
                )


def _without_creating(config: TargetConfig) -> TargetConfig:
    """What was served is brought back with the files that it had, never with new and empty ones."""
    luns = [replace(lun, backstore=replace(lun.backstore, create=False)) for lun in config.luns]
    return replace(config, luns=luns)


def _is_new(step: _Step) -> bool:
    """Whether a LUN was added or got other storage, which then has to be there. What was configured before,
    and cannot be had now, is offline.
    """
    if step.old is None or step.new is None or any(lun.create for lun in step.new.luns):
        return True
    before = {lun.id: storage_of(lun) for lun in step.old.luns}
    return any(before.get(lun.id) != storage_of(lun) for lun in step.new.luns)


@contextmanager
def _told_of(name: str, count: int) -> Iterator[None]:
    """Turns what the library raises into an ApiProblem, which names its target where there are several."""
    try:
        yield
    except (TargetError, ApiProblem, OSError) as error:
        problem = problem_of(error)
        if count == 1:
            raise ApiProblem.from_problem(problem) from error
        raise ApiProblem(
            problem.code,
            f"{visible(name)}: {problem.message}",
            side=problem.side,
            check=problem.check,
            details={**problem.details, "target": name},
        ) from error
