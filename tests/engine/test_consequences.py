from __future__ import annotations

import msgspec

from san_console.api.serving_objects import (
    Consequence,
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    OperationalLimits,
    PortalGroup,
    TargetConnection,
    TargetSession,
)
from san_console.engine.access_view import AccessView, Seen
from san_console.engine.consequences import consequences, removal

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


def lines(old: LocalTarget, new: LocalTarget, *sessions: TargetSession) -> dict[str, Consequence]:
    """By its text."""
    return {one.text: one for one in consequences(old, new, sessions, {"i1": "alice", "i2": "bob"})}


def groups(**second: object) -> list[PortalGroup]:
    return [
        PortalGroup(portals=["127.0.0.1:3260"]),
        PortalGroup(tag=2, portals=["127.0.0.1:3261"], **second),  # type: ignore[arg-type]  # by name
    ]


def at(initiator: str, number: str, *portals: str, tpgt: int = 1) -> TargetSession:
    """A session with a connection through each of `portals`."""
    one = session(initiator, number, portals[0])
    one.tpgt = tpgt
    one.connections = [
        TargetConnection(cid=cid, address="127.0.0.1", portal=portal) for cid, portal in enumerate(portals)
    ]
    return one


def test_a_portal_that_goes_ends_the_sessions_that_have_no_other() -> None:
    alone = at(ALICE, "1", "127.0.0.1:3261", tpgt=2)
    both = at(BOB, "2", "127.0.0.1:3260", "127.0.0.1:3261")
    text = "The target is no longer reachable at 127.0.0.1:3261."
    found = lines(target(portal_groups=groups()), target(), alone, both)[text]
    assert (found.severity, found.session_ids, found.ends_sessions) == ("danger", ["1"], True)
    rest = lines(target(portal_groups=groups()), target(), alone, both)[
        "Connections through 127.0.0.1:3261 end; their sessions go on."
    ]
    assert (rest.severity, rest.session_ids, rest.ends_sessions) == ("warning", ["2"], False)
    nobody = lines(target(portal_groups=groups()), target())[text]
    assert (nobody.severity, nobody.ends_sessions) == ("warning", False)


def test_paths_that_change_their_state_say_what_that_means() -> None:
    mine = at(ALICE, "1", "127.0.0.1:3261", tpgt=2)
    for state, grade in (
        ("standby", "danger"),
        ("active/non-optimized", "info"),
        ("transitioning", "warning"),
    ):
        found = lines(target(portal_groups=groups()), target(portal_groups=groups(access_state=state)), mine)
        (line,) = found.values()
        assert (line.severity, line.session_ids) == (grade, ["1"])
        assert state in line.text
    found = lines(
        target(portal_groups=groups()),
        target(portal_groups=groups(redirect_to="127.0.0.1:3260", redirect_permanent=True, preferred=True)),
    )
    assert set(found) == {
        "Portal group 2 is the preferred one.",
        "Logins at portal group 2 are sent to 127.0.0.1:3260, for good.",
    }


def test_a_portal_in_another_group_ends_the_sessions_of_the_first() -> None:
    moved = [PortalGroup(portals=["127.0.0.1:3260", "127.0.0.1:3261"])]
    mine = at(ALICE, "1", "127.0.0.1:3261", tpgt=2)
    found = lines(target(portal_groups=groups()), target(portal_groups=moved), mine)
    (line,) = (one for one in found.values() if one.session_ids)
    assert (line.severity, line.session_ids, line.ends_sessions) == ("danger", ["1"], True)


def test_chap_of_single_initiators() -> None:
    own = [InitiatorAccess(subject=ALICE, identity_ids=["i2"]), InitiatorAccess(subject=BOB)]
    found = lines(target(), target(access=own), session(ALICE), session(BOB, "2"))
    (line,) = found.values()
    assert (line.severity, line.session_ids, line.ends_sessions) == ("warning", ["1"], False)
    assert line.text == f"{ALICE} has to log in with CHAP identities of its own from the next login on."
    found = lines(target(access=own), target(), session(ALICE))
    assert (
        next(iter(found))
        == f"{ALICE} has to log in with the identities of the target from the next login on."
    )
    open_to_all = lines(target(access=own, identity_ids=[]), target(identity_ids=[]))
    assert open_to_all[f"{ALICE} may log in without CHAP from now on."].severity == "danger"


