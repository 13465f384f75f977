"""A simulated host that serves a lot: 1,000 targets, one of them for hundreds of initiators."""

from __future__ import annotations

from typing import Final

from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
    TargetConnection,
    TargetSession,
)
from san_console.console.simulated.world import World

TARGETS: Final = 1_000
LUNS: Final = 4
BUSY_LUNS: Final = 32
BUSY_INITIATORS: Final = 200
SESSIONS: Final = 256
_GIB: Final = 2**30


def _initiator(number: int) -> str:
    return f"iqn.2004-10.com.example.hosts:node-{number:03d}.rack-{number % 16:02d}.example"


def _target(number: int) -> LocalTarget:
    busy = number == 0
    name = f"iqn.2026-11.org.example:pool-{number:04d}"
    luns = [
        LocalLun(
            id=f"lun-{at}",
            name=f"volume-{at:02d}",
            kind="file",
            path=f"/srv/pool-{number:04d}/volume-{at:02d}.img",
            size_bytes=(at + 1) * 64 * _GIB,
            thin=at % 2 == 0,
            identity=f"naa.3a5c0de{number:05x}{at:04x}",
            used_bytes=(at + 1) * 21 * _GIB,
        )
        for at in range(BUSY_LUNS if busy else LUNS)
    ]
    names = [_initiator(at) for at in range(BUSY_INITIATORS)] if busy else [_initiator(number % SESSIONS)]
    return LocalTarget(
        id=name,
        alias=f"Pool {number}",
        portal_groups=[
            PortalGroup(tag=side + 1, portals=[f"10.{64 + side}.0.5:{3260 + number % 8}"]) for side in (0, 1)
        ],
        luns=luns,
        initiator_groups=[
            InitiatorGroup(name=f"rack-{rack:02d}", members=names[rack::16]) for rack in range(16)
        ]
        if busy
        else [],
        access=[InitiatorAccess(subject=one) for one in (*names, "10.64.0.0/16")],
        mappings=[
            Mapping(initiator=one, lun_id=lun.id, lun=at, read_only=(at + row) % 5 == 0)
            for row, one in enumerate(names)
            for at, lun in enumerate(luns)
            if not busy or (at + row) % 3
        ],
        state="serving",
    )


def fill_large_serving(world: World) -> None:
    """Targets, and sessions of which most are with the busy one."""
    for number in range(TARGETS):
        world.put("local_targets", _target(number))
    for number in range(SESSIONS):
        target = 0 if number < BUSY_INITIATORS else number
        address, portal = f"10.64.{number // 250}.{number % 250 + 1}", f"10.64.0.5:{3260 + target % 8}"
        world.put(
            "target_sessions",
            TargetSession(
                id=f"t{number}",
                target=f"iqn.2026-11.org.example:pool-{target:04d}",
                initiator=_initiator(number),
                address=address,
                portal=portal,
                isid=f"00023d{number:06x}",
                tsih=number + 1,
                logged_in_at=world.now - number * 60,
                connections=[TargetConnection(cid=0, address=address, portal=portal)],
                luns=list(range(LUNS)),
            ),
        )
