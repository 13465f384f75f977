"""LUNs of a served target as columns of a table: made of what, how full, at work or not."""

from __future__ import annotations

from typing import Final

from san_console.api.serving_objects import BackstoreKind, BackstoreState, LocalLun
from san_console.gui import words
from san_console.gui.models.columns import Column
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate, translated

KINDS: Final[dict[BackstoreKind, str]] = {
    "file": QT_TRANSLATE_NOOP("Table", "file"),
    "memory": QT_TRANSLATE_NOOP("Table", "memory"),
    "block": QT_TRANSLATE_NOOP("Table", "disk"),
    "null": QT_TRANSLATE_NOOP("Table", "nothing"),
}
STATES: Final[dict[BackstoreState, str]] = {
    "online": QT_TRANSLATE_NOOP("Table", "online"),
    "offline": QT_TRANSLATE_NOOP("Table", "offline"),
}


def kind_word(lun: LocalLun) -> str:
    """What it is made of."""
    return translated(KINDS[lun.kind])


def state_tone(lun: LocalLun) -> Tone:
    if lun.state == "offline":
        return "bad" if lun.online else "muted"
    return "warning" if lun.threshold_reached else "good"


def state(lun: LocalLun) -> str:
    """`online`, `filling up`, `offline`."""
    if lun.state == "online" and lun.threshold_reached:
        return translate("served_luns", "filling up")
    return translated(STATES[lun.state])


def state_words(lun: LocalLun) -> str:
    """The state, and why a LUN is offline."""
    problem = lun.problem
    if problem is None:
        return state(lun)
    return "\n".join(text for text in (state(lun), problem.message, problem.check) if text)


def share_used(lun: LocalLun) -> float | None:
    return (
        min(lun.used_bytes / lun.size_bytes, 1.0) if lun.used_bytes is not None and lun.size_bytes else None
    )


def used(lun: LocalLun) -> str:
    share = share_used(lun)
    return words.NONE if share is None else f"{share:.0%}"


def used_words(lun: LocalLun) -> str:
    if lun.used_bytes is None:
        return translate("served_luns", "It cannot be told how much of it is in use.")
    text = translate("served_luns", "{used} of {size} in use").format(
        used=words.size(lun.used_bytes), size=words.size(lun.size_bytes)
    )
    if lun.soft_threshold_percent:
        text += translate("served_luns", "; initiators are warned from {percent} % on").format(
            percent=lun.soft_threshold_percent
        )
    return text


def flags(lun: LocalLun) -> str:
    return ", ".join(
        text
        for text, on in (
            (translate("served_luns", "read-only"), lun.read_only),
            (translate("served_luns", "thin"), lun.thin),
            (translate("served_luns", "no write cache"), not lun.write_cache),
            (translate("served_luns", "512e"), lun.block_bytes < lun.physical_block_bytes),
            (translate("served_luns", "4K blocks"), lun.block_bytes == 4096),
        )
        if on
    )


def lun_columns() -> list[Column]:
    return [
        Column("name", translate("served_luns", "Name"), lambda lun: lun.name, strong=True, width=104),
        Column("kind", translate("served_luns", "Made of"), kind_word, width=72),
        Column(
            "size",
            translate("served_luns", "Size"),
            lambda lun: words.size(lun.size_bytes),
            sort=lambda lun: lun.size_bytes,
            right=True,
            width=76,
        ),
        Column(
            "used",
            translate("served_luns", "Used"),
            used,
            sort=lambda lun: share_used(lun) or 0.0,
            kind="progress",
            detail=share_used,
            tone=lambda lun: "warning" if lun.threshold_reached else "accent",
            tooltip=used_words,
            width=112,
        ),
        Column("flags", translate("served_luns", "Kind"), flags, tooltip=flags, muted=True, width=120),
        Column(
            "state",
            translate("served_luns", "State"),
            state,
            kind="state",
            tone=state_tone,
            tooltip=state_words,
            width=96,
        ),
        Column(
            "path",
            translate("served_luns", "Path"),
            lambda lun: lun.path or words.NONE,
            mono=True,
            elide_middle=True,
            width=150,
            stretch=True,
        ),
        Column(
            "identity",
            translate("served_luns", "Identity"),
            lambda lun: lun.identity,
            mono=True,
            elide_middle=True,
            width=170,
            hidden=True,
        ),
        Column(
            "serial",
            translate("served_luns", "Serial number"),
            lambda lun: lun.unit_serial or lun.serial,
            mono=True,
            width=140,
            hidden=True,
        ),
        Column(
            "block",
            translate("served_luns", "Block"),
            lambda lun: f"{lun.block_bytes:,}",
            right=True,
            width=70,
            hidden=True,
        ),
    ]
