"""Figures in words: sizes, rates, times, counts, in the language of the window."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated

NONE: Final = "–"
"""Where there is no figure. Not 0, which is one."""

NOUNS: Final = (
    QT_TRANSLATE_NOOP("Table", "byte"),
    QT_TRANSLATE_NOOP("Table", "bytes"),
    QT_TRANSLATE_NOOP("Table", "change"),
    QT_TRANSLATE_NOOP("Table", "changes"),
    QT_TRANSLATE_NOOP("Table", "changed limit"),
    QT_TRANSLATE_NOOP("Table", "changed limits"),
    QT_TRANSLATE_NOOP("Table", "connection"),
    QT_TRANSLATE_NOOP("Table", "connections"),
    QT_TRANSLATE_NOOP("Table", "error"),
    QT_TRANSLATE_NOOP("Table", "errors"),
    QT_TRANSLATE_NOOP("Table", "event"),
    QT_TRANSLATE_NOOP("Table", "events"),
    QT_TRANSLATE_NOOP("Table", "file or disk"),
    QT_TRANSLATE_NOOP("Table", "files or disks"),
    QT_TRANSLATE_NOOP("Table", "finding"),
    QT_TRANSLATE_NOOP("Table", "findings"),
    QT_TRANSLATE_NOOP("Table", "identities"),
    QT_TRANSLATE_NOOP("Table", "identity"),
    QT_TRANSLATE_NOOP("Table", "initiator"),
    QT_TRANSLATE_NOOP("Table", "initiators"),
    QT_TRANSLATE_NOOP("Table", "LUN"),
    QT_TRANSLATE_NOOP("Table", "LUNs"),
    QT_TRANSLATE_NOOP("Table", "more place"),
    QT_TRANSLATE_NOOP("Table", "more places"),
    QT_TRANSLATE_NOOP("Table", "group"),
    QT_TRANSLATE_NOOP("Table", "groups"),
    QT_TRANSLATE_NOOP("Table", "node"),
    QT_TRANSLATE_NOOP("Table", "nodes"),
    QT_TRANSLATE_NOOP("Table", "other session"),
    QT_TRANSLATE_NOOP("Table", "other sessions"),
    QT_TRANSLATE_NOOP("Table", "path"),
    QT_TRANSLATE_NOOP("Table", "paths"),
    QT_TRANSLATE_NOOP("Table", "pending change"),
    QT_TRANSLATE_NOOP("Table", "pending changes"),
    QT_TRANSLATE_NOOP("Table", "place"),
    QT_TRANSLATE_NOOP("Table", "places"),
    QT_TRANSLATE_NOOP("Table", "portal"),
    QT_TRANSLATE_NOOP("Table", "portals"),
    QT_TRANSLATE_NOOP("Table", "server"),
    QT_TRANSLATE_NOOP("Table", "servers"),
    QT_TRANSLATE_NOOP("Table", "session"),
    QT_TRANSLATE_NOOP("Table", "sessions"),
    QT_TRANSLATE_NOOP("Table", "source"),
    QT_TRANSLATE_NOOP("Table", "sources"),
    QT_TRANSLATE_NOOP("Table", "target"),
    QT_TRANSLATE_NOOP("Table", "targets"),
    QT_TRANSLATE_NOOP("Table", "task"),
    QT_TRANSLATE_NOOP("Table", "tasks"),
)
"""What `counted` counts: each in both numbers."""

_BINARY: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL: Final = ("B/s", "kB/s", "MB/s", "GB/s", "TB/s")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 target`, `9 targets`, `10,000 targets`. Nouns of both numbers have to be in `NOUNS`."""
    noun = translated(one if number == 1 else (many or one + "s"))
    return translate("words", "{number:,} {noun}").format(number=number, noun=noun)


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
        return translate("words", "{seconds} s").format(seconds=whole)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 600:
        return translate("words", "{minutes} m {seconds:02d} s").format(minutes=minutes, seconds=whole % 60)
    if whole < 3600:
        return translate("words", "{minutes} m").format(minutes=minutes)
    if whole < 86400:
        return translate("words", "{hours} h {minutes:02d} m").format(hours=hours, minutes=minutes % 60)
    return translate("words", "{days} d {hours:02d} h").format(days=days, hours=hours % 24)


_AGO: Final = (
    (5, 1, QT_TRANSLATE_NOOP("Table", "just now"), QT_TRANSLATE_NOOP("Table", "just now")),
    (60, 1, QT_TRANSLATE_NOOP("Table", "{count} s"), QT_TRANSLATE_NOOP("Table", "{count} s ago")),
    (3600, 60, QT_TRANSLATE_NOOP("Table", "{count} min"), QT_TRANSLATE_NOOP("Table", "{count} min ago")),
    (86400, 3600, QT_TRANSLATE_NOOP("Table", "{count} h"), QT_TRANSLATE_NOOP("Table", "{count} h ago")),
    (None, 86400, QT_TRANSLATE_NOOP("Table", "{count} d"), QT_TRANSLATE_NOOP("Table", "{count} d ago")),
)
"""Up to which second, the unit in seconds, the short form, the form of a sentence."""


def ago(seconds: float, *, short: bool = False) -> str:
    """`just now`, `40 s ago`, `2 min ago`, `3 h ago`, `5 d ago`; short: `40 s`."""
    whole = int(seconds)
    _limit, unit_s, brief, sentence = next(one for one in _AGO if one[0] is None or whole < one[0])
    return translated(brief if short else sentence).format(count=whole // unit_s)


def amount(value: float) -> str:
    """A count with separators: `18,420`; `–` for nothing."""
    return f"{value:,.0f}" if value else NONE


def ranges(numbers: Iterable[int]) -> str:
    """`0–3, 7`; `–` for none."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("–".join(map(str, part)) for part in parts) or NONE


def short_name(iscsi_name: str) -> str:
    """What a person calls a target: the part after the last colon of an iqn, else the whole name."""
    if iscsi_name.startswith("iqn.") and ":" in iscsi_name:
        tail = iscsi_name.rsplit(":", 1)[1]
        return tail or iscsi_name
    return iscsi_name
