"""Which secrets a log-in through the engine uses."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import pytest

from san_console.api.engine_objects import Identity
from san_console.cli import login_secrets
from san_console.cli.chap_arguments import add_chap_arguments
from san_console.cli.login_secrets import ChosenSecrets, NoSecretGiven, choose_secrets
from san_console.names.credentials import ChapCredentials, Secret

IDENTITIES = [
    Identity(id="1", user="ours", place="keyring"),
    Identity(id="2", user="theirs", place="memory"),
    Identity(id="3", user="gone", place="missing"),
    Identity(id="4", user="twice", place="keyring"),
    Identity(id="5", user="twice", place="keyring"),
]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_chap_arguments(parser)
    return parser.parse_args(words)


def test_no_chap_is_no_chap() -> None:
    assert choose_secrets(IDENTITIES, arguments()) == ChosenSecrets()


def test_identities_are_named_by_their_user() -> None:
    assert choose_secrets(IDENTITIES, arguments("--chap-user", "ours")) == ChosenSecrets(identity_id="1")
    both = arguments("--chap-user", "ours", "--mutual-chap-user", "theirs")
    assert choose_secrets(IDENTITIES, both) == ChosenSecrets(identity_id="1", mutual_identity_id="2")


def test_a_file_goes_before_an_identity(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("another-secret-00\n")
    chosen = choose_secrets(IDENTITIES, arguments("--chap-user", "ours", "--chap-secret-file", str(file)))
    assert chosen.chap is not None
    assert (chosen.chap.user, chosen.chap.secret) == ("ours", "another-secret-00")
    assert chosen.identity_id == ""


def test_two_identities_of_one_user_are_not_guessed() -> None:
    with pytest.raises(NoSecretGiven, match="2 identities"):
        choose_secrets(IDENTITIES, arguments("--chap-user", "twice"))


@pytest.mark.parametrize(
    "words",
    [
        ["--chap-user", "gone"],
        ["--chap-user", "stranger"],
        ["--chap-user", "ours", "--mutual-chap-user", "stranger"],
        ["--mutual-chap-user", "theirs"],
        ["--chap-secret-file", "/nonexistent"],
        ["--chap-user", "x", "--chap-secret-file", "/nonexistent"],
    ],
)
def test_what_is_missing_is_told(words: list[str], monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(NoSecretGiven) as caught:
        choose_secrets(IDENTITIES, arguments(*words))
    assert caught.value.cause[0].isupper()
    assert caught.value.side
    assert caught.value.check


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", b"x" * 2000])
def test_a_file_that_holds_no_secret_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(NoSecretGiven) as caught:
        choose_secrets([], arguments("--chap-user", "me", "--chap-secret-file", str(file)))
    assert "xxx" not in caught.value.cause


def test_a_secret_that_is_no_text_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = ChapCredentials("me", Secret(b"\xff" * 16))  # as a keyring can hold it
    monkeypatch.setattr(login_secrets, "read_chap", lambda args: (octets, None))
    with pytest.raises(NoSecretGiven, match="no text") as caught:
        choose_secrets([], arguments("--chap-user", "me"))
    assert caught.value.__cause__ is None
