"""What a simulated host can be: `demo`, `empty`, `large`, `hostile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from san_console.api.engine_objects import Identity, Keyring
from san_console.api.initiator_objects import (
    Connection,
    LoginSettings,
    Lun,
    NegotiatedKey,
    Session,
    Source,
    Target,
    TargetPortal,
)
from san_console.api.problems import Problem
from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    IsnsObject,
    IsnsServer,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
    Registration,
    Reservation,
    TargetConnection,
    TargetSession,
)
from san_console.console.simulated.demo_initiator import fill_initiator
from san_console.console.simulated.demo_serving import engine_info, fill_host, fill_serving
from san_console.console.simulated.demo_story import fill_story
from san_console.console.simulated.large_serving import fill_large_serving
from san_console.console.simulated.world import World

LARGE_TARGETS: Final = 10_000

HOSTILE_TEXTS: Final = (
    "two\nlines\r\nthree",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "nul\x00in the middle",
    "right\u202eto left\u2066isolated\u2069",
    "zero\u200dwidth\u200bjoined",
    "zalgo" + "\u0301" * 200,
    "<b>bold</b><img src=http://127.0.0.1:9/x.png>",
    "<a href=file:///etc/passwd>here</a>&lt;script&gt;",
    "%s%n%x{0}{name}",
    "'; DROP TABLE targets; --",
    "../../../../etc/passwd",
    "-rf",
    "=cmd|'/c calc'!A1",
    "@SUM(1+1)",
    "x" * 223,
    "y" * 10_000,
    "lone\ud800surrogate",
    "iqn.2026-11.org.ex\u0430mple:prod-db",
    "\u2028line separator\u2029",
    "\U000e0041tag",
)
"""Texts that a hostile target, initiator or name server may send, for names, aliases and INQUIRY strings."""


def _demo(world: World, targets: int | None) -> None:
    fill_host(world)
    fill_initiator(world)
    fill_serving(world)
    fill_story(world)


def _empty(world: World, targets: int | None) -> None:
    fill_host(world)
    world.put("sources", Source(id="manual", kind="manual", address=""))
    world.put("isns_servers", IsnsServer(id="embedded", address="", embedded=True, state="stopped"))
    world.change("engine", "engine", started_at=world.now)
    world.event("info", "engine_started", "engine", "engine", "The engine started for the first time.")


def _large(world: World, targets: int | None) -> None:
    count = LARGE_TARGETS if targets is None else targets
    fill_host(world)
    source = "10.64.0.1:3205"
    world.put(
        "sources",
        Source(
            id=source,
            kind="isns",
            address=source,
            state="ok",
            last_run_at=world.now,
            took_s=1.4,
            target_count=count,
        ),
    )
    world.put("sources", Source(id="manual", kind="manual", address=""))
    settings = LoginSettings()
    reach = ("answers", "answers", "answers", "no answer", "unknown")
    for number in range(count):
        state = reach[number % 5]
        world.put(
            "targets",
            Target(
                id=f"iqn.2026-11.org.example.rack{number % 40:02d}:volume-{number:05d}",
                alias=f"Volume {number}",
                portals=[
                    TargetPortal(
                        address=f"10.{64 + side}.{number // 250}.{number % 250 + 1}:3260",
                        tpgt=side + 1,
                        reach=state,  # type: ignore[arg-type]  # the words above are those of Reach
                        round_trip_ms=0.1 + number % 17 / 20 if state == "answers" else None,
                        asks_for_chap=number % 2 == 0 if state == "answers" else None,
                        found_by=[source],
                    )
                    for side in (0, 1)
                ],
                found_by=[source],
                change="new" if number % 100 == 0 else "",
                first_seen_at=world.now - number,
                last_seen_at=world.now,
                login=settings,
            ),
        )
    fill_large_serving(world)


def _hostile(world: World, targets: int | None) -> None:
    fill_host(world)
    for number, text in enumerate(HOSTILE_TEXTS):
        _hostile_objects(world, number, text)
    first = HOSTILE_TEXTS[1]
    world.put("engine", engine_info(world, initiator_name=first, note=first))
    world.change(
        "engine", "engine", keyring=Keyring(state="locked", backend=first, fix=first), host_name=first
    )
    world.put("isns_servers", IsnsServer(id=first, address=first, state="ok", node_count=len(HOSTILE_TEXTS)))
    world.isns_objects[first] = [
        IsnsObject(kind="node", name=text, entity=text, attributes=[(text, text)]) for text in HOSTILE_TEXTS
    ]


def _hostile_objects(world: World, number: int, text: str) -> None:
    problem = Problem(code="peer-failure", message=text, side=text, check=text, details={text: text})
    name = text if number % 2 else f"iqn.2026-11.org.example:{text}"
    session_id = f"h{number}"
    world.put(
        "sources",
        Source(id=text, kind="sendtargets", address=text, state="failed", problem=problem, target_count=1),
    )
    world.put(
        "targets",
        Target(
            id=name,
            alias=text,
            portals=[TargetPortal(address=text, detail=text, found_by=[text], reach="no answer")],
            found_by=[text],
            change="changed",
            change_note=text,
            login=LoginSettings(source_address=text, favourite=True),
            session_ids=[session_id],
        ),
    )
    world.put(
        "sessions",
        Session(
            id=session_id,
            target=name,
            alias=text,
            portal=text,
            state="retrying" if number % 2 else "logged_in",
            auth=text,
            connections=[Connection(cid=1, local=text, remote=text, state=text)],
            keys=[
                NegotiatedKey(
                    name=text,
                    default=text,
                    offered=text,
                    answered=text,
                    effective=text,
                    rule=text,
                    note=text,
                )
            ],
            problem=problem,
            next_retry_at=world.now + 10,
            logged_in_at=world.now - 60,
            lun_count=1,
        ),
    )
    world.put(
        "luns",
        Lun(
            id=f"{session_id}/0",
            session_id=session_id,
            target=name,
            lun=0,
            state="ready" if number % 2 == 0 else "failed",
            problem=None if number % 2 == 0 else problem,
            identity=text,
            identity_changed_from=text,
            vendor=text,
            product=text,
            revision=text,
            serial=text,
            device_type=text,
            size_bytes=2**20,
            content=text,
            designators=[text],
        ),
    )
    world.put(
        "local_targets",
        LocalTarget(
            id=f"iqn.2026-11.org.example:served-{number}",
            alias=text,
            portal_groups=[PortalGroup(portals=[text], redirect_to=text)],
            luns=[LocalLun(id="l", name=text, kind="file", path=text, problem=problem, state="offline")],
            initiator_groups=[InitiatorGroup(name=text, members=[text])],
            access=[InitiatorAccess(subject=text), InitiatorAccess(subject="*")],
            mappings=[Mapping(initiator=text, lun_id="l", lun=0)],
            state="failed",
            problem=problem,
        ),
    )
    world.put(
        "target_sessions",
        TargetSession(
            id=f"ht{number}",
            target=f"iqn.2026-11.org.example:served-{number}",
            initiator=text,
            initiator_alias=text,
            address=text,
            portal=text,
            auth=text,
            connections=[TargetConnection(cid=0, address=text, portal=text)],
            luns=[0],
        ),
    )
    world.put(
        "reservations",
        Reservation(
            id=f"iqn.2026-11.org.example:served-{number}/l",
            target=f"iqn.2026-11.org.example:served-{number}",
            lun_id="l",
            lun_name=text,
            type=text,
            holder=text,
            registrations=[Registration(initiator=text, isid=text, key=text, holder=True)],
        ),
    )
    world.put("identities", Identity(id=f"hi{number}", user=text, note=text, used_by=[text], findings=[text]))
    world.event("error", text, "session", session_id, text, cause=text, side=text, check=text)
    world.job("discover", text, object_id=session_id, total=100, unit=text, takes_s=30)


SCENARIOS: Final[dict[str, Callable[[World, int | None], None]]] = {
    "demo": _demo,
    "empty": _empty,
    "large": _large,
    "hostile": _hostile,
}
