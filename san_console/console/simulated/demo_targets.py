"""The demo host's local targets: what they serve, who is logged in, who has reserved what."""

from __future__ import annotations

from typing import Final

from san_console.api.problems import Problem
from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    IsnsRegistration,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
    Registration,
    Reservation,
    TargetConnection,
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
BACKUP_NETWORK: Final = "10.20.40.0/24"
INSTALL_NETWORK: Final = "10.20.30.0/24"
ESX_GROUP: Final = "group:esx-cluster"
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


def fill_targets(world: World) -> None:
    """Local targets, the sessions of others with them, and reservations."""
    for target in (_prod(), _lab(), _archive()):
        world.put("local_targets", target)
    for session in _target_sessions(world):
        world.put("target_sessions", session)
    for reservation in _reservations():
        world.put("reservations", reservation)


def _lun(
    name: str,
    size_bytes: int,
    *,
    number: int,
    thin: bool = False,
    read_only: bool = False,
    used_bytes: int | None = None,
    threshold: int = 0,
    physical: int = 0,
    write_cache: bool = True,
) -> LocalLun:
    used = size_bytes if used_bytes is None else used_bytes
    return LocalLun(
        id=f"lun-{name}",
        name=name,
        kind="file",
        path=f"/srv/luns/{name}.img",
        size_bytes=size_bytes,
        physical_block_bytes=physical,
        read_only=read_only,
        thin=thin,
        write_cache=write_cache,
        soft_threshold_percent=threshold,
        identity=f"naa.3a5c0de{number:x}8f12b{len(name):03x}",
        unit_serial=f"5ac0{number:04x}{size_bytes // MIB:08x}"[:16],
        used_bytes=used,
        threshold_reached=bool(threshold) and used * 100 >= size_bytes * threshold,
    )


def _prod() -> LocalTarget:
    db_1, db_2, esx, backup = (initiator(host) for host in _HOSTS)
    return LocalTarget(
        id=PROD,
        alias="prod",
        portal_groups=[
            PortalGroup(tag=1, portals=["10.20.0.5:3260"], preferred=True),
            PortalGroup(tag=2, portals=["[fd00::5]:3260"], access_state="active/non-optimized"),
        ],
        luns=[
            _lun("db-data", 512 * GIB, number=1, physical=4096),
            _lun("db-log", 64 * GIB, number=2, write_cache=False),
            _lun("vm-store", 2 * TIB, thin=True, number=3, used_bytes=1_725 * GIB, threshold=80),
            _lun("iso", 40 * GIB, read_only=True, number=4),
        ],
        initiator_groups=[InitiatorGroup(name="esx-cluster", members=[esx, initiator("esx-8.example")])],
        access=[
            InitiatorAccess(subject=db_1, identity_ids=["id-db"], mutual_identity_id="id-prod-array"),
            InitiatorAccess(subject=db_2, identity_ids=["id-db"], mutual_identity_id="id-prod-array"),
            InitiatorAccess(subject=esx),
            InitiatorAccess(subject=backup, identity_ids=["id-backup"]),
            InitiatorAccess(subject=ESX_GROUP),
            InitiatorAccess(subject="*"),
        ],
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
            Mapping(initiator=ESX_GROUP, lun_id="lun-vm-store", lun=0),
            Mapping(initiator=INSTALL_NETWORK, lun_id="lun-iso", lun=0, read_only=True),
            Mapping(initiator="*", lun_id="lun-iso", lun=0, read_only=True),
        ],
        identity_ids=["id-db", "id-esx-lab"],
        mutual_identity_id="id-prod-array",
        limits=OperationalLimits(max_connections=4, header_digest="prefer"),
        register_with=[ISNS],
        state="serving",
        registrations=[IsnsRegistration(server=ISNS, state="registered")],
    )


