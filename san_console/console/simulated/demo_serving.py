"""The demo host's other parts: local targets and who uses them, iSNS, identities, events, tasks."""

from __future__ import annotations

from typing import Final

from san_console.api.engine_objects import EngineInfo, Identity, Interface, Keyring
from san_console.api.messages import API_VERSION
from san_console.api.problems import Problem
from san_console.api.serving_objects import (
    IsnsObject,
    IsnsRegistration,
    IsnsServer,
    LocalLun,
    LocalTarget,
    Mapping,
    TargetSession,
)
from san_console.console.simulated.demo_initiator import ISNS, PREFIX, negotiated_keys
from san_console.console.simulated.demo_luns import GIB, MIB, TIB
from san_console.console.simulated.figures import IDLE, Load
from san_console.console.simulated.world import World

PROD: Final = PREFIX + "prod"
LAB: Final = PREFIX + "lab-1"
ARCHIVE: Final = PREFIX + "archive-store"
OWN_NAME: Final = "iqn.2026-11.org.san-console:laptop-7f3a"
_HOSTS: Final = ("db-1.example", "db-2.example", "esx-7.example", "backup.example")

TARGET_LOADS: Final[dict[str, Load]] = {
    "t1": Load(6.2e7, 3.1e7, 4_100, 2_050, 260, 1_100, 64, 0.3),
    "t2": Load(1.4e7, 2.0e6, 900, 130, 240, 800, 64, 0.1),
    "t3": Load(1.9e7, 2.8e7, 610, 700, 420, 2_300, 64, 0.2),
    "t4": Load(2.43e8, 9.8e6, 59_400, 2_470, 70, 240, 128, 0.25),
    "t5": IDLE,
}


def initiator(host: str) -> str:
    """The iSCSI name of one of the demo's hosts."""
    return f"iqn.2004-10.com.example.hosts:{host}"


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
    world.put("local_targets", _prod())
    world.put("local_targets", _lab())
    world.put("local_targets", _archive())
    for session in _target_sessions(world):
        world.put("target_sessions", session)
    _fill_isns(world)
    _fill_identities(world)


def _lun(
    name: str, size_bytes: int, *, thin: bool = False, read_only: bool = False, number: int = 0
) -> LocalLun:
    return LocalLun(
        id=f"lun-{name}",
        name=name,
        kind="file",
        path=f"/srv/luns/{name}.img",
        size_bytes=size_bytes,
        read_only=read_only,
        thin=thin,
        identity=f"naa.3a5c0de{number:x}8f12b{len(name):03x}",
        serial=f"5ac0{number:04x}{size_bytes // MIB:08x}"[:16],
    )


def _prod() -> LocalTarget:
    db_1, db_2, esx, backup = (initiator(host) for host in _HOSTS)
    return LocalTarget(
        id=PROD,
        alias="prod",
        portals=["10.20.0.5:3260", "[fd00::5]:3260"],
        luns=[
            _lun("db-data", 512 * GIB, number=1),
            _lun("db-log", 64 * GIB, number=2),
            _lun("vm-store", 2 * TIB, thin=True, number=3),
            _lun("iso", 40 * GIB, read_only=True, number=4),
        ],
        initiators=[db_1, db_2, esx, backup, "*"],
        mappings=[
            Mapping(initiator=db_1, lun_id="lun-db-data", lun=0),
            Mapping(initiator=db_1, lun_id="lun-db-log", lun=1),
            Mapping(initiator=db_1, lun_id="lun-iso", lun=3, read_only=True),
            Mapping(initiator=db_2, lun_id="lun-db-data", lun=0),
            Mapping(initiator=db_2, lun_id="lun-db-log", lun=1),
            Mapping(initiator=db_2, lun_id="lun-iso", lun=3, read_only=True),
            Mapping(initiator=esx, lun_id="lun-iso", lun=3, read_only=True),
            Mapping(initiator=backup, lun_id="lun-db-data", lun=0, read_only=True),
            Mapping(initiator=backup, lun_id="lun-db-log", lun=1, read_only=True),
            Mapping(initiator="*", lun_id="lun-iso", lun=0, read_only=True),
        ],
        identity_ids=["id-db", "id-esx-lab"],
        mutual_identity_id="id-prod-array",
        register_with=[ISNS],
        state="serving",
        registrations=[IsnsRegistration(server=ISNS, state="registered")],
    )


