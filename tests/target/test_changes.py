"""Changes of a target that is served: LUNs changed in place, limits for new sessions, identities."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.negotiation import Offer
from san_console.iscsi.pdu import Pdu, ScsiResponse
from san_console.names.credentials import ChapCredentials, Secret
from san_console.scsi import cdb
from san_console.scsi.sense import parse as parse_sense
from san_console.target.changes import same_medium
from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    InitiatorAccess,
    InitiatorGroup,
    LunConfig,
    TargetLimits,
)
from san_console.target.errors import ConfigError
from tests.target.raw_initiator import ISID, ME, NAME, RawInitiator, Served, config, mapping, settings

ALICE = ChapCredentials("alice", Secret("opensesame-1234"))
BOB = ChapCredentials("bob", Secret("bobs-own-secret-77"))
CAROL = ChapCredentials("carol", Secret("carols-secret-88"))
OURS = ChapCredentials("target", Secret("secret-of-target-1"))
YOU = "iqn.2026-11.org.example:you"

FILE = LunConfig("a", "a", BackstoreSpec("file", "/a", 1 << 20))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"size_bytes": 2 << 20}, True),
        ({"size_bytes": 0}, True),
        ({"create": True}, True),
        ({"size_bytes": 1 << 19}, False),
        ({"path": "/b"}, False),
        ({"read_only": True}, False),
        ({"block_bytes": 4096}, False),
        ({"thin": True}, False),
    ],
)
def test_what_has_to_be_opened_anew(changes: dict[str, object], same: bool) -> None:
    after = replace(FILE, backstore=replace(FILE.backstore, **changes))  # type: ignore[arg-type]
    assert same_medium(FILE, after) is same


def sense_of(answer: tuple[Pdu, bytes]) -> tuple[int, int, int]:
    pdu, data = answer
    assert isinstance(pdu, ScsiResponse)
    sense = parse_sense(data[2:])
    return sense.key, sense.asc, sense.ascq


async def attentions(raw: RawInitiator) -> list[tuple[int, int]]:
    """The unit attentions of LUN 0, until it is ready."""
    found: list[tuple[int, int]] = []
    while True:
        raw.command(cdb.test_unit_ready())
        pdu, data = await raw.receive()
        assert isinstance(pdu, ScsiResponse)
        if pdu.status == 0:
            return found
        key, asc, ascq = sense_of((pdu, data))
        assert key == 6
        found.append((asc, ascq))


async def test_a_lun_is_changed_in_place(tmp_path: Path) -> None:
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    lun = LunConfig("a", "a", spec)
    async with Served(config(luns=[lun])) as served:
        raw = await served.login()
        await attentions(raw)
        raw.command(cdb.write(0, 1), data=b"k" * 512)
        await raw.receive()
        unit = served.server.unit(NAME, "a")
        # Only the name that the operator gave it: nobody is told.
        lun = replace(lun, name="renamed")
        assert await served.server.update(config(luns=[lun])) == []
        assert await attentions(raw) == []
        # Grown.
        lun = replace(lun, backstore=replace(spec, size_bytes=2 << 20))
        assert await served.server.update(config(luns=[lun])) == ["LUN renamed was grown to 2097152 bytes."]
        assert await attentions(raw) == [(0x2A, 0x09)]
        assert unit.blocks == 4096
        # What it says of itself.
        lun = replace(lun, product="OTHER", serial="S1", rotation_rate=7200)
        assert await served.server.update(config(luns=[lun])) == [
            "What LUN renamed says of itself was changed."
        ]
        assert await attentions(raw) == [(0x3F, 0x03)]
        assert served.server.unit_identity(NAME, "a")[1] == "S1"
        # Offline and online, with its mapping.
        assert await served.server.update(config(luns=[replace(lun, online=False)])) == [
            "LUN renamed is offline."
        ]
        raw.command(cdb.test_unit_ready())
        assert sense_of(await raw.receive())[0] == 2
        assert served.server.sessions()[0].luns == [0]
        assert await served.server.update(config(luns=[lun])) == ["LUN renamed was brought online."]
        await attentions(raw)
        # The write cache.
        said = await served.server.update(config(luns=[replace(lun, write_cache=False)]))
        assert said == ["The write cache of LUN renamed is off."]
        await attentions(raw)
        assert await raw.read_block() == b"k" * 512
        assert served.server.unit(NAME, "a") is unit
        await raw.close()


async def test_what_cannot_be_grown_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    lun = LunConfig("a", "a", spec)
    async with Served(config(luns=[lun])) as served:
        said = await served.server.update(config(luns=[replace(lun, online=False)]))
        assert said == ["LUN a is offline."]
        larger = replace(lun, online=False, backstore=replace(spec, size_bytes=2 << 20))
        said = await served.server.update(config(luns=[larger]))
        assert len(said) == 1
        assert "offline" in said[0]


async def test_limits_hold_for_new_sessions() -> None:
    async with Served() as served:
        wanted = Offer(max_connections=8, error_recovery_level=2, max_burst_bytes=1 << 20)
        old = await served.login(offer=wanted)
        limits = TargetLimits(
            max_connections=2,
            error_recovery_level=1,
            max_burst_bytes=65536,
            first_burst_bytes=32768,
            command_window=7,
            max_sessions=2,
            max_recv_data_segment_bytes=16384,
        )
        assert await served.server.update(config(limits=limits)) == []
        raw = await served.raw()
        login = await raw.login(settings(offer=wanted, isid=bytes(6)))
        assert login.result is not None
        params = login.result.params
        assert (params.max_connections, params.error_recovery_level) == (2, 1)
        assert (params.max_burst_bytes, params.first_burst_bytes) == (65536, 32768)
        assert params.peer_max_recv_data_segment_bytes == 16384
        assert login.result.max_cmd_sn == login.result.cmd_sn + 6
        first, second = served.server.sessions()
        assert (first.max_connections, first.error_recovery_level) == (8, 2)
        assert (second.max_connections, second.error_recovery_level) == (2, 1)
        third = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await third.login(settings(isid=bytes([1] * 6)))
        assert (error.value.status_class, error.value.status_detail) == (3, 2)
        for one in (old, raw, third):
            await one.close()


async def outcome(served: Served, **changes: object) -> tuple[int, int] | str:
    raw = await served.raw()
    try:
        login = await raw.login(settings(**changes))
    except LoginFailed as error:
        return error.status_class, error.status_detail
    finally:
        await raw.close()
    assert login.result is not None
    return login.result.auth


async def test_each_initiator_has_its_own_identities() -> None:
    """The exact name's own identity goes before that of its group; others have the target's."""
    rules = [
        InitiatorAccess(ME, ChapConfig([ALICE], OURS)),
        InitiatorAccess("group:all", ChapConfig([BOB])),
    ]
    one = config(
        anyone=False,
        mappings=[mapping(ME, 0), mapping(YOU, 0), mapping(f"{YOU}.2", 0)],
        initiators=rules,
        initiator_groups=[InitiatorGroup("all", [ME, YOU])],
        chap=ChapConfig([CAROL]),
    )
    async with Served(one) as served:
        assert "mutual" in await outcome(served, chap=ALICE, mutual_chap=OURS)
        assert await outcome(served, chap=BOB) == (2, 1)
        assert await outcome(served) == (2, 1)
        you: dict[str, object] = {"initiator_name": YOU}
        assert "CHAP" in await outcome(served, chap=BOB, **you)
        assert await outcome(served, chap=ALICE, **you) == (2, 1)
        other: dict[str, object] = {"initiator_name": f"{YOU}.2"}
        assert "CHAP" in await outcome(served, chap=CAROL, **other)
        assert await outcome(served, chap=BOB, **other) == (2, 1)
        assert served.server.effective_access(NAME, YOU).chap_users == ["bob"]
        # Changed while it is served; who is logged in goes on.
        raw = await served.login(chap=ALICE, isid=ISID)
        await served.server.update(replace(one, initiators=[InitiatorAccess(ME, ChapConfig([CAROL]))]))
        await raw.ping()
        assert await outcome(served, chap=ALICE, isid=bytes(6)) == (2, 1)
        assert "CHAP" in await outcome(served, chap=CAROL, isid=bytes(6))
        await raw.close()


async def test_the_identities_of_discovery_are_changed_while_it_is_served() -> None:
    async with Served() as served:
        assert await outcome(served, target_name=None) == "None"
        await served.server.set_discovery_chap(ChapConfig([ALICE, BOB], OURS))
        assert await outcome(served, target_name=None) == (2, 1)
        assert "mutual" in await outcome(served, target_name=None, chap=BOB, mutual_chap=OURS)
        assert await outcome(served) == "None"  # the target has its own
        await served.server.set_discovery_chap(None)
        assert await outcome(served, target_name=None) == "None"


async def test_two_changes_at_once_come_one_after_the_other() -> None:
    luns = [LunConfig(name, name, BackstoreSpec("memory", size_bytes=1 << 20)) for name in "abcd"]
    async with Served(config(luns=luns[:1])) as served:
        await asyncio.gather(*(served.server.update(config(luns=luns[:n])) for n in (2, 3, 4, 1, 2)))
        assert [lun.id for lun in served.server.targets()[0].luns] == ["a", "b"]
        twice = await asyncio.gather(
            *(served.server.add(config(name=YOU)) for _ in range(2)), return_exceptions=True
        )
        assert sorted(map(type, twice), key=str) == [type(None), ConfigError]
        assert not served.server._changing
