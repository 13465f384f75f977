"""Hostile and broken initiators: nothing leaks, nothing hangs, and a canary session goes on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import LoginRequest, LoginResponse, NopOut, Reject, ScsiCommand, ScsiDataOut
from san_console.scsi import cdb
from san_console.target import admission, connection, login
from san_console.target.config import BackstoreSpec, LunConfig
from tests.target.canary import attacked
from tests.target.raw_initiator import RawInitiator, Served, config, only, settings, until


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        NopOut(itt=1).pack(),
        ScsiCommand(itt=1).pack(),
        bytes([0x3F]) * 48,
        bytes(48),
    ],
)
async def test_what_is_no_login_is_not_answered(raw: bytes) -> None:
    async with attacked() as served:
        one = await served.raw()
        one.writer.write(raw)
        assert await one.closed() == b""
        await until(lambda: "target_login_failed" in served.kinds())
        assert "\r" not in served.events[-1].cause
        await one.close()


@pytest.mark.parametrize("lengths", [0x00FFFFFF, 0xFF000000, 0x00002001, 0x01000000])
async def test_absurd_lengths_in_a_login_are_refused_before_they_are_read(lengths: int) -> None:
    async with attacked() as served:
        one = await served.raw()
        header = bytearray(LoginRequest(csg=1, itt=1).pack())
        struct.pack_into(">I", header, 4, lengths)
        one.writer.write(header)
        assert await one.closed() == b""
        await one.close()


async def test_a_pdu_that_is_no_login_in_the_middle_of_one() -> None:
    async with attacked() as served:
        one = await served.raw()
        text = b"InitiatorName=iqn.2026-11.org.example:x\0SessionType=Discovery\0"
        one.send(LoginRequest(csg=1, itt=1).pack(len(text)), text)
        pdu, _ = await one.receive()
        assert isinstance(pdu, LoginResponse)
        one.send(NopOut(itt=1).pack())
        pdu, _ = await one.receive()
        assert isinstance(pdu, LoginResponse)
        assert (pdu.status_class, pdu.status_detail) == (2, 0x0B)
        assert await one.closed() == b""
        await one.close()


async def test_a_slow_login_has_a_deadline_over_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "LOGIN_TIMEOUT_S", 0.4)
    async with attacked() as served:
        slow = [await served.raw() for _ in range(20)]
        header = LoginRequest(csg=1, itt=1).pack(100)
        for one in slow:
            one.writer.write(header[:20])
        good = await served.login()
        await good.ping()
        for octet in header[20:44]:
            for one in slow:
                with contextlib.suppress(ConnectionError):
                    one.writer.write(bytes([octet]))
            await asyncio.sleep(0.03)
        for one in slow:
            assert await one.closed(2) == b""
            await one.close()
        await good.close()


async def test_half_open_logins_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_HALF_OPEN_PER_ADDRESS", 8)
    async with attacked() as served:
        many = [await served.raw() for _ in range(30)]
        await until(lambda: served.server._reception.admission.half_open.total() == 8)
        refused = 0
        for one in many[8:]:
            refused += await one.closed() == b""
        assert refused == 22
        for one in many:
            await one.close()
        await until(lambda: not served.server._reception.admission.half_open)
        await (await served.login()).close()


@pytest.mark.parametrize("lengths", [0x00FFFFFF, 0xFF000000, 0x00040001])
async def test_absurd_lengths_in_a_session_end_it(lengths: int) -> None:
    async with attacked() as served:
        one = await served.login()
        header = bytearray(ScsiCommand(itt=1, cmd_sn=one.cmd_sn).pack())
        struct.pack_into(">I", header, 4, lengths)
        one.writer.write(header)
        await one.closed()
        await until(lambda: "session_lost" in served.kinds())
        await one.close()


@pytest.mark.parametrize("opcode", [0x03, 0x07, 0x10, 0x1F, 0x21, 0x25, 0x3E])
async def test_opcodes_out_of_place_are_rejected(opcode: int) -> None:
    async with attacked() as served:
        one = await served.login()
        one.writer.write(bytes([opcode, 0x80]) + bytes(46))
        pdu, _ = await one.receive()
        assert isinstance(pdu, Reject)
        await one.ping()
        await one.close()


async def test_a_connection_that_breaks_anywhere_leaves_nothing() -> None:
    async with attacked() as served:
        for cut in range(0, 49 + 512, 37):
            one = await served.login()
            pdu = ScsiCommand(
                flags=o.FINAL | o.WRITE,
                itt=1,
                expected_data_transfer_length=512,
                cmd_sn=one.cmd_sn,
                cdb=cdb.write_10(9, 1),
            )
            one.writer.write((pdu.pack(512) + b"\xee" * 512)[:cut])
            await one.writer.drain()
            sock = one.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.writer.transport.abort()
        await until(lambda: len(served.server.sessions()) == 1)


async def test_data_out_cannot_write_outside_of_its_command() -> None:
    async with attacked() as served:
        one = await served.login()
        await one.ready()
        tag = one.command(cdb.write(100, 4), write=2048)
        r2t, _ = await one.receive()
        ttt = r2t.ttt  # type: ignore[union-attr]
        for offset in (2048, 0xFFFFFE00, 1536):
            pdu = ScsiDataOut(final=False, itt=tag, ttt=ttt, buffer_offset=offset)
            one.send(pdu.pack(1024), b"\xee" * 1024)
        one.send(ScsiDataOut(itt=tag, ttt=ttt).pack(0))
        pdu2, data = await one.receive()
        assert data[2 + 2] == 0x0B, pdu2
        for lba in range(96, 112):
            assert await one.read_block(lba) == bytes(512)
        await one.close()


async def test_a_reader_that_stops_reading_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STALL_TIMEOUT_S", 0.5)
    luns = [LunConfig("a", "a", BackstoreSpec("null", size_bytes=1 << 30))]
    async with attacked(Served(config(luns=luns))) as served:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.port))
        one = RawInitiator(*await asyncio.open_connection(sock=sock, limit=4096))
        await one.login(settings())
        await one.ready()
        mine = next(s for s in served.server._table if s.result.session.isid != bytes(6))
        one.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(1000):
            one.command(cdb.read(0, 2048), read=1 << 20)
        await until(lambda: only(mine).pump._writing)
        assert only(mine).protocol.output_bytes < 4 << 20
        assert sum(len(buffer) for buffer in only(mine).protocol.output) < 4 << 20
        await until(lambda: "session_lost" in served.kinds())
        assert "takes no data" in served.events[-1].cause
        one.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await one.writer.wait_closed()


async def test_many_logins_leave_no_descriptor_behind() -> None:
    async with attacked() as served:
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(60):
            one = await served.login(isid=number.to_bytes(6, "big") if number else bytes([9] * 6))
            await one.ping()
            await one.close()
        await until(lambda: len(served.server.sessions()) == 1)
        assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_random_bytes_in_a_session() -> None:
    async with attacked() as served:
        for seed in range(30):
            one = await served.login()
            noise = bytes((seed * 7919 + i * i * 31 + (i >> 3)) & 0xFF for i in range(4096))
            one.writer.write(noise)
            one.writer.write_eof()
            await one.closed()
            await one.close()


async def test_commands_far_outside_of_the_window_are_ignored() -> None:
    async with attacked() as served:
        one = await served.login()
        for cmd_sn in (0, one.cmd_sn + 5000, one.cmd_sn + 2**31):
            one.send(
                ScsiCommand(
                    itt=7,
                    flags=o.FINAL | o.READ,
                    expected_data_transfer_length=512,
                    cmd_sn=cmd_sn & 0xFFFFFFFF,
                    cdb=cdb.read_10(0, 1),
                ).pack()
            )
        await one.ping()
        await one.close()


async def test_guessing_secrets_becomes_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    door = admission.Admission(lambda *_: asyncio.sleep(0, False))
    monkeypatch.setattr("san_console.target.admission.asyncio.sleep", pause)
    for _ in range(12):
        await door.authentication_failed("10.0.0.1")
    assert pauses[:3] == [0.25, 0.5, 1.0]
    assert max(pauses) == admission.MAX_PAUSE_S
    door.authenticated("10.0.0.1")
    before = len(pauses)
    await door.authentication_failed("10.0.0.1")
    await door.authentication_failed("10.0.0.2")
    assert len(pauses) == before
    for number in range(admission.MAX_REMEMBERED_ADDRESSES + 10):
        await door.authentication_failed(f"host{number}")
    assert len(door._failures) == admission.MAX_REMEMBERED_ADDRESSES
