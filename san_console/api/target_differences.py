"""What differs between two states of a local target, object by object. Pure: structs in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from san_console.api.plan_objects import ChangedKind, FieldChange, ObjectChange
from san_console.api.serving_objects import LocalLun, LocalTarget
from san_console.api.target_document import GroupEntry, LunEntry, TargetEntry, size_words

_WHOLE: Final = ("alias", "enabled", "register_with")
"""Of the target itself."""

_LUN: Final = tuple(name for name in LunEntry.__struct_fields__ if name not in ("id", "size", "create"))
Fields = dict[str, str]
_NOTHING: Final[Mapping[str, str]] = {}
Described = dict[Any, tuple[str, Fields]]
"""By key: what the object is called, and its fields in words."""


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _usual(entry: type[msgspec.Struct]) -> dict[str, str]:
    """What holds where a document does not say it."""
    return {
        field.name: _word(field.default)
        for field in msgspec.structs.fields(entry)
        if field.default is not msgspec.NODEFAULT
    }


_USUAL_TARGET: Final = _usual(TargetEntry)
_USUAL_GROUP: Final = _usual(GroupEntry)
_USUAL_LUN: Final = _usual(LunEntry)


def differences(
    old: LocalTarget | None, new: LocalTarget | None, users: Mapping[str, str]
) -> list[ObjectChange]:
    """The changes that lead from `old` to `new`; None: there is no target. `users`: CHAP names by identity
    id. What the engine tells of a target (its state, what is used) is no difference.
    """
    target = new if new is not None else old
    if target is None:
        return []
    if old is None or new is None:
        told = {name: _word(getattr(new, name)) for name in _WHOLE} if new is not None else {}
        fields = [_field(name, "", word) for name, word in told.items() if word != _USUAL_TARGET.get(name)]
        found = [
            ObjectChange(
                target=target.id,
                kind="target",
                name=target.id,
                action="removed" if new is None else "added",
                fields=[field for field in fields if field.after],
            )
        ]
        if new is None:
            return found
        old = LocalTarget(id=new.id)
    else:
        fields = field_changes(
            {name: _word(getattr(old, name)) for name in _WHOLE},
            {name: _word(getattr(new, name)) for name in _WHOLE},
        )
        found = (
            [ObjectChange(target=new.id, kind="target", name=new.id, action="changed", fields=fields)]
            if fields
            else []
        )
    found += _compared(new.id, "portal_group", _groups(old), _groups(new), _USUAL_GROUP)
    found += _compared(new.id, "lun", _luns(old), _luns(new), _USUAL_LUN)
    found += _compared(new.id, "initiator_group", _initiator_groups(old), _initiator_groups(new))
    found += _compared(new.id, "access", _access(old, users), _access(new, users))
    found += _compared(new.id, "mapping", _mappings(old), _mappings(new))
    found += _compared(new.id, "chap", _chap(old, users), _chap(new, users))
    found += _compared(new.id, "limits", _limits(old), _limits(new))
    return found


def chap_words(ids: Iterable[str], mutual: str, users: Mapping[str, str]) -> Fields:
    """CHAP in words, by the names of the identities."""
    return {
        "identities": ", ".join(users.get(one, one) for one in ids),
        "mutual": users.get(mutual, mutual),
    }


def _compared(
    target: str, kind: ChangedKind, before: Described, after: Described, usual: Mapping[str, str] = _NOTHING
) -> list[ObjectChange]:
    """`usual`: what is not worth telling of an object that is added."""
    found = []
    for key, (name, fields) in before.items():
        if key not in after:
            found.append(ObjectChange(target=target, kind=kind, name=name, action="removed"))
        elif changed := field_changes(fields, after[key][1]):
            found.append(
                ObjectChange(target=target, kind=kind, name=after[key][0], action="changed", fields=changed)
            )
    for key, (name, fields) in after.items():
        if key not in before:
            usual = {**usual, "name": name}  # it stands in front of them
            told = [
                _field(field, "", value)
                for field, value in fields.items()
                if value and value != usual.get(field)
            ]
            found.append(ObjectChange(target=target, kind=kind, name=name, action="added", fields=told))
    return found


def field_changes(before: Fields, after: Fields) -> list[FieldChange]:
    """Those that differ."""
    names = dict.fromkeys((*before, *after))
    return [
        _field(name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    ]


def _field(name: str, before: str, after: str) -> FieldChange:
    return FieldChange(name=name.replace("_", " "), before=before, after=after)


def _groups(target: LocalTarget) -> Described:
    return {
        group.tag: (
            str(group.tag),
            {
                "portals": ", ".join(group.portals),
                "access_state": group.access_state,
                "preferred": _word(group.preferred),
                "redirect_to": group.redirect_to,
                "redirect_permanent": _word(group.redirect_permanent) if group.redirect_to else "",
            },
        )
        for group in target.portal_groups
    }


def _luns(target: LocalTarget) -> Described:
    return {lun.id: (lun.name or lun.id, _lun_fields(lun)) for lun in target.luns}


def _lun_fields(lun: LocalLun) -> Fields:
    return {
        "size": str(size_words(lun.size_bytes) or ""),
        **{name: _word(getattr(lun, name)) for name in _LUN},
    }


def _initiator_groups(target: LocalTarget) -> Described:
    return {
        group.name: (group.name, {"members": ", ".join(group.members)}) for group in target.initiator_groups
    }


def _access(target: LocalTarget, users: Mapping[str, str]) -> Described:
    return {
        row.subject: (row.subject, chap_words(row.identity_ids, row.mutual_identity_id, users))
        for row in target.access
    }


def _mappings(target: LocalTarget) -> Described:
    names = {lun.id: lun.name or lun.id for lun in target.luns}
    return {
        (rule.initiator, rule.lun_id, number): (
            f"{rule.initiator} · {names.get(rule.lun_id, rule.lun_id)}",
            {"lun": str(rule.lun), "rights": "read-only" if rule.read_only else "read and write"},
        )
        for (number, rule) in _numbered(target)
    }


def _numbered(target: LocalTarget) -> Iterable[tuple[int, Any]]:
    """Each mapping with its place among those of the same initiator and LUN; there may be several."""
    counts: dict[tuple[str, str], int] = {}
    for rule in target.mappings:
        key = (rule.initiator, rule.lun_id)
        counts[key] = counts.get(key, 0) + 1
        yield counts[key], rule


def _chap(target: LocalTarget, users: Mapping[str, str]) -> Described:
    if not target.identity_ids:
        return {}
    return {"chap": (target.id, chap_words(target.identity_ids, target.mutual_identity_id, users))}


def _limits(target: LocalTarget) -> Described:
    values = msgspec.structs.asdict(target.limits)
    return {"limits": (target.id, {name: _word(value) for name, value in values.items()})}
