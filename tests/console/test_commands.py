"""Commands to copy: quoted for a shell, without a secret, without anything that acts when pasted."""

from __future__ import annotations

import shlex

import pytest

from san_console.cli.main import build_parser
from san_console.console import commands

TARGET = "iqn.2026-11.org.example:disk"


def test_a_login_is_the_command_of_our_own_line() -> None:
    line = commands.login(TARGET, "[::1]:3260", chap_user="esx lab", mutual_user="array", favourite=True)
    assert shlex.split(line) == [
        "san-console",
        "login",
        TARGET,
        "--portal",
        "[::1]:3260",
        "--chap-user",
        "esx lab",
        "--mutual-chap-user",
        "array",
        "--favourite",
    ]


def test_iscsiadm_gets_the_user_and_never_the_secret() -> None:
    lines = commands.iscsiadm_login(TARGET, "10.0.0.1:3260", chap_user="u'$(reboot)").splitlines()
    assert len(lines) == 4
    assert shlex.split(lines[1])[-1] == "u'$(reboot)"
    assert lines[2].startswith("# ")
    assert "auth.password -v" not in "\n".join(lines)
    assert shlex.split(lines[3])[-1] == "--login"
    assert "login" in commands.iscsiadm_login(TARGET, "10.0.0.1:3260")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (commands.discover("10.0.0.1", isns=True), ["discover", "10.0.0.1", "--isns"]),
        (commands.logout(TARGET), ["logout", TARGET]),
        (commands.lun_info("iscsi://h/t/0"), ["lun", "info", "iscsi://h/t/0"]),
        (
            commands.lun_read("iscsi://h/t/0", "/tmp/a b", offset_bytes=512, length_bytes=4096),
            ["lun", "read", "iscsi://h/t/0", "--offset", "512", "--length", "4096", "--output", "/tmp/a b"],
        ),
        (commands.target_show(TARGET), ["target", "show", TARGET]),
        (
            commands.target_access(TARGET, "iqn.x:y", address="fe80::1"),
            ["target", "access", TARGET, "iqn.x:y", "--address", "fe80::1"],
        ),
        (
            commands.target_lun("grow", TARGET, "my lun", size="2T"),
            ["target", "grow", TARGET, "my lun", "2T"],
        ),
        (commands.target_alua(TARGET, 2, "standby"), ["target", "alua", TARGET, "2", "standby"]),
        (
            commands.target_export([TARGET], "a b.yaml"),
            ["target", "export", TARGET, "--output", "a b.yaml"],
        ),
        (commands.target_apply("x", only=["a", "b"]), ["target", "apply", "x", "--only", "a", "--only", "b"]),
        (commands.target_undo(3), ["target", "undo", "--steps", "3"]),
    ],
)
def test_lines_are_words_of_the_command_line(line: str, words: list[str]) -> None:
    assert shlex.split(line)[1:] == words
    if "target" in words:
        build_parser().parse_args(words)


def test_urls_name_the_user_only_where_there_is_one() -> None:
    assert commands.lun_url("h:3260", TARGET, 3) == f"iscsi://h:3260/{TARGET}/3"
    assert commands.lun_url("h:3260", TARGET, 3, user="u").startswith("iscsi://u@h")


@pytest.mark.parametrize("name", ["a\nrm -rf ~", "a\x1b[201~b", "a\u202eb", "a\x9bb", "a\x00"])
def test_what_would_act_when_pasted_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a command"):
        commands.logout(name)


def test_discovery_by_iscsiadm() -> None:
    assert shlex.split(commands.iscsiadm_discover("h:1"))[-2:] == ["-p", "h:1"]
    assert shlex.split(commands.iscsiadm_logout(TARGET, "h:1"))[-1] == "--logout"
