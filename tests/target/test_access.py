"""Who may log in, with which secrets, and which rule decides what an initiator sees."""

from __future__ import annotations

import pytest

from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.target.access import chap_for, effective_access, mapped_luns, may_log_in, parse_subject
from san_console.target.config import (
    BackstoreSpec,
    ChapConfig,
    InitiatorAccess,
    InitiatorGroup,
    LunConfig,
    MappingRule,
    PortalGroup,
    TargetConfig,
)

ME = "iqn.2026-11.org.example:me"


def config(*rules: tuple[str, str, int, bool], anyone: bool = False) -> TargetConfig:
    return TargetConfig(
        "iqn.2026-11.org.example:t",
        [PortalGroup(1, [Portal("127.0.0.1", 0)])],
        luns=[LunConfig(name, name, BackstoreSpec("null", size_bytes=4096)) for name in "abc"],
        mappings=[MappingRule(*rule) for rule in rules],
        anyone=anyone,
    )


def seen(one: TargetConfig, name: str = ME) -> list[tuple[int, str, bool]]:
    return [(rule.lun, rule.lun_id, rule.read_only) for rule in mapped_luns(one, name)]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (ME, True),
        (ME.upper(), True),
        ("*", True),
        ("iqn.2026-11.org.example:*", True),
        ("*:ME", True),
        ("iqn.*.org.*:m*", True),
        ("*.example:m?", False),
        ("*.example:[m]e", False),
        ("iqn.2026-11.org.example:mee", False),
        ("iqn.2026-11.org.example:m*x", False),
    ],
)
def test_patterns(pattern: str, matches: bool) -> None:
    assert parse_subject(pattern).matches(ME, None) is matches


def test_nobody_gets_in_without_a_rule() -> None:
    assert not may_log_in(config(), ME)
    assert seen(config()) == []


def test_anyone_sees_all_luns_in_their_order() -> None:
    assert may_log_in(config(anyone=True), ME)
    assert seen(config(anyone=True)) == [(0, "a", False), (1, "b", False), (2, "c", False)]


def test_anyone_with_rules_sees_what_the_rules_say() -> None:
    one = config(("iqn.2026-11.org.example:you", "a", 0, False), anyone=True)
    assert may_log_in(one, ME)
    assert seen(one) == []


def test_the_more_specific_rule_decides_per_lun_and_per_number() -> None:
    one = config(
        ("*", "a", 0, True),
        ("*", "b", 1, True),
        ("*", "c", 9, False),
        (ME, "a", 5, False),
        ("iqn.2026-11.org.*", "b", 5, False),
        ("iqn.2026*", "b", 7, False),
    )
    assert seen(one) == [(5, "a", False), (7, "b", False), (9, "c", False)]
    assert seen(one, "iqn.2026-11.org.example:you") == [(0, "a", True), (5, "b", False), (9, "c", False)]
    assert seen(one, "eui.0123456789abcdef") == [(0, "a", True), (1, "b", True), (9, "c", False)]


def rich() -> TargetConfig:
    """Rules of every kind."""
    return TargetConfig(
        "iqn.2026-11.org.example:t",
        [PortalGroup(1, [Portal("127.0.0.1", 0)])],
        luns=[
            LunConfig(name, name, BackstoreSpec("null", size_bytes=4096, read_only=name == "d"))
            for name in "abcd"
        ],
        initiator_groups=[
            InitiatorGroup("cluster", ["iqn.2026-11.org.example:node*", "10.9.0.0/16"]),
            InitiatorGroup("spare", ["iqn.2026-11.org.example:spare"]),
        ],
        initiators=[
            InitiatorAccess(ME, ChapConfig([MINE], OURS)),
            InitiatorAccess("group:cluster", ChapConfig([CLUSTER, CLUSTER_TOO])),
            InitiatorAccess("192.168.0.0/24"),
        ],
        mappings=[
            MappingRule(ME, "a", 0),
            MappingRule("group:cluster", "a", 0),
            MappingRule("group:cluster", "b", 1, True),
            MappingRule("iqn.2026-11.org.example:node1", "c", 1),
            MappingRule("*@10.9.0.0/16", "d", 9),
        ],
        chap=ChapConfig([ALL]),
    )


