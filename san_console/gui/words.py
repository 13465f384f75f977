"""Figures in words: sizes, rates, times, counts. English; one place for a translation to begin."""

from __future__ import annotations

from typing import Final

NONE: Final = "–"
"""Where there is no figure. Not 0, which is one."""

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL: Final = ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 target`, `9 targets`, `10,000 targets`."""
    return f"{number:,} {one if number == 1 else (many or one + 's')}"


def size(count_bytes: float) -> str:
    """Capacities in binary units, as storage software counts them: `512 GiB`, `2.0 TiB`."""
    value, unit = float(count_bytes), _BINARY[0]
    for unit in _BINARY:
        if abs(value) < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{value:.0f} B"
    return (
        f"{value:.0f} {unit}"
        if value >= 100 or (value == int(value) and value >= 10)
        else f"{value:.1f} {unit}"
    )


def rate(bytes_per_s: float) -> str:
    """Throughput in decimal units, as networks count them: `435 MB/s`, `1.24 GB/s`."""
    value, unit = float(bytes_per_s), _DECIMAL[0]
    for unit in _DECIMAL:
        if abs(value) < 1000 or unit == _DECIMAL[-1]:
            break
        value /= 1000
    if unit == "B/s":
        return f"{value:.0f} B/s"
    return (
        f"{value:.0f} {unit}"
        if value >= 100
        else f"{value:.1f} {unit}"
        if value >= 10
        else f"{value:.2f} {unit}"
    )


def latency(microseconds: float) -> str:
    """`0.3 ms`, `85 µs`, `1.20 s`; `–` for none."""
    if microseconds <= 0:
        return NONE
    if microseconds < 100:
        return f"{microseconds:.0f} µs"
    if microseconds < 100_000:
        return f"{microseconds / 1000:.1f} ms"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.0f} ms"
    return f"{microseconds / 1_000_000:.2f} s"


def duration(seconds: float) -> str:
    """How long something has lasted, two units at most: `22 s`, `11 h 40 m`, `4 d 02 h`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m" if whole >= 600 else f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def ago(seconds: float) -> str:
    """`just now`, `40 s ago`, `2 min ago`, `3 h ago`, `5 d ago`."""
    whole = int(seconds)
    for limit, unit_s, unit in ((5, 0, ""), (60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if whole < limit:
            return f"{whole // unit_s} {unit} ago" if unit_s else "just now"
    return f"{whole // 86400} d ago"


def amount(value: float) -> str:
    """A count with separators: `18,420`; `–` for nothing."""
    return f"{value:,.0f}" if value else NONE


def short_name(iscsi_name: str) -> str:
    """What a person calls a target: the part after the last colon of an iqn, else the whole name."""
    if iscsi_name.startswith("iqn.") and ":" in iscsi_name:
        tail = iscsi_name.rsplit(":", 1)[1]
        return tail or iscsi_name
    return iscsi_name