def _lab() -> LocalTarget:
    return LocalTarget(
        id=LAB,
        alias="lab-1",
        portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
        luns=[
            LocalLun(
                id="lun-memory",
                name="memory",
                kind="memory",
                size_bytes=GIB,
                identity="naa.3000c0ffee00d1a0",
                unit_serial="3000c0ffee00d1a0",
                used_bytes=212 * MIB,
            ),
            LocalLun(
                id="lun-file",
                name="file",
                kind="file",
                path="/home/admin/.local/share/san-console/lab/lun1.img",
                size_bytes=GIB,
                thin=True,
                identity="naa.3000c0ffee00d1a1",
                unit_serial="3000c0ffee00d1a1",
                used_bytes=388 * MIB,
            ),
        ],
        access=[InitiatorAccess(subject="*")],
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
        portal_groups=[
            PortalGroup(portals=["10.20.0.5:3261"]),
            PortalGroup(
                tag=2,
                portals=["10.21.0.5:3261"],
                access_state="standby",
                redirect_to="10.20.0.5:3261",
            ),
        ],
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
                unit_serial="5ac0000500400000",
            )
        ],
        initiator_groups=[InitiatorGroup(name="backup-hosts", members=[BACKUP_NETWORK])],
        access=[
            InitiatorAccess(subject=initiator("backup.example")),
            InitiatorAccess(subject=initiator("db-1.example")),
            InitiatorAccess(subject=BACKUP_NETWORK),
        ],
        mappings=[
            Mapping(initiator=initiator("backup.example"), lun_id="lun-2024", lun=0, read_only=True),
            Mapping(initiator=BACKUP_NETWORK, lun_id="lun-2024", lun=4, read_only=True),
        ],
        identity_ids=["id-backup"],
        state="serving",
    )


def _target_sessions(world: World) -> list[TargetSession]:
    keys = negotiated_keys(digests=True)
    rows = (
        ("t1", PROD, initiator("db-1.example"), "db-1", "10.20.0.71", "10.20.0.5:3260", [0, 1, 3], 9, 4),
        ("t2", PROD, initiator("db-2.example"), "db-2", "10.20.0.72", "10.20.0.5:3260", [0, 1, 3], 9, 2),
        ("t3", PROD, initiator("esx-7.example"), "esx-7", "fd00::77", "[fd00::5]:3260", [0, 3], 3, 1),
        ("t4", LAB, OWN_NAME, "laptop", "127.0.0.1", "127.0.0.1:3260", [0, 1], 0.36, 1),
        ("t5", ARCHIVE, initiator("backup.example"), "backup", "10.20.40.9", "10.20.0.5:3261", [0], 5, 0),
    )
    return [
        TargetSession(
            id=session_id,
            target=target,
            initiator=name,
            initiator_alias=alias,
            address=address,
            portal=portal,
            tpgt=2 if portal.startswith("[") else 1,
            # The console's own session is the one that its initiator shows.
            isid="80:00:5a:c0:1e:06" if name == OWN_NAME else f"00023d{number:02x}0001",
            tsih=number,
            auth="CHAP SHA-256 mutual" if target == PROD else "None" if target == LAB else "CHAP MD5",
            logged_in_at=world.now - hours * 3600,
            header_digest="CRC32C" if target == PROD else "None",
            connections=[
                TargetConnection(
                    cid=cid,
                    address=address,
                    portal=portal,
                    logged_in_at=world.now - hours * 3600 + cid,
                    header_digest="CRC32C" if target == PROD else "None",
                )
                for cid in range(count)
            ],
            max_connections=4 if target == PROD else 1,
            error_recovery_level=2 if count != 1 else 0,
            recovering=count == 0,
            digest_errors=3 if session_id == "t1" else 0,
            aborted_tasks=1 if session_id == "t5" else 0,
            keys=keys,
            luns=luns,
            own=name == OWN_NAME,
        )
        for number, (session_id, target, name, alias, address, portal, luns, hours, count) in enumerate(
            rows, 1
        )
    ]


def _reservations() -> list[Reservation]:
    db_1, db_2 = initiator("db-1.example"), initiator("db-2.example")
    return [
        Reservation(
            id=f"{PROD}/lun-db-data",
            target=PROD,
            lun_id="lun-db-data",
            lun_name="db-data",
            type="Write exclusive, registrants only",
            holder=db_1,
            aptpl=True,
            generation=17,
            registrations=[
                Registration(
                    initiator=db_1,
                    isid="00023d010001",
                    target_port=1,
                    key="00000000db010001",
                    holder=True,
                    session_ids=["t1"],
                ),
                Registration(
                    initiator=db_2,
                    isid="00023d020001",
                    target_port=1,
                    key="00000000db020001",
                    session_ids=["t2"],
                ),
                # Its host was installed anew and has another ISID since: the key of a cluster node that is
                # no more.
                Registration(
                    initiator=initiator("db-3.example"),
                    isid="00023d070000",
                    target_port=1,
                    key="00000000db030001",
                ),
            ],
        ),
        Reservation(
            id=f"{PROD}/lun-db-log",
            target=PROD,
            lun_id="lun-db-log",
            lun_name="db-log",
            type="Reserve (SPC-2)",
            holder=db_1,
            registrations=[
                Registration(
                    initiator=db_1, isid="00023d010001", target_port=1, holder=True, session_ids=["t1"]
                )
            ],
        ),
    ]
