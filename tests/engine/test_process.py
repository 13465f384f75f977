"""The engine as a process: start, second start, kill -9, signals, foreign folders, secrets on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import LoginSettings, Session
from san_console.api.messages import Delta, Snapshot
from san_console.api.methods import (
    AddTarget,
    Login,
    SaveIdentity,
    SaveLocalTarget,
    SetFavourite,
    SetLogin,
    StopEngine,
)
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import InitiatorAccess, LocalLun, LocalTarget, Mapping, PortalGroup
from san_console.rpc.client import EngineClient
from san_console.rpc.peer import Peer
from tests.engine.running import NAME, local_target
from tests.peers import free_port, wait_for

pytestmark = pytest.mark.e2e

CANARY = "canary-process-secret-7Qx"


class EngineProcess:
    """`python -m san_console.engine` on folders of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.data, self.runtime = folder / "data", folder / "run"
        self.socket = self.runtime / "engine.sock"
        self.environment = dict(
            os.environ, SAN_CONSOLE_DATA_DIR=str(self.data), SAN_CONSOLE_RUNTIME_DIR=str(self.runtime)
        )
        self.command = [sys.executable, "-m", "san_console.engine", "--memory-secrets", *arguments]
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command, env=self.environment, stderr=subprocess.PIPE, text=True)

    def wait_until_up(self) -> None:
        def up() -> bool:
            if self.process.poll() is not None:
                _, errors = self.process.communicate()
                raise AssertionError(f"the engine ended with {self.process.returncode}: {errors}")
            return self.socket.exists()

        wait_for(up, 20, "the engine's socket")

    def restart(self) -> None:
        self.process = self.start()
        self.wait_until_up()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextlib.contextmanager
def engine_process(folder: Path, *arguments: str) -> Iterator[EngineProcess]:
    engine = EngineProcess(folder, *arguments)
    try:
        engine.wait_until_up()
        yield engine
    finally:
        engine.end()


async def collected(client: EngineClient, collection: str, kind: type[Any]) -> dict[str, Any]:
    """One collection of a fresh snapshot."""
    await client.subscribe()
    async for message in client.messages():
        if isinstance(message, Snapshot):
            return {
                one.id: one
                for one in (msgspec.json.decode(raw, type=kind) for raw in message.collections[collection])
            }
    raise AssertionError("no snapshot came")


