"""Status names."""

from san_console.scsi import status


def test_names() -> None:
    assert status.status_name(0x02) == "CHECK CONDITION"
    assert status.status_name(0x28) == "TASK SET FULL"
    assert status.status_name(0x77) == "status 77h"
    assert set(status.STATUS_NAMES) >= status.RETRYABLE
