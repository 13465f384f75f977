"""Specifications and configurations of targets, and what is refused in them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from san_console.names.credentials import ChapCredentials, Secret
from san_console.names.portal import Portal
from san_console.target.config import (
    MAX_LUNS_PER_TARGET,
    BackstoreSpec,
    ChapConfig,
    InitiatorAccess,
    InitiatorGroup,
    LunConfig,
    MappingRule,
    PortalGroup,
    Redirect,
    TargetConfig,
    TargetLimits,
    parse_lun,
    parse_size,
    parse_spec,
    without_luns,
)
from san_console.target.errors import ConfigError

HERE = [PortalGroup(1, [Portal("127.0.0.1", 0)])]
MEMORY = BackstoreSpec("memory", size_bytes=1 << 20)
LUN = LunConfig("a", "a", MEMORY)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("memory:256M", BackstoreSpec("memory", size_bytes=256 << 20)),
        ("memory:1GiB,thin,ro", BackstoreSpec("memory", size_bytes=1 << 30, thin=True, read_only=True)),
        ("null:1T,block=4096", BackstoreSpec("null", size_bytes=1 << 40, block_bytes=4096)),
        ("file:/a/b", BackstoreSpec("file", "/a/b")),
        ("file:/a,b,size=1G", BackstoreSpec("file", "/a,b", 1 << 30, create=True)),
        ("file:/a,size=8k,ro", BackstoreSpec("file", "/a", 8192, read_only=True)),
        ("file:/a,ro,b", BackstoreSpec("file", "/a,ro,b")),
        ("file:a:b,thin,block=4096", BackstoreSpec("file", "a:b", thin=True, block_bytes=4096)),
        ("block:/dev/sdx,ro", BackstoreSpec("block", "/dev/sdx", read_only=True)),
    ],
)
def test_specifications(text: str, spec: BackstoreSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file",
        "file:",
        "tape:1G",
        "memory:",
        "memory:x",
        "memory:0",
        "memory:-1",
        "memory:1000",
        "memory:9999P",
        "memory:1M,block=520",
        "memory:1M,block=9999999999",
        "file:/a\0b",
        "null:1G,size=0",
        "null:1G,size=1G",
        "memory:1M,what",
    ],
)
def test_specifications_that_say_nothing(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_spec(text)
    assert error.value.cause
    assert error.value.check


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for prefix in ("", "file:", "memory:", "null:1G,"):
        with contextlib.suppress(ConfigError):
            parse_spec(prefix + text)


def test_what_is_refused_is_shown_safely() -> None:
    with pytest.raises(ConfigError) as error:
        parse_spec("\x1b[31m:\u202e")
    assert "\x1b" not in error.value.cause
    assert "\u202e" not in error.value.cause


def test_sizes() -> None:
    assert parse_size(" 4096 ") == 4096
    assert parse_size("2kib") == 2048
    assert parse_size("3PB") == 3 << 50


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(ConfigError):
        BackstoreSpec("tape", "/dev/st0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"vendor": "TOOLONGVENDOR"},
        {"product": "x" * 17},
        {"revision": "12345"},
        {"serial": "a\nb"},
        {"vendor": "ä"},
    ],
)
def test_texts_that_inquiry_cannot_carry(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        LunConfig("a", "a", MEMORY, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "disk"},
        {"groups": []},
        {"groups": [PortalGroup(1, [])]},
        {"groups": [*HERE, PortalGroup(1, [Portal("::1")])]},
        {"groups": [*HERE, PortalGroup(2, [Portal("127.0.0.1", 0)])]},
        {"luns": [LUN, LUN]},
        {"luns": [LunConfig(str(n), "x", MEMORY) for n in range(MAX_LUNS_PER_TARGET + 1)]},
        {"groups": [PortalGroup(1, [Portal("127.0.0.1", n)]) for n in (1, 2)]},
        {"groups": [PortalGroup(1, [Portal("127.0.0.1", n) for n in range(1, 70)])]},
        {"groups": [PortalGroup(n, [Portal("127.0.0.1", n)]) for n in range(1, 40)]},
        {"initiators": [InitiatorAccess("nobody")]},
        {"initiators": [InitiatorAccess("group:none")]},
        {"initiators": [InitiatorAccess("*"), InitiatorAccess("*")]},
        {
            "initiators": [
                InitiatorAccess("iqn.2026-11.org.example:A"),
                InitiatorAccess("IQN.2026-11.org.example:a"),
            ]
        },
        {"alias": "a\0TargetAddress=10.0.0.1"},
        {"alias": "ä" * 128},
        {"initiator_groups": [InitiatorGroup("", [])]},
        {"initiator_groups": [InitiatorGroup("a", []), InitiatorGroup("a", [])]},
        {"initiator_groups": [InitiatorGroup("a", ["group:a"])]},
        {"initiator_groups": [InitiatorGroup("a", ["*"] * 2000)]},
        {"mappings": [MappingRule("x", "a", 0)]},
        {"mappings": [MappingRule("*", "b", 0)]},
        {"mappings": [MappingRule("*", "a", 16384)]},
        {"mappings": [MappingRule("*", "a", 1), MappingRule("*", "a", 1)]},
        {"mappings": [MappingRule("10.0.0.1", "a", 1), MappingRule("10.0.0.1/32", "a", 1)]},
    ],
)
def test_targets_that_cannot_be(fields: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "iqn.2026-11.org.example:t", "groups": HERE, "luns": [LUN]} | fields
    with pytest.raises(ConfigError) as error:
        TargetConfig(**values)  # type: ignore[arg-type]
    assert error.value.check


def test_names_are_normalised_and_luns_can_be_left_out() -> None:
    config = TargetConfig("IQN.2026-11.org.Example:T", HERE, luns=[LUN], mappings=[MappingRule("*", "a", 3)])
    assert config.name == "iqn.2026-11.org.example:t"
    assert without_luns(config, set()).mappings == []
    assert without_luns(config, {"a"}) == config


@pytest.mark.parametrize("tag", [0, -1, 65536])
def test_portal_group_tags(tag: int) -> None:
    with pytest.raises(ConfigError):
        PortalGroup(tag, [])


def test_a_portal_is_in_one_group_that_is_found_by_portal_and_tag() -> None:
    here, there = Portal("127.0.0.1", 1), Portal("::1", 1)
    groups = [PortalGroup(1, [here]), PortalGroup(7, [there], "standby", preferred=True)]
    config = TargetConfig("iqn.2026-11.org.example:t", groups)
    assert config.portals == [here, there]
    assert config.group_at(there) is config.group_of_tag(7)
    assert config.group_of_tag(7) is groups[1]
    assert config.group_of_tag(2) is None
    assert config.group_at(Portal("127.0.0.1", 2)) is None
    with pytest.raises(ConfigError):
        PortalGroup(1, [here], "asleep")  # type: ignore[arg-type]
    for nowhere in (Portal("0.0.0.0", 1), Portal("::", 1), Portal("127.0.0.1", 0)):
        with pytest.raises(ConfigError):
            Redirect(nowhere)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_connections": 0},
        {"max_connections": 9},
        {"error_recovery_level": 3},
        {"max_recv_data_segment_bytes": 511},
        {"max_burst_bytes": 1 << 24},
        {"first_burst_bytes": 2 << 20},
        {"max_outstanding_r2t": 0},
        {"default_time2retain_s": 3601},
        {"login_timeout_s": 0},
        {"command_window": 0},
        {"header_digest": "maybe"},
    ],
)
def test_limits_that_cannot_be(limits: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as error:
        TargetLimits(**limits)  # type: ignore[arg-type]
    assert error.value.check


@pytest.mark.parametrize(
    "fields",
    [
        {"rotation_rate": 2},
        {"rotation_rate": 0x400},
        {"rotation_rate": 0xFFFF},
        {"physical_block_bytes": 1024},
        {"soft_threshold_percent": 100},
        {"soft_threshold_percent": 80},
        {"id": ""},
    ],
)
def test_luns_that_cannot_be(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as error:
        LunConfig(**({"id": "a", "name": "a", "backstore": MEMORY} | fields))  # type: ignore[arg-type]
    assert error.value.check


def test_specifications_of_luns() -> None:
    lun = parse_lun("file:/a,b,size=1G,thin,physical=4096,wce=off,threshold=80", "x")
    assert lun.backstore == BackstoreSpec("file", "/a,b", 1 << 30, thin=True, create=True)
    assert (lun.id, lun.name) == ("x", "x")
    assert (lun.physical_block_bytes, lun.write_cache, lun.soft_threshold_percent) == (4096, False, 80)
    assert LunConfig("a", "a", MEMORY, rotation_rate=7200).rotation_rate == 7200
    for text in ("memory:1M,physical=512,block=4096", "memory:1M,threshold=80", "memory:1M,wce=maybe"):
        with pytest.raises(ConfigError):
            parse_lun(text, "x")


def test_no_initiator_has_the_secret_that_the_target_proves_itself_with() -> None:
    ours = ChapCredentials("target", Secret("another-secret-1"))
    theirs = ChapCredentials("bob", Secret("another-secret-1"))
    with pytest.raises(ConfigError) as error:
        TargetConfig(
            "iqn.2026-11.org.example:t",
            HERE,
            initiators=[InitiatorAccess("*", ChapConfig([theirs]))],
            chap=ChapConfig([ChapCredentials("alice", Secret("opensesame-1234"))], ours),
        )
    assert "another" not in str(error.value)


def test_chap_rules() -> None:
    good = ChapCredentials("alice", Secret("opensesame-1234"))
    ChapConfig([good], ChapCredentials("target", Secret("another-secret-1")))
    for accepted, mutual in (
        ([], None),
        ([ChapCredentials("alice", Secret("short"))], None),
        ([good], ChapCredentials("target", Secret("short"))),
        ([good, ChapCredentials("alice", Secret("another-secret-1"))], None),
        ([good], ChapCredentials("target", Secret("opensesame-1234"))),
    ):
        with pytest.raises(ConfigError) as error:
            ChapConfig(accepted, mutual)
        assert "sesame" not in str(error.value)
