"""The CHAP options that several commands share, and where their secrets come from.

A secret never stands on the command line: it comes from a file, from standard input, from the keyring, or
from the person at the terminal.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from san_console.names.credentials import MAX_SECRET_BYTES, ChapCredentials, Secret, parse_secret
from san_console.names.errors import InvalidSecret

if TYPE_CHECKING:
    from san_console.names.url import IscsiUrl

STANDARD_INPUT = "-"


class NoSecret(Exception):
    """A secret is needed and cannot be had: `cause`, `side` and `check` are for the user."""

    def __init__(self, cause: str, side: str, check: str) -> None:
        super().__init__(cause)
        self.cause, self.side, self.check = cause, side, check


def add_chap_arguments(parser: argparse.ArgumentParser) -> None:
    """--chap-user, --chap-secret-file and the same with --mutual-."""
    group = parser.add_argument_group("CHAP")
    group.add_argument("--chap-user", metavar="NAME", help="the name that we log in with")
    group.add_argument(
        "--chap-secret-file",
        metavar="FILE",
        help="a file with our secret on one line; - is standard input; without it the keyring is asked",
    )
    group.add_argument(
        "--mutual-chap-user", metavar="NAME", help="the name that the target proves itself with"
    )
    group.add_argument("--mutual-chap-secret-file", metavar="FILE", help="the target's secret, as above")


def read_chap(
    args: argparse.Namespace, target: IscsiUrl | str | None = None
) -> tuple[ChapCredentials | None, ChapCredentials | None]:
    """(what we prove, what the target proves), from the options and the user in the URL.

    Raises NoSecret, InvalidSecret. `target` is an iscsi:// URL; its user counts when --chap-user is missing.
    """
    user: str | None = args.chap_user or getattr(target, "user", None)
    if args.chap_secret_file and not user:
        raise NoSecret(
            "a CHAP secret is given without its user",
            "initiator",
            "Add --chap-user NAME, or write the user into the URL.",
        )
    if args.mutual_chap_secret_file and not args.mutual_chap_user:
        raise NoSecret(
            "the target's CHAP secret is given without its user", "initiator", "Add --mutual-chap-user NAME."
        )
    if args.mutual_chap_user and not user:
        # RFC 7143 §12.1.3: the target proves itself only to an initiator that does so, too.
        raise NoSecret(
            "the target can prove itself only when this initiator does, too",
            "initiator",
            "Add --chap-user NAME.",
        )
    if user and args.chap_secret_file == args.mutual_chap_secret_file == STANDARD_INPUT:
        # Both on one stream: ours on the first line, the target's on the second.
        first, second = sys.stdin.readline(), sys.stdin.readline()
        return ChapCredentials(user, parse_secret(first)), ChapCredentials(
            args.mutual_chap_user, parse_secret(second)
        )
    chap = _credentials(user, args.chap_secret_file, "CHAP secret")
    return chap, _credentials(args.mutual_chap_user, args.mutual_chap_secret_file, "secret of the target")


def _credentials(user: str | None, file: str | None, what: str) -> ChapCredentials | None:
    if not user:
        return None
    if file is not None:
        return ChapCredentials(user, _from_file(file, what))
    return ChapCredentials(user, _from_keyring_or_terminal(user, what))


def _from_file(file: str, what: str) -> Secret:
    try:
        if file == STANDARD_INPUT:
            text = sys.stdin.readline(MAX_SECRET_BYTES + 2)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(MAX_SECRET_BYTES + 3)
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                raise InvalidSecret(f"The file of the {what} is not text.") from None
    except OSError as error:
        raise NoSecret(
            f"the file {file} with the {what} cannot be read: {error.strerror}",
            "initiator",
            "Check the path.",
        ) from error
    return parse_secret(text)


def _from_keyring_or_terminal(user: str, what: str) -> Secret:
    from san_console.cli.keyring_entries import entries_of
    from san_console.console.secrets import SecretsUnavailable, open_store

    refusal: SecretsUnavailable | None = None
    try:
        store = open_store()
        for entry in entries_of(user):
            found = store.get(entry)
            if found is not None:
                return found
    except SecretsUnavailable as error:
        refusal = error
    if sys.stdin.isatty():
        import getpass

        return parse_secret(getpass.getpass(f"The {what} for {user}: "))
    if refusal is not None:
        raise NoSecret(f"there is no {what} for {user}: {refusal.cause}", refusal.side, refusal.check)
    raise NoSecret(
        f"the keyring has no {what} for {user}, and there is no terminal to ask at",
        "initiator",
        "Name a file with --chap-secret-file or --mutual-chap-secret-file (- for standard input).",
    )
