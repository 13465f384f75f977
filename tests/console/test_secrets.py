"""The secret store: faults of the keyring are told, nothing hangs, nothing falls back to plain text."""

from __future__ import annotations

import importlib
import os
import secrets as random_source
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from san_console.console.secrets import (
    ALLOWED,
    SERVICE,
    ChosenBackend,
    KeyringStore,
    MemoryStore,
    SecretsUnavailable,
    choose_backend,
    open_store,
)
from san_console.names.credentials import Secret
from tests.peers import need


class FakeKeyring:
    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.fault: Callable[[], None] = lambda: None

    def get_password(self, service: str, user: str) -> str | None:
        self.fault()
        return self.held.get((service, user))

    def set_password(self, service: str, user: str, text: str) -> None:
        self.fault()
        self.held[service, user] = text

    def delete_password(self, service: str, user: str) -> None:
        self.fault()
        del self.held[service, user]


def store_on(keyring: FakeKeyring, timeout_s: float = 5.0) -> KeyringStore:
    return KeyringStore(lambda: ChosenBackend("Fake", keyring), timeout_s=timeout_s)


def raising(error: BaseException) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


@pytest.mark.parametrize(
    "octets",
    [b"sixteen-letters!", bytes(range(256)), "zwölf Zeichen".encode(), b"\n\x00", b"san-console-base64:x"],
)
def test_a_secret_comes_back_octet_by_octet(octets: bytes) -> None:
    keyring = FakeKeyring()
    store = store_on(keyring)
    assert store.get("id-1") is None
    store.put("id-1", Secret(octets))
    assert store.get("id-1") == Secret(octets)
    assert list(keyring.held) == [(SERVICE, "id-1")]
    assert all(text.isprintable() for text in keyring.held.values())
    store.delete("id-1")
    store.delete("id-1")
    assert store.get("id-1") is None
    assert store.status().state == "unlocked"


def test_a_missing_secret_is_told_with_its_user() -> None:
    with pytest.raises(SecretsUnavailable) as caught:
        store_on(FakeKeyring()).require("id-1", "es\x1bx")
    assert "esx" not in caught.value.cause
    assert "\\u{1b}" in caught.value.cause


class KeyringLocked(Exception):
    """Named as the `keyring` package names it."""


class InitError(Exception):
    """Named as the `keyring` package names it."""


class NoKeyringError(Exception):
    """Named as the `keyring` package names it."""


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (KeyringLocked("Failed to unlock the collection!"), "locked"),
        (InitError("Failed to create the collection: Prompt dismissed.."), "locked"),
        (NoKeyringError("No recommended backend was available."), "missing"),
        (ConnectionRefusedError(111, "Connection refused"), "missing"),
        (RuntimeError("\x1b[31mred\n"), "unknown"),
    ],
)
def test_each_fault_has_a_cause_a_side_and_a_check(error: Exception, state: str) -> None:
    keyring = FakeKeyring()
    keyring.fault = raising(error)
    store = store_on(keyring)
    secret = Secret("never-in-a-message")
    calls: list[Callable[[], object]] = [
        lambda: store.get("a"),
        lambda: store.put("a", secret),
        lambda: store.delete("a"),
    ]
    for call in calls:
        with pytest.raises(SecretsUnavailable) as caught:
            call()
        assert caught.value.state == state
        for text in (caught.value.cause, caught.value.side, caught.value.check):
            assert text
            assert text.isprintable()
    assert keyring.held == {}
    keyring.fault = lambda: None
    store.put("a", secret)
    assert store.get("a") == secret


def test_an_error_that_quotes_the_secret_is_not_shown() -> None:
    keyring = FakeKeyring()
    keyring.fault = raising(RuntimeError("bad value 'canary-7c1f9e'"))
    with pytest.raises(SecretsUnavailable) as caught:
        store_on(keyring).put("a", Secret("canary-7c1f9e"))
    assert "canary" not in caught.value.cause
    assert caught.value.__cause__ is None


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_keyring_that_hangs_ends_with_the_time_out_and_works_again_afterwards(
    gate: threading.Event,
) -> None:
    keyring = FakeKeyring()
    keyring.fault = lambda: _wait(gate)
    store = store_on(keyring, timeout_s=0.05)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(SecretsUnavailable, match=r"within 0\.05 s"):
            store.get("a")
    assert store.status().state == "unknown"
    assert sum(thread.name == "keyring" for thread in threading.enumerate()) == 1
    assert time.monotonic() - began < 2
    gate.set()
    patient = time.monotonic() + 5
    while time.monotonic() < patient:
        try:
            assert store.get("a") is None
        except SecretsUnavailable:
            continue
        break
    else:
        pytest.fail("the store did not come back")


def _wait(gate: threading.Event) -> None:
    gate.wait(10)


