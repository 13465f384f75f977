"""What discovery sessions with our targets have to prove: one setting for all of them (RFC 7143 §4.2.1.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

from san_console.api.engine_objects import EngineInfo
from san_console.api.methods import SetDiscoveryChap
from san_console.api.problems import ApiProblem
from san_console.engine.change_history import DiscoveryChap
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.problems import problem_of
from san_console.engine.serving import Serving
from san_console.names.credentials import ChapCredentials, Secret
from san_console.target.config import ChapConfig
from san_console.target.errors import TargetError

KIND: Final = "discovery_chap"
_CLOSED_SECRET_BYTES: Final = 32


class DiscoveryAccess:
    """Keeps the setting, and tells it to the target server."""

    def __init__(self, context: EngineContext, identities: Identities, serving: Serving) -> None:
        self._context = context
        self._identities = identities
        self._serving = serving
        for kept in context.state.load(KIND, DiscoveryChap):
            self._show(kept)

    @property
    def current(self) -> DiscoveryChap:
        """As it is set."""
        info = self._context.info
        return DiscoveryChap(
            identity_ids=list(info.discovery_identity_ids),
            mutual_identity_id=info.discovery_mutual_identity_id,
        )

    async def close_until_known(self) -> None:
        """At the start: where CHAP is asked for, nobody may discover before the secrets can be read."""
        if self.current.identity_ids:
            await self._serving.server.set_discovery_chap(_closed())

    async def take_secrets(self) -> None:
        """The secrets can be read now, or have changed."""
        if not self.current.identity_ids:
            return
        try:
            chap = await self.config(self.current)
        except ApiProblem as error:
            chap = _closed()
            self._context.events.add_problem(
                "discovery_chap_failed", error.problem, object_kind="engine", object_id="engine"
            )
        await self._serving.server.set_discovery_chap(chap)

    async def set(self, params: SetDiscoveryChap) -> EngineInfo:
        """Raises ApiProblem `bad-request`, `unknown-object`, `secret-unavailable`, `storage`; then nothing
        has changed.
        """
        wanted = DiscoveryChap(
            identity_ids=list(dict.fromkeys(params.identity_ids)),
            mutual_identity_id=params.mutual_identity_id,
        )
        async with self._serving.changing:
            chap = await self.config(wanted)
            before = self.current
            step = self._serving.history.add("The CHAP of discovery was changed", {}, before)
            try:
                await self.take(wanted, chap)
            except ApiProblem:
                self._serving.history.drop(step)
                raise
        self._context.events.add("discovery_chap_set", "The CHAP of discovery was changed.")
        return self._context.info

    async def take(self, wanted: DiscoveryChap, chap: ChapConfig | None) -> None:
        """Set it and keep it; the caller holds `changing`. Raises ApiProblem `storage`; then nothing has
        changed.
        """
        before = self.current
        self.put(wanted)
        try:
            await self._context.state.settled()
        except ApiProblem:
            self.put(before)
            raise
        await self.tell(chap)

    def put(self, wanted: DiscoveryChap) -> None:
        """Show it, and keep it with the next commit of the state."""
        self._show(wanted)
        self._context.state.put(KIND, "discovery", wanted)

    async def tell(self, chap: ChapConfig | None) -> None:
        """What was put is kept: it holds from now on."""
        await self._serving.server.set_discovery_chap(chap)
        self._identities.refresh_usage()

    async def config(self, wanted: DiscoveryChap) -> ChapConfig | None:
        """With the secrets. Raises ApiProblem."""
        if not wanted.identity_ids:
            if wanted.mutual_identity_id:
                raise ApiProblem(
                    "bad-request",
                    "A target proves itself only to initiators that prove themselves.",
                    side="this side",
                    check="choose identities for the initiators as well",
                )
            return None
        accepted = [await self._identities.credentials(one) for one in wanted.identity_ids]
        mutual = None
        if wanted.mutual_identity_id:
            mutual = await self._identities.credentials(wanted.mutual_identity_id)
        try:
            return ChapConfig(accepted, mutual)
        except TargetError as error:
            raise ApiProblem.from_problem(problem_of(error)) from error

    def identity_usage(self) -> Iterator[tuple[str, str]]:
        current = self.current
        for identity_id in current.identity_ids:
            yield identity_id, "accepted for discovery"
        if current.mutual_identity_id:
            yield current.mutual_identity_id, "proves the targets at discovery"

    def _show(self, wanted: DiscoveryChap) -> None:
        self._context.info.discovery_identity_ids = wanted.identity_ids
        self._context.info.discovery_mutual_identity_id = wanted.mutual_identity_id
        self._context.put_info()


def _closed() -> ChapConfig:
    """What nobody can prove."""
    return ChapConfig([ChapCredentials("nobody", Secret(secrets.token_bytes(_CLOSED_SECRET_BYTES)))])
