from __future__ import annotations

import msgspec

from san_console.api.serving_objects import (
    Consequence,
    InitiatorAccess,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
    TargetSession,
)
from san_console.engine.access_view import AccessView, Seen
from san_console.engine.consequences import consequences

NAME = "iqn.2026-11.org.example:disks"
ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"


def rows(*subjects: str) -> list[InitiatorAccess]:
    return [InitiatorAccess(subject=one) for one in subjects]


def target(**more: object) -> LocalTarget:
    base = LocalTarget(
        id=NAME,
        portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
        luns=[
            LocalLun(id="l1", name="data", kind="memory", size_bytes=4096),
            LocalLun(id="l2", name="logs", kind="file", path="/x"),
        ],
        access=rows(ALICE, BOB),
        mappings=[
            Mapping(initiator=ALICE, lun_id="l1", lun=0),
            Mapping(initiator=ALICE, lun_id="l2", lun=1, read_only=True),
            Mapping(initiator=BOB, lun_id="l2", lun=0),
        ],
        identity_ids=["i1"],
        enabled=True,
    )
    return msgspec.structs.replace(base, **more)


def session(initiator: str, number: str = "1", portal: str = "127.0.0.1:3260") -> TargetSession:
    return TargetSession(id=number, target=NAME, initiator=initiator, address="127.0.0.1", portal=portal)


def texts(found: list[Consequence]) -> str:
    return "\n".join(f"{one.severity}: {one.text} {','.join(one.session_ids)}".rstrip() for one in found)


def test_no_change_is_said_to_be_none() -> None:
    assert texts(consequences(target(), target(), [])) == "info: Nothing changes for anybody."


def test_a_new_target_tells_who_gains_what() -> None:
    said = texts(consequences(None, target(), []))
    assert f"info: {ALICE} gains data as LUN 0, for reading and writing." in said
    assert f"info: {ALICE} gains logs as LUN 1, read-only." in said
    assert "reachable at 127.0.0.1:3260" in said


def test_losing_a_lun_is_dangerous_for_who_is_logged_in() -> None:
    fewer = target(access=rows(ALICE), mappings=[Mapping(initiator=ALICE, lun_id="l1", lun=0)])
    found = consequences(target(), fewer, [session(ALICE)])
    assert texts(found).startswith(f"danger: {ALICE} loses logs (LUN 1). 1")
    assert f"warning: {BOB} may no longer log in." in texts(found)


def test_other_numbers_and_rights_are_said() -> None:
    other = target(
        mappings=[
            Mapping(initiator=ALICE, lun_id="l1", lun=5, read_only=True),
            Mapping(initiator=ALICE, lun_id="l2", lun=1),
            Mapping(initiator=BOB, lun_id="l2", lun=0),
        ]
    )
    said = texts(consequences(target(), other, [session(ALICE, "9")]))
    assert f"danger: {ALICE} sees data as LUN 5 instead of 0. 9" in said
    assert f"danger: {ALICE} may no longer write to data. 9" in said
    assert f"warning: {ALICE} may write to logs. 9" in said


def test_removing_a_lun_in_memory_loses_its_content() -> None:
    mappings = [one for one in target().mappings if one.lun_id == "l2"]
    found = consequences(target(), target(luns=target().luns[1:], mappings=mappings), [session(ALICE)])
    assert found[0].severity == "danger"
    assert found[0].text == "LUN data is closed; its content is lost."
    assert found[0].session_ids == ["1"]


def test_other_storage_behind_a_lun_is_dangerous_a_new_name_is_not() -> None:
    luns = target().luns
    moved = [luns[0], msgspec.structs.replace(luns[1], path="/y")]
    assert "danger: LUN logs gets other storage" in texts(consequences(target(), target(luns=moved), []))
    renamed = [msgspec.structs.replace(luns[0], name="other"), luns[1]]
    assert "Nothing changes" in texts(consequences(target(), target(luns=renamed), []))


def test_portals_chap_and_being_disabled() -> None:
    moved = target(portal_groups=[PortalGroup(portals=["127.0.0.1:3261"])])
    said = texts(consequences(target(), moved, [session(ALICE)]))
    assert "danger: The target is no longer reachable at 127.0.0.1:3260. 1" in said
    assert "danger: Initiators log in without CHAP" in texts(
        consequences(target(), target(identity_ids=[]), [])
    )
    said = texts(consequences(target(identity_ids=[]), target(), []))
    assert "warning: Initiators have to log in with CHAP" in said
    said = texts(consequences(target(), target(enabled=False), [session(ALICE)]))
    assert said == "danger: The target stops being served; every session ends. 1"


def test_letting_anyone_in_is_said() -> None:
    wide = [*target().mappings, Mapping(initiator="*", lun_id="l1", lun=3)]
    open_to_all = target(access=rows(ALICE, BOB, "*"), mappings=wide, identity_ids=[])
    assert "warning: Any initiator may log in, without CHAP." in texts(
        consequences(target(), open_to_all, [])
    )


def test_the_matrix_is_the_whole_truth_about_access() -> None:
    nobody = AccessView(target(access=rows("*"), mappings=[]), {})
    assert (nobody.of(ALICE).allowed, nobody.of(ALICE).luns) == (True, {})
    assert not AccessView(target(), {}).of("iqn.2026-11.org.example:mallory").allowed
    assert AccessView(target(), {}).of(BOB).luns == {"l2": Seen(0, False)}
    open_to_all = AccessView(target(access=rows("*", ALICE)), {})
    assert open_to_all.of("iqn.2026-11.org.example:mallory").luns == {}


def test_what_anyone_sees_is_told_too() -> None:
    rule = Mapping(initiator="*", lun_id="l1", lun=0)
    before = target(access=rows("*"), mappings=[rule])
    said = texts(
        consequences(
            before, target(access=rows("*"), mappings=[rule, Mapping(initiator="*", lun_id="l2", lun=1)]), []
        )
    )
    assert said == "info: Any other initiator gains logs as LUN 1, for reading and writing."
    changed = msgspec.structs.replace(rule, read_only=True)
    said = texts(consequences(before, target(access=rows("*"), mappings=[changed]), [session(ALICE)]))
    assert f"danger: {ALICE} may no longer write to data. 1" in said
    assert "warning: Any other initiator may no longer write to data." in said