def _lab() -> LocalTarget:
    return LocalTarget(
        id=LAB,
        alias="lab-1",
        portals=["127.0.0.1:3260"],
        luns=[
            LocalLun(
                id="lun-memory", name="memory", kind="memory", size_bytes=GIB, identity="naa.3000c0ffee00d1a0"
            ),
            LocalLun(
                id="lun-file",
                name="file",
                kind="file",
                path="/home/admin/.local/share/san-console/lab/lun1.img",
                size_bytes=GIB,
                thin=True,
                identity="naa.3000c0ffee00d1a1",
            ),
        ],
        initiators=["*"],
        mappings=[
            Mapping(initiator="*", lun_id="lun-memory", lun=0),
            Mapping(initiator="*", lun_id="lun-file", lun=1),
        ],
        register_with=["embedded"],
        state="serving",
        registrations=[IsnsRegistration(server="embedded", state="registered")],
        lab=True,
    )


def _archive() -> LocalTarget:
    lost = Problem(
        code="storage",
        message="/mnt/archive/2024.img is not there.",
        side="this computer's file system",
        check="Is /mnt/archive mounted?",
    )
    return LocalTarget(
        id=ARCHIVE,
        alias="archive",
        portals=["10.20.0.5:3261"],
        luns=[
            LocalLun(
                id="lun-2024",
                name="2024",
                kind="file",
                path="/mnt/archive/2024.img",
                size_bytes=4 * TIB,
                read_only=True,
                state="offline",
                problem=lost,
                identity="naa.3a5c0de58f12b004",
            )
        ],
        initiators=[initiator("backup.example"), initiator("db-1.example")],
        mappings=[Mapping(initiator=initiator("backup.example"), lun_id="lun-2024", lun=0, read_only=True)],
        identity_ids=["id-backup"],
        state="serving",
    )


def _target_sessions(world: World) -> list[TargetSession]:
    keys = negotiated_keys(digests=True)
    rows = (
        ("t1", PROD, initiator("db-1.example"), "db-1", "10.20.0.71", "10.20.0.5:3260", [0, 1, 3], 9),
        ("t2", PROD, initiator("db-2.example"), "db-2", "10.20.0.72", "10.20.0.5:3260", [0, 1, 3], 9),
        ("t3", PROD, initiator("esx-7.example"), "esx-7", "10.20.0.77", "[fd00::5]:3260", [3], 3),
        ("t4", LAB, OWN_NAME, "laptop", "127.0.0.1", "127.0.0.1:3260", [0, 1], 0.36),
    )
    return [
        TargetSession(
            id=session_id,
            target=target,
            initiator=name,
            initiator_alias=alias,
            address=f"{address}:{51_000 + 17 * number}",
            portal=portal,
            isid=f"00:02:3d:{number:02x}:00:01",
            tsih=number,
            auth="CHAP SHA-256 mutual" if target == PROD else "None",
            logged_in_at=world.now - hours * 3600,
            header_digest="CRC32C" if target == PROD else "None",
            keys=keys,
            luns=luns,
            own=name == OWN_NAME,
        )
        for number, (session_id, target, name, alias, address, portal, luns, hours) in enumerate(rows, 1)
    ]


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
            used_by=[f"logs in to {PREFIX}backup", f"logs in to {PREFIX}archive", f"accepted by {ARCHIVE}"],
            created_at=world.now - 190 * day,
        ),
        Identity(
            id="id-discovery",
            user="discovery",
            note="SendTargets at 10.20.0.11",
            place="keyring",
            used_by=["asks 10.20.0.11:3260"],
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
