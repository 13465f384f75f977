"""Which part of the engine answers which method. The table is the whole list; nothing else is dispatched."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from san_console.api.problems import ApiProblem
from san_console.engine.problems import problem_of

if TYPE_CHECKING:
    from san_console.engine.service import Engine

Answer = Callable[["Engine", Any], Any]

HANDLERS: Final[dict[str, Answer]] = {
    "engine.info": lambda e, _: e.context.info,
    "engine.set_initiator_name": lambda e, p: e.set_initiator_name(p.name),
    "engine.stop": lambda e, p: e.request_stop(force=p.force),
    "statistics.history": lambda e, p: e.sampler.history(p.ids, p.seconds),
    "events.query": lambda e, p: e.query_events(p),
    "jobs.cancel": lambda e, p: e.context.jobs.cancel(p.id),
    "jobs.dismiss": lambda e, p: e.context.jobs.dismiss(p.id),
    "keyring.check": lambda e, _: e.identities.check_keyring(),
    "keyring.use_memory": lambda e, p: e.identities.use_memory(p.use),
    "identities.save": lambda e, p: e.identities.save(p),
    "identities.remove": lambda e, p: e.identities.remove(p.id),
    "identities.test": lambda e, p: e.test_identity(p),
    "sources.add": lambda e, p: e.discovery.add(p),
    "sources.run": lambda e, p: e.discovery.run(p.id),
    "sources.remove": lambda e, p: e.discovery.remove(p.id),
    "targets.add": lambda e, p: e.add_target(p),
    "targets.remove": lambda e, p: e.remove_target(p.name),
    "targets.probe": lambda e, p: e.probe_targets(p.name),
    "targets.acknowledge": lambda e, p: e.targets.acknowledge(p.name),
    "targets.set_login": lambda e, p: e.targets.set_login(p.name, p.login),
    "sessions.login": lambda e, p: e.sessions.login(p),
    "sessions.test": lambda e, p: e.sessions.test(p),
    "sessions.logout": lambda e, p: e.sessions.logout(p),
    "sessions.retry_now": lambda e, p: e.sessions.retry_now(p.id),
    "sessions.stop_retrying": lambda e, p: e.sessions.stop_retrying(p.id),
    "sessions.set_favourite": lambda e, p: e.sessions.set_favourite(p),
    "sessions.rescan": lambda e, p: e.sessions.rescan(p.id),
    "luns.read": lambda e, p: e.luns.read(p),
    "luns.vpd": lambda e, p: e.luns.vpd(p.id),
    "luns.to_file": lambda e, p: e.lun_jobs.to_file(p),
    "luns.from_file": lambda e, p: e.lun_jobs.from_file(p),
    "luns.bench": lambda e, p: e.lun_jobs.bench(p),
    "serving.plan": lambda e, p: e.serving.plan(p),
    "serving.create": lambda e, p: e.serving.create(p),
    "serving.change": lambda e, p: e.serving.change(p),
    "serving.set_enabled": lambda e, p: e.serving.set_enabled(p),
    "serving.remove": lambda e, p: e.serving.remove(p),
    "serving.disconnect": lambda e, p: e.actions.disconnect(p.id, p.cid),
    "serving.access": lambda e, p: e.actions.access(p),
    "serving.set_access_state": lambda e, p: e.actions.set_access_state(p),
    "serving.lun_online": lambda e, p: e.actions.lun_online(p),
    "serving.retry_lun": lambda e, p: e.actions.retry_lun(p),
    "serving.grow_lun": lambda e, p: e.actions.grow_lun(p),
    "serving.clear_reservation": lambda e, p: e.actions.clear_reservation(p),
    "serving.set_discovery_chap": lambda e, p: e.discovery_access.set(p),
    "serving.export_targets": lambda e, p: e.documents.export(p),
    "serving.plan_targets": lambda e, p: e.documents.plan(p),
    "serving.apply_targets": lambda e, p: e.documents.apply(p),
    "serving.undo_steps": lambda e, _: e.documents.undo_steps(),
    "serving.plan_undo": lambda e, p: e.documents.plan_undo(p),
    "serving.undo_targets": lambda e, p: e.documents.undo(p),
    "isns.start": lambda e, p: e.nameservers.start(p.address),
    "isns.stop": lambda e, _: e.nameservers.stop(),
    "isns.add": lambda e, p: e.nameservers.add(p.address),
    "isns.remove": lambda e, p: e.nameservers.remove(p.id),
    "isns.objects": lambda e, p: e.nameservers.objects(p.id),
    "lab.start": lambda e, _: e.lab.start(),
    "lab.stop": lambda e, _: e.lab.stop(),
}
"""All of `METHODS` but `subscribe` and `resync`, which concern the connection and not the engine."""


CANCELLABLE: Final = frozenset(
    {
        "events.query",
        "identities.test",
        "isns.add",
        "isns.objects",
        "keyring.check",
        "luns.read",
        "luns.vpd",
        "serving.export_targets",
        "serving.plan_targets",
        "serving.plan_undo",
        "sessions.login",
        "sessions.test",
    }
)
"""Methods that end at once when their client gives up or goes away, and leave nothing behind.

All others are finished all the same: half of a change, or one that was made and not kept, is worse than a
change whose client did not wait for it.
"""


async def answer(engine: Engine, method: str, params: Any) -> Any:
    """The result of a method. Raises ApiProblem for everything that the libraries raise."""
    try:
        result = HANDLERS[method](engine, params)
        if inspect.isawaitable(result):
            pending: Awaitable[Any] = result
            result = await (pending if method in CANCELLABLE else _to_the_end(pending))
        return result
    except ApiProblem:
        raise
    except Exception as error:
        # problem_of logs what it does not know and calls it internal; nothing is lost.
        raise ApiProblem.from_problem(problem_of(error)) from error


async def _to_the_end(work: Awaitable[Any]) -> Any:
    """The result of `work`, which no cancellation of the caller stops."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() or caller is None or not caller.cancelling():
                raise
            caller.uncancel()
