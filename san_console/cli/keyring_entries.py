"""Under which names the keyring may hold the secret of a CHAP user."""

from __future__ import annotations

import asyncio

from san_console.api.problems import ApiProblem
from san_console.cli.engine_link import engine_view


def entries_of(user: str) -> list[str]:
    """The ids of the identities with this user, as a running engine knows them; the user itself last.

    The console keeps secrets by identity, so that a user can be renamed; a person may add an entry by the
    user's name with the keyring's own tools. No engine is started for this.
    """

    async def ask() -> list[str]:
        async with engine_view(start=False) as view:
            return [
                identity.id
                for identity in view.replica.values("identities")
                if identity.user == user and identity.place == "keyring"
            ]

    try:
        known = asyncio.run(ask())
    except ApiProblem:
        known = []  # no engine, no identities: what is left is the user's own entry
    return [*known, user]
