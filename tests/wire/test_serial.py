"""Serial numbers around the wrap at 2**32."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.wire import serial

numbers = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("a", "b", "ahead"),
    [(0, 0, 0), (1, 0, 1), (0, 1, -1), (0, 2**32 - 1, 1), (2**32 - 1, 0, -1), (5, 2**32 - 5, 10)],
)
def test_order_across_the_wrap(a: int, b: int, ahead: int) -> None:
    assert serial.diff(a, b) == ahead
    assert serial.gt(a, b) is (ahead > 0)
    assert serial.ge(a, b) is (ahead >= 0)
    assert serial.lt(a, b) is (ahead < 0)
    assert serial.le(a, b) is (ahead <= 0)


@given(numbers, st.integers(-(2**31) + 1, 2**31 - 1))
def test_diff_undoes_add(a: int, n: int) -> None:
    b = serial.add(a, n)
    assert 0 <= b < 2**32
    assert serial.diff(b, a) == n
    assert serial.gt(b, a) == (n > 0)
    assert serial.lt(b, a) == (n < 0)


@given(numbers)
def test_opposite_numbers_have_no_order(a: int) -> None:
    b = serial.add(a, 2**31)
    assert not serial.lt(a, b)
    assert not serial.gt(a, b)
    assert serial.diff(a, b) == -(2**31)
