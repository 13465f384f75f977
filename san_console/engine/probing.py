"""Whether portals answer: one question per address, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from san_console.api.initiator_objects import Target, TargetPortal
from san_console.engine.jobs import JobControl
from san_console.engine.targets import TargetStore
from san_console.initiator.discovery import ProbeResult, probe
from san_console.names.errors import NamesError
from san_console.names.portal import Portal

CONCURRENT_PROBES: Final = 16
"""Quick for a hundred portals that are down, and no port scan to whoever watches the network."""

PROBE_TIMEOUT_S: Final = 5.0


async def probe_portals(store: TargetStore, targets: Iterable[Target], control: JobControl) -> dict[str, str]:
    """Try every portal of `targets` and show what came of it. The result counts those that answer."""
    by_address: dict[str, list[tuple[Target, TargetPortal]]] = {}
    for target in targets:
        for portal in target.portals:
            if not portal.vanished:
                by_address.setdefault(portal.address, []).append((target, portal))
    control.progress(0, len(by_address), "trying the portals")
    places = asyncio.Semaphore(CONCURRENT_PROBES)
    done = answering = 0

    async def one(address: str) -> None:
        nonlocal done, answering
        async with places:
            _show(store, by_address[address], None)
            result: ProbeResult | None = None
            try:
                result = await probe(Portal.parse(address), PROBE_TIMEOUT_S)
            except NamesError as error:
                _show(store, by_address[address], ProbeResult(False, str(error), None, None, False))
            finally:
                # Cancelled: not "checking" for ever.
                if result is not None:
                    _show(store, by_address[address], result)
                else:
                    _reset(store, by_address[address])
            done += 1
            answering += bool(result is not None and result.reachable)
            control.progress(done)

    async with asyncio.TaskGroup() as group:
        for address in by_address:
            group.create_task(one(address))
    return {"portals": str(len(by_address)), "answering": str(answering)}


def _show(store: TargetStore, portals: list[tuple[Target, TargetPortal]], result: ProbeResult | None) -> None:
    for target, portal in portals:
        if result is None:
            portal.reach = "checking"
        else:
            portal.reach = "answers" if result.reachable else "no answer"
            portal.detail = result.detail
            portal.round_trip_ms = result.round_trip_ms
            portal.asks_for_chap = result.asks_for_chap
        store.show(target)


def _reset(store: TargetStore, portals: list[tuple[Target, TargetPortal]]) -> None:
    for target, portal in portals:
        if portal.reach == "checking":
            portal.reach = "unknown"
            store.show(target)
