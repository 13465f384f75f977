"""Initiators that stop reading, and a thousand connections at once, against a real process: its memory stays
bounded, and a canary session goes on all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.parameters import Offer
from san_console.iscsi.pdu import LoginRequest
from san_console.scsi import cdb
from tests.chaos.load import LONGER
from tests.peers import Process
from tests.target.raw_initiator import ME, RawInitiator, settings, until
from tests.target.serving import NAME, start

pytestmark = pytest.mark.conformance

MIB = 1 << 20
STALL_S = 1.0
QUEUED = 1000
READERS = 3
# What one session may hold of reads (32 MiB), a batch of answers, and what the socket is about to take.
READER_MIB = 48
FLOOD = 1000
FLOOD_MIB = 48
SLOWEST_S = 2.0  # on a machine that has other work; without the crowd a read takes a millisecond
PACE_S = 0.01


class Target:
    """`target serve`, and how much memory it has taken at most since `mark`."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self._before = self._most = self.resident_mib()

    def resident_mib(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def mark(self) -> None:
        self._before = self._most = self.resident_mib()

    def look(self) -> None:
        self._most = max(self._most, self.resident_mib())

    @property
    def grown_mib(self) -> float:
        return self._most - self._before


@contextmanager
def target(lun: str) -> Iterator[Target]:
    prelude = f"import san_console.target.connection as c; c.STALL_TIMEOUT_S = {STALL_S}\n"
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", lun, prelude=prelude) as process:
        process.wait_until(lambda: "iscsi://" in process.output, 20)
        yield Target(process, int(process.output.split("iscsi://", 1)[1].split("/")[0].rpartition(":")[2]))


@asynccontextmanager
async def canary(served: Target) -> AsyncIterator[list[float]]:
    """A session that reads a block all the while; how long each read took, in s."""
    bird = await RawInitiator.open(served.port)
    await bird.login(settings(isid=bytes(6)))
    await bird.ready()
    await bird.read_block()
    served.mark()
    took: list[float] = []
    stop = asyncio.Event()

    async def sing() -> None:
        while not stop.is_set():
            began = time.monotonic()
            await bird.read_block()
            took.append(time.monotonic() - began)
            served.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PACE_S)

    song = asyncio.create_task(sing())
    try:
        yield took
    finally:
        stop.set()
        await song
        await bird.close()


