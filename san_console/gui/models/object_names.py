"""What objects are called in a sentence, and on which page they are shown."""

from __future__ import annotations

from typing import Final

from san_console.gui import words
from san_console.gui.bridge.host import QtHost
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translate

PAGE_OF_KIND: Final[dict[str, str]] = {
    "source": "discover",
    "target": "targets",
    "session": "sessions",
    "lun": "luns",
    "local_target": "serve",
    "target_session": "serve",
    "isns": "isns",
    "identity": "secrets",
}
"""`Event.object_kind` to the key of a page; the other kinds have no page of their own."""

EVENT_ICONS: Final[dict[str, tuple[str, Tone]]] = {
    "login": ("log-in", "good"),
    "target_login": ("log-in", "good"),
    "login_failed": ("lock", "bad"),
    "target_login_failed": ("lock", "bad"),
    "logout": ("log-out", "muted"),
    "target_logout": ("log-out", "muted"),
    "session_closed": ("log-out", "muted"),
    "session_lost": ("unplug", "bad"),
    "connection_lost": ("unplug", "warning"),
    "connection_closed": ("unplug", "muted"),
    "retry_scheduled": ("clock", "warning"),
    "recovered": ("rotate-cw", "good"),
    "redirected": ("route", "accent"),
    "protocol_error": ("ban", "warning"),
    "target_added": ("server", "good"),
    "target_created": ("server", "good"),
    "target_changed": ("pencil", "muted"),
    "target_removed": ("trash-2", "muted"),
    "access_state_changed": ("route", "muted"),
    "access_state_set": ("route", "muted"),
    "lun_online": ("power", "good"),
    "lun_offline": ("power", "bad"),
    "lun_grown": ("hard-drive", "good"),
    "threshold_reached": ("gauge", "warning"),
    "backstore_error": ("hard-drive", "bad"),
    "reservation_cleared": ("key-round", "warning"),
    "discovery_chap_set": ("shield", "muted"),
    "discovery_chap_failed": ("shield", "bad"),
    "targets_applied": ("upload", "muted"),
    "targets_undone": ("undo-2", "muted"),
    "serving_failed": ("server", "bad"),
}
"""What an event is about, at a glance. The tone is what it means for the object, not how urgent it is."""

_SEVERITY_ICONS: Final[dict[str, tuple[str, Tone]]] = {
    "info": ("info", "muted"),
    "warning": ("triangle-alert", "warning"),
    "error": ("circle-alert", "bad"),
}


def event_icon(kind: str, severity: str) -> tuple[str, Tone]:
    """Icon and tone of an event; one that is an error is never shown as good."""
    found = EVENT_ICONS.get(kind)
    other = _SEVERITY_ICONS.get(severity, _SEVERITY_ICONS["info"])
    if found is None:
        return other
    return (found[0], other[1]) if severity != "info" else found


KIND_WORDS: Final[dict[str, str]] = {
    "engine": QT_TRANSLATE_NOOP("Table", "engine"),
    "source": QT_TRANSLATE_NOOP("Table", "source"),
    "target": QT_TRANSLATE_NOOP("Table", "target"),
    "session": QT_TRANSLATE_NOOP("Table", "session"),
    "lun": QT_TRANSLATE_NOOP("Table", "LUN"),
    "local_target": QT_TRANSLATE_NOOP("Table", "served target"),
    "target_session": QT_TRANSLATE_NOOP("Table", "initiator"),
    "isns": QT_TRANSLATE_NOOP("Table", "iSNS server"),
    "identity": QT_TRANSLATE_NOOP("Table", "identity"),
    "job": QT_TRANSLATE_NOOP("Table", "task"),
}

_COLLECTIONS: Final[dict[str, str]] = {
    "session": "sessions",
    "lun": "luns",
    "target_session": "target_sessions",
    "identity": "identities",
    "job": "jobs",
}


def object_name(host: QtHost, kind: str, identifier: str) -> str:
    """The short name of an object, also of one that is gone: then its id."""
    if kind == "engine":
        return translate("object_names", "engine")
    item = host.get(_COLLECTIONS[kind], identifier) if kind in _COLLECTIONS else None
    if kind == "session" and item is not None:
        return words.short_name(item.target)
    if kind == "lun" and item is not None:
        return lun_name(item.target, item.lun)
    if kind == "target_session" and item is not None:
        return words.short_name(item.initiator)
    if kind == "identity" and item is not None:
        user: str = item.user
        return user
    if kind == "job" and item is not None:
        title: str = item.title
        return title
    if kind == "isns" and identifier == "embedded":
        return translate("object_names", "embedded server")
    return words.short_name(identifier)


def lun_name(target: str, lun: int) -> str:
    """`prod-db · 0`."""
    return f"{words.short_name(target)} · {lun}"