async def test_start_hello_subscribe_stop(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        async with await EngineClient.connect(engine.socket) as client:
            info = await client.call("engine.info")
            assert info.pid == engine.process.pid
            subscribed = await client.subscribe()
            messages = client.messages()
            snapshot = await anext(messages)
            assert isinstance(snapshot, Snapshot)
            assert snapshot.revision == subscribed.revision
            await client.call("targets.add", AddTarget(name=NAME, portals=["10.0.0.1"]))
            async with asyncio.timeout(10):
                async for message in messages:
                    if isinstance(message, Delta) and any(one.id == NAME for one in message.changes):
                        break
            await client.call("engine.stop", StopEngine())
        assert await asyncio.to_thread(engine.process.wait, 20) == 0
        assert not engine.socket.exists()
        assert "level=error" not in (engine.data / "engine.log").read_text(encoding="utf-8")


def test_folders_and_files_are_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with engine_process(tmp_path) as engine:
            for folder in (engine.data, engine.runtime):
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
                assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
            limits = Path(f"/proc/{engine.process.pid}/limits").read_text(encoding="ascii")
            (core,) = [line for line in limits.splitlines() if line.startswith("Max core")]
            assert core.split()[4:6] == ["0", "0"]
    finally:
        os.umask(old)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with engine_process(tmp_path) as engine:
        engine.process.send_signal(number)
        assert engine.process.wait(20) == 0
        assert not engine.socket.exists()


def test_a_second_engine_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        second = engine.start()
        _, errors = second.communicate(timeout=20)
        assert second.returncode == 1
        assert f"process {engine.process.pid}" in errors
        assert engine.process.poll() is None
        assert engine.socket.exists()


def test_a_second_engine_on_the_same_state_is_refused_whatever_its_runtime_folder(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        environment = engine.environment | {"SAN_CONSOLE_RUNTIME_DIR": str(tmp_path / "other")}
        second = subprocess.run(
            engine.command, env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert second.returncode == 1
        assert f"process {engine.process.pid}" in second.stderr


async def test_it_is_reachable_again_after_its_runtime_folder_was_removed(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        async with await EngineClient.connect(engine.socket) as before:
            shutil.rmtree(engine.runtime)
            await asyncio.to_thread(wait_for, engine.socket.exists, 30)
            async with await EngineClient.connect(engine.socket) as after:
                assert (await after.call("engine.info")).pid == engine.process.pid
            # Who was connected stays so.
            assert (await before.call("engine.info")).pid == engine.process.pid
        second = engine.start()
        _, errors = await asyncio.to_thread(second.communicate, timeout=20)
        assert second.returncode == 1
        assert "runs already" in errors


async def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        for turn in range(4):
            name = f"iqn.2026-11.org.example:disk-{turn}"
            async with await EngineClient.connect(engine.socket) as client:
                lun = LocalLun(id="d", name="D", kind="memory", size_bytes=1024 * 1024)
                target = LocalTarget(
                    id=name,
                    portal_groups=[PortalGroup(portals=[f"127.0.0.1:{free_port()}"])],
                    luns=[lun],
                    access=[InitiatorAccess(subject="*")],
                    mappings=[Mapping(initiator="*", lun_id="d", lun=0)],
                )
                await client.call("serving.create", SaveLocalTarget(target=target))
                engine.process.kill()
                await asyncio.to_thread(engine.process.communicate)
                with pytest.raises(ApiProblem) as caught:
                    await client.call("engine.info")
                assert caught.value.code == "disconnected"
            assert engine.socket.exists()
            await asyncio.to_thread(engine.restart)
            async with asyncio.timeout(20):
                while True:
                    try:
                        client = await EngineClient.connect(engine.socket)
                        break
                    except ApiProblem:
                        # The socket of the killed engine is still there; the new one replaces it.
                        await asyncio.sleep(0.05)
            async with client:
                kept = await collected(client, "local_targets", LocalTarget)
                assert set(kept) == {f"iqn.2026-11.org.example:disk-{number}" for number in range(turn + 1)}
                assert (await client.call("engine.info")).state_note == ""


async def test_a_favourite_is_logged_in_after_kill_9(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        async with await EngineClient.connect(engine.socket) as client:
            target = await client.call("serving.create", local_target())
            portal = target.portals[0]
            session = await client.call("sessions.login", Login(target=NAME, portal=portal))
            await client.call("sessions.set_favourite", SetFavourite(id=session.id, favourite=True))
            # Answered methods that change the state of others settle it; this one makes sure.
            await client.call("targets.add", AddTarget(name=NAME, portals=[portal]))
            await client.call("targets.set_login", SetLogin(name=NAME, login=LoginSettings(favourite=True)))
            await client.call("engine.set_initiator_name", _name("iqn.2026-11.org.example:me"))
        engine.process.kill()
        await asyncio.to_thread(engine.process.communicate)
        engine.socket.unlink()
        await asyncio.to_thread(engine.restart)
        async with await EngineClient.connect(engine.socket) as client, asyncio.timeout(20):
            while True:
                sessions = await collected(client, "sessions", Session)
                if any(one.state == "logged_in" for one in sessions.values()):
                    break
                await asyncio.sleep(0.05)


def _name(name: str) -> msgspec.Struct:
    from san_console.api.methods import SetInitiatorName

    return SetInitiatorName(name=name)


async def test_another_api_version_is_told_so(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        reader, writer = await asyncio.open_unix_connection(engine.socket)
        newer = Peer("cli", api_oldest=50, api_newest=60)
        writer.write(newer.outgoing())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert b'"code":"version"' in answer
        async with await EngineClient.connect(engine.socket) as client:
            assert await client.call("engine.info")


@pytest.mark.parametrize("spoil", ["open", "link"])
def test_a_runtime_folder_that_is_not_private_is_refused(tmp_path: Path, spoil: str) -> None:
    engine = EngineProcess.__new__(EngineProcess)
    runtime = tmp_path / "run"
    if spoil == "open":
        runtime.mkdir()
        runtime.chmod(0o755)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        runtime.symlink_to(tmp_path / "elsewhere")
    engine.__init__(tmp_path)  # type: ignore[misc]  # starts at once
    _, errors = engine.process.communicate(timeout=20)
    assert engine.process.returncode == 1
    assert "is not used" in errors
    assert "check:" in errors
    assert not (tmp_path / "elsewhere" / "engine.sock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_runtime_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, 65534, 65534)
    engine = EngineProcess(tmp_path)
    _, errors = engine.process.communicate(timeout=20)
    assert engine.process.returncode == 1
    assert "belongs to user 65534" in errors


def test_a_damaged_state_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "state.sqlite").write_bytes(b"\0garbage" * 4000)
    with engine_process(tmp_path) as engine:
        assert list(engine.data.glob("state.sqlite.damaged-*"))


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def files_of_process(pid: int) -> list[Path]:
    paths = [Path(f"/proc/{pid}/{name}") for name in ("cmdline", "environ")]
    # A process that is not dumpable shows its environment to root only.
    return [path for path in paths if os.access(path, os.R_OK)]


async def test_secrets_are_found_nowhere_on_the_disk_or_in_the_process_list(tmp_path: Path) -> None:
    with engine_process(tmp_path) as engine:
        async with await EngineClient.connect(engine.socket) as client:
            one = await client.call("identities.save", SaveIdentity(user="alice", secret=CANARY))
            two = await client.call("identities.save", SaveIdentity(user="array", secret=CANARY + "-mutual"))
            target = await client.call(
                "serving.create", local_target(identity_ids=[one.id], mutual_identity_id=two.id)
            )
            login = LoginSettings(identity_id=one.id, mutual_identity_id=two.id)
            session = await client.call(
                "sessions.login", Login(target=NAME, portal=target.portals[0], login=login)
            )
            assert "mutual" in session.auth
            wrong = LoginSettings(identity_id=two.id)
            with pytest.raises(ApiProblem):
                await client.call(
                    "sessions.login", Login(target=NAME + "x", portal=target.portals[0], login=wrong)
                )
            await client.call("targets.add", AddTarget(name=NAME, portals=target.portals))
        for path in files_of(engine.data) + files_of_process(engine.process.pid):
            assert CANARY.encode() not in path.read_bytes(), path
        engine.process.terminate()
        await asyncio.to_thread(engine.process.communicate)
        for path in engine.data.iterdir():
            assert CANARY.encode() not in path.read_bytes(), path


async def test_the_lab_comes_up_with_the_process(tmp_path: Path) -> None:
    with engine_process(tmp_path, "--lab") as engine:
        async with await EngineClient.connect(engine.socket) as client, asyncio.timeout(30):
            while True:
                jobs: dict[str, Job] = await collected(client, "jobs", Job)
                ended = [job.state for job in jobs.values() if job.kind == "lab" and job.state != "running"]
                if ended:
                    break
                await asyncio.sleep(0.05)
            assert ended == ["done"]


def test_it_starts_quickly(tmp_path: Path) -> None:
    began = time.perf_counter()
    with engine_process(tmp_path):
        took_s = time.perf_counter() - began
    print(f"from the command to the engine's socket: {took_s * 1000:.0f} ms")
    assert took_s < 10


def test_idle_it_uses_under_one_percent_of_a_core(tmp_path: Path) -> None:
    def used_ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with engine_process(tmp_path) as engine:
        log = engine.data / "engine.log"
        wait_for(lambda: log.exists() and "runs." in log.read_text(encoding="utf-8"), 10)
        pid = engine.process.pid
        # The import of netlink in its thread is over when nothing is used for a while.
        last = -1

        def quiet() -> bool:
            nonlocal last
            before, last = last, used_ticks(pid)
            time.sleep(0.3)
            return before == last

        wait_for(quiet, 30, "the end of the start")
        before, began = used_ticks(pid), time.monotonic()
        wait_for(lambda: time.monotonic() - began > 4)
        share = (used_ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
    print(f"idle engine: {share * 100:.2f} % of a core")
    assert share < 0.01
