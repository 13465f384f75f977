"""The exceptions with which a command handler ends a command in another status than GOOD."""

from __future__ import annotations

import errno

from san_console.scsi.sense import (
    INTERNAL_TARGET_FAILURE,
    NO_ADDITIONAL_SENSE,
    SPACE_ALLOCATION_FAILED,
    UNRECOVERED_READ_ERROR,
    WRITE_ERROR,
    WRITE_PROTECTED,
    Condition,
    build_descriptor,
    build_fixed,
)
from san_console.scsi.status import CHECK_CONDITION
from san_console.target.backstore import MediumError

_WRITE_CONDITIONS = {
    errno.ENOSPC: SPACE_ALLOCATION_FAILED,
    errno.EDQUOT: SPACE_ALLOCATION_FAILED,
    errno.EFBIG: SPACE_ALLOCATION_FAILED,
    errno.EROFS: WRITE_PROTECTED,
    errno.EPERM: WRITE_PROTECTED,
    errno.ENOMEM: INTERNAL_TARGET_FAILURE,
}


class CheckCondition(Exception):
    """Not an error of ours: the answer to a command, with sense data in the format that D_SENSE asks for."""

    status = CHECK_CONDITION

    def __init__(
        self,
        condition: Condition,
        *,
        information: int | None = None,
        sense_key_specific: bytes | None = None,
    ) -> None:
        super().__init__(condition)
        self.condition = condition
        self.information = information
        self.sense_key_specific = sense_key_specific

    def sense_data(self, descriptor: bool) -> bytes:
        """The sense data, in descriptor format or in fixed format (SPC-4 §4.5)."""
        build = build_descriptor if descriptor else build_fixed
        return build(
            *self.condition, information=self.information, sense_key_specific=self.sense_key_specific
        )

    @property
    def sense(self) -> bytes:
        """The sense data in fixed format."""
        return self.sense_data(False)


class StatusAnswer(CheckCondition):
    """A status that carries no sense data: CONDITION MET, RESERVATION CONFLICT, BUSY, TASK SET FULL."""

    def __init__(self, status: int) -> None:
        super().__init__(NO_ADDITIONAL_SENSE)
        self.status = status

    def sense_data(self, descriptor: bool) -> bytes:
        return b""


def medium_error(error: OSError, *, writing: bool, block_bytes: int) -> CheckCondition:
    """What the initiator hears of an error of the backstore; with the LBA where the medium told it."""
    information = error.offset_bytes // block_bytes if isinstance(error, MediumError) else None
    if writing:
        condition = _WRITE_CONDITIONS.get(error.errno or 0, WRITE_ERROR)
        return CheckCondition(condition, information=information)
    return CheckCondition(UNRECOVERED_READ_ERROR, information=information)
