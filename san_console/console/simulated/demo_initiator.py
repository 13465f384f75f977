"""The demo host's initiator: three sources, fourteen targets, six sessions, twenty-one LUNs."""

from __future__ import annotations

from typing import Final, NamedTuple

from san_console.api.initiator_objects import (
    Change,
    Connection,
    LoginSettings,
    NegotiatedKey,
    Reach,
    Session,
    Source,
    Target,
    TargetPortal,
)
from san_console.api.problems import Problem
from san_console.console.simulated.demo_luns import LUNS, demo_luns
from san_console.console.simulated.figures import IDLE, Load
from san_console.console.simulated.world import World

PREFIX: Final = "iqn.2026-11.org.example:"
ARRAY: Final = "10.20.0.11:3260"
ISNS: Final = "isns.example:3205"
DEAD: Final = "10.20.0.99:3260"

NO_ANSWER: Final = Problem(
    code="unreachable",
    message="10.20.0.99:3260 gave no answer in 5.0 s.",
    side="this computer, after waiting; nothing came back from the address",
    check="Is the array switched on, is the address right, does a firewall drop port 3260?",
)


class _Portal(NamedTuple):
    address: str
    tpgt: int = 1
    reach: Reach = "answers"
    detail: str = "answers"
    round_trip_ms: float | None = 0.21
    chap: bool | None = False
    found_by: tuple[str, ...] = (ISNS,)
    vanished: bool = False


class _Target(NamedTuple):
    name: str
    portals: tuple[_Portal, ...]
    alias: str = ""
    change: Change = ""
    note: str = ""
    identity: str = ""
    mutual: str = ""
    favourite: bool = False


_BOTH = (ARRAY, ISNS)
_REFUSED = "connection refused"

_TARGETS: Final = (
    _Target(
        PREFIX + "prod-vm2",
        (_Portal("10.20.0.14:3260", chap=True), _Portal("10.21.0.14:3260", 2, round_trip_ms=0.24, chap=True)),
        alias="VM store 2",
        change="new",
        note="Found for the first time by isns.example:3205.",
    ),
    _Target(
        PREFIX + "prod-db",
        (
            _Portal(ARRAY, 1, "answers", "yes, asks for CHAP", 0.18, True, _BOTH),
            _Portal("10.21.0.11:3260", 2, "answers", "yes, asks for CHAP", 0.19, True, _BOTH),
        ),
        alias="Database",
        identity="id-esx-lab",
        mutual="id-prod-array",
        favourite=True,
    ),
    _Target(
        PREFIX + "prod-vm",
        (
            _Portal("10.20.0.12:3260", 1, "answers", "yes, asks for CHAP", 0.21, True, _BOTH),
            _Portal("10.21.0.12:3260", 2, "no answer", _REFUSED, None, None, (ISNS,)),
            _Portal("10.21.0.13:3260", 2, "no answer", "not named any more", None, None, (ISNS,), True),
        ),
        alias="VM store",
        change="changed",
        note="Portal group 2 was 10.21.0.13:3260 and is now 10.21.0.12:3260.",
        identity="id-esx-lab",
        mutual="id-prod-array",
        favourite=True,
    ),
    _Target(
        PREFIX + "backup",
        (_Portal("10.20.0.40:3260", round_trip_ms=0.62, chap=True, found_by=(ARRAY,)),),
        alias="Backup array",
        identity="id-backup",
        favourite=True,
    ),
    _Target(
        PREFIX + "old-array",
        (_Portal("10.20.0.90:3260", 1, "no answer", "no answer in 5.0 s", None, None, (ISNS,), True),),
        change="vanished",
        note="isns.example:3205 does not name it any more. Its log-in settings are kept.",
        favourite=True,
    ),
    _Target(
        PREFIX + "archive",
        (_Portal("10.20.0.41:3260", 1, "no answer", "no answer in 5.0 s", None, None, ("manual",)),),
        alias="Archive",
        identity="id-backup",
        favourite=True,
    ),
    _Target(
        "naa.52004567ba64678d",
        (_Portal("10.20.0.60:3260"), _Portal("10.21.0.60:3260", 2, round_trip_ms=0.3)),
        alias="Array controller A",
    ),
    _Target(
        PREFIX + "lab-1", (_Portal("127.0.0.1:3260", round_trip_ms=0.04, found_by=(ISNS,)),), alias="Lab"
    ),
    _Target("eui.02004567a425678d", (_Portal("10.20.0.61:3260", round_trip_ms=0.33),), alias="Tape gateway"),
    _Target(PREFIX + "mail", (_Portal(ARRAY, chap=True, found_by=(ARRAY,)),), alias="Mail spool"),
    _Target(PREFIX + "web-static", (_Portal(ARRAY, chap=True, found_by=(ARRAY,)),)),
    _Target(PREFIX + "test-1", (_Portal("[fd00:20::31]:3260", round_trip_ms=0.27),), alias="Test bench"),
    _Target(PREFIX + "test-2", (_Portal("[fd00:20::32]:3260", round_trip_ms=0.28),), alias="Test bench"),
    _Target(PREFIX + "video-archive-2019-to-2024", (_Portal("10.20.0.71:3260", chap=True),), alias="Video"),
)


