"""Which CHAP secrets a log-in through the engine uses: the ones given, or the engine's identities."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from san_console.api.engine_objects import Identity
from san_console.api.methods import ChapSecrets
from san_console.api.problems import ApiProblem
from san_console.cli.chap_arguments import NoSecret, read_chap
from san_console.cli.engine_link import engine_view
from san_console.cli.output import print_failure
from san_console.names.display import visible
from san_console.names.errors import InvalidSecret


class NoSecretGiven(Exception):
    """The secrets cannot be had: what happened, which side decided it, what to check."""

    def __init__(self, cause: str, side: str, check: str) -> None:
        super().__init__(cause)
        self.cause, self.side, self.check = cause, side, check


@dataclass(slots=True)
class ChosenSecrets:
    """Either `chap`, or the ids of identities; all empty when no CHAP was asked for."""

    chap: ChapSecrets | None = None
    identity_id: str = ""
    mutual_identity_id: str = ""


def secrets_or_code(args: argparse.Namespace) -> ChosenSecrets | int:
    """The secrets for the log-in, or the exit code after the failure was printed.

    Not for a running event loop: the person at the terminal may be asked.
    """
    if not (args.chap_user or args.chap_secret_file or args.mutual_chap_user or args.mutual_chap_secret_file):
        return ChosenSecrets()

    async def identities() -> list[Identity]:
        async with engine_view() as view:
            return view.replica.values("identities")

    try:
        return choose_secrets(asyncio.run(identities()), args)
    except NoSecretGiven as error:
        print_failure(error.cause, error.side, error.check)
    except ApiProblem as problem:
        print_failure(problem.message, problem.problem.side, problem.problem.check)
    return 1


def choose_secrets(identities: Sequence[Identity], args: argparse.Namespace) -> ChosenSecrets:
    """Files (or standard input) first, then the engine's identities of these users, then the terminal.

    Raises NoSecretGiven.
    """
    if args.chap_user and not args.chap_secret_file and not args.mutual_chap_secret_file:
        ours = _identity_of(identities, args.chap_user)
        theirs = _identity_of(identities, args.mutual_chap_user) if args.mutual_chap_user else ""
        if ours is not None and theirs is not None:
            return ChosenSecrets(identity_id=ours, mutual_identity_id=theirs)
    try:
        chap, mutual = read_chap(args)
    except NoSecret as error:
        raise NoSecretGiven(
            f"{error.cause[:1].upper()}{error.cause[1:]}.", error.side, error.check
        ) from error
    except InvalidSecret as error:
        raise NoSecretGiven(str(error), "this command", "Look at the file of the secret.") from error
    if chap is None:
        return ChosenSecrets()
    try:
        secrets = ChapSecrets(user=chap.user, secret=chap.secret.reveal().decode())
        if mutual is not None:
            secrets.mutual_user, secrets.mutual_secret = mutual.user, mutual.secret.reveal().decode()
    except UnicodeDecodeError:
        # From None: the error's own text would carry the octets.
        raise NoSecretGiven(
            "A secret that is no text cannot be given to the engine.",
            "this command",
            "Save it as an identity in the console first, and name its user here.",
        ) from None
    return ChosenSecrets(chap=secrets)


def _identity_of(identities: Sequence[Identity], user: str) -> str | None:
    """The id of the user's identity that has a secret. Raises NoSecretGiven when there are several."""
    found = [identity.id for identity in identities if identity.user == user and identity.place != "missing"]
    if len(found) > 1:
        raise NoSecretGiven(
            f"{len(found)} identities have the user {visible(user)}.",
            "this command",
            "Name the secret with --chap-secret-file, or log in through the window.",
        )
    return found[0] if found else None
