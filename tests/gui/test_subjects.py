"""Whom a rule means: the window tells what the engine decides."""

from __future__ import annotations

import pytest

from san_console.api.serving_objects import InitiatorGroup
from san_console.gui.models.subjects import (
    deciding,
    rank,
    read_subject,
    subject_meaning,
    subject_title,
)
from san_console.target.errors import ConfigError
from san_console.target.subjects import SubjectIndex, parse_subject

DB = "iqn.2004-10.com.example.hosts:db-1"
GROUPS = {"backup": ["10.20.40.0/24", "iqn.2004-10.com.example.hosts:bak-*"], "cluster": [DB, "fd00::/8"]}
GOOD = (
    DB,
    DB.upper(),
    "iqn.2004-10.com.example.hosts:d*",
    "iqn.2004-10.com.example.hosts:**",
    "*",
    "10.20.0.0/16",
    "10.20.0.7",
    "fd00::/8",
    "FD00::1",
    f"{DB}@10.20.0.0/16",
    f"{DB}@fd00::/8",
    "*@10.0.0.0/8",
    "iqn.*@10.20.0.7",
    "group:backup",
    "group:cluster",
    "iqn.2001-04.com.example:with_underscore",
    "iqn.2001-04.com.example:at@home",
)
BAD = (
    "",
    "nothing",
    "10.20.0.1/16",
    "10.20.0.300",
    "fd00::/129",
    "group:",
    "group: x",
    "iqn.bad name",
    "a b*",
)
WHO = (
    (DB, "10.20.0.71"),
    (DB, ""),
    (DB, "fd00::9"),
    (DB, "::ffff:10.20.0.7"),
    ("iqn.2004-10.com.example.hosts:bak-3", "10.20.40.9"),
    ("iqn.1991-05.com.microsoft:win", "10.20.0.7"),
    ("iqn.1991-05.com.microsoft:win", "fe80::1%eth0"),
)


@pytest.mark.parametrize("text", GOOD)
def test_it_is_read_as_the_engine_reads_it(text: str) -> None:
    assert read_subject(text).text == parse_subject(text).text
    assert subject_meaning(read_subject(text)).endswith(".")


@pytest.mark.parametrize("text", BAD)
def test_what_the_engine_refuses_is_refused_while_it_is_typed(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_subject(text)
    with pytest.raises(ValueError, match=r"\w{3}"):
        read_subject(text)


@pytest.mark.parametrize(("name", "address"), WHO)
def test_the_same_rules_decide_in_the_same_order(name: str, address: str) -> None:
    engine = SubjectIndex([(text, text) for text in GOOD], GROUPS.items())
    decided = [(found, text) for found, _, text in engine.matching(name, address)]
    ours = deciding(GOOD, name, address, GROUPS)
    assert ours == [text for _, text in decided]
    assert [rank(text, name, address, GROUPS) for text in ours] == [found for found, _ in decided]


def test_a_group_is_not_looked_for_in_a_group() -> None:
    assert rank("group:a", DB, "", {"a": ["group:b"], "b": [DB]}) is None
    assert rank("group:gone", DB, "", {}) is None


@pytest.mark.parametrize(
    ("text", "title"),
    [
        (DB, "db-1"),
        ("*", "Anyone"),
        ("iqn.2004-10.com.example.hosts:esx-*", "esx-*"),
        (f"{DB}@fd00::/8", "db-1 from fd00::/8"),
        ("fd00::/8", "fd00::/8"),
        ("group:backup", "backup (group, 2)"),
        ("iqn.2001-04.com.example:at@home", "at@home"),
    ],
)
def test_titles_are_short(text: str, title: str) -> None:
    groups = [InitiatorGroup(name="backup", members=["10.0.0.1", "10.0.0.2"])]
    assert subject_title(text, groups) == title
