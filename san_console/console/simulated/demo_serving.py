"""The demo host's other parts: local targets and who uses them, iSNS, identities, events, tasks."""

from __future__ import annotations

from san_console.api.engine_objects import EngineInfo, Identity, Interface, Keyring
from san_console.api.messages import API_VERSION
from san_console.api.serving_objects import IsnsObject, IsnsServer
from san_console.console.simulated.demo_initiator import ISNS, PREFIX
from san_console.console.simulated.demo_targets import (
    ARCHIVE,
    LAB,
    OWN_NAME,
    PROD,
    TARGET_LOADS,
    fill_targets,
    initiator,
)
from san_console.console.simulated.world import World

__all__ = [
    "ARCHIVE",
    "LAB",
    "OWN_NAME",
    "PROD",
    "TARGET_LOADS",
    "engine_info",
    "fill_host",
    "fill_serving",
    "initiator",
]


def engine_info(world: World, *, initiator_name: str = OWN_NAME, note: str = "") -> EngineInfo:
    return EngineInfo(
        version="0.1.0",
        api_version=API_VERSION,
        pid=4242,
        host_name="laptop",
        started_at=world.now - 98 * 3600 - 480,
        data_dir="/home/admin/.local/share/san-console",
        initiator_name=initiator_name,
        keyring=Keyring(state="unlocked", backend="GNOME Keyring"),
        state_note=note,
        discovery_identity_ids=["id-discovery"],
    )


def fill_host(world: World) -> None:
    world.put("engine", engine_info(world))
    for name, addresses, mtu, up in (
        ("ens192", ["10.20.0.77", "fd00:20::77"], 9000, True),
        ("ens224", ["10.21.0.77"], 9000, True),
        ("lo", ["127.0.0.1", "::1"], 65536, True),
        ("wlan0", [], 1500, False),
    ):
        world.put("interfaces", Interface(id=name, addresses=addresses, mtu=mtu, up=up))


def fill_serving(world: World) -> None:
    fill_targets(world)
    _fill_isns(world)
    _fill_identities(world)


def _fill_isns(world: World) -> None:
    world.put(
        "isns_servers",
        IsnsServer(
            id="embedded",
            address="127.0.0.1:3205",
            embedded=True,
            state="running",
            entity_count=1,
            node_count=2,
            last_seen_at=world.now,
        ),
    )
    world.put(
        "isns_servers",
        IsnsServer(
            id=ISNS, address=ISNS, state="ok", entity_count=5, node_count=12, last_seen_at=world.now - 31
        ),
    )
    world.isns_objects["embedded"] = [
        IsnsObject(
            kind="entity", name="laptop:1", attributes=[("Protocol", "iSCSI"), ("Registered", "22 min ago")]
        ),
        IsnsObject(
            kind="node", name=LAB, entity="laptop:1", attributes=[("Type", "Target"), ("Alias", "lab-1")]
        ),
        IsnsObject(kind="node", name=OWN_NAME, entity="laptop:1", attributes=[("Type", "Initiator")]),
        IsnsObject(
            kind="portal",
            name="127.0.0.1:3260",
            entity="laptop:1",
            attributes=[("Name", "lab"), ("Group", "1")],
        ),
        IsnsObject(
            kind="portal_group", name=f"{LAB} · 127.0.0.1:3260", entity="laptop:1", attributes=[("Tag", "1")]
        ),
        IsnsObject(kind="domain", name="default", attributes=[("Members", "2")]),
    ]
    objects = [
        IsnsObject(kind="entity", name="array-a.example", attributes=[("Protocol", "iSCSI"), ("Index", "1")]),
        IsnsObject(kind="domain_set", name="production", attributes=[("Enabled", "Yes")]),
        IsnsObject(kind="domain", name="databases", attributes=[("Members", "5"), ("Set", "production")]),
        IsnsObject(
            kind="domain", name="virtual machines", attributes=[("Members", "4"), ("Set", "production")]
        ),
    ]
    for target in world.values("targets"):
        if ISNS in target.found_by:
            objects.append(
                IsnsObject(
                    kind="node",
                    name=target.id,
                    entity="array-a.example",
                    attributes=[("Type", "Target"), ("Alias", target.alias)],
                )
            )
            objects += [
                IsnsObject(
                    kind="portal",
                    name=portal.address,
                    entity="array-a.example",
                    attributes=[("Group", str(portal.tpgt))],
                )
                for portal in target.portals
            ]
    world.isns_objects[ISNS] = objects


def _fill_identities(world: World) -> None:
    day = 86400
    for row in (
        Identity(
            id="id-esx-lab",
            user="esx-lab",
            note="our name at the production arrays",
            place="keyring",
            used_by=[f"logs in to {PREFIX}prod-db", f"logs in to {PREFIX}prod-vm", f"accepted by {PROD}"],
            findings=[
                "The same secret is used for two targets: whoever knows one of them can answer for both."
            ],
            created_at=world.now - 200 * day,
        ),
        Identity(
            id="id-prod-array",
            user="prod-array",
            note="the arrays prove themselves with it",
            place="keyring",
            used_by=[f"proves {PREFIX}prod-db", f"proves {PREFIX}prod-vm", f"proves {PROD}"],
            created_at=world.now - 200 * day,
        ),
        Identity(
            id="id-backup",
            user="backup",
            place="keyring",
            used_by=[
                f"logs in to {PREFIX}backup",
                f"logs in to {PREFIX}archive",
                f"accepted by {ARCHIVE}",
                f"accepted by {PROD}",
            ],
            created_at=world.now - 190 * day,
        ),
        Identity(
            id="id-discovery",
            user="discovery",
            note="SendTargets at 10.20.0.11",
            place="keyring",
            used_by=["asks 10.20.0.11:3260", "accepted for discovery"],
            created_at=world.now - 40 * day,
        ),
        Identity(
            id="id-db",
            user="db-hosts",
            note="db-1 and db-2",
            place="memory",
            used_by=[f"accepted by {PROD}"],
            findings=["The secret has 20 bytes: Windows and TrueNAS take 16 at most."],
            created_at=world.now - 12 * day,
        ),
        Identity(
            id="id-old",
            user="old-array",
            note="for the array that went",
            place="missing",
            findings=["The keyring holds no secret for it any more."],
            created_at=world.now - 600 * day,
        ),
    ):
        world.put("identities", row)
