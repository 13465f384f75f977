"""The simulated host decides about access as the real one does."""

from __future__ import annotations

import itertools

import pytest

from san_console.api.serving_objects import (
    InitiatorAccess,
    InitiatorGroup,
    LocalLun,
    LocalTarget,
    Mapping,
    PortalGroup,
)
from san_console.console.simulated.access_rules import effective
from san_console.console.simulated.demo_serving import ARCHIVE, LAB, PROD, initiator
from san_console.console.simulated.scenarios import SCENARIOS
from san_console.console.simulated.world import World
from san_console.engine.serving_config import access_config
from san_console.target.access import effective_access

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
NAMES = (ALICE, BOB, "iqn.2027-01.com.example:other")
ADDRESSES = ("", "10.1.2.3", "10.9.9.9", "192.0.2.1", "fe80::1")
SUBJECTS = (
    ALICE,
    f"{ALICE}@10.1.0.0/16",
    "iqn.2026-11.*",
    "*:bob",
    "10.0.0.0/8",
    "10.1.2.0/24",
    "fe80::/10",
    "group:some",
    "*",
)
USERS = {"i1": "one", "i2": "two"}


def compare(target: LocalTarget, name: str, address: str) -> None:
    real = effective_access(access_config(target, USERS), name, address)
    simulated = effective(target, name, address, USERS)
    assert simulated.allowed == real.allowed
    assert sorted(simulated.chap_users) == sorted(real.chap_users)
    assert [(one.lun, one.lun_id, one.read_only) for one in simulated.luns] == [
        (one.lun, one.lun_id, one.read_only) for one in real.luns
    ]
    assert {one.lun_id for one in simulated.hidden} == {lun_id for lun_id, _ in real.hidden}
    if real.allowed:
        assert simulated.rule == real.rule


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SUBJECTS, 2)))
def test_two_rules_are_weighed_alike(first: str, second: str) -> None:
    target = LocalTarget(
        id="iqn.2026-11.org.example:disks",
        portal_groups=[PortalGroup(portals=["127.0.0.1:3260"])],
        luns=[
            LocalLun(id="a", name="a", kind="null", size_bytes=4096),
            LocalLun(id="b", name="b", kind="null", size_bytes=4096, read_only=True),
        ],
        initiator_groups=[InitiatorGroup(name="some", members=[BOB, "10.9.0.0/16"])],
        access=[
            InitiatorAccess(subject=first, identity_ids=["i1"]),
            InitiatorAccess(subject=second, identity_ids=["i2"]),
        ],
        mappings=[
            Mapping(initiator=first, lun_id="a", lun=0),
            Mapping(initiator=second, lun_id="a", lun=1, read_only=True),
            Mapping(initiator=second, lun_id="b", lun=0),
        ],
    )
    for name, address in itertools.product(NAMES, ADDRESSES):
        compare(target, name, address)


def test_the_targets_of_the_demo() -> None:
    world = World(0.0, 1)
    SCENARIOS["demo"](world, None)
    names = [initiator(host) for host in ("db-1.example", "esx-7.example", "backup.example", "new.example")]
    for target, name in itertools.product((PROD, LAB, ARCHIVE), names):
        for address in ("", "10.20.40.9", "10.20.0.71"):
            compare(world.get("local_targets", target), name, address)
