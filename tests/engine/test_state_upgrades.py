"""What older releases have kept is read, with the meaning that it had."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from san_console.api.serving_objects import InitiatorAccess, LocalTarget, PortalGroup
from san_console.engine.state import STATE_NAME, open_state
from san_console.engine.state_schema import MIGRATIONS, migrate
from san_console.target.config import ANYONE
from tests.engine.running import MIB, NAME, running


class LunOfVersion1(msgspec.Struct, kw_only=True):
    """As the first release kept a LUN."""

    id: str
    name: str
    kind: str
    path: str = ""
    size_bytes: int = 0
    block_bytes: int = 512
    read_only: bool = False
    thin: bool = False
    create: bool = False
    state: str = "online"
    problem: None = None
    identity: str = ""
    serial: str = ""


class MappingOfVersion1(msgspec.Struct, kw_only=True):
    initiator: str
    lun_id: str
    lun: int
    read_only: bool = False


class TargetOfVersion1(msgspec.Struct, kw_only=True):
    """As the first release kept a target."""

    id: str
    alias: str = ""
    tpgt: int = 1
    portals: list[str] = []
    luns: list[LunOfVersion1] = []
    initiators: list[str] = []
    mappings: list[MappingOfVersion1] = []
    identity_ids: list[str] = []
    mutual_identity_id: str = ""
    enabled: bool = True
    register_with: list[str] = []
    state: str = "serving"
    problem: None = None
    registrations: list[str] = []
    lab: bool = False


def keep(folder: Path, *bodies: bytes) -> None:
    """A state of the first release with local targets in it."""
    connection = sqlite3.connect(folder / STATE_NAME, isolation_level=None)
    migrate(connection, MIGRATIONS[:1])
    for number, body in enumerate(bodies):
        connection.execute("INSERT INTO documents VALUES ('local_target', ?, ?)", (f"t{number}", body))
    connection.close()


def old_target(path: str, **more: object) -> TargetOfVersion1:
    target = TargetOfVersion1(
        id=NAME,
        alias="disks",
        tpgt=7,
        portals=["127.0.0.1:3260", "[::1]:3260"],
        luns=[
            LunOfVersion1(
                id="disk",
                name="Disk",
                kind="file",
                path=path,
                size_bytes=MIB,
                identity="naa.1",
                serial="made0from1names",
            )
        ],
        initiators=["iqn.2026-11.org.example:alice", ANYONE],
        mappings=[MappingOfVersion1(initiator=ANYONE, lun_id="disk", lun=3, read_only=True)],
        identity_ids=["i1"],
        enabled=False,
    )
    return msgspec.structs.replace(target, **more)


async def test_targets_of_the_first_release_get_one_portal_group(tmp_path: Path) -> None:
    keep(tmp_path, msgspec.json.encode(old_target("/x")))
    state = open_state(tmp_path, now=0)
    (target,) = state.load("local_target", LocalTarget)
    assert (state.note, target.alias, target.identity_ids, target.enabled) == ("", "disks", ["i1"], False)
    assert target.portal_groups == [PortalGroup(tag=7, portals=["127.0.0.1:3260", "[::1]:3260"])]
    assert target.access == [
        InitiatorAccess(subject="iqn.2026-11.org.example:alice"),
        InitiatorAccess(subject=ANYONE),
    ]
    (rule,) = target.mappings
    assert (rule.initiator, rule.lun, rule.read_only) == (ANYONE, 3, True)
    (lun,) = target.luns
    # A serial number that was only shown must not become one that the user has set.
    assert (lun.serial, lun.unit_serial, lun.path, lun.size_bytes) == ("", "made0from1names", "/x", MIB)
    await state.close()
    state = open_state(tmp_path, now=0)
    assert state.load("local_target", LocalTarget) == [target]
    await state.close()


async def test_a_reserved_tag_and_documents_that_are_none_do_no_harm(tmp_path: Path) -> None:
    strange = (b"no json", b"[]", b'{"luns": 3, "initiators": "x", "portals": []}')
    keep(tmp_path, msgspec.json.encode(old_target("/x", tpgt=0)), *strange)
    state = open_state(tmp_path, now=0)
    (target,) = state.load("local_target", LocalTarget)
    assert target.portal_groups[0].tag == 1
    assert "3 entries" in state.note
    await state.close()


async def test_an_engine_serves_what_the_first_release_has_kept(tmp_path: Path) -> None:
    backing = tmp_path / "disk.img"
    backing.write_bytes(bytes(MIB))
    old = old_target(str(backing), portals=["127.0.0.1:0"], identity_ids=[], enabled=True)
    keep(tmp_path, msgspec.json.encode(old))
    async with running(tmp_path) as host:
        await host.until(
            lambda: any(one.state == "serving" for one in host.all("local_targets", LocalTarget))
        )
        (target,) = host.all("local_targets", LocalTarget)
        assert (target.luns[0].state, target.luns[0].size_bytes) == ("online", MIB)
