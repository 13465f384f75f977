"""The table of operational limits: nothing is missing, and it says what the engine says."""

from __future__ import annotations

import msgspec
import pytest

from san_console.api.serving_objects import OperationalLimits
from san_console.gui.models.limits import (
    DEFAULTS,
    LIMITS,
    changed_fields,
    default_text,
    problem_of,
    value_text,
)
from san_console.iscsi.keys import KEYS
from san_console.target.limits import _RANGES, TargetLimits

pytestmark = [pytest.mark.usefixtures("qapp")]


def test_every_limit_has_a_line() -> None:
    assert set(LIMITS) == set(OperationalLimits.__struct_fields__)


@pytest.mark.parametrize("field", [*LIMITS])
def test_ranges_are_within_the_engine_s(field: str) -> None:
    limit = LIMITS[field]
    if field in _RANGES:
        least, most = _RANGES[field]
        assert least <= limit.least < limit.most <= most
    assert getattr(DEFAULTS, field) == getattr(TargetLimits(), field)
    assert default_text(limit)


@pytest.mark.parametrize("field", [one.field for one in LIMITS.values() if one.key])
def test_defaults_of_the_rfc_are_those_of_the_protocol(field: str) -> None:
    limit = LIMITS[field]
    default = KEYS[limit.key].default
    said = {True: "Yes", False: "No"}.get(limit.rfc, limit.rfc) if isinstance(limit.rfc, bool) else limit.rfc
    assert str(default).lower() in (str(said).lower(), str(limit.rfc).lower())


def test_values_in_words() -> None:
    assert value_text(LIMITS["max_burst_bytes"], 1 << 20) == "1.0 MiB"
    assert value_text(LIMITS["max_burst_bytes"], 1000) == "1,000 bytes"
    assert value_text(LIMITS["nop_in_interval_s"], 0.0) == "never"
    assert value_text(LIMITS["login_timeout_s"], 7.5) == "7.5 s"
    assert value_text(LIMITS["initial_r2t"], True) == "on"
    assert default_text(LIMITS["max_recv_data_segment_bytes"]) == "RFC: 8.0 KiB, here: 256 KiB."
    assert default_text(LIMITS["default_time2wait_s"]) == "RFC: 2 s."
    assert default_text(LIMITS["login_timeout_s"]) == "Here: 15 s."


def test_a_first_burst_fits_into_a_burst() -> None:
    assert not problem_of(DEFAULTS)
    wrong = msgspec.structs.replace(DEFAULTS, max_burst_bytes=65536)
    assert "first burst" in problem_of(wrong)
    assert changed_fields(DEFAULTS, wrong) == ["max_burst_bytes"]
