from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from san_console.api.engine_objects import Identity, Keyring
from san_console.api.methods import ChapSecrets, SaveIdentity
from san_console.api.problems import ApiProblem
from san_console.console.secrets import MemoryStore, SecretStore, SecretsUnavailable
from san_console.engine.context import EngineContext
from san_console.engine.identities import Identities
from san_console.engine.secret_store import EngineSecrets
from san_console.names.credentials import Secret

SECRET, OTHER = "canary-secret-1!", "canary-secret-2!"


class LockedStore(SecretStore):
    """A keyring that nobody unlocks."""

    def get(self, identity_id: str) -> Secret | None:
        raise self.locked()

    def put(self, identity_id: str, secret: Secret) -> None:
        raise self.locked()

    def delete(self, identity_id: str) -> None:
        raise self.locked()

    def status(self) -> Keyring:
        return Keyring(state="locked", backend="test", fix="unlock it")

    @staticmethod
    def locked() -> SecretsUnavailable:
        return SecretsUnavailable("locked", "keyring", "unlock it", state="locked")


class SlowStore(MemoryStore):
    """A keyring that waits for a person."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.threads: set[str] = set()

    def get(self, identity_id: str) -> Secret | None:
        self.threads.add(threading.current_thread().name)
        self.release.wait(5)
        return super().get(identity_id)


@pytest.fixture
def identities(context: EngineContext) -> Identities:
    return Identities(context)


async def test_a_saved_identity_has_its_secret_nowhere_but_in_the_store(
    context: EngineContext, identities: Identities, tmp_path: Path
) -> None:
    saved = await identities.save(SaveIdentity(user="alice", note="n", secret=SECRET))
    assert (saved.place, saved.findings) == ("memory", [])
    assert (await identities.credentials(saved.id)).secret == Secret(SECRET)
    assert SECRET not in repr(saved)
    context.registry.flush()
    for _, raw in context.registry.snapshot()["identities"]:
        assert SECRET.encode() not in bytes(raw)
    for name in ("state.sqlite", "state.sqlite-wal"):
        assert SECRET.encode() not in (tmp_path / name).read_bytes()


async def test_changing_without_a_secret_keeps_it(identities: Identities) -> None:
    saved = await identities.save(SaveIdentity(user="alice", secret=SECRET))
    changed = await identities.save(SaveIdentity(id=saved.id, user="bob", note="x"))
    assert changed.id == saved.id
    found = await identities.credentials(saved.id)
    assert (found.user, found.secret) == ("bob", Secret(SECRET))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (SaveIdentity(user="alice"), "bad-request"),
        (SaveIdentity(user="alice", secret="short"), "bad-request"),
        (SaveIdentity(user="", secret=SECRET), "bad-request"),
        (SaveIdentity(user="alice", secret=SECRET, note="x" * 5000), "too-large"),
        (SaveIdentity(user="alice", secret="two\nlines-of-it"), "bad-request"),
        (SaveIdentity(id="nobody", user="alice", secret=SECRET), "unknown-object"),
    ],
)
async def test_bad_identities_are_refused_without_their_secret_in_the_text(
    identities: Identities, params: SaveIdentity, code: str
) -> None:
    with pytest.raises(ApiProblem) as caught:
        await identities.save(params)
    assert caught.value.code == code
    if params.secret:
        assert params.secret not in str(caught.value.problem)


async def test_a_secret_that_two_identities_share_is_found(identities: Identities) -> None:
    first = await identities.save(SaveIdentity(user="alice", secret=SECRET))
    second = await identities.save(SaveIdentity(user="bob", secret=SECRET))
    assert "bob" in first.findings[0]
    assert "alice" in second.findings[0]
    await identities.save(SaveIdentity(id=second.id, user="bob", secret=OTHER))
    assert first.findings == []


async def test_one_in_use_is_not_removed(context: EngineContext, identities: Identities) -> None:
    saved = await identities.save(SaveIdentity(user="alice", secret=SECRET))
    used = [(saved.id, "logs in to iqn.x")]
    identities.add_usage(lambda: used)
    with pytest.raises(ApiProblem) as caught:
        await identities.remove(saved.id)
    assert caught.value.code == "in-use"
    assert saved.used_by == ["logs in to iqn.x"]
    used.clear()
    await identities.remove(saved.id)
    assert context.registry.count("identities") == 0
    with pytest.raises(ApiProblem):
        await identities.credentials(saved.id)


async def test_after_a_restart_a_secret_in_memory_is_missing(
    context: EngineContext, identities: Identities
) -> None:
    saved = await identities.save(SaveIdentity(user="alice", secret=SECRET))
    await context.state.settled()
    context.secrets = EngineSecrets(use_memory=True)
    again = Identities(context)
    assert context.registry.get("identities", Identity, saved.id) is not saved
    with pytest.raises(ApiProblem) as caught:
        await again.credentials(saved.id)
    assert caught.value.code == "secret-unavailable"
    assert again.find(saved.id).place == "missing"


async def test_a_locked_keyring_refuses_and_memory_is_only_used_when_asked_for(
    context: EngineContext, identities: Identities
) -> None:
    context.secrets = EngineSecrets(store=LockedStore())
    assert (await identities.check_keyring()).state == "locked"
    with pytest.raises(ApiProblem) as caught:
        await identities.save(SaveIdentity(user="alice", secret=SECRET))
    assert caught.value.code == "secret-unavailable"
    assert caught.value.problem.check == "unlock it"
    assert context.registry.count("identities") == 0
    assert (await identities.use_memory(True)).state == "memory"
    assert (await identities.save(SaveIdentity(user="alice", secret=SECRET))).place == "memory"


async def test_a_slow_keyring_never_holds_up_the_loop(context: EngineContext, identities: Identities) -> None:
    store = SlowStore()
    context.secrets = EngineSecrets(store=store)
    waiting = asyncio.create_task(context.secrets.get("x"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not store.threads:  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.001)
    assert loop.time() - began < 1.0
    assert not waiting.done()
    store.release.set()
    assert await waiting is None
    assert threading.main_thread().name not in store.threads


async def test_pairs_obey_the_rules_of_chap(identities: Identities) -> None:
    one = await identities.save(SaveIdentity(user="alice", secret=SECRET))
    two = await identities.save(SaveIdentity(user="array", secret=OTHER))
    same = await identities.save(SaveIdentity(user="array", secret=SECRET))
    assert await identities.pair("", "") == (None, None)
    chap, mutual = await identities.pair(one.id, two.id)
    assert chap is not None
    assert mutual is not None
    assert (chap.user, mutual.user) == ("alice", "array")
    with pytest.raises(ApiProblem, match="same secret"):
        await identities.pair(one.id, same.id)
    with pytest.raises(ApiProblem, match="proves itself only"):
        await identities.pair("", two.id)
    given = ChapSecrets(
        user="u", secret="given-secret-123", mutual_user="t", mutual_secret="given-secret-456"
    )
    chap, mutual = await identities.pair(one.id, "", given)
    assert chap is not None
    assert (chap.user, chap.secret) == ("u", Secret("given-secret-123"))
    assert mutual is not None


async def test_what_the_lab_makes_is_not_kept(context: EngineContext, identities: Identities) -> None:
    saved = await identities.save(SaveIdentity(user="lab", secret=SECRET), this_run_only=True)
    await context.state.settled()
    assert context.state.load("identity", Identity) == []
    await identities.drop(saved.id)
    assert context.registry.count("identities") == 0
