"""Every status has a cause, a side and something to check."""

import pytest

from san_console.iscsi import login_status
from san_console.iscsi.errors import LoginFailed
from san_console.iscsi.login_status import explain_status

CODES = [
    value
    for name, value in vars(login_status).items()
    if name.isupper() and isinstance(value, int) and value != login_status.SUCCESS
]


@pytest.mark.parametrize("status", CODES)
def test_every_status_is_explained(status: int) -> None:
    explanation = explain_status(status >> 8, status & 0xFF)
    assert explanation.cause.endswith(f"(status {status:04x})")
    assert explanation.side == "target"
    assert len(explanation.check) > 20


def test_all_codes_of_the_rfc_are_there() -> None:
    assert set(CODES) == {0x0101, 0x0102, *range(0x0200, 0x020C), 0x0300, 0x0301, 0x0302}


def test_unknown_details_are_explained_by_their_class() -> None:
    assert "initiator's error" in explain_status(2, 0x77).cause
    assert "at present" in explain_status(3, 0x77).cause
    assert "another address" in explain_status(1, 0x77).cause
    assert "does not define" in explain_status(9, 9).cause


def test_error_carries_the_explanation() -> None:
    error = LoginFailed(2, 3, explain_status(2, 3))
    assert "no target of this name" in str(error)
    assert error.direction is None
