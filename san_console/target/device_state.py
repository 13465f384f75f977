"""What a logical unit remembers between commands: mode parameters, power, a sanitize operation.

All nexuses of the unit share it (VPD page 87h says so). Nothing of it outlives the process, hence no page is
savable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from san_console.scsi import opcodes as op
from san_console.scsi.sense import (
    IDLE_CONDITION_BY_COMMAND,
    INITIALIZING_COMMAND_REQUIRED,
    NO_ADDITIONAL_SENSE,
    SANITIZE_COMMAND_FAILED,
    SANITIZE_IN_PROGRESS,
    STANDBY_CONDITION_BY_COMMAND,
    Condition,
    progress,
)
from san_console.target.check_condition import CheckCondition

if TYPE_CHECKING:
    from san_console.target.copy_commands import CopyRecord

POWER_ACTIVE, POWER_IDLE, POWER_STANDBY = 1, 2, 3  # the values of START STOP UNIT (SBC-3 §5.25)


@dataclass(slots=True)
class ModeState:
    """The mode parameters that an initiator may change, as they are now."""

    write_cache: bool = True
    """WCE: writes are acknowledged before they are on the medium."""
    software_write_protect: bool = False
    descriptor_sense: bool = False
    """D_SENSE: sense data in descriptor format."""
    task_aborted_status: bool = False
    """TAS: tasks that another initiator aborted end in TASK ABORTED."""
    unrestricted_reordering: bool = True
    """QUEUE ALGORITHM MODIFIER 1: simple tasks may be reordered."""


@dataclass(slots=True)
class SanitizeState:
    """One sanitize operation (SBC-3 §4.11). `done` of `total`, in bytes, is its progress."""

    done: int = 0
    total: int = 1
    running: bool = True
    unrestricted_exit: bool = False
    """AUSE: a failed operation may be left by EXIT FAILURE MODE."""
    failure: CheckCondition | None = None
    """Why it failed."""

    def indication(self) -> bytes:
        """The progress as sense-key specific octets (SPC-4 §4.5.2.4.4)."""
        return progress(self.done, self.total)


# What still works while a sanitize operation runs (SBC-3 §4.11.2).
_DURING_SANITIZE = frozenset({op.INQUIRY, op.REPORT_LUNS, op.REQUEST_SENSE})
_DURING_SANITIZE_ACTIONS = frozenset(
    {
        (op.MAINTENANCE_IN, op.SA_REPORT_SUPPORTED_OPERATION_CODES),
        (op.MAINTENANCE_IN, op.SA_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS),
    }
)
# What needs the medium, and so a unit that is started (SBC-3 table 13: START STOP UNIT and states).
_NEEDS_MEDIUM = frozenset(
    {
        op.TEST_UNIT_READY,
        op.READ_CAPACITY_10,
        op.READ_6,
        op.READ_10,
        op.READ_12,
        op.READ_16,
        op.WRITE_6,
        op.WRITE_10,
        op.WRITE_12,
        op.WRITE_16,
        op.WRITE_ATOMIC_16,
        op.WRITE_AND_VERIFY_10,
        op.WRITE_AND_VERIFY_12,
        op.WRITE_AND_VERIFY_16,
        op.VERIFY_10,
        op.VERIFY_12,
        op.VERIFY_16,
        op.WRITE_SAME_10,
        op.WRITE_SAME_16,
        op.UNMAP,
        op.ORWRITE_16,
        op.COMPARE_AND_WRITE,
        op.PRE_FETCH_10,
        op.PRE_FETCH_16,
        op.SERVICE_ACTION_IN_16,
        op.READ_DEFECT_DATA_10,
        op.READ_DEFECT_DATA_12,
        op.EXTENDED_COPY,
        op.SANITIZE,
    }
)


def _nobody() -> None:
    """Nobody listens to changes."""


class DeviceState:
    """The state of one logical unit. `on_change` is called whenever `plain` may have changed."""

    def __init__(self, *, write_cache: bool) -> None:
        self.default_mode = ModeState(write_cache=write_cache)
        self.mode = replace(self.default_mode)
        self.stopped = False
        self.power = POWER_ACTIVE
        self.sanitize: SanitizeState | None = None
        """The operation that runs, or the one that failed."""
        self.prevented: set[object] = set()
        """The I_T nexuses that prevent the removal of the medium, were it removable."""
        self.copies: WeakKeyDictionary[object, dict[int, CopyRecord]] = WeakKeyDictionary()
        """Copies by nexus and list identifier, which means something to the I_T nexus that chose it."""
        self.closing = False
        """The unit is about to be closed: long operations end."""
        self.on_change: Callable[[], None] = _nobody

    @property
    def plain(self) -> bool:
        """True when reads and writes need no look at this state."""
        return not (self.stopped or self.sanitize or self.mode.software_write_protect)

    def check(self, cdb: bytes) -> None:
        """Whether the command may run in this state. Raises CheckCondition."""
        if self.sanitize is not None:
            self._check_sanitize(self.sanitize, cdb)
        if self.stopped and cdb[0] in _NEEDS_MEDIUM:
            raise CheckCondition(INITIALIZING_COMMAND_REQUIRED)

    def _check_sanitize(self, sanitize: SanitizeState, cdb: bytes) -> None:
        opcode = cdb[0]
        if opcode in _DURING_SANITIZE or (opcode, cdb[1] & 0x1F) in _DURING_SANITIZE_ACTIONS:
            return
        if sanitize.running:
            raise CheckCondition(SANITIZE_IN_PROGRESS, sense_key_specific=sanitize.indication())
        if opcode != op.SANITIZE:
            raise CheckCondition(SANITIZE_COMMAND_FAILED)

    def pollable(self) -> tuple[Condition, bytes | None]:
        """What REQUEST SENSE tells when no unit attention is pending (SPC-4 §6.39)."""
        if self.sanitize is not None:
            if self.sanitize.running:
                return SANITIZE_IN_PROGRESS, self.sanitize.indication()
            return SANITIZE_COMMAND_FAILED, None
        if self.stopped:
            return INITIALIZING_COMMAND_REQUIRED, None
        if self.power == POWER_IDLE:
            return IDLE_CONDITION_BY_COMMAND, None
        if self.power == POWER_STANDBY:
            return STANDBY_CONDITION_BY_COMMAND, None
        return NO_ADDITIONAL_SENSE, None

    def reset(self) -> None:
        """A logical unit reset (SAM-5 §6.3.3): mode parameters as after power on; a sanitize operation goes
        on.
        """
        for name in ModeState.__slots__:
            setattr(self.mode, name, getattr(self.default_mode, name))
        self.stopped = False
        self.power = POWER_ACTIVE
        self.prevented.clear()
        self.copies.clear()  # they have ended, and cannot be asked about (SPC-4 §6.26)
        self.on_change()
