"""SCSI status codes (SAM-5 §5.3.1)."""

GOOD = 0x00
CHECK_CONDITION = 0x02
CONDITION_MET = 0x04
BUSY = 0x08
RESERVATION_CONFLICT = 0x18
TASK_SET_FULL = 0x28
ACA_ACTIVE = 0x30
TASK_ABORTED = 0x40

STATUS_NAMES: dict[int, str] = {
    GOOD: "GOOD",
    CHECK_CONDITION: "CHECK CONDITION",
    CONDITION_MET: "CONDITION MET",
    BUSY: "BUSY",
    RESERVATION_CONFLICT: "RESERVATION CONFLICT",
    TASK_SET_FULL: "TASK SET FULL",
    ACA_ACTIVE: "ACA ACTIVE",
    TASK_ABORTED: "TASK ABORTED",
}

#: Statuses that ask the initiator to send the same command again, later.
RETRYABLE = frozenset({BUSY, TASK_SET_FULL})


def status_name(status: int) -> str:
    """The standard's name of a status, or its number in hexadecimal."""
    return STATUS_NAMES.get(status, f"status {status:02x}h")
