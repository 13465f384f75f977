"""A reader that asks for much and looks at little, so that a target is what a measurement measures.

    python tests/bench/bulk_client.py 127.0.0.1:3260 iqn.… LUN [--sessions 64] [--depth 8] [--blocks 8]
        [--seconds 2] [--header-digest] [--data-digest]

Each session keeps `depth` sequential reads in flight. One process and one thread serve all sessions. It
prints {"iops": total, "sessions": [per session]} as JSON.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from san_console.iscsi import opcodes as o
from san_console.iscsi.framing import Framer, encode
from san_console.iscsi.login_initiator import LoginInitiator
from san_console.iscsi.login_settings import LoginSettings
from san_console.iscsi.parameters import Offer
from san_console.iscsi.pdu import LoginRequest, LoginResponse, NopIn, NopOut, ScsiCommand, parse
from san_console.scsi import cdb
from san_console.wire.crc32c import crc32c

BLOCK_BYTES = 512
RANGE_BLOCKS = (256 << 20) // BLOCK_BYTES  # where the reads are
_RECEIVE_BYTES = 1 << 20
_TIMEOUT_S = 20.0
_COMMAND = struct.Struct(">BB6xQIIII16s")
_HEADER = struct.Struct(">BBxxI8xII")  # opcode, flags, lengths, ITT, TTT
_READ_10 = struct.Struct(">BBIBHB6x")
_DIGEST = struct.Struct("<I")
assert _COMMAND.size == 48


def _digest_offer(wanted: bool) -> tuple[str, ...]:
    return ("CRC32C",) if wanted else ("None",)


class BulkSession:
    """One session. `number` makes it an initiator port of its own; `done` counts its reads."""

    def __init__(
        self,
        portal: str,
        target: str,
        lun: int,
        *,
        blocks: int = 8,
        number: int = 0,
        header_digest: bool = False,
        data_digest: bool = False,
    ) -> None:
        host, _, port = portal.rpartition(":")
        self.socket = socket.socket()
        # The same for all from the start: else TCP's own tuning decides which of many sessions is fast.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self.socket.settimeout(_TIMEOUT_S)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.done = 0
        self._lun = lun << 48
        self._blocks = blocks
        self._framer = Framer(1 << 24)
        self._itt = 0
        self.range_blocks = RANGE_BLOCKS
        self._lba = number * 8 % 1024
        self._rest = b""
        self._buffer = bytearray(_RECEIVE_BYTES)
        login = LoginInitiator(
            LoginSettings(
                initiator_name=f"iqn.2026-11.org.example:bulk{number}",
                target_name=target,
                isid=b"\x80" + number.to_bytes(5, "big"),
                offer=Offer(
                    header_digest=_digest_offer(header_digest), data_digest=_digest_offer(data_digest)
                ),
            )
        )
        requests: Sequence[tuple[LoginRequest, bytes]] = [login.start()]
        while requests:
            for request, data in requests:
                self._send(request.pack(len(data)), data)
            frame = self._receive_one()
            pdu = parse(frame[0])
            assert isinstance(pdu, LoginResponse)
            requests = login.receive(pdu, frame[1])
        assert login.result is not None
        self._cmd_sn = login.result.cmd_sn
        self._exp_stat_sn = login.result.exp_stat_sn
        self._framer.header_digest = self.header_digest = header_digest
        self._framer.data_digest = self.data_digest = data_digest
        self._become_ready()

    def _send(self, bhs: bytes, data: bytes = b"") -> None:
        buffers = encode(
            bhs, data, header_digest=self._framer.header_digest, data_digest=self._framer.data_digest
        )
        self.socket.sendall(b"".join(bytes(buffer) for buffer in buffers))

    def _receive_one(self) -> tuple[bytes, bytes]:
        while (frame := self._framer.next_frame()) is None:
            count = self.socket.recv_into(self._framer.writable())
            if not count:
                raise EOFError("the target has closed the connection")
            self._framer.wrote(count)
        return bytes(frame.bhs), bytes(frame.data)

    def _become_ready(self) -> None:
        """Take the unit attentions of a new session."""
        while True:
            pdu = ScsiCommand(
                flags=o.FINAL | o.ATTR_SIMPLE,
                lun=self._lun,
                itt=self._itt,
                cmd_sn=self._cmd_sn,
                cdb=cdb.test_unit_ready(),
            )
            self._itt, self._cmd_sn = self._itt + 1, self._cmd_sn + 1
            self._send(pdu.pack())
            if self._receive_one()[0][3] == 0:
                return

    def ask(self, count: int) -> None:
        """Send `count` more reads."""
        raw = []
        length = self._blocks * BLOCK_BYTES
        for _ in range(count):
            command = _COMMAND.pack(
                o.SCSI_COMMAND,
                o.FINAL | o.READ | o.ATTR_SIMPLE,
                self._lun,
                self._itt,
                length,
                self._cmd_sn,
                self._exp_stat_sn,
                _READ_10.pack(0x28, 0, self._lba, 0, self._blocks, 0),
            )
            raw.append(command)
            if self.header_digest:
                raw.append(_DIGEST.pack(crc32c(command)))
            self._itt = (self._itt + 1) & 0x7FFFFFFF
            self._cmd_sn = (self._cmd_sn + 1) & 0xFFFFFFFF
            self._lba += self._blocks
            if self._lba + self._blocks > self.range_blocks:
                self._lba = 0
        self.socket.sendall(b"".join(raw))

    def take(self) -> int:
        """Receive what is there; how many reads it completes. Raises EOFError; OSError for a failed read."""
        room = len(self._rest)
        self._buffer[:room] = self._rest
        view = memoryview(self._buffer)
        count = self.socket.recv_into(view[room:])
        if not count:
            raise EOFError("the target has closed the connection")
        end, position, completed = room + count, 0, 0
        header_bytes = 48 + 4 * self.header_digest
        while end - position >= header_bytes:
            opcode, flags, lengths, _, ttt = _HEADER.unpack_from(view, position)
            data_bytes = lengths & 0xFFFFFF
            whole = header_bytes + data_bytes + (-data_bytes & 3)
            if data_bytes and self.data_digest:
                whole += 4
            if end - position < whole:
                break
            if opcode == o.SCSI_DATA_IN:
                completed += flags & o.STATUS
            elif opcode == o.SCSI_RESPONSE:
                if view[position + 3]:
                    raise OSError(f"a read failed with status {view[position + 3]:#x}")
                completed += 1
            elif opcode == o.NOP_IN:
                self._answer_ping(view[position : position + 48], ttt)
            else:
                raise OSError(f"an answer of opcode {opcode:#x}")
            position += whole
        self._rest = bytes(view[position:end])
        self._exp_stat_sn = (self._exp_stat_sn + completed) & 0xFFFFFFFF
        self.done += completed
        return completed

    def _answer_ping(self, bhs: memoryview, ttt: int) -> None:
        if ttt != o.RESERVED_TAG:
            ping = NopIn.parse(bhs)
            pdu = NopOut(
                lun=ping.lun,
                itt=o.RESERVED_TAG,
                ttt=ttt,
                cmd_sn=self._cmd_sn,
                exp_stat_sn=self._exp_stat_sn,
                immediate=True,
            )
            self._send(pdu.pack())

    def read(self, count: int = 1) -> None:
        """`count` reads, all at once, and their answers."""
        self.ask(count)
        left = count
        while left:
            left -= self.take()

    def close(self) -> None:
        self.socket.close()


def run(sessions: Sequence[BulkSession], depth: int, seconds: float) -> list[int]:
    """Read with all sessions at once; reads per session."""
    poller = select.epoll()
    by_fd = {session.socket.fileno(): session for session in sessions}
    for fd, session in by_fd.items():
        session.done = 0
        poller.register(fd, select.EPOLLIN)
        session.ask(depth)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poller.poll(1.0):
            completed = by_fd[fd].take()
            if completed:
                by_fd[fd].ask(completed)
    counts = [session.done for session in sessions]
    for session in sessions:
        left = depth
        while left:
            left -= session.take()
    poller.close()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("portal")
    parser.add_argument("target")
    parser.add_argument("lun", type=int)
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--header-digest", action="store_true")
    parser.add_argument("--data-digest", action="store_true")
    args = parser.parse_args()
    sessions = [
        BulkSession(
            args.portal,
            args.target,
            args.lun,
            blocks=args.blocks,
            number=number,
            header_digest=args.header_digest,
            data_digest=args.data_digest,
        )
        for number in range(args.sessions)
    ]
    counts = run(sessions, args.depth, args.seconds)
    print(json.dumps({"iops": sum(counts) / args.seconds, "sessions": counts}))


if __name__ == "__main__":
    main()
