"""The exception with which a command handler ends a command in CHECK CONDITION."""

from __future__ import annotations

import errno

from san_console.scsi.sense import (
    INTERNAL_TARGET_FAILURE,
    SPACE_ALLOCATION_FAILED,
    UNRECOVERED_READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
    Condition,
    build_fixed,
)

_WRITE_CONDITIONS = {
    errno.ENOSPC: SPACE_ALLOCATION_FAILED,
    errno.EDQUOT: SPACE_ALLOCATION_FAILED,
    errno.EROFS: WRITE_PROTECTED,
    errno.EPERM: WRITE_PROTECTED,
    errno.ENOMEM: INTERNAL_TARGET_FAILURE,
}


class CheckCondition(Exception):
    """Not an error of ours: the answer to a command. `sense` is ready to be sent."""

    def __init__(
        self,
        condition: Condition,
        *,
        information: int | None = None,
        sense_key_specific: bytes | None = None,
    ) -> None:
        super().__init__(condition)
        self.condition = condition
        self.sense = build_fixed(*condition, information=information, sense_key_specific=sense_key_specific)


def medium_error(error: OSError, *, writing: bool) -> CheckCondition:
    """What the initiator hears of an error of the backstore."""
    if writing:
        return CheckCondition(_WRITE_CONDITIONS.get(error.errno or 0, WRITE_ERROR))
    return CheckCondition(UNRECOVERED_READ_ERROR)