MINE = ChapCredentials("me", Secret("mine-is-secret-1"))
OURS = ChapCredentials("target", Secret("ours-is-secret-1"))
CLUSTER = ChapCredentials("node", Secret("node-is-secret-1"))
CLUSTER_TOO = ChapCredentials("node2", Secret("node-is-secret-2"))
ALL = ChapCredentials("all", Secret("all--is-secret-1"))
NODE = "iqn.2026-11.org.example:node1"


@pytest.mark.parametrize(
    ("name", "address", "users", "luns"),
    [
        (ME, "", ["me"], [(0, "a", False)]),
        (ME, "10.9.0.1", ["me"], [(0, "a", False), (1, "b", True), (9, "d", True)]),
        (NODE, "", ["node", "node2"], [(0, "a", False), (1, "c", False)]),
        (NODE, "10.9.0.1", ["node", "node2"], [(0, "a", False), (1, "c", False), (9, "d", True)]),
        ("iqn.2026-11.org.example:node2", "", ["node", "node2"], [(0, "a", False), (1, "b", True)]),
        ("iqn.2026-11.org.example:x", "192.168.0.7", ["all"], []),
        (
            "iqn.2026-11.org.example:x",
            "10.9.3.4",
            ["node", "node2"],
            [(0, "a", False), (1, "b", True), (9, "d", True)],
        ),
    ],
)
def test_what_is_shown_is_what_holds(
    name: str, address: str, users: list[str], luns: list[tuple[int, str, bool]]
) -> None:
    one = rich()
    found = effective_access(one, name, address)
    assert found.allowed
    assert found.chap_users == users
    assert [lun[:3] for lun in found.luns] == luns
    assert found.rule
    assert found.why
    # And the login uses the same answers.
    assert may_log_in(one, name, address)
    chap = chap_for(one, name, address)
    assert chap is not None
    assert [user.user for user in chap.accepted] == users
    read_only = {lun.id: lun.backstore.read_only for lun in one.luns}
    assert [
        (rule.lun, rule.lun_id, rule.read_only or read_only[rule.lun_id])
        for rule in mapped_luns(one, name, address)
    ] == luns


def test_the_reasons_name_the_rules() -> None:
    found = effective_access(rich(), NODE, "10.9.0.1")
    assert (found.rule, found.why) == (NODE, f"The mapping lets {NODE} in.")
    assert [lun.why for lun in found.luns] == [
        "mapped for group:cluster",
        f"mapped for {NODE}",
        "mapped for 10.9.0.0/16; the LUN itself is read-only",
    ]
    assert found.hidden == [("b", f"LUN number 1 is taken by a more specific rule ({NODE})")]
    mine = effective_access(rich(), ME)
    assert mine.mutual_user == "target"
    assert ("c", "no mapping means this initiator") in mine.hidden
    assert effective_access(config(anyone=True), ME).why == "The target is open to anyone."
    assert "shows all LUNs" in effective_access(config(anyone=True), ME).luns[0].why


def test_who_is_not_meant_is_told_why() -> None:
    found = effective_access(rich(), "iqn.2026-11.org.example:x")
    assert not found.allowed
    assert found.luns == []
    assert "depending on where it comes from" in found.why
    found = effective_access(rich(), "iqn.2026-11.org.example:x", "172.16.0.1")
    assert found.why == "No rule of the target means iqn.2026-11.org.example:x from 172.16.0.1."
    assert not may_log_in(rich(), "iqn.2026-11.org.example:spare")  # a group that no rule names


def test_a_mapping_alone_lets_in_and_so_does_the_list_alone() -> None:
    one = config((ME, "a", 0, False))
    assert may_log_in(one, ME)
    assert chap_for(one, ME) is None
    assert not may_log_in(one, f"{ME}2")