def test_limits_are_for_new_sessions() -> None:
    found = lines(target(), target(limits=OperationalLimits(max_connections=2)), session(ALICE))
    (text,) = found
    assert text.startswith(
        "Limits change for new sessions: max connections 8 → 2. The sessions that are there"
    )


def test_luns_that_go_offline_grow_or_call_themselves_otherwise() -> None:
    def changed(**more: object) -> dict[str, Consequence]:
        luns = target().luns
        return lines(
            target(), target(luns=[msgspec.structs.replace(luns[0], **more), luns[1]]), session(ALICE)
        )

    assert (
        changed(online=False)["LUN data goes offline: its commands fail until it is online again."].severity
        == "danger"
    )
    assert "LUN data grows from 4,096 to 8,192 bytes." in changed(size_bytes=8192)
    assert changed(serial="another")[
        "LUN data is another disk for initiators: its serial number or identity changes."
    ].session_ids == ["1"]
    assert "LUN data describes itself differently to initiators." in changed(vendor="ACME")
    assert "A write to LUN data waits for the medium from now on." in changed(write_cache=False)
    assert (
        changed(kind="null")["LUN data gets other storage behind it. Its content is lost."].severity
        == "danger"
    )


def test_rules_for_many_are_told_by_their_rule_and_by_who_is_there() -> None:
    wide = [
        Mapping(initiator="10.0.0.0/8", lun_id="l2", lun=4),
        Mapping(initiator="group:cluster", lun_id="l2", lun=5),
    ]
    near = session("iqn.2026-11.org.example:near")
    near.address = "10.1.2.3"
    cluster = [InitiatorGroup(name="cluster", members=["iqn.2026-11.org.example:member"])]
    before = target(mappings=[*target().mappings, wide[0]], initiator_groups=cluster)
    after = target(mappings=[*target().mappings, wide[1]], initiator_groups=cluster)
    found = lines(before, after, near)
    gone = found["iqn.2026-11.org.example:near may no longer log in."]
    assert (gone.severity, gone.ends_sessions) == ("danger", True)
    assert "Whoever 10.0.0.0/8 means loses logs (LUN 4)." in found
    assert "Whoever group:cluster means gains logs as LUN 5, for reading and writing." in found
    assert "iqn.2026-11.org.example:member gains logs as LUN 5, for reading and writing." in found


def test_rules_that_let_many_in_say_whether_with_chap() -> None:
    wide = [*target().access, *rows("0.0.0.0/0", "iqn.*", "group:all", "group:one", f"{ALICE}@10.0.0.0/8")]
    everybody = [
        InitiatorGroup(name="all", members=["*"]),
        InitiatorGroup(name="one", members=["iqn.2026-11.org.example:member"]),
    ]
    for ids, how, grade in ((["i1"], "with", "info"), ([], "without", "warning")):
        before = target(identity_ids=ids, initiator_groups=everybody)
        after = msgspec.structs.replace(before, access=wide)
        told = {text: one.severity for text, one in lines(before, after).items() if "Whoever" in text}
        assert told == {
            f"Whoever {one} means may log in, {how} CHAP.": grade
            for one in ("0.0.0.0/0", "iqn.*", "group:all")
        }


def test_a_session_goes_on_with_the_connections_that_may_stay() -> None:
    one = at(ALICE, "1", "127.0.0.1:3260", "127.0.0.1:3260")
    one.connections[1].address = "127.0.0.2"
    mapping = Mapping(initiator=f"{ALICE}@127.0.0.2", lun_id="l1", lun=0)
    before = target(access=[], mappings=[Mapping(initiator=ALICE, lun_id="l1", lun=0)])
    found = lines(before, target(access=[], mappings=[mapping]), one)
    told = found[f"Connections of {ALICE} from 127.0.0.1 end; the session goes on."]
    assert (told.severity, told.ends_sessions, told.session_ids) == ("warning", False, ["1"])
    assert not any(line.ends_sessions for line in found.values())


def test_a_target_that_is_removed() -> None:
    ends, lost = removal(target(), [session(ALICE)])
    assert (ends.session_ids, ends.ends_sessions) == (["1"], True)
    assert "data is lost" in lost.text
