"""The discovered targets: what was found where, what has changed, and how the user wants to log in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from san_console.api.initiator_objects import LoginSettings, Target
from san_console.api.methods import AddTarget
from san_console.api.problems import ApiProblem
from san_console.engine.context import EngineContext
from san_console.engine.target_merge import (
    FoundTarget,
    acknowledge,
    is_configured,
    merge_found,
    withdraw_source,
)
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal

MANUAL_SOURCE: Final = "manual"
MAX_TARGETS: Final = 20_000
"""A snapshot of them stays below the frame limit of 16 MiB."""

MAX_PORTALS_PER_TARGET: Final = 64
"""Arrays have up to 32; a source that names more is broken or hostile."""


class TargetStore:
    """Owner of the collection `targets`."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self.on_login_set: Callable[[Target], None] | None = None
        self.on_removed: Callable[[str], None] | None = None
        for target in context.state.load("target", Target):
            target.session_ids = []
            for portal in target.portals:
                portal.reach = "unknown"
                portal.detail = ""
                portal.round_trip_ms = None
            context.registry.put("targets", target)

    def find(self, name: str) -> Target:
        """Raises ApiProblem `unknown-object`."""
        target = self.get(name)
        if target is None:
            raise ApiProblem(
                "unknown-object", f"The target {visible(name)} is not in the list.", side="engine"
            )
        return target

    def get(self, name: str) -> Target | None:
        return self._context.registry.get("targets", Target, name)

    def all(self) -> Iterator[Target]:
        return self._context.registry.values("targets", Target)

    def put(self, target: Target) -> None:
        """Show and keep it."""
        self._context.registry.put("targets", target)
        self._context.state.put("target", target.id, target)

    def merge(self, source_id: str, found: Iterable[FoundTarget], *, complete: bool) -> tuple[int, int]:
        """Take the result of a discovery. Returns how many targets are new and how many were left out.

        With `complete` False (the answer was cut short) nothing vanishes.
        """
        now = self._context.clock()
        seen: set[str] = set()
        new = left_out = 0
        for one in found:
            target = self.get(one.name)
            if target is None and self._context.registry.count("targets") >= MAX_TARGETS:
                left_out += 1
                continue
            new += target is None
            one.portals = one.portals[:MAX_PORTALS_PER_TARGET]
            seen.add(one.name)
            self.put(merge_found(target, one, source_id, now))
        if complete:
            for target in self.all():
                if target.id not in seen and withdraw_source(target, source_id):
                    self.put(target)
        return new, left_out

    def forget_source(self, source_id: str) -> None:
        """A source was removed by the user: what only it had named, and nobody uses, leaves the list."""
        for target in self.all():
            if not withdraw_source(target, source_id):
                continue
            if target.found_by or target.session_ids or is_configured(target):
                self.put(target)
            else:
                self._remove(target.id)

    def add(self, params: AddTarget) -> Target:
        """A target typed in by hand. Raises ApiProblem `bad-request`."""
        try:
            name = normalise(params.name)
            portals: list[tuple[str, int | None]] = [
                (str(Portal.parse(text)), None) for text in params.portals
            ]
        except NamesError as error:
            raise ApiProblem("bad-request", str(error), side="this side") from None
        if not portals:
            raise ApiProblem("bad-request", "A target needs at least one portal.", side="this side")
        if len(portals) > MAX_PORTALS_PER_TARGET:
            raise ApiProblem(
                "too-large", f"At most {MAX_PORTALS_PER_TARGET} portals are taken.", side="engine"
            )
        target = merge_found(
            self.get(name), FoundTarget(name, "", portals), MANUAL_SOURCE, self._context.clock()
        )
        target.change = ""
        target.change_note = ""
        self.put(target)
        return target

    def remove(self, name: str) -> None:
        """Forget a target, or all that have no session. Raises ApiProblem `unknown-object`, `in-use`."""
        if not name:
            for target in self.all():
                if not target.session_ids:
                    self._remove(target.id)
            return
        target = self.find(name)
        if target.session_ids:
            raise ApiProblem(
                "in-use",
                f"There is a session to {visible(name)}.",
                side="engine",
                check="log out first",
                details={"sessions": ",".join(target.session_ids)},
            )
        self._remove(name)

    def acknowledge(self, name: str) -> None:
        """The changes of one target, or of all, were seen. Raises ApiProblem `unknown-object`."""
        for target in [self.find(name)] if name else list(self.all()):
            if not target.change:
                continue
            if acknowledge(target):
                self.put(target)
            else:
                self._remove(target.id)

    def set_login(self, name: str, login: LoginSettings) -> Target:
        """Raises ApiProblem `unknown-object`."""
        target = self.find(name)
        target.login = msgspec.structs.replace(login)
        self.put(target)
        if self.on_login_set is not None:
            self.on_login_set(target)
        return target

    def set_sessions(self, name: str, session_ids: list[str]) -> None:
        target = self.get(name)
        if target is not None and target.session_ids != session_ids:
            target.session_ids = session_ids
            self._context.registry.put("targets", target)

    def show(self, target: Target) -> None:
        """Show a change that need not be kept, if the target is still in the list."""
        if self.get(target.id) is target:
            self._context.registry.put("targets", target)

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        """Which identities the settings of targets name."""
        for target in self.all():
            if target.login.identity_id:
                yield target.login.identity_id, f"logs in to {target.id}"
            if target.login.mutual_identity_id:
                yield target.login.mutual_identity_id, f"proves {target.id}"

    def _remove(self, name: str) -> None:
        if self.on_removed is not None:
            self.on_removed(name)
        self._context.registry.remove("targets", name)
        self._context.state.delete("target", name)
