"""Logins, sessions, masking and changes of the target server, over real sockets."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.errors import LoginFailed, RemoteProtocolError
from san_console.iscsi.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    ScsiDataIn,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
)
from san_console.iscsi.target_task import ABORTED
from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.scsi import cdb
from san_console.scsi.luns import parse as parse_luns
from san_console.scsi.sense import parse as parse_sense
from san_console.target import server as server_module
from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    LunConfig,
    PortalGroup,
    TargetConfig,
    TargetLimits,
)
from san_console.target.errors import BackstoreError, ConfigError, PortalError, TargetBusy, UnknownTarget
from san_console.target.session import ServedSession
from tests.target.raw_initiator import (
    ISID,
    ME,
    NAME,
    RawInitiator,
    Served,
    config,
    mapping,
    only,
    settings,
    until,
)
from tests.target.slow_medium import SlowWrites

ALICE = ChapCredentials("alice", Secret("opensesame-1234"))
BOB = ChapCredentials("bob", Secret("bobs-own-secret-77"))
OURS = ChapCredentials("target", Secret("secret-of-target-1"))


def sense_of(pdu: object, data: bytes) -> tuple[int, int, int]:
    assert isinstance(pdu, ScsiResponse)
    sense = parse_sense(data[2:])
    return sense.key, sense.asc, sense.ascq


async def refused(served: Served, **changes: object) -> LoginFailed:
    raw = await served.raw()
    with pytest.raises(LoginFailed) as error:
        await raw.login(settings(**changes))
    assert await raw.closed() == b""
    await raw.close()
    return error.value


async def test_a_session_from_login_to_logout() -> None:
    async with Served() as served:
        raw = await served.login()
        raw.command(cdb.test_unit_ready())
        assert sense_of(*await raw.receive()) == (6, 0x29, 0x00)
        raw.command(cdb.write(3, 1), data=b"w" * 512)
        await raw.receive()
        assert await raw.read_block(3) == b"w" * 512
        [info] = served.server.sessions()
        assert (info.target, info.initiator, info.isid, info.luns) == (NAME, ME, ISID, [0])
        assert (info.auth, info.discovery, info.connections) == ("None", False, 1)
        assert (info.counters.reads, info.counters.write_bytes) == (1, 512)
        assert info.keys
        raw.send(LogoutRequest(itt=9, cmd_sn=raw.cmd_sn).pack())
        pdu, _ = await raw.receive()
        assert isinstance(pdu, LogoutResponse)
        assert await raw.closed() == b""
        await until(lambda: not served.server.sessions())
        assert served.kinds() == ["target_added", "target_login", "target_logout"]
        await raw.close()


async def test_chap_identities_and_who_proved_what() -> None:
    chap = ChapConfig([ALICE, BOB], OURS)
    async with Served(config(chap=chap)) as served:
        raw = await served.login(chap=BOB, mutual_chap=OURS)
        assert "mutual" in served.server.sessions()[0].auth
        assert (await refused(served)).status_detail == 1
        wrong = ChapCredentials("alice", Secret("opensesame-12345"))
        assert (await refused(served, chap=wrong, isid=bytes(6))).status_detail == 1
        await raw.ping()
        failed = [event for event in served.events if event.kind == "target_login_failed"]
        assert len(failed) == 2
        assert all("sesame" not in str(event) for event in failed)
        await raw.close()


async def test_an_initiator_without_the_secret_cannot_end_a_session() -> None:
    async with Served(config(chap=ChapConfig([ALICE, BOB]))) as served:
        victim = await served.login(chap=ALICE)
        wrong = ChapCredentials("alice", Secret("opensesame-12345"))
        await refused(served, chap=wrong)
        await refused(served)
        # Nor can one that has a secret, but another identity (RFC 7143 §9.2).
        assert (await refused(served, chap=BOB)).status_detail == 2
        await victim.ping()
        # The same identity reinstates it.
        again = await served.login(chap=ALICE)
        assert await victim.closed() == b""
        again.command(cdb.test_unit_ready())
        assert sense_of(*await again.receive()) == (6, 0x29, 0x07)
        assert len(served.server.sessions()) == 1
        await victim.close()
        await again.close()


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"target_name": "iqn.2026-11.org.example:no"}, 3),
        ({"tsih": 77}, 0x0A),
        ({"initiator_name": "iqn.2026-11.org.example:you"}, 2),
    ],
)
async def test_logins_that_are_refused(changes: dict[str, object], detail: int) -> None:
    async with Served(config(anyone=False, mappings=[mapping(ME, 0)])) as served:
        error = await refused(served, **changes)
        assert (error.status_class, error.status_detail) == (2, detail)
        assert served.kinds()[-1] == "target_login_failed"


async def test_a_second_connection_and_the_reinstatement_of_the_first() -> None:
    async with Served() as served:
        raw = await served.login()
        tsih = served.server.sessions()[0].tsih
        assert (await refused(served, tsih=tsih, cid=5)).status_detail == 6
        await raw.ping()
        again = await served.login(tsih=tsih)
        assert await raw.closed() == b""
        assert [info.tsih for info in served.server.sessions()] == [tsih]
        await again.ping()
        await raw.close()
        await again.close()


async def test_the_session_limit() -> None:
    async with Served(config(limits=TargetLimits(max_sessions=1))) as served:
        raw = await served.login()
        error = await refused(served, isid=bytes(6))
        assert (error.status_class, error.status_detail) == (3, 2)
        await raw.ping()
        await raw.close()


async def test_masking_by_number_and_access() -> None:
    luns = [LunConfig(name, name, BackstoreSpec("memory", size_bytes=1 << 20)) for name in "ab"]
    rules = [mapping(ME, 5, lun_id="a", read_only=True), mapping("iqn.2026-11.org.example:*", 0, lun_id="b")]
    async with Served(config(luns=luns, mappings=rules, anyone=False)) as served:
        raw = await served.login()
        raw.command(cdb.report_luns(256), read=256)
        _, data = await raw.receive()
        assert parse_luns(data).luns == [0, 5]
        await raw.ready(5)
        raw.command(cdb.write(0, 1), data=bytes(512), lun=5)
        assert sense_of(*await raw.receive()) == (7, 0x27, 0)
        assert await raw.read_block(0, 5) == bytes(512)
        raw.command(cdb.test_unit_ready(), lun=1)
        assert sense_of(*await raw.receive()) == (5, 0x25, 0)
        raw.command(cdb.inquiry(None, 96), read=96, lun=1)
        pdu, data = await raw.receive()
        assert isinstance(pdu, ScsiDataIn)
        assert data[0] == 0x7F
        access = served.server.effective_access(NAME, ME)
        assert [one[:3] for one in access.luns] == [(0, "b", False), (5, "a", True)]
        assert not served.server.effective_access(NAME, "iqn.1999-01.com.other:x").allowed
        with pytest.raises(ConfigError):
            served.server.effective_access(NAME, "nobody")
        await raw.close()


async def test_send_targets_lists_what_the_asker_may_log_in_to() -> None:
    other = TargetConfig(
        "iqn.2026-11.org.example:secret",
        [PortalGroup(7, [Portal("127.0.0.1", 0), Portal("::1", 0)])],
        mappings=[],
        luns=[],
    )
    async with Served(config(), other) as served:
        raw = await served.login(target_name=None)
        everything = await raw.send_targets("All")
        assert everything == f"TargetName={NAME}\0TargetAddress=127.0.0.1:{served.port},1\0".encode()
        assert await raw.send_targets(NAME) == everything
        assert await raw.send_targets(other.name) == b""
        assert await raw.send_targets("") == b"SendTargets=Reject\0"
        [info] = served.server.sessions()
        assert info.discovery
        await served.server.update(TargetConfig(other.name, other.groups, anyone=True))
        assert b"TargetAddress=[::1]:" in await raw.send_targets("All")
        await raw.close()
        raw = await served.login()
        assert await raw.send_targets("") == everything
        assert await raw.send_targets("All") == b"SendTargets=Reject\0"
        await raw.close()


async def test_discovery_can_ask_for_chap() -> None:
    async with Served(discovery_chap=ChapConfig([ALICE])) as served:
        assert (await refused(served, target_name=None)).status_detail == 1
        raw = await served.login(target_name=None, chap=ALICE)
        assert NAME.encode() in await raw.send_targets("All")
        await raw.close()


async def test_any_address_is_told_as_the_one_that_was_used() -> None:
    async with Served(config(portals=[Portal("0.0.0.0", 0), Portal("::", 0)])) as served:
        raw = await served.login(target_name=None)
        assert await raw.send_targets("All") == (
            f"TargetName={NAME}\0TargetAddress=127.0.0.1:{served.port},1\0".encode()
        )
        await raw.close()


async def test_what_cannot_be_served_changes_nothing(tmp_path: Path) -> None:
    async with Served() as served:
        taken = Portal("127.0.0.1", served.port)
        with pytest.raises(ConfigError):
            await served.server.add(config())
        with pytest.raises(PortalError) as error:
            await served.server.add(
                config(
                    name="iqn.2026-11.org.example:b", portals=[Portal("127.0.0.1", 0), Portal("192.0.2.1", 0)]
                )
            )
        assert "no address of this machine" in error.value.cause
        with pytest.raises(PortalError):
            await served.server.add(
                config(name="iqn.2026-11.org.example:b", portals=[Portal("nowhere.invalid", 0)])
            )
        missing = LunConfig("x", "x", BackstoreSpec("file", str(tmp_path / "missing")))
        good = LunConfig("y", "y", BackstoreSpec("memory", size_bytes=4096))
        with pytest.raises(BackstoreError):
            await served.server.add(
                config(name="iqn.2026-11.org.example:b", portals=[taken], luns=[good, missing])
            )
        assert [target.name for target in served.server.targets()] == [NAME]
        assert len(served.server.bound_portals()) == 1
        raw = await served.login()
        with pytest.raises(BackstoreError):
            await served.server.update(
                config(luns=[good, missing], portals=[Portal("127.0.0.1", 0), Portal("::1", 0)])
            )
        assert len(served.server.bound_portals()) == 1
        await raw.ready()
        await raw.close()


async def test_luns_come_and_go_while_a_session_is_at_work(tmp_path: Path) -> None:
    first = LunConfig("a", "a", BackstoreSpec("memory", size_bytes=1 << 20))
    path = tmp_path / "disk"
    second = LunConfig("b", "b", BackstoreSpec("file", str(path), size_bytes=1 << 20, create=True))
    async with Served(config(luns=[first])) as served:
        raw = await served.login()
        await raw.ready()
        said = await served.server.update(config(luns=[first, second]))
        assert said == ["LUN b was opened."]
        raw.command(cdb.test_unit_ready())
        assert sense_of(*await raw.receive()) == (6, 0x3F, 0x0E)
        assert served.server.sessions()[0].luns == [0, 1]
        await raw.ready(1)
        await raw.ready(1)
        raw.command(cdb.write(0, 1), data=b"k" * 512, lun=1)
        await raw.receive()
        # The same file, now read-only: let go of and opened again.
        changed = LunConfig("b", "b", BackstoreSpec("file", str(path), read_only=True))
        said = await served.server.update(config(luns=[first, changed]))
        assert said == ["LUN b was closed.", "LUN b was opened."]
        await raw.ready(1)
        await raw.ready(1)
        assert await raw.read_block(0, 1) == b"k" * 512
        path.unlink()
        said = await served.server.update(
            config(luns=[first, second.__class__("b", "b", BackstoreSpec("file", str(path)))])
        )
        assert "could not be opened again" in said[-1]
        assert served.server.sessions()[0].luns == [0]
        await raw.close()


async def test_an_initiator_that_may_no_longer_log_in_is_ended() -> None:
    async with Served() as served:
        raw = await served.login()
        said = await served.server.update(
            config(anyone=False, mappings=[mapping("iqn.2026-11.org.example:you", 0)])
        )
        assert said == [f"The session of {ME} was ended."]
        assert await raw.closed() == b""
        assert served.kinds()[-2:] == ["session_closed", "target_changed"]
        await raw.close()


async def test_removing_a_target_with_sessions_needs_force() -> None:
    async with Served() as served:
        raw = await served.login()
        with pytest.raises(TargetBusy):
            await served.server.remove(NAME)
        removal = asyncio.create_task(served.server.remove(NAME, force=True))
        pdu, _ = await raw.receive()
        assert isinstance(pdu, AsyncMessage)
        assert pdu.async_event == o.ASYNC_LOGOUT_REQUEST
        raw.send(LogoutRequest(itt=9, cmd_sn=raw.cmd_sn).pack())
        await removal
        assert served.server.targets() == []
        assert served.server.bound_portals() == []
        with pytest.raises(UnknownTarget):
            await served.server.remove(NAME)
        await raw.close()


async def test_a_session_can_be_disconnected() -> None:
    async with Served() as served:
        raw = await served.login()
        await served.server.disconnect(served.server.sessions()[0].id)
        assert served.server.sessions() == []
        with pytest.raises(UnknownTarget):
            await served.server.disconnect("t1")
        await raw.close()


async def test_identity_is_stable_and_its_own() -> None:
    async with Served() as served:
        first = served.server.unit_identity(NAME, "a")
    async with Served(
        config(luns=[LunConfig(n, n, BackstoreSpec("null", size_bytes=4096)) for n in "ab"])
    ) as served:
        assert served.server.unit_identity(NAME, "a") == first
        assert served.server.unit_identity(NAME, "b") != first
        assert served.server.backstore_failure(NAME, "a") == ""


async def test_digests_over_the_wire() -> None:
    from san_console.iscsi.negotiation import Offer

    async with Served() as served:
        raw = await served.login(offer=Offer(header_digest=("CRC32C",), data_digest=("CRC32C",)))
        await raw.ready()
        raw.command(cdb.write(1, 1), data=b"d" * 512)
        await raw.receive()
        assert await raw.read_block(1) == b"d" * 512
        await raw.close()


async def test_a_silent_initiator_is_given_up() -> None:
    limits = TargetLimits(nop_in_interval_s=0.2, nop_in_timeout_s=0.2)
    async with Served(config(limits=limits)) as served:
        raw = await served.login()
        await until(lambda: "session_lost" in served.kinds())
        assert "NOP-In" in served.events[-1].cause
        await raw.close()


async def test_a_reset_of_the_unit_reaches_other_sessions() -> None:
    async with Served() as served:
        mine, other = await served.login(), await served.login(isid=bytes(6))
        await mine.ready()
        await other.ready()
        tag = other.command(cdb.write(0, 8), write=4096)
        await other.receive()  # the R2T
        for function, sense in (
            (o.TMF_CLEAR_TASK_SET, (6, 0x2F, 0)),
            (o.TMF_LOGICAL_UNIT_RESET, (6, 0x29, 3)),
            (o.TMF_TARGET_WARM_RESET, (6, 0x29, 3)),
            (o.TMF_ABORT_TASK_SET, None),
        ):
            request = TaskManagementRequest(function=function, itt=7, cmd_sn=mine.cmd_sn)
            mine.send(request.pack())
            pdu, _ = await mine.receive()
            assert isinstance(pdu, TaskManagementResponse)
            assert pdu.response == 0
            other.command(cdb.test_unit_ready())
            pdu, data = await other.receive()
            assert isinstance(pdu, ScsiResponse)
            assert (sense_of(pdu, data) if sense else pdu.status) == (sense or 0)
        session = served.server._table.find((ME, bytes(6), NAME, "1"))
        assert session is not None
        # It may linger, for data that is on its way; nothing comes of it.
        assert all(task.itt != tag or task.state == ABORTED for task in session.protocol.tasks.values())
        await mine.close()
        await other.close()


async def test_a_slow_reader_gets_everything_in_the_end() -> None:
    luns = [LunConfig("a", "a", BackstoreSpec("memory", size_bytes=8 << 20))]
    async with Served(config(luns=luns)) as served:
        raw = await served.login()
        await raw.ready()
        pattern = [bytes([n]) * (1 << 20) for n in range(8)]
        for n, data in enumerate(pattern):
            raw.command(cdb.write(n * 2048, 512), data=data[: 512 * 512])
            await raw.receive()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            for n in range(8):
                raw.command(cdb.read(n * 2048, 512), read=512 * 512)
        [session] = served.server._table
        await until(lambda: only(session).pump._writing)
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            for n in range(8):
                got = b""
                while len(got) < 512 * 512:
                    pdu, data = await raw.receive()
                    assert isinstance(pdu, ScsiDataIn)
                    got += data
                assert got == pattern[n][: 512 * 512]
        await raw.close()


async def test_blocks_that_are_not_cached_come_from_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(range(256)) * 8192)
    luns = [LunConfig("a", "a", BackstoreSpec("file", str(path)))]
    async with Served(config(luns=luns)) as served:
        raw = await served.login()
        await raw.ready()
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            tags = [raw.command(cdb.read(lba, 8), read=4096) for lba in range(0, 4096, 128)]
            found = {}
            for _ in tags:
                pdu, data = await raw.receive()
                assert isinstance(pdu, ScsiDataIn)
                found[pdu.itt] = data
        assert all(found[tag] == bytes(range(256)) * 16 for tag in tags)
        await raw.close()


@pytest.mark.parametrize("isid", [ISID, bytes.fromhex("80ffffffffff")], ids=["same port", "restarted"])
async def test_no_login_before_the_last_write_of_a_session_whose_connection_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isid: bytes
) -> None:
    """The write is with the medium when the connection breaks: it must not land in the next session."""
    slow, waits = SlowWrites(monkeypatch), asyncio.Event()
    quiet = ServedSession.quiet

    async def seen(self: ServedSession) -> None:
        waits.set()
        await quiet(self)

    monkeypatch.setattr(ServedSession, "quiet", seen)
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    async with Served(config(luns=[LunConfig("a", "a", spec)])) as served:
        raw = await served.login()
        await raw.ready()
        block = b"\x11" * 512
        raw.command(cdb.write(0, 1, fua=True), data=block)
        await slow.begun.wait()
        raw.writer.transport.abort()
        await until(lambda: not served.server.sessions())

        async def log_in() -> RawInitiator:
            again = await served.login(isid=isid)
            slow.order.append("login")
            return again

        login = asyncio.create_task(log_in())
        await until(lambda: waits.is_set() or login.done())
        slow.go_on.set()
        again = await login
        assert slow.order == ["write", "login"]
        await again.ready()
        assert await again.read_block() == block
        await again.close()


async def test_storage_that_hangs_keeps_the_initiator_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowWrites(monkeypatch)
    monkeypatch.setattr("san_console.target.ending.QUIET_TIMEOUT_S", 0.05)
    spec = BackstoreSpec("file", str(tmp_path / "disk"), 1 << 20, create=True)
    async with Served(config(luns=[LunConfig("a", "a", spec)])) as served:
        raw = await served.login()
        await raw.ready()
        raw.command(cdb.write(0, 1, fua=True), data=bytes(512))
        await slow.begun.wait()
        refused_one = await served.raw()
        with pytest.raises(LoginFailed) as error:
            await refused_one.login(settings())
        assert (error.value.status_class, error.value.status_detail) == (3, 1)
        await refused_one.close()
        assert "backstore_error" in served.kinds()
        slow.go_on.set()
        await (await served.login()).close()
        await raw.close()


async def test_the_login_promises_no_more_commands_than_the_session_takes() -> None:
    """What is beyond the window is ignored: an initiator that was promised more would wait for ever."""
    async with Served(config(limits=TargetLimits(command_window=4))) as served:
        raw = await served.raw()
        login = await raw.login(settings())
        assert login.result is not None
        assert login.result.max_cmd_sn == next(iter(served.server._table)).protocol.max_cmd_sn
        assert login.result.max_cmd_sn == login.result.cmd_sn + 3
        await raw.close()


@pytest.mark.parametrize("fault", [RemoteProtocolError("a key twice"), ValueError("ours")])
async def test_a_fault_with_one_session_ends_that_one_alone(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr(server_module, "TICK_S", 0.02)
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    async with Served() as served:
        one, two = await served.login(), await served.login(isid=bytes(6))
        first, second = served.server._table
        ticks = 0

        def broken(_: float) -> None:
            raise fault

        def counted(_: float) -> None:
            nonlocal ticks
            ticks += 1

        monkeypatch.setattr(second, "tick", counted)
        monkeypatch.setattr(first, "tick", broken)
        assert await one.closed() == b""
        before = ticks
        await until(lambda: ticks > before + 2)
        await two.ping()
        await one.close()
        await two.close()
    assert heard == ([fault] if isinstance(fault, ValueError) else [])