def test_an_entry_that_another_program_changed_is_told() -> None:
    keyring = FakeKeyring()
    keyring.held[SERVICE, "a"] = "san-console-base64:***"
    with pytest.raises(SecretsUnavailable, match="no CHAP secret"):
        store_on(keyring).get("a")


def test_only_keyrings_of_operating_systems_are_allowed() -> None:
    modules = {allowed.module.removeprefix("keyring.backends.") for allowed in ALLOWED}
    assert modules == {"SecretService", "libsecret", "kwallet", "macOS", "Windows"}


@pytest.mark.parametrize(
    "path",
    [
        "keyring.backends.null.Keyring",
        "keyring.backends.fail.Keyring",
        "keyring.backends.chainer.ChainerBackend",
        "keyrings.alt.file.PlaintextKeyring",
        "keyrings.cryptfile.cryptfile.CryptFileKeyring",
    ],
)
def test_the_environment_cannot_choose_another(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", path)
    with pytest.raises(SecretsUnavailable) as caught:
        choose_backend()
    assert caught.value.state == "missing"
    assert path in caught.value.cause


@pytest.mark.skipif(sys.platform != "linux", reason="needs a platform where D-Bus decides")
@pytest.mark.parametrize("address", [None, "unix:path=/nonexistent/bus"])
def test_no_session_bus_is_a_missing_keyring(
    address: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if address is None:
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    store = open_store()
    with pytest.raises(SecretsUnavailable) as caught:
        store.put("a", Secret("not-kept-anywhere"))
    assert caught.value.state == "missing"
    state = store.status()
    assert state.state == "missing"
    assert "gnome-keyring" in state.fix
    assert list(tmp_path.iterdir()) == []


def test_the_choice_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @property
        def priority(self) -> float:
            raise RuntimeError("not here")

    class Works:
        priority = 5

    kinds: dict[str, Any] = {ALLOWED[0].module: Broken(), ALLOWED[1].module: Works}

    class Module:
        def __init__(self, kind: Any) -> None:
            self.Keyring = kind

    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setattr(importlib, "import_module", lambda name: Module(kinds[name]))
    chosen = choose_backend()
    assert chosen.title == ALLOWED[1].title
    assert isinstance(chosen.keyring, Works)


def test_memory_is_used_only_when_asked_for() -> None:
    assert isinstance(open_store(), KeyringStore)
    store = open_store(memory=True)
    assert isinstance(store, MemoryStore)
    store.put("a", Secret("of-this-run-only"))
    assert store.get("a") == Secret("of-this-run-only")
    store.delete("a")
    store.delete("a")
    assert store.get("a") is None
    assert store.status().state == "memory"


_SESSION = """
printf %s "$KEYRING_PASSWORD" | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
exec "$PYTHON" -c "$PROGRAM"
"""

_LOCKED_SESSION = """
gnome-keyring-daemon --start --components=secrets >/dev/null 2>&1
exec "$PYTHON" -c "$PROGRAM"
"""

_PUT = """
import os
from san_console.console.secrets import open_store
from san_console.names.credentials import Secret
store = open_store(timeout_s=20)
print(store.status().state, store.status().backend, sep="|")
assert store.get("id-1") is None
store.put("id-1", Secret(os.environ["CANARY"]))
store.put("id-2", Secret(bytes(range(256))))
assert store.get("id-1") == Secret(os.environ["CANARY"])
store.delete("id-3")
"""

_GET = """
import os
from san_console.console.secrets import open_store
from san_console.names.credentials import Secret
store = open_store(timeout_s=20)
assert store.get("id-1") == Secret(os.environ["CANARY"])
assert store.get("id-2") == Secret(bytes(range(256)))
store.delete("id-1")
assert store.get("id-1") is None
print("kept")
"""

_LOCKED = """
from san_console.console.secrets import open_store, SecretsUnavailable
store = open_store(timeout_s=20)
print(store.status().state)
try:
    store.get("id-2")
except SecretsUnavailable as problem:
    print(problem.state)
"""


@pytest.mark.interop
def test_the_real_gnome_keyring_keeps_secrets_over_sessions(tmp_path: Path) -> None:
    bus = need("dbus-run-session", "dbus")
    need("gnome-keyring-daemon", "gnome-keyring")
    canary = f"canary-{random_source.token_hex(12)}"
    for folder in ("home", "run", "data"):
        (tmp_path / folder).mkdir(mode=0o700)
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "KEYRING_PASSWORD": random_source.token_hex(16),
        "CANARY": canary,
    }

    def in_session(script: str, program: str) -> str:
        ended = subprocess.run(
            [bus, "--", "sh", "-c", script],
            env={**environment, "PROGRAM": program},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert in_session(_SESSION, _PUT).strip() == "unlocked|GNOME Keyring"
    assert in_session(_LOCKED_SESSION, _LOCKED).split() == ["locked", "locked"]
    assert in_session(_SESSION, _GET).strip() == "kept"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path
