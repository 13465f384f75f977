"""The engine's own access to CHAP secrets: the keyring or memory, never the loop's thread, never a file.

Secrets of this run only (the lab's, and all of them where the user chose memory) lie in memory beside the
keyring and are looked up first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from san_console.api.engine_objects import Keyring, SecretPlace
from san_console.api.problems import ApiProblem
from san_console.console.secrets import MemoryStore, SecretStore, SecretsUnavailable, open_store
from san_console.names.credentials import Secret

T = TypeVar("T")


class EngineSecrets:
    """Secrets by the id of their identity. `store` is the lasting one, and may block."""

    def __init__(self, *, use_memory: bool = False, store: SecretStore | None = None) -> None:
        self._memory = MemoryStore()
        self._lasting = store if store is not None else open_store()
        self.use_memory = use_memory

    async def get(self, identity_id: str) -> tuple[Secret, SecretPlace] | None:
        """The secret and where it lies; None where there is none. Raises ApiProblem `secret-unavailable`."""
        held = self._memory.get(identity_id)
        if held is not None:
            return held, "memory"
        if self.use_memory:
            return None
        kept = await self._in_thread(lambda: self._lasting.get(identity_id))
        return (kept, "keyring") if kept is not None else None

    async def put(self, identity_id: str, secret: Secret, *, this_run_only: bool = False) -> SecretPlace:
        """Keep a secret; returns where. Raises ApiProblem `secret-unavailable`, and then nothing was kept."""
        if self.use_memory or this_run_only:
            self._memory.put(identity_id, secret)
            return "memory"
        await self._in_thread(lambda: self._lasting.put(identity_id, secret))
        self._memory.delete(identity_id)
        return "keyring"

    async def delete(self, identity_id: str, place: SecretPlace) -> None:
        """Forget a secret wherever it lies. Raises ApiProblem `secret-unavailable`."""
        self._memory.delete(identity_id)
        if place == "keyring":
            await self._in_thread(lambda: self._lasting.delete(identity_id))

    async def status(self) -> Keyring:
        """The state of the keyring, or that memory is used. Asks the user nothing."""
        if self.use_memory:
            return self._memory.status()
        return await self._in_thread(self._lasting.status)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread of its own.

        Not in the loop's pool: a keyring may wait for a person, and reads of LUNs must not wait behind it;
        nor must the end of the engine, which a pool's threads hold up.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # set where there is no error

        def run() -> None:
            result: T | None = None
            failure: BaseException | None = None
            try:
                result = work()
            except Exception as error:  # raised again in the loop
                failure = error
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:
                return  # the engine ended in the meantime

        threading.Thread(target=run, name="secrets", daemon=True).start()
        try:
            return await future
        except SecretsUnavailable as error:
            raise ApiProblem(
                "secret-unavailable",
                error.cause,
                side=error.side,
                check=error.check,
                details={"keyring": error.state},
            ) from None