def negotiated_keys(*, digests: bool, chap: str = "CHAP") -> list[NegotiatedKey]:
    """What a log-in agreed on, with RFC 7143 §13's rule for each key."""
    digest = "CRC32C" if digests else "None"

    def key(
        name: str, default: str, offered: str, answered: str, effective: str, rule: str, note: str = ""
    ) -> NegotiatedKey:
        return NegotiatedKey(
            name=name,
            default=default,
            offered=offered,
            answered=answered,
            effective=effective,
            rule=rule,
            note=note,
        )

    return [
        key("AuthMethod", "", "CHAP,None", chap, chap, "first of the list that both have"),
        key("HeaderDigest", "None", "CRC32C,None", digest, digest, "first of the list that both have"),
        key("DataDigest", "None", "None", "None", "None", "first of the list that both have"),
        key("MaxConnections", "1", "1", "1", "1", "the smaller"),
        key("InitialR2T", "Yes", "No", "Yes", "Yes", "Yes if one says so", "the target wants an R2T first"),
        key("ImmediateData", "Yes", "Yes", "Yes", "Yes", "No if one says so"),
        key("MaxRecvDataSegmentLength", "8192", "262144", "262144", "262144", "each declares its own"),
        key("MaxBurstLength", "262144", "1048576", "1048576", "1048576", "the smaller"),
        key("FirstBurstLength", "65536", "262144", "65536", "65536", "the smaller"),
        key("DefaultTime2Wait", "2", "2", "2", "2", "the larger"),
        key("DefaultTime2Retain", "20", "0", "0", "0", "the smaller"),
        key("MaxOutstandingR2T", "1", "8", "1", "1", "the smaller"),
        key("DataPDUInOrder", "Yes", "Yes", "Yes", "Yes", "Yes if one says so"),
        key("DataSequenceInOrder", "Yes", "Yes", "Yes", "Yes", "Yes if one says so"),
        key("ErrorRecoveryLevel", "0", "0", "0", "0", "the smaller"),
        key("TargetPortalGroupTag", "", "", "1", "1", "the target declares it"),
        key("X-org.example.tune", "", "", "7", "", "", "NotUnderstood"),
    ]


class _Session(NamedTuple):
    id: str
    target: str
    portal: str
    up_s: float
    auth: str
    connections: int
    load: Load


_SESSIONS: Final = (
    _Session(
        "s1",
        PREFIX + "prod-db",
        ARRAY,
        98 * 3600 + 420,
        "CHAP SHA-256 mutual",
        2,
        Load(5.1e8, 3.4e7, 17_200, 1_220, 310, 900, 128, 0.3),
    ),
    _Session(
        "s2",
        PREFIX + "prod-db",
        "10.21.0.11:3260",
        98 * 3600 + 418,
        "CHAP SHA-256 mutual",
        1,
        Load(2.2e7, 4.0e6, 940, 130, 330, 1_000, 128, 0.06),
    ),
    _Session(
        "s3",
        PREFIX + "prod-vm",
        "10.20.0.12:3260",
        11 * 3600 + 2400,
        "CHAP SHA-256 mutual",
        2,
        Load(4.35e8, 1.46e8, 6_900, 2_206, 1_000, 3_100, 128, 0.2),
    ),
    _Session(
        "s4",
        PREFIX + "backup",
        "10.20.0.40:3260",
        11 * 3600 + 2390,
        "CHAP MD5",
        1,
        Load(3.1e7, 2.2e7, 720, 484, 2_400, 6_400, 32, 0.5),
    ),
    _Session("s5", PREFIX + "archive", "10.20.0.41:3260", 0, "CHAP MD5", 1, IDLE),
    _Session(
        "s6",
        PREFIX + "lab-1",
        "127.0.0.1:3260",
        22 * 60,
        "None",
        4,
        Load(2.43e8, 9.8e6, 59_400, 2_470, 90, 300, 128, 0.25),
    ),
)

LOADS: Final[dict[str, Load]] = {session.id: session.load for session in _SESSIONS}

