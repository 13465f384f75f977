"""A scripted target in memory: it feeds PDUs into an `InitiatorSession` and takes what that sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from san_console.iscsi.framing import Frame, Framer, encode
from san_console.iscsi.initiator_session import InitiatorSession
from san_console.iscsi.initiator_tasks import ScsiTask
from san_console.iscsi.parameters import OperationalParameters
from san_console.iscsi.pdu import Pdu, parse

READ_CDB = bytes([0x28]) + bytes(9)
WRITE_CDB = bytes([0x2A]) + bytes(9)


def parameters(**changes: Any) -> OperationalParameters:
    """Small limits, so that a few bytes make several PDUs."""
    values: dict[str, Any] = {
        "max_recv_data_segment_bytes": 4096,
        "peer_max_recv_data_segment_bytes": 512,
        "max_burst_bytes": 2048,
        "first_burst_bytes": 1024,
    }
    return OperationalParameters(**(values | changes))


@dataclass
class Peer:
    """Both ends of one connection; `stat_sn` is what the target uses next."""

    params: OperationalParameters = field(default_factory=parameters)
    digests: bool = False
    window: int = 32
    fast_abort: bool = False
    session: InitiatorSession = field(init=False)
    stat_sn: int = 100
    traced: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.framer = Framer(max_data_segment_bytes=self.params.max_recv_data_segment_bytes)
        self.framer.header_digest = self.framer.data_digest = self.digests
        self._theirs = Framer(max_data_segment_bytes=self.params.peer_max_recv_data_segment_bytes)
        self._theirs.header_digest = self._theirs.data_digest = self.digests
        self.session = InitiatorSession(
            self.framer,
            self.params,
            cmd_sn=10,
            exp_stat_sn=self.stat_sn,
            exp_cmd_sn=10,
            max_cmd_sn=10 + self.window - 1,
            fast_abort=self.fast_abort,
            tracer=lambda direction, bhs, data: self.traced.append((direction, bytes(bhs))),
        )

    def send(self, pdu: Pdu, data: bytes = b"", *, numbered: bool = False, damage: bool = False) -> None:
        """The target sends one PDU; `numbered` gives it the next StatSN, as responses have."""
        if numbered:
            pdu.stat_sn = self.stat_sn  # type: ignore[union-attr]  # all numbered PDUs have it
            self.stat_sn += 1
        if getattr(pdu, "max_cmd_sn", None) == 0:
            pdu.exp_cmd_sn, pdu.max_cmd_sn = 10, 10 + self.window - 1  # type: ignore[union-attr]
        parts = encode(pdu.pack(len(data)), data, header_digest=self.digests, data_digest=self.digests)
        stream = bytearray(b"".join(parts))
        if damage:
            stream[52 if self.digests else 48] ^= 1
        view = self.framer.writable()
        view[: len(stream)] = stream
        self.framer.wrote(len(stream))
        self.session.receive()

    def sent(self) -> list[tuple[Pdu, bytes]]:
        """What the initiator has sent since the last call."""
        stream = b"".join(self.session.take_output())
        self.session.output_drained()
        frames: list[tuple[Pdu, bytes]] = []
        while stream or not frames:
            view = self._theirs.writable()
            count = min(len(view), len(stream))
            view[:count] = stream[:count]
            self._theirs.wrote(count)
            stream = stream[count:]
            while (frame := self._theirs.next_frame()) is not None:
                frames.append(_copy(frame))
            if not count:
                break
        return frames

    def read(self, length: int) -> tuple[ScsiTask, bytearray]:
        """Submit a read and take the command off the wire."""
        buffer = bytearray(length)
        task = ScsiTask(0, READ_CDB, memoryview(buffer))
        self.session.submit(task, 1.0)
        self.sent()
        return task, buffer

    def write(self, data: bytes) -> tuple[ScsiTask, list[tuple[Pdu, bytes]]]:
        """Submit a write; the PDUs that it made."""
        task = ScsiTask(0, WRITE_CDB, write_data=data)
        self.session.submit(task, 1.0)
        return task, self.sent()


def _copy(frame: Frame) -> tuple[Pdu, bytes]:
    assert frame.data_digest_ok
    return parse(bytes(frame.bhs)), bytes(frame.data)
