"""What a target session asks of the SCSI side: the nexus, and one logical unit as its initiator sees it.

This package knows no SCSI command. It hands CDBs to a `LogicalUnit` and carries data and status. The two
`_now` calls are the fast path: a command that can be answered at once never becomes a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from san_console.iscsi.target_session import TargetSession
    from san_console.iscsi.target_task import TargetTask

Buffer = bytes | bytearray | memoryview


class Arena(Protocol):
    """Memory that stays untouched until everything that was sent from it has left."""

    def take(self, length: int) -> memoryview:
        """`length` writable bytes."""
        ...


class LogicalUnit(Protocol):
    """One LUN of one I_T nexus."""

    def read_now(self, cdb: bytes, length: int, arena: Arena) -> Buffer | None:
        """All `length` bytes of a read that succeeds at once with GOOD status; None: go through `prepare`.

        The bytes must not change until they were sent.
        """
        ...

    def write_now(self, cdb: bytes, data: Buffer) -> bool:
        """True when the write was done, with GOOD status; False: nothing was done, go through `prepare`.

        `data` is valid during the call only.
        """
        ...

    def prepare(self, task: TargetTask) -> int:
        """The number of bytes that the CDB takes from the initiator; or complete the task with an error,
        and 0.
        """
        ...

    def execute(self, task: TargetTask) -> None:
        """Run the command; `task.data_out` holds what the initiator sent. Calls `task.complete`, now or
        later.
        """
        ...


class Nexus(Protocol):
    """The SCSI side of one session."""

    units: dict[int, LogicalUnit]
    """By the raw 64-bit LUN field."""
    unmapped: LogicalUnit
    """Answers for every LUN that is not in `units`."""

    def send_targets(self, value: str) -> bytes | None:
        """The text of a SendTargets answer (RFC 7143 Appendix C); None when `value` may not be asked here."""
        ...

    def reset_scope(self, lun: int | None) -> Iterable[tuple[TargetSession, int]]:
        """Sessions (this one too) and their LUN fields that reach the unit `lun` of this nexus; None: all
        of its units.
        """
        ...

    def reset(self, lun: int | None, function: int, then: Callable[[], None]) -> None:
        """The tasks are gone; do to the units what the task management `function` asks for besides. `then`
        is called, perhaps at once, when nothing that the function has ended writes any more.
        """
        ...

    def all_sessions(self) -> Iterable[TargetSession]:
        """All sessions with the target: what a target cold reset ends."""
        ...

    def commands_cleared(self, lun: int) -> None:
        """Tasks for the raw LUN field `lun` were ended by an iSCSI event: establish the unit attention of RFC
        7143 §11.14.5 (47h/7Fh) for this nexus.
        """
        ...

    def reports_aborted(self, lun: int) -> bool:
        """TAS of the Control mode page: tasks that others abort end in TASK ABORTED status."""
        ...

    def pending_attention(self, lun: int) -> tuple[int, int, int, int] | None:
        """The first unit attention that waits for this nexus: how many wait, sense key, ASC, ASCQ."""
        ...