LOSS_S: Final = (29, 21)
"""The second connection of prod-vm was lost so many seconds ago, and traffic went on so many seconds ago."""


def fill_initiator(world: World) -> None:
    _fill_sources(world)
    sessions_of: dict[str, list[str]] = {}
    for session in _SESSIONS:
        sessions_of.setdefault(session.target, []).append(session.id)
    for target in _TARGETS:
        world.put("targets", _target(world, target, sessions_of.get(target.name, [])))
    for session in _SESSIONS:
        world.put("sessions", _session(world, session))
        for lun in demo_luns(session.id, session.target):
            world.put("luns", lun)


def _fill_sources(world: World) -> None:
    world.put(
        "sources",
        Source(
            id=ARRAY,
            kind="sendtargets",
            address=ARRAY,
            state="ok",
            last_run_at=world.now - 125,
            took_s=0.042,
            target_count=5,
            identity_id="id-discovery",
        ),
    )
    world.put(
        "sources",
        Source(
            id=ISNS,
            kind="isns",
            address=ISNS,
            state="ok",
            last_run_at=world.now - 31,
            took_s=0.018,
            target_count=8,
        ),
    )
    world.put(
        "sources",
        Source(
            id=DEAD,
            kind="sendtargets",
            address=DEAD,
            state="failed",
            last_run_at=world.now - 118,
            took_s=5.0,
            problem=NO_ANSWER,
        ),
    )
    world.put("sources", Source(id="manual", kind="manual", address="", state="idle", target_count=1))


def _target(world: World, target: _Target, session_ids: list[str]) -> Target:
    return Target(
        id=target.name,
        alias=target.alias,
        portals=[
            TargetPortal(
                address=portal.address,
                tpgt=portal.tpgt,
                reach=portal.reach,
                detail=portal.detail,
                round_trip_ms=portal.round_trip_ms,
                asks_for_chap=portal.chap,
                found_by=list(portal.found_by),
                vanished=portal.vanished,
            )
            for portal in target.portals
        ],
        found_by=sorted({source for portal in target.portals for source in portal.found_by}),
        change=target.change,
        change_note=target.note,
        first_seen_at=world.now - (95 if target.change == "new" else 40 * 86400),
        last_seen_at=world.now - (2 * 86400 if target.change == "vanished" else 95),
        login=LoginSettings(
            identity_id=target.identity, mutual_identity_id=target.mutual, favourite=target.favourite
        ),
        session_ids=session_ids,
    )


def _session(world: World, session: _Session) -> Session:
    target = world.get("targets", session.target)
    retrying = session.id == "s5"
    lost = session.id == "s3"
    begun = world.now - session.up_s
    connections = [
        Connection(
            cid=cid,
            local=f"10.20.0.77:{40_000 + 7 * cid + 311 * int(session.id[1:])}"
            if not session.portal.startswith("127")
            else f"127.0.0.1:{42_200 + cid}",
            remote=session.portal if cid == 1 or not lost else "10.21.0.12:3260",
            state="retrying" if retrying else "lost" if lost and cid == 2 else "logged_in",
            header_digest="CRC32C" if session.auth.startswith("CHAP SHA") else "None",
            connected_at=None if retrying or (lost and cid == 2) else begun,
        )
        for cid in range(1, session.connections + 1)
    ]
    return Session(
        id=session.id,
        target=session.target,
        alias=target.alias,
        portal=session.portal,
        tpgt=1,
        state="retrying" if retrying else "logged_in",
        isid=f"80:00:5a:c0:1e:{int(session.id[1:]):02x}",
        tsih=100 + int(session.id[1:]),
        auth=session.auth,
        login=target.login,
        connections=connections,
        keys=negotiated_keys(digests=session.auth.startswith("CHAP SHA"), chap=session.auth.split()[0]),
        attempt=6 if retrying else 0,
        next_retry_at=world.now + 8 if retrying else None,
        problem=Problem(
            code="unreachable",
            message="10.20.0.41:3260 gave no answer in 5.0 s.",
            side="this computer, after waiting; nothing came back from the address",
            check="Is the archive array switched on? Its switch port, its power, its address.",
        )
        if retrying
        else None,
        created_at=begun if not retrying else world.now - 5 * 86400,
        logged_in_at=None if retrying else begun,
        window_size=session.load.window,
        lun_count=len(LUNS[session.id]),
        reconnects={"s3": 2, "s5": 6}.get(session.id, 0),
        digest_errors=1 if lost else 0,
        command_errors={"s3": 4, "s4": 1}.get(session.id, 0),
    )