async def small_socket(port: int) -> RawInitiator:
    """A connection whose window is soon full."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return RawInitiator(*await asyncio.open_connection(sock=sock, limit=4096))


DIGESTS: dict[str, Any] = {"header_digest": ("CRC32C",), "data_digest": ("CRC32C",)}


@pytest.mark.parametrize(
    ("lun", "blocks", "offer"),
    [
        ("memory", 2048, Offer()),
        ("file", 2048, Offer(**DIGESTS)),
        ("file", 4096, Offer()),  # too long to be read at once: a thread does it
        ("file", 256, Offer(error_recovery_level=2, **DIGESTS)),  # what was sent is kept
    ],
    ids=["memory, 1 MiB", "digests, 1 MiB", "2 MiB", "level 2, 128 KiB"],
)
async def test_readers_that_stop_reading(tmp_path: Path, lun: str, blocks: int, offer: Offer) -> None:
    """B36: each has 1,000 reads queued; it is closed when it has taken nothing for too long."""
    spec = "memory:64M" if lun == "memory" else f"file:{tmp_path}/disk,size=64M"
    if lun == "file":
        (tmp_path / "disk").write_bytes(bytes(range(256)) * (64 * MIB // 256))
    with target(spec) as served:
        async with canary(served) as took:
            readers = []
            for number in range(READERS):
                reader = await small_socket(served.port)
                await reader.login(settings(isid=bytes([0x80, 0, 0, 0, 1, number]), offer=offer))
                await reader.ready()
                readers.append(reader)
            began = time.monotonic()
            for reader in readers:
                reader.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of sockets
                for _ in range(QUEUED):
                    reader.command(cdb.read(0, blocks), read=blocks * 512)
            process = served.process
            await until(lambda: process.output.count("takes no data any more") == READERS, timeout_s=20)
            closed_after_s = time.monotonic() - began
            for reader in readers:
                reader.writer.transport.abort()
        print(
            f"{READERS} readers that stopped, {QUEUED} reads of {blocks // 2} KiB queued by each: the "
            f"process grew by {served.grown_mib:.1f} MiB at most, all closed after {closed_after_s:.1f} s "
            f"(limit {STALL_S} s); canary: {len(took)} reads, slowest {max(took) * 1000:.0f} ms; "
            "lost: nothing"
        )
        assert served.grown_mib < READERS * READER_MIB
        assert closed_after_s >= STALL_S
        assert max(took) < SLOWEST_S


def _refused_login() -> bytes:
    text = f"InitiatorName={ME}\0TargetName={NAME}.x\0".encode()
    request = LoginRequest(csg=1, nsg=3, transit=True, itt=1).pack(len(text)) + text
    return request + bytes(-len(request) % 4)


OPENINGS = {
    "silence": b"",
    "half a header": b"\x43" * 20,
    "another protocol": b"GET / HTTP/1.1\r\n" * 4,
    "a login to nothing": _refused_login(),
}


async def test_a_thousand_connections_at_once() -> None:
    """B14 before the login: they come all together, and most of them say nothing useful."""
    with target("memory:1M") as served:
        async with canary(served) as took:
            before = served.descriptors()
            refused = 0
            for _ in range(LONGER):
                writers = await asyncio.gather(*(_open(served.port, text) for text in _cycle(FLOOD)))
                served.look()
                # A real initiator in the middle of it; one that is turned away comes again.
                began = time.monotonic()
                while True:
                    try:
                        raw = await RawInitiator.open(served.port)
                        await raw.login(settings())
                        break
                    except (EOFError, OSError):
                        refused += 1
                        await raw.close()
                        await asyncio.sleep(PACE_S)
                good_after_s = time.monotonic() - began
                await raw.close()
                for writer in writers:
                    if writer is not None:
                        writer.transport.abort()
                await until(lambda: served.descriptors() <= before, timeout_s=20)
            assert served.process.alive
        print(
            f"{LONGER} floods of {FLOOD} connections ({', '.join(OPENINGS)}): the process grew by "
            f"{served.grown_mib:.1f} MiB at most, no descriptor left over; a good login in the middle took "
            f"{good_after_s:.2f} s, {refused} times turned away; canary: {len(took)} reads, slowest "
            f"{max(took) * 1000:.0f} ms; lost: nothing"
        )
        assert served.grown_mib < FLOOD_MIB
        assert max(took) < SLOWEST_S


def _cycle(count: int) -> Iterator[bytes]:
    kinds = list(OPENINGS.values())
    for number in range(count):
        yield kinds[number % len(kinds)]


async def _open(port: int, text: bytes) -> asyncio.StreamWriter | None:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    writer.write(text)
    return writer


async def test_a_thousand_logins_at_once() -> None:
    """B14 after it: all of them are good, and there are more than there may be sessions."""
    with target("memory:1M") as served:
        async with canary(served) as took:
            before = served.descriptors()
            outcomes: Counter[str] = Counter()
            raws = await asyncio.gather(*(_log_in(served.port, n, outcomes) for n in range(FLOOD)))
            there = [raw for raw in raws if raw is not None]
            for raw in there:
                await raw.ready()
            for raw in there:
                await raw.close()
            await until(lambda: served.descriptors() <= before, timeout_s=20)
            assert served.process.alive
        print(
            f"{FLOOD} logins at once: {dict(outcomes)}; the process grew by {served.grown_mib:.1f} MiB at "
            f"most, no descriptor left over; canary: {len(took)} reads, slowest {max(took) * 1000:.0f} ms; "
            "lost: nothing"
        )
        assert outcomes["logged in"] >= 128
        assert served.grown_mib < 2 * FLOOD_MIB
        assert max(took) < SLOWEST_S


async def _log_in(port: int, number: int, outcomes: Counter[str]) -> RawInitiator | None:
    raw = None
    try:
        raw = await RawInitiator.open(port)
        await raw.login(settings(isid=b"\x80\x00\x00\x01" + number.to_bytes(2, "big")))
    except LoginFailed as failed:
        outcomes[f"status {failed.status_class:02x}{failed.status_detail:02x}"] += 1
    except (EOFError, OSError):
        outcomes["closed"] += 1
    else:
        outcomes["logged in"] += 1
        return raw
    if raw is not None:
        await raw.close()
    return None
