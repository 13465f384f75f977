"""CHAP identities: their names in the state, their secrets in the keyring, and what they are used for."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from san_console.api.engine_objects import Identity, Keyring
from san_console.api.methods import ChapSecrets, SaveIdentity
from san_console.api.problems import ApiProblem
from san_console.engine.context import EngineContext
from san_console.names.credentials import ChapCredentials, Secret, check_secret, check_user, parse_secret
from san_console.names.display import visible
from san_console.names.errors import InvalidSecret

MAX_NOTE_CHARACTERS: Final = 1000
"""Every note is part of every snapshot."""

Usage = Callable[[], Iterable[tuple[str, str]]]
"""(identity id, what uses it in words) of one part of the engine."""


class Identities:
    """Owner of the collection `identities`."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._usages: list[Usage] = []
        self.on_changed: Callable[[str], Awaitable[None]] | None = None
        """Called with the id of an identity whose name or secret is another now."""
        self.on_readable: Callable[[], None] | None = None
        """Called when secrets can be read that could not be read before."""
        for identity in context.state.load("identity", Identity):
            # A secret in memory ended with the engine that held it.
            if identity.place == "memory":
                identity.place = "missing"
            context.registry.put("identities", identity)

    def add_usage(self, usage: Usage) -> None:
        self._usages.append(usage)

    async def save(self, params: SaveIdentity, *, this_run_only: bool = False) -> Identity:
        """Create or change an identity. Raises ApiProblem: `bad-request` (user, secret), `unknown-object`,
        `exists` (same user and no id), `secret-unavailable`.
        """
        user = params.user
        errors = [finding.text for finding in check_user(user) if finding.level == "error"]
        if errors:
            raise ApiProblem("bad-request", " ".join(errors), side="this side")
        if len(params.note) > MAX_NOTE_CHARACTERS:
            raise ApiProblem(
                "too-large", f"A note has at most {MAX_NOTE_CHARACTERS} characters.", side="this side"
            )
        secret = _parse(params.secret) if params.secret is not None else None
        registry = self._context.registry
        if params.id:
            identity = self.find(params.id)
        else:
            if secret is None:
                raise ApiProblem("bad-request", "A new identity needs a secret.", side="this side")
            identity = Identity(id=secrets.token_hex(8), user=user, created_at=self._context.clock())
        if secret is not None:
            identity.place = await self._context.secrets.put(
                identity.id, secret, this_run_only=this_run_only or identity.place == "memory"
            )
        identity.user = user
        identity.note = params.note
        registry.put("identities", identity)
        if not this_run_only:
            self._context.state.put("identity", identity.id, identity)
            await self._context.state.settled()
        self._context.events.add(
            "identity_saved",
            f"The CHAP identity {visible(user)} was saved.",
            object_kind="identity",
            object_id=identity.id,
        )
        await self.review()
        self.refresh_usage()
        if params.id and self.on_changed is not None:
            await self.on_changed(identity.id)
        return identity

    async def remove(self, identity_id: str) -> None:
        """Raises ApiProblem `in-use` while something uses it, `unknown-object`, `secret-unavailable`."""
        identity = self.find(identity_id)
        self.refresh_usage()
        if identity.used_by:
            raise ApiProblem(
                "in-use",
                f"The identity {visible(identity.user)} is in use: {', '.join(identity.used_by)}.",
                side="engine",
                check="choose another identity there first",
                details={"used_by": "\n".join(identity.used_by)},
            )
        await self._context.secrets.delete(identity_id, identity.place)
        self._context.registry.remove("identities", identity_id)
        self._context.state.delete("identity", identity_id)
        await self._context.state.settled()
        await self.review()

    def find(self, identity_id: str) -> Identity:
        """Raises ApiProblem `unknown-object`."""
        identity = self._context.registry.get("identities", Identity, identity_id)
        if identity is None:
            raise ApiProblem("unknown-object", "This CHAP identity does not exist (any more).", side="engine")
        return identity

    def users(self) -> dict[str, str]:
        """The CHAP names, by identity id."""
        return {one.id: one.user for one in self._context.registry.values("identities", Identity)}

    async def credentials(self, identity_id: str) -> ChapCredentials:
        """Name and secret. Raises ApiProblem `unknown-object`, `secret-unavailable`."""
        identity = self.find(identity_id)
        found = await self._context.secrets.get(identity_id)
        if found is None:
            self._place(identity, missing=True)
            raise ApiProblem(
                "secret-unavailable",
                f"There is no secret for the CHAP identity {visible(identity.user)}.",
                side="keyring",
                check="enter the secret of this identity again (Secrets page)",
            )
        return ChapCredentials(identity.user, found[0])

    async def pair(
        self, identity_id: str, mutual_identity_id: str, given: ChapSecrets | None = None
    ) -> tuple[ChapCredentials | None, ChapCredentials | None]:
        """What a login proves, and what the target must prove. `given` goes before identities.

        Raises ApiProblem `bad-request` (the same secret both ways, mutual alone), and those of `credentials`.
        """
        chap: ChapCredentials | None = None
        mutual: ChapCredentials | None = None
        if given is not None:
            chap = ChapCredentials(given.user, _parse_given(given.secret))
            if given.mutual_user or given.mutual_secret:
                mutual = ChapCredentials(given.mutual_user, _parse_given(given.mutual_secret))
        else:
            if identity_id:
                chap = await self.credentials(identity_id)
            if mutual_identity_id:
                mutual = await self.credentials(mutual_identity_id)
        if mutual is not None and chap is None:
            raise ApiProblem(
                "bad-request",
                "A target proves itself only to an initiator that proves itself.",
                side="this side",
                check="choose an identity for the login as well (RFC 7143 §12.1.3)",
            )
        if chap is not None and mutual is not None and chap.secret == mutual.secret:
            raise ApiProblem(
                "bad-request",
                "Both directions use the same secret, which RFC 7143 §9.2.1 forbids.",
                side="this side",
                check="give the two identities different secrets",
            )
        return chap, mutual

    async def check_keyring(self) -> Keyring:
        """Look at the keyring again and tell clients."""
        context = self._context
        before = context.info.keyring.state
        context.info.keyring = await context.secrets.status()
        context.put_info()
        await self.review()
        after = context.info.keyring.state
        if self.on_readable is not None and after != before and after in ("unlocked", "memory"):
            self.on_readable()
        return context.info.keyring

    async def use_memory(self, use: bool) -> Keyring:
        """Keep secrets in memory for this run, or in the keyring again."""
        self._context.secrets.use_memory = use
        return await self.check_keyring()

    async def review(self) -> None:
        """Look where each secret is and what the rules say of it. A locked keyring is not asked for any."""
        found: list[tuple[Identity, Secret]] = []
        readable = self._context.info.keyring.state in ("unlocked", "memory")
        for identity in self._context.registry.values("identities", Identity):
            if identity.place == "keyring" and not readable:
                continue
            try:
                ask = readable or identity.place == "memory"
                kept = await self._context.secrets.get(identity.id) if ask else None
            except ApiProblem:
                continue  # its place stays as it was last known
            if kept is None:
                self._place(identity, missing=True)
            else:
                if identity.place != kept[1]:
                    identity.place = kept[1]
                    self._context.registry.put("identities", identity)
                found.append((identity, kept[0]))
        for identity, secret in found:
            shared = [
                visible(other.user) for other, theirs in found if other is not identity and theirs == secret
            ]
            findings = [finding.text for finding in check_secret(secret)]
            if shared:
                findings.insert(
                    0,
                    f"{', '.join(shared)} uses the same secret; each needs its own (RFC 7143 §9.2.1).",
                )
            if findings != identity.findings:
                identity.findings = findings
                self._context.registry.put("identities", identity)

    def refresh_usage(self) -> None:
        """Bring `used_by` up to date."""
        used: defaultdict[str, list[str]] = defaultdict(list)
        for usage in self._usages:
            for identity_id, text in usage():
                if text not in used[identity_id]:
                    used[identity_id].append(text)
        for identity in self._context.registry.values("identities", Identity):
            if identity.used_by != used[identity.id]:
                identity.used_by = used[identity.id]
                self._context.registry.put("identities", identity)

    async def drop(self, identity_id: str) -> None:
        """Remove one that was made for this run only (the lab's)."""
        await self._context.secrets.delete(identity_id, "memory")
        self._context.registry.remove("identities", identity_id)

    def _place(self, identity: Identity, *, missing: bool) -> None:
        if missing and identity.place != "missing":
            identity.place = "missing"
            identity.findings = []
            self._context.registry.put("identities", identity)


def _parse_given(text: str) -> Secret:
    try:
        return parse_secret(text)
    except InvalidSecret as error:
        raise ApiProblem("bad-request", str(error), side="this side") from None


def _parse(text: str) -> Secret:
    secret = _parse_given(text)
    errors = [finding.text for finding in check_secret(secret) if finding.level == "error"]
    if errors:
        raise ApiProblem(
            "bad-request", " ".join(errors), side="this side", check="let the console generate a secret"
        )
    return secret
