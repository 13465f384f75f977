"""The real socket: both asyncio ends, and clients that mean no good."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from san_console.api.engine_objects import Keyring
from san_console.api.messages import API_VERSION, MAX_FRAME_BYTES, Change, Delta, Snapshot, Statistics
from san_console.api.methods import ById, Nothing, Subscribed
from san_console.api.problems import ApiProblem
from san_console.rpc import server as server_module
from san_console.rpc.client import EngineClient
from san_console.rpc.credentials import peer_uid
from san_console.rpc.dispatch import Handler, Then
from san_console.rpc.peer import MAX_OPEN_CALLS
from san_console.rpc.server import ClientConnection, RpcServer


class Service:
    """Answers a few methods, in ways that are of interest here."""

    def __init__(self) -> None:
        self.clients: list[ClientConnection] = []
        self.cancelled = 0
        self.release = asyncio.Event()

    def open_client(self, connection: ClientConnection) -> Handler:
        self.clients.append(connection)

        async def handle(method: str, params: Any) -> Any:
            if method == "keyring.check":
                return Keyring(state="locked", backend="test")
            if method == "subscribe":

                def after() -> None:
                    connection.send(Snapshot(revision=4, collections={}))
                    connection.send(Statistics(samples=[]))

                return Then(Subscribed(revision=4), after)
            if method == "engine.info":
                raise ZeroDivisionError("a fault with a canary in it")
            if method == "jobs.cancel":
                raise ApiProblem("unknown-object", f"no job {params.id}", side="engine")
            if method == "luns.read":
                return b"x" * (MAX_FRAME_BYTES + 1)
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return None

        return handle


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path


@asynccontextmanager
async def serving(
    run_dir: Path, *, uid_of: Callable[[socket.socket], int] | None = None, hello_timeout_s: float = 10.0
) -> AsyncIterator[tuple[Service, Path]]:
    service = Service()
    path = run_dir / "engine.sock"
    server = RpcServer(path, service.open_client, uid_of=uid_of or peer_uid, hello_timeout_s=hello_timeout_s)
    await server.start()
    try:
        yield service, path
    finally:
        service.release.set()
        await server.close()
        assert not path.exists()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the conditions are states of sockets, which set no event
            await asyncio.sleep(0.005)


async def raw_connection(
    path: Path, *, hello: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    if hello:
        writer.write(
            frame(
                {"type": "hello", "api_oldest": 1, "api_newest": API_VERSION, "version": "t", "role": "cli"}
            )
        )
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        await reader.readexactly(size)
    return reader, writer


def frame(value: object) -> bytes:
    body = json.dumps(value).encode()
    return struct.pack(">I", len(body)) + body


async def test_calls_are_answered_and_problems_cross(run_dir: Path) -> None:
    async with serving(run_dir) as (_, path), await EngineClient.connect(path) as client:
        assert await client.call("keyring.check") == Keyring(state="locked", backend="test")
        with pytest.raises(ApiProblem) as caught:
            await client.call("jobs.cancel", ById(id="77"))
        assert caught.value.problem.message == "no job 77"
        assert caught.value.problem.side == "engine"
        assert client.engine_version


async def test_a_fault_of_a_handler_is_internal_and_tells_nothing(
    run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(run_dir) as (_, path), await EngineClient.connect(path) as client:
        with pytest.raises(ApiProblem) as caught:
            await client.call("engine.info")
        assert caught.value.code == "internal"
        assert "canary" not in str(caught.value.problem)
        assert await client.call("keyring.check")
    assert "ZeroDivisionError" in caplog.text


async def test_a_result_over_the_limit_is_a_problem_of_that_call_only(run_dir: Path) -> None:
    async with serving(run_dir) as (_, path), await EngineClient.connect(path) as client:
        from san_console.api.methods import ReadLun

        with pytest.raises(ApiProblem) as caught:
            await client.call("luns.read", ReadLun(id="x", offset_bytes=0, length_bytes=1))
        assert caught.value.code == "too-large"
        assert await client.call("keyring.check")


async def test_the_snapshot_comes_after_the_result(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path), await EngineClient.connect(path) as client:
        assert (await client.subscribe()).revision == 4
        messages = client.messages()
        first = await anext(messages)
        assert isinstance(first, Snapshot)
        assert isinstance(await anext(messages), Statistics)
        service.clients[0].send(Delta(revision=5, changes=[Change(collection="jobs", id="1")]))
        delta = await anext(messages)
        assert isinstance(delta, Delta)
        assert delta.changes[0].value is None


async def test_a_cancelled_call_is_cancelled_in_the_engine(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path), await EngineClient.connect(path) as client:
        task = asyncio.create_task(client.call("lab.stop"))
        await until(lambda: bool(service.clients) and len(client._calls) == 1)
        await client.call("keyring.check")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: service.cancelled == 1)
        await until(lambda: len(client._calls) == 0)


async def test_the_calls_of_a_client_that_went_away_are_cancelled(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path):
        reader, writer = await raw_connection(path)
        writer.write(frame({"type": "call", "id": 1, "method": "lab.stop"}))
        writer.write(frame({"type": "call", "id": 2, "method": "keyring.check"}))
        await reader.readexactly(4)
        writer.close()
        await until(lambda: service.cancelled == 1)


async def test_when_the_engine_ends_open_calls_fail(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path):
        client = await EngineClient.connect(path)
        task = asyncio.create_task(client.call("lab.stop"))
        await client.call("keyring.check")
        service.clients[0].abort()
        with pytest.raises(ApiProblem) as caught:
            await task
        assert caught.value.code == "disconnected"
        with pytest.raises(ApiProblem):
            await client.call("keyring.check")
        with pytest.raises(ApiProblem):
            await anext(client.messages())
        await client.close()


async def test_more_than_64_open_calls_are_refused(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path):
        reader, writer = await raw_connection(path)
        for n in range(1, MAX_OPEN_CALLS + 2):
            writer.write(frame({"type": "call", "id": n, "method": "lab.stop"}))
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        answer = json.loads(await reader.readexactly(size))
        assert (answer["id"], answer["problem"]["code"]) == (MAX_OPEN_CALLS + 1, "too-large")
        service.release.set()
        writer.close()


async def test_one_number_for_two_open_calls_ends_the_connection(run_dir: Path) -> None:
    async with serving(run_dir) as (_, path):
        reader, writer = await raw_connection(path)
        writer.write(frame({"type": "call", "id": 1, "method": "lab.stop"}) * 2)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ({"method": "no.such"}, "unknown-method"),
        ({"method": "jobs.cancel", "params": {}}, "bad-request"),
        ({"method": "jobs.cancel", "params": {"id": 5}}, "bad-request"),
        ({"method": "jobs.cancel", "params": None}, "bad-request"),
        ({"method": "identities.save", "params": {"user": "u", "secret": ["canary"]}}, "bad-request"),
    ],
)
async def test_bad_calls_are_answered_by_code(run_dir: Path, call: dict[str, object], code: str) -> None:
    async with serving(run_dir) as (_, path):
        reader, writer = await raw_connection(path)
        writer.write(frame({"type": "call", "id": 1, **call}))
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        answer = json.loads(await reader.readexactly(size))
        assert answer["problem"]["code"] == code
        assert "canary" not in answer["problem"]["message"]
        writer.close()


async def test_another_user_is_dropped_without_a_word(run_dir: Path) -> None:
    async with serving(run_dir, uid_of=lambda _: os.geteuid() + 1) as (service, path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()
        assert service.clients == []


async def test_where_the_kernel_does_not_say_who_it_is_nobody_gets_in(run_dir: Path) -> None:
    def refuse(_: socket.socket) -> int:
        raise OSError("no credentials")

    async with serving(run_dir, uid_of=refuse) as (_, path):
        reader, writer = await asyncio.open_unix_connection(path)
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_says_no_hello_is_dropped(run_dir: Path) -> None:
    async with serving(run_dir, hello_timeout_s=0.05) as (_, path):
        reader, writer = await raw_connection(path, hello=False)
        writer.write(b"\0")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_half_a_message_and_a_lost_connection_do_no_harm(run_dir: Path) -> None:
    async with serving(run_dir) as (_, path):
        for cut in range(1, 40, 3):
            _, writer = await raw_connection(path)
            writer.write(frame({"type": "call", "id": 1, "method": "keyring.check"})[:cut])
            writer.transport.abort()
        async with await EngineClient.connect(path) as client:
            assert await client.call("keyring.check")


async def test_a_thousand_clients_leave_room_for_the_good_one(run_dir: Path) -> None:
    async with serving(run_dir) as (service, path), await EngineClient.connect(path) as client:
        hostile = []
        for _ in range(1000):
            _, writer = await asyncio.open_unix_connection(path)
            hostile.append(writer)
        assert await client.call("keyring.check")
        assert len(service.clients) <= server_module.MAX_CLIENTS
        for writer in hostile:
            writer.close()
        await until(lambda: sum(not one.closed for one in service.clients) == 1)
        async with await EngineClient.connect(path) as late:
            assert await late.call("keyring.check")


async def test_a_client_that_does_not_read_is_dropped(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_BACKLOG_BYTES", 4 * 1024 * 1024)
    async with serving(run_dir) as (service, path):
        reader, writer = await raw_connection(path)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stub of the base class lacks it
        connection = service.clients[0]
        big = Delta(
            revision=1,
            changes=[Change(collection="x", id="y", value=msgspec.Raw(b'"' + b"z" * 1_000_000 + b'"'))],
        )
        for _ in range(10):
            connection.send(big)
            await asyncio.sleep(0)
        await until(lambda: connection.closed)
        writer.close()
        del reader


async def test_the_socket_and_its_folder_are_private_and_a_left_over_is_replaced(run_dir: Path) -> None:
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(run_dir / "engine.sock"))
    left_over.close()
    with pytest.raises(ApiProblem, match="No engine"):
        await EngineClient.connect(run_dir / "engine.sock")
    async with serving(run_dir) as (_, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with await EngineClient.connect(path) as client:
            assert await client.call("keyring.check")


async def test_an_open_folder_is_refused_by_both_sides(run_dir: Path) -> None:
    os.chmod(run_dir, 0o710)  # noqa: S103 - an open folder is what is tested
    path = run_dir / "engine.sock"
    with pytest.raises(ApiProblem) as caught:
        await RpcServer(path, Service().open_client).start()
    assert caught.value.code == "forbidden"
    with pytest.raises(ApiProblem) as caught:
        await EngineClient.connect(path)
    assert caught.value.code == "forbidden"
    os.chmod(run_dir, 0o700)
    with pytest.raises(ApiProblem) as caught:
        await EngineClient.connect(path)
    assert caught.value.code == "disconnected"


async def test_a_link_in_the_place_of_the_socket_is_not_followed(run_dir: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run_dir / "engine.sock").symlink_to(victim)
    async with serving(run_dir) as (_, path), await EngineClient.connect(path) as client:
        assert await client.call("keyring.check")
    assert victim.read_text() == "precious"


async def test_an_engine_that_hangs_is_given_up(run_dir: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run_dir / "engine.sock"))
    listener.listen()
    try:
        with pytest.raises(ApiProblem) as caught:
            await EngineClient.connect(run_dir / "engine.sock", timeout_s=0.05)
        assert caught.value.code == "timeout"
    finally:
        listener.close()


async def test_an_engine_of_another_version_is_said(run_dir: Path) -> None:
    from san_console.rpc.peer import Peer

    async def old_engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer("engine", api_oldest=90, api_newest=91)
        peer.receive(await reader.read(4096))
        writer.write(peer.outgoing())
        writer.close()

    server = await asyncio.start_unix_server(old_engine, run_dir / "engine.sock")
    async with server:
        with pytest.raises(ApiProblem) as caught:
            await EngineClient.connect(run_dir / "engine.sock")
    assert caught.value.code == "version"
    assert "engine stop" in caught.value.problem.check


def test_methods_take_nothing_as_their_default_params() -> None:
    assert msgspec.json.encode(Nothing()) == b"{}"
