"""A SCSI task at the target, from its command PDU to its status; its data from the initiator on the way.

Only commands that could not be answered at once become tasks. Data-Out lands in a buffer of the task and
nothing reaches the logical unit before all of it has come, so a command that fails has written nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from san_console.iscsi.opcodes import ATTR_MASK, READ, WRITE

if TYPE_CHECKING:
    from san_console.iscsi.target_connection import TargetConnection
    from san_console.iscsi.target_data_recovery import TrackedTransfer
    from san_console.iscsi.target_device import LogicalUnit
    from san_console.iscsi.target_sent_data import SentData

Buffer = bytes | bytearray | memoryview

TRANSFERRING = 0  # data from the initiator is outstanding
RUNNING = 1  # with the logical unit
DONE = 2
ABORTED = 3  # no status will be sent; the logical unit, or data still on its way, may hold it
ANSWERED = 4  # the unit is done; the status waits for its turn, or for a connection

STATE_NAMES = {
    TRANSFERRING: "transferring",
    RUNNING: "running",
    DONE: "done",
    ABORTED: "aborted",
    ANSWERED: "answered",
}


class Solicited:
    """One R2T that was sent: bytes `offset` to `offset + length` of the task's data."""

    __slots__ = ("data_sn", "length", "offset", "received")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.received = 0
        self.data_sn = 0


class TargetTask:
    """One SCSI command. `lun` is the raw field, `cdb` 16 bytes or more, `edtl` in bytes."""

    __slots__ = (
        "cdb",
        "cmd_sn",
        "connection",
        "data_out",
        "edtl",
        "failure",
        "fenced",
        "flags",
        "immediate",
        "itt",
        "lun",
        "on_abort",
        "on_gone",
        "pending_read_bytes",
        "priority",
        "r2t_sn",
        "reports_abort",
        "reserved_bytes",
        "result",
        "sent",
        "solicited",
        "solicited_bytes",
        "state",
        "tracked",
        "transfer_bytes",
        "unit",
        "unsolicited_bytes",
        "unsolicited_data_sn",
        "unsolicited_open",
        "wanted_bytes",
        "with_unit",
    )

    def __init__(
        self,
        connection: TargetConnection,
        unit: LogicalUnit,
        itt: int,
        lun: int,
        cdb: bytes,
        edtl: int,
        flags: int,
        cmd_sn: int,
        immediate: bool,
        priority: int = 0,
    ) -> None:
        self.connection = connection
        self.unit = unit
        self.itt = itt
        self.lun = lun
        self.cdb = cdb
        self.edtl = edtl
        self.flags = flags
        self.cmd_sn = cmd_sn
        self.immediate = immediate
        self.priority = priority
        """PRI of RFC 7144 §5.1.1; 0 unless the session has iSCSIProtocolLevel 2."""
        self.state = TRANSFERRING
        self.wanted_bytes = 0
        """What the CDB takes from the initiator; `transfer_bytes` is the part of it that EDTL allows."""
        self.transfer_bytes = 0
        self.data_out: memoryview = memoryview(b"")
        self.reserved_bytes = 0
        """Its share of the session's memory for solicited data."""
        self.unsolicited_open = False
        self.unsolicited_bytes = 0
        self.unsolicited_data_sn = 0
        self.solicited: dict[int, Solicited] = {}
        self.tracked: TrackedTransfer | None = None
        """Which of its data has come, where data may come in any order or be asked for again."""
        self.sent: SentData | None = None
        """Its Data-In PDUs, where they may be asked for again."""
        self.solicited_bytes = 0
        self.r2t_sn = 0
        self.failure = b""
        """Sense data of the first fault in the transfer; reported when all expected data has come."""
        self.result: tuple[int, Buffer, bytes] | None = None
        """A status that waits for the end of the transfer (RFC 7143 §11.17.1, last paragraph), for its turn,
        for a connection, or, at error recovery level 2, for its acknowledgment.
        """
        self.fenced = False
        """Set by a logical unit whose answer must keep its place on all connections (RFC 7143 §4.2.2.3.4)."""
        self.pending_read_bytes = 0
        """Its share of the session's memory for reads."""
        self.with_unit = False
        """Aborted while the logical unit was at work on it, and the unit has not finished yet."""
        self.reports_abort = False
        """Aborted by another initiator, and to end in TASK ABORTED status."""
        self.on_gone: Callable[[], None] | None = None
        """Set by a logical unit that has to know when the task has ended, in whatever way."""
        self.on_abort: Callable[[], None] | None = None
        """Set by a logical unit that has not begun with the task, and then need not."""

    @property
    def read(self) -> bool:
        """R bit: the initiator expects data."""
        return self.flags & READ != 0

    @property
    def write(self) -> bool:
        """W bit: the initiator sends data."""
        return self.flags & WRITE != 0

    @property
    def attribute(self) -> int:
        """The task attribute, one of the ATTR_ constants of `opcodes`."""
        return self.flags & ATTR_MASK

    @property
    def lingering(self) -> bool:
        """True when only data of the initiator keeps an aborted task alive."""
        return self.state == ABORTED and not self.with_unit

    @property
    def transfer_open(self) -> bool:
        """True while Data-Out PDUs may still come."""
        return self.unsolicited_open or bool(self.solicited)

    def grow_data_out(self) -> None:
        """Make room for all of the transfer; what came unsolicited stays."""
        if len(self.data_out) < self.transfer_bytes:
            whole = memoryview(bytearray(self.transfer_bytes))
            whole[: len(self.data_out)] = self.data_out
            self.data_out = whole

    @property
    def initiator_name(self) -> str:
        """Whose command it is."""
        return self.connection.session.initiator_name

    def leave_unit(self) -> None:
        """The logical unit has nothing to do with the task any more."""
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()

    def complete(self, status: int, data: Buffer = b"", sense: bytes = b"") -> None:
        """The logical unit is done with the task: send `data` and `status`, once no more data is on its way.

        `data` must not change until it was sent. For an aborted task nothing is sent.
        """
        if self.state == ABORTED:
            self.with_unit = False
            self.connection.session.task_gone(self)
        elif self.transfer_open:
            self.result = (status, data, sense)
            self.state = TRANSFERRING
        else:
            self.connection.send_status(self, status, data, sense)
