"""Changes of several local targets at once: what differs, what it does to whom, and what can be undone."""

from __future__ import annotations

from typing import Literal

import msgspec

from san_console.api.serving_objects import Consequence

ChangedKind = Literal[
    "target",
    "portal_group",
    "lun",
    "initiator_group",
    "access",
    "mapping",
    "limits",
    "chap",
    "discovery_chap",
]


class FieldChange(msgspec.Struct, kw_only=True):
    """A value before and after, as words; empty where there is none."""

    name: str
    before: str = ""
    after: str = ""


class ObjectChange(msgspec.Struct, kw_only=True):
    """One object that is added, changed or removed."""

    target: str
    kind: ChangedKind
    name: str
    """What the object is called within its target: the tag of a group, the name of a LUN, a subject, …"""
    action: Literal["added", "changed", "removed"]
    fields: list[FieldChange] = []
    """Of a change: what differs. Of an addition: what is said of it."""


class Disconnected(msgspec.Struct, kw_only=True):
    """A session that a change ends."""

    session_id: str
    initiator: str
    target: str
    why: str


class ChangePlan(msgspec.Struct, kw_only=True):
    """What a document (or an undoing) changes. Nothing to do where `changes` is empty."""

    base: str
    """Stands for the configuration that the plan was made from. Given to `serving.apply_targets`, it is
    applied to just that, or refused with `conflict`."""
    changes: list[ObjectChange] = []
    consequences: list[Consequence] = []
    disconnects: list[Disconnected] = []
    notes: list[str] = []
    """What the reader has to know beside, for instance what cannot be brought back."""


class TargetDocument(msgspec.Struct, kw_only=True):
    """Targets as YAML text (`target_document.py`). CHAP identities are named, secrets never."""

    text: str


class UndoStep(msgspec.Struct, kw_only=True):
    """A change that can be taken back; the newest is number 1."""

    number: int
    at: float
    text: str
    targets: list[str] = []
