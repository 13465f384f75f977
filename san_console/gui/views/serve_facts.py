"""What the list at the left and the card below it tell of a served target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from san_console.api.serving_objects import AccessState, LocalTarget
from san_console.gui import words
from san_console.gui.dialogs.portal_group import state_name
from san_console.gui.models.subjects import ANYONE
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import translate
from san_console.gui.widgets.key_values import Pair
from san_console.gui.widgets.side_list import Entry

MAX_PORTALS_SHOWN: Final = 8

STATE_TONES: Final[dict[AccessState, Tone]] = {
    "active/optimized": "good",
    "active/non-optimized": "good",
    "standby": "warning",
    "transitioning": "warning",
    "unavailable": "bad",
    "offline": "bad",
}
"""Of the paths through a portal group."""


def is_open(target: LocalTarget) -> bool:
    """Whether an initiator that nobody named and that knows no secret may log in."""
    if ANYONE not in target.initiators:
        return False
    row = next((one for one in target.access if one.subject == ANYONE), None)
    return not target.identity_ids and (row is None or not row.identity_ids)


def tag_of(target: LocalTarget, sessions: int) -> tuple[str, Tone]:
    """The tag in the list: what matters most of a target."""
    if target.state == "failed":
        return (translate("serve", "failed"), "bad")
    if target.state == "stopped" or not target.enabled:
        return (translate("serve", "stopped"), "muted")
    if any(lun.state == "offline" for lun in target.luns):
        return (translate("serve", "offline"), "bad")
    if any(lun.threshold_reached for lun in target.luns):
        return (translate("serve", "filling up"), "warning")
    if is_open(target):
        return (translate("serve", "open"), "warning")
    return (
        (translate("serve", "{sessions} up").format(sessions=sessions), "good")
        if sessions
        else (translate("serve", "idle"), "muted")
    )


def entry_of(target: LocalTarget, sessions: int) -> Entry:
    """The target's row in the list."""
    tag, tone = tag_of(target, sessions)
    named = sum(name != ANYONE for name in target.initiators)
    nobody = translate("serve", "anyone") if ANYONE in target.initiators else translate("serve", "nobody")
    who = words.counted(named, "initiator") if named else nobody
    return Entry(
        target.id,
        target.alias or words.short_name(target.id),
        f"{words.counted(len(target.luns), 'LUN')}, {who}",
        icon="target",
        tag=tag,
        tag_tone=tone,
    )


def facts_of(target: LocalTarget) -> list[Pair]:
    """State, portals, CHAP, who may log in, iSNS."""
    state: dict[str, tuple[str, Tone]] = {
        "serving": (translate("serve", "serving"), "good"),
        "stopped": (translate("serve", "stopped"), "muted"),
        "failed": (translate("serve", "failed"), "bad"),
    }
    word, tone = state[target.state]
    pairs = [Pair(translate("serve", "State"), word, tone)]
    troubles = [lun for lun in target.luns if lun.state == "offline"]
    filling = [lun for lun in target.luns if lun.threshold_reached and lun.state != "offline"]
    if troubles:
        names = ", ".join(lun.name or lun.id for lun in troubles)
        pairs.append(Pair(translate("serve", "Offline"), names, "bad"))
    if filling:
        pairs.append(
            Pair(
                translate("serve", "Filling up"), ", ".join(lun.name or lun.id for lun in filling), "warning"
            )
        )
    pairs += _portals(target)
    if target.identity_ids:
        chap = (
            translate("serve", "both directions")
            if target.mutual_identity_id
            else translate("serve", "initiators prove themselves")
        )
        pairs.append(Pair("CHAP", chap, "good"))
    else:
        pairs.append(Pair("CHAP", translate("serve", "none"), "bad" if is_open(target) else "muted"))
    if ANYONE in target.initiators:
        pairs.append(
            Pair(
                translate("serve", "Access"),
                translate("serve", "anyone may log in"),
                "bad" if is_open(target) else "warning",
            )
        )
    if not target.registrations:
        pairs.append(Pair("iSNS", translate("serve", "not registered"), "muted"))
    tones: dict[str, tuple[str, Tone]] = {
        "registered": (translate("serve", "registered"), "good"),
        "failed": (translate("serve", "failed"), "bad"),
        "pending": (translate("serve", "pending"), "muted"),
    }
    pairs += [Pair("iSNS", *tones[one.state]) for one in target.registrations[:MAX_PORTALS_SHOWN]]
    return pairs


def _portals(target: LocalTarget) -> Iterable[Pair]:
    """Each group with its tag where there are several, and with its state where that is not the best."""
    several = len(target.portal_groups) > 1
    shown = 0
    for group in target.portal_groups:
        for number, portal in enumerate(group.portals):
            if shown == MAX_PORTALS_SHOWN:
                left = len(target.portals) - shown
                if left > 0:
                    yield Pair("", translate("serve", "and {left} more").format(left=left), "muted")
                return
            name = ""
            if several and not number:
                name = translate("serve", "Group {tag}").format(tag=group.tag)
            elif not several and not shown:
                name = translate("serve", "Portals")
            yield Pair(name, portal, mono=True)
            shown += 1
        if group.access_state != "active/optimized":
            yield Pair("", state_name(group.access_state), STATE_TONES[group.access_state])
        if group.redirect_to:
            sent = translate("serve", "sends logins to {portal}").format(portal=group.redirect_to)
            yield Pair("", sent, "warning")
