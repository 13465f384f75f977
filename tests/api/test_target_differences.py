"""What differs between two states of a target, object by object."""

from __future__ import annotations

import msgspec

from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
)
from san_console.api.target_differences import differences

NAME = "iqn.2026-11.org.example:disks"
USERS = {"i1": "alice", "i2": "the-target"}


def target(**more: object) -> LocalTarget:
    base = LocalTarget(
        id=NAME,
        portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
        luns=[LocalLun(id="l1", name="data", kind="memory", size_bytes=1 << 20)],
        access=[InitiatorAccess(subject="*")],
        mappings=[Mapping(initiator="*", lun_id="l1", lun=0)],
    )
    return msgspec.structs.replace(base, **more)


def told(old: LocalTarget | None, new: LocalTarget | None) -> list[str]:
    return [
        f"{one.action} {one.kind} {one.name}: "
        + ", ".join(f"{field.name} {field.before or '-'}>{field.after or '-'}" for field in one.fields)
        for one in differences(old, new, USERS)
    ]


def test_the_same_is_no_difference_whatever_the_engine_tells_of_it() -> None:
    shown = target(state="serving")
    shown.luns[0].used_bytes = 7
    shown.luns[0].state = "offline"
    assert differences(target(), shown, USERS) == []
    assert differences(None, None, USERS) == []


def test_targets_come_and_go() -> None:
    assert told(target(), None) == [f"removed target {NAME}: "]
    lines = told(None, target())
    # What has its default needs no telling.
    assert lines[0] == f"added target {NAME}: "
    assert lines[1] == "added portal_group 1: portals ->127.0.0.1:3260"
    assert lines[2] == "added lun data: size ->1 MiB, kind ->memory"
    assert told(None, target(enabled=False))[0] == f"added target {NAME}: enabled ->no"
    assert [line.split(":")[0] for line in lines[2:]] == [
        "added lun data",
        "added access *",
        "added mapping * · data",
    ]


def test_each_kind_of_object_is_told() -> None:
    new = target(
        alias="new",
        portal_groups=[
            PortalGroup(portals=["127.0.0.1:3260"], access_state="standby"),
            PortalGroup(tag=2, portals=["[::1]:3260"], redirect_to="127.0.0.1:3260"),
        ],
        luns=[LocalLun(id="l1", name="data", kind="memory", size_bytes=2 << 20, online=False)],
        initiator_groups=[InitiatorGroup(name="g", members=["10.0.0.0/8"])],
        access=[InitiatorAccess(subject="*", identity_ids=["i1"])],
        mappings=[Mapping(initiator="*", lun_id="l1", lun=3, read_only=True)],
        identity_ids=["i1"],
        mutual_identity_id="i2",
        limits=OperationalLimits(max_connections=1),
    )
    assert told(target(), new) == [
        f"changed target {NAME}: alias ->new",
        "changed portal_group 1: access state active/optimized>standby",
        ("added portal_group 2: portals ->[::1]:3260, redirect to ->127.0.0.1:3260"),
        "changed lun data: size 1 MiB>2 MiB, online yes>no",
        "added initiator_group g: members ->10.0.0.0/8",
        "changed access *: identities ->alice",
        "changed mapping * · data: lun 0>3, rights read and write>read-only",
        f"added chap {NAME}: identities ->alice, mutual ->the-target",
        f"changed limits {NAME}: max connections 8>1",
    ]
    back = told(new, target())
    assert f"removed chap {NAME}: " in back
    assert "removed portal_group 2: " in back


def test_the_same_lun_mapped_twice_for_one_initiator() -> None:
    twice = target(mappings=[*target().mappings, Mapping(initiator="*", lun_id="l1", lun=5)])
    assert told(target(), twice) == ["added mapping * · data: lun ->5, rights ->read and write"]
    assert told(twice, target()) == ["removed mapping * · data: "]
