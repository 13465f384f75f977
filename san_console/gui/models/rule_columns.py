"""Who may log in to a served target, as columns of a table."""

from __future__ import annotations

from collections.abc import Callable

from san_console.gui.models.access_rows import AccessRow
from san_console.gui.models.columns import Column
from san_console.gui.models.subjects import ANYONE
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate

Words = Callable[[AccessRow], str]


def _tone(row: AccessRow) -> Tone:
    if row.subject != ANYONE:
        return "text"
    return "warning" if row.identity_ids else "bad"


def _now(row: AccessRow) -> str:
    if not row.connected:
        return translate("rule_columns", "none now")
    if row.many or row.connected > 1:
        return translate("rule_columns", "{count} connected").format(count=row.connected)
    return translate("rule_columns", "connected")


def rule_columns(title_of: Words, user: Callable[[str], str]) -> list[Column]:
    """`title_of` names a row, `user` a CHAP identity by its id."""
    return [
        Column(
            "who",
            translate("rule_columns", "Initiator"),
            title_of,
            tooltip=lambda row: row.subject,
            strong=True,
            tone=_tone,
            elide_middle=True,
            width=170,
            stretch=True,
        ),
        Column(
            "now",
            translate("rule_columns", "Now"),
            _now,
            kind="state",
            tone=lambda row: "good" if row.connected else "muted",
            width=124,
        ),
        Column(
            "accepted",
            translate("rule_columns", "Logs in with"),
            lambda row: (
                ", ".join(user(one) for one in row.identity_ids)
                if row.identity_ids
                else translate("rule_columns", "no proof")
            ),
            tone=lambda row: "warning" if not row.identity_ids else "text" if row.own else "muted",
            tooltip=lambda row: (
                translate("rule_columns", "Identities of its own")
                if row.own
                else translate("rule_columns", "As the target has it")
            ),
            width=170,
        ),
        Column(
            "mutual",
            translate("rule_columns", "Target proves itself"),
            lambda row: (
                user(row.mutual_identity_id) if row.mutual_identity_id else translate("rule_columns", "no")
            ),
            tone=lambda row: "text" if row.own and row.mutual_identity_id else "muted",
            width=150,
        ),
        Column("luns", "LUNs", lambda row: str(row.luns), sort=lambda row: row.luns, right=True, width=64),
    ]
