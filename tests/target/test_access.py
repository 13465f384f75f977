"""Which rule decides what an initiator sees."""

from __future__ import annotations

import pytest

from san_console.names.portal import Portal
from san_console.target.access import mapped_luns, may_log_in, parse_subject
from san_console.target.config import BackstoreSpec, LunConfig, MappingRule, PortalGroup, TargetConfig

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
