"""The logins that are made again when the engine starts. No secret is part of them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from san_console.api.initiator_objects import LoginSettings, Target
from san_console.engine.state import StateStore


class Favourite(msgspec.Struct, kw_only=True):
    """A login by target and portal."""

    target: str
    portal: str
    login: LoginSettings


class Favourites:
    """The favourites in the state."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._kept = {_key(one.target, one.portal): one for one in state.load("favourite", Favourite)}

    def all(self) -> list[Favourite]:
        return list(self._kept.values())

    def of(self, target: str) -> Iterator[Favourite]:
        return (one for one in self.all() if one.target == target)

    def put(self, target: str, portal: str, login: LoginSettings) -> None:
        favourite = Favourite(
            target=target, portal=portal, login=msgspec.structs.replace(login, favourite=True)
        )
        self._kept[_key(target, portal)] = favourite
        self._state.put("favourite", _key(target, portal), favourite)

    def remove(self, target: str, portal: str) -> None:
        if self._kept.pop(_key(target, portal), None) is not None:
            self._state.delete("favourite", _key(target, portal))

    def follow(self, target: Target) -> None:
        """The user has set how to log in to a target, and with that whether it is a favourite."""
        kept = list(self.of(target.id))
        if not target.login.favourite:
            for one in kept:
                self.remove(one.target, one.portal)
        elif kept:
            for one in kept:
                self.put(one.target, one.portal, target.login)
        else:
            portals = [portal.address for portal in target.portals if not portal.vanished]
            if portals:
                self.put(target.id, portals[0], target.login)


def _key(target: str, portal: str) -> str:
    return f"{target} {portal}"
