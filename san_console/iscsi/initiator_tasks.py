"""What an initiator has under way: SCSI tasks and the few other requests that a target answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from san_console.iscsi import opcodes
from san_console.iscsi.errors import LocalProtocolError

Bytes = bytes | bytearray | memoryview

CDB_BYTES = 16
#: RFC 7143 §11.3: the Expected Data Transfer Length is a 32-bit field.
MAX_TRANSFER_BYTES = 0xFFFFFFFF

# How a task ended.
PENDING = 0  # not ended
COMPLETED = 1  # the target gave a SCSI status
TARGET_FAILURE = 2  # RFC 7143 §11.4.3: a service response other than "completed"
REJECTED = 3  # a Reject PDU named the command
LOST = 4  # the connection went away before an answer
ABORTED = 5  # taken back by a task management function
OUTCOME_NAMES = {
    PENDING: "pending",
    COMPLETED: "completed",
    TARGET_FAILURE: "target failure",
    REJECTED: "rejected",
    LOST: "lost",
    ABORTED: "aborted",
}


@dataclass(slots=True, eq=False)
class ScsiTask:
    """One SCSI command.

    `lun` is the 64-bit field of the wire, `cdb` is padded to 16 bytes. `read_buffer` receives the data of a
    read and decides the Expected Data Transfer Length; `write_data` must not change until the task has
    ended. `on_done` is called by whoever drives the session. The lower half is filled in on the way.
    """

    lun: int
    cdb: bytes
    read_buffer: memoryview | None = None
    write_data: Bytes | None = None
    attribute: int = opcodes.ATTR_SIMPLE
    on_done: Callable[[ScsiTask], None] | None = None
    #: Whatever the driver wants to find again in `on_done`.
    context: Any = None

    itt: int = 0
    cmd_sn: int = 0
    started_at: float = 0.0
    outcome: int = PENDING
    status: int = 0
    sense: bytes = b""
    response: int = 0
    reject_reason: int = 0
    #: Bytes that the target did not transfer of what was expected (or, with `overflow`, could not).
    residual_bytes: int = 0
    overflow: bool = False
    #: Bytes received into `read_buffer`.
    received_bytes: int = 0
    data_sn: int = 0
    r2t_sn: int = 0
    #: Bytes of `write_data` that were sent or are on their way.
    sent_bytes: int = 0
    stopped: bool = False
    flags: int = field(init=False, default=0)
    length: int = field(init=False, default=0)

    def renew(self, cdb: bytes) -> None:
        """Make an ended task ready to be sent again with another 16-byte CDB; buffers and length stay."""
        self.cdb = cdb
        self.outcome = PENDING
        self.status = self.received_bytes = self.data_sn = self.r2t_sn = self.sent_bytes = 0
        self.residual_bytes = self.response = self.reject_reason = 0
        self.overflow = self.stopped = False
        self.sense = b""

    def __post_init__(self) -> None:
        if len(self.cdb) > CDB_BYTES:
            raise LocalProtocolError(f"a CDB of {len(self.cdb)} bytes needs an additional header segment")
        if len(self.cdb) < CDB_BYTES:
            self.cdb = self.cdb.ljust(CDB_BYTES, b"\0")
        flags = self.attribute
        if self.read_buffer is not None:
            if self.write_data is not None:
                raise LocalProtocolError("a bidirectional command needs an additional header segment")
            self.length = len(self.read_buffer)
            flags |= opcodes.READ
        elif self.write_data is not None:
            self.length = len(self.write_data)
            flags |= opcodes.WRITE
        if self.length > MAX_TRANSFER_BYTES:
            raise LocalProtocolError(f"{self.length} bytes do not fit into one command")
        self.flags = flags


@dataclass(slots=True, eq=False)
class Request:
    """A request other than a SCSI command: `opcode` of what was sent; `on_done` gets it back at its end."""

    opcode: int
    itt: int
    on_done: Callable[[Request], None] | None = None
    sent_at: float = 0.0
    outcome: int = PENDING
    #: The Response field of a Task Management or Logout Response.
    response: int = 0
    reject_reason: int = 0
    #: The answer of a Text Request, all parts together.
    text: bytearray = field(default_factory=bytearray)
    text_parts: int = 0
    text_truncated: bool = False
    #: For task management: the task that it is about.
    referenced: ScsiTask | None = None
    details: dict[str, Any] = field(default_factory=dict)
