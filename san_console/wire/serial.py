"""Serial-number arithmetic (RFC 1982) on 32 bits, for CmdSN, StatSN, DataSN and their windows.

RFC 7143 §4.2.2.1 compares these numbers modulo 2**32. Two numbers exactly 2**31 apart have no order
(RFC 1982 §3.2): `lt` and `gt` are then both False, and `diff` gives -2**31.
"""

_MASK = 0xFFFFFFFF
_HALF = 0x80000000


def add(a: int, n: int) -> int:
    """`a` advanced by `n`; `n` may be negative."""
    return (a + n) & _MASK


def diff(a: int, b: int) -> int:
    """How far `a` is ahead of `b`, from -2**31 to 2**31 - 1."""
    return ((a - b + _HALF) & _MASK) - _HALF


def lt(a: int, b: int) -> bool:
    """True when `a` comes before `b`."""
    return 0 < ((b - a) & _MASK) < _HALF


def le(a: int, b: int) -> bool:
    """True when `a` is `b` or comes before it."""
    return ((b - a) & _MASK) < _HALF


def gt(a: int, b: int) -> bool:
    """True when `a` comes after `b`."""
    return 0 < ((a - b) & _MASK) < _HALF


def ge(a: int, b: int) -> bool:
    """True when `a` is `b` or comes after it."""
    return ((a - b) & _MASK) < _HALF
