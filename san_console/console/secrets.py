"""Where CHAP secrets are kept: the operating system's keyring, or memory when that was asked for.

Nothing falls back by itself: without a keyring every call raises `SecretsUnavailable` and says how to mend
it. Only the keyrings of `ALLOWED` are used. The choice by the `keyring` package itself is left aside, because
its chain takes whatever is installed: plain-text files (keyrings.alt) and vaults that ask on the terminal.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from san_console.api.engine_objects import Keyring, KeyringState
from san_console.names.credentials import Secret
from san_console.names.display import visible
from san_console.names.errors import InvalidSecret

SERVICE: Final = "san-console"
"""The name under which the keyring lists our secrets; the user name there is the id of the identity."""

DEFAULT_TIMEOUT_S: Final = 20.0
"""Long enough to type the keyring's password into its prompt, short enough for a login that waits."""

_OCTETS_MARK: Final = "san-console-base64:"
"""Keyrings hold text. A secret that is no text, or looks like this mark, is kept behind it in base64."""

_BACKEND_VARIABLE: Final = "PYTHON_KEYRING_BACKEND"
_DEFAULT_COLLECTION: Final = "/org/freedesktop/secrets/aliases/default"

MEMORY_HINT: Final = "or keep the secrets in memory for this run (they are gone when the engine ends)"
FIX_MISSING: Final = (
    "Start a keyring: on Debian install gnome-keyring and log in to the desktop again, or run the engine "
    f"under dbus-run-session with gnome-keyring-daemon --unlock; {MEMORY_HINT}."
)
FIX_LOCKED: Final = (
    f"Unlock the keyring (log in to the desktop, or open its password manager); {MEMORY_HINT}."
)
FIX_SLOW: Final = f"Look for a prompt of the keyring that waits for its password; {MEMORY_HINT}."


class SecretsUnavailable(Exception):
    """No secret can be read or kept: what happened, which side decided it, what to check.

    `state` is the state of the keyring that this shows. No message carries a secret.
    """

    def __init__(self, cause: str, side: str, check: str, *, state: KeyringState = "unknown") -> None:
        super().__init__(cause)
        self.cause = cause
        self.side = side
        self.check = check
        self.state: KeyringState = state


class SecretStore(ABC):
    """Secrets by the id of their identity. Every call may block up to the store's time-out: use a thread."""

    @abstractmethod
    def get(self, identity_id: str) -> Secret | None:
        """The secret, or None when the store holds none for this id. Raises SecretsUnavailable."""

    @abstractmethod
    def put(self, identity_id: str, secret: Secret) -> None:
        """Keep the secret, in place of an older one. Raises SecretsUnavailable."""

    @abstractmethod
    def delete(self, identity_id: str) -> None:
        """Forget the secret; nothing happens when there is none. Raises SecretsUnavailable."""

    @abstractmethod
    def status(self) -> Keyring:
        """What state the store is in, without asking the user anything. Does not raise."""

    def require(self, identity_id: str, user: str) -> Secret:
        """The secret. Raises SecretsUnavailable also when the store holds none."""
        secret = self.get(identity_id)
        if secret is None:
            raise SecretsUnavailable(
                f"There is no secret for the CHAP user {visible(user)}.",
                "this computer: its keyring holds none under this identity",
                "Enter the secret of this identity again.",
            )
        return secret


class MemoryStore(SecretStore):
    """Secrets of this run only, for machines without a keyring; used when the user asks for it."""

    def __init__(self) -> None:
        self._secrets: dict[str, Secret] = {}

    def get(self, identity_id: str) -> Secret | None:
        return self._secrets.get(identity_id)

    def put(self, identity_id: str, secret: Secret) -> None:
        self._secrets[identity_id] = secret

    def delete(self, identity_id: str) -> None:
        self._secrets.pop(identity_id, None)

    def status(self) -> Keyring:
        return Keyring(state="memory", backend="memory of this run")


class AllowedBackend(NamedTuple):
    """A keyring of an operating system: where the `keyring` package has it, and what people call it."""

    module: str
    class_name: str
    title: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.class_name}"


ALLOWED: Final = (
    AllowedBackend("keyring.backends.SecretService", "Keyring", "Secret Service"),
    AllowedBackend("keyring.backends.libsecret", "Keyring", "Secret Service (libsecret)"),
    AllowedBackend("keyring.backends.kwallet", "DBusKeyring", "KWallet"),
    AllowedBackend("keyring.backends.kwallet", "DBusKeyringKWallet4", "KWallet 4"),
    AllowedBackend("keyring.backends.macOS", "Keyring", "macOS Keychain"),
    AllowedBackend("keyring.backends.Windows", "WinVaultKeyring", "Windows Credential Manager"),
)
"""In the order of preference. Secret Service first: KWallet answers on other desktops too, but empty."""

_PROVIDERS: Final = {
    "gnome-keyring-d": "GNOME Keyring",
    "kwalletd5": "KWallet",
    "kwalletd6": "KWallet",
    "ksecretd": "KWallet",
    "keepassxc": "KeePassXC",
}
"""Who stands behind the Secret Service, by the name of its process (15 characters, proc(5) comm)."""


class ChosenBackend(NamedTuple):
    title: str
    keyring: Any
    """An object with `get_password`, `set_password` and `delete_password`."""
    look: Callable[[], Keyring] | None = None
    """Tells the state without a prompt, where the keyring has such a question."""


def choose_backend() -> ChosenBackend:
    """The first keyring of `ALLOWED` that works here. Raises SecretsUnavailable when none does.

    `PYTHON_KEYRING_BACKEND` narrows the choice, as it does for other programs, but never beyond the list.
    """
    wanted = os.environ.get(_BACKEND_VARIABLE, "")
    candidates = [allowed for allowed in ALLOWED if wanted in ("", allowed.path)]
    if not candidates:
        raise SecretsUnavailable(
            f"{_BACKEND_VARIABLE} names {visible(wanted)}, which is no keyring of an operating system.",
            "this computer: secrets are kept in the system's keyring only",
            f"Take the variable out of the environment, or name one of the system's keyrings; {MEMORY_HINT}.",
            state="missing",
        )
    for allowed in candidates:
        try:
            kind = getattr(importlib.import_module(allowed.module), allowed.class_name)
            usable = kind.priority > 0
        except Exception:  # noqa: S112 - a backend says by any exception that it does not work here
            continue
        if usable:
            look = _look_at_secret_service if allowed.module.endswith(".SecretService") else None
            return ChosenBackend(allowed.title, kind(), look)
    raise SecretsUnavailable(
        "No keyring answers on this computer.",
        "this computer: neither Secret Service nor KWallet, Keychain or Credential Manager is there",
        FIX_MISSING,
        state="missing",
    )


def _look_at_secret_service() -> Keyring:
    """Ask the Secret Service whether its default collection is locked; this shows no prompt."""
    import secretstorage

    connection = secretstorage.dbus_init()
    try:
        title = _secret_service_provider(connection)
        try:
            locked = secretstorage.Collection(connection, _DEFAULT_COLLECTION).is_locked()
        except secretstorage.ItemNotFoundException:
            fix = "Its first use creates the collection and asks for a password."
            return Keyring(state="locked", backend=title, fix=fix)
    finally:
        connection.close()
    if locked:
        return Keyring(state="locked", backend=title, fix=FIX_LOCKED)
    return Keyring(state="unlocked", backend=title)


def _secret_service_provider(connection: Any) -> str:
    from jeepney import DBusAddress, new_method_call  # type: ignore[import-untyped]  # it has no py.typed

    bus = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
    question = new_method_call(bus, "GetConnectionUnixProcessID", "s", ("org.freedesktop.secrets",))
    answer = connection.send_and_get_reply(question)
    try:
        process_name = Path(f"/proc/{int(answer.body[0])}/comm").read_text(encoding="utf-8").strip()
    except (OSError, ValueError, IndexError):
        return "Secret Service"
    return _PROVIDERS.get(process_name, "Secret Service")


_T = TypeVar("_T")


class _Call(Generic[_T]):
    """One call in a thread of its own, and what came of it."""

    def __init__(self, work: Callable[[], _T], free: threading.Lock) -> None:
        self.ended = threading.Event()
        self.result: _T | None = None
        self.error: Exception | None = None
        self._work = work
        self._free = free

    def run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:  # raised again in the caller's thread
            self.error = error
        finally:
            self._free.release()
            self.ended.set()


class KeyringStore(SecretStore):
    """Secrets in the operating system's keyring.

    A keyring may wait for a person (its prompt) or for a dead D-Bus service for as long as it likes; each
    call therefore runs in a thread that is left behind after `timeout_s`. One at a time: while a call hangs,
    the next ones end with their time-out too instead of piling up prompts.
    """

    def __init__(
        self,
        choose: Callable[[], ChosenBackend] = choose_backend,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._choose = choose
        self._timeout_s = timeout_s
        self._free = threading.Lock()
        self._chosen: ChosenBackend | None = None

    def get(self, identity_id: str) -> Secret | None:
        text = self._call("read a secret", lambda k: k.get_password(SERVICE, identity_id))
        return None if text is None else _secret_from_text(text)

    def put(self, identity_id: str, secret: Secret) -> None:
        text = _text_from_secret(secret)
        self._call("keep a secret", lambda k: k.set_password(SERVICE, identity_id, text), hidden=text)

    def delete(self, identity_id: str) -> None:
        def forget(keyring: Any) -> None:
            # Backends report a missing entry and a real failure with the same error: look before.
            if keyring.get_password(SERVICE, identity_id) is not None:
                keyring.delete_password(SERVICE, identity_id)

        self._call("forget a secret", forget)

    def status(self) -> Keyring:
        def look() -> Keyring:
            # Chosen anew each time: this is what is called after the user has mended something.
            self._chosen = self._choose()
            if self._chosen.look is not None:
                return self._chosen.look()
            return Keyring(state="unlocked", backend=self._chosen.title)

        title = self._chosen.title if self._chosen is not None else ""
        try:
            return self._in_thread("tell its state", look)
        except SecretsUnavailable as problem:
            return Keyring(state=problem.state, backend=title, fix=f"{problem.cause} {problem.check}")

    def _call(self, what: str, use: Callable[[Any], _T], *, hidden: str = "") -> _T:
        def work() -> _T:
            if self._chosen is None:
                self._chosen = self._choose()
            return use(self._chosen.keyring)

        return self._in_thread(what, work, hidden=hidden)

    def _in_thread(self, what: str, work: Callable[[], _T], *, hidden: str = "") -> _T:
        if not self._free.acquire(timeout=self._timeout_s):
            self._raise_slow(what)
        call = _Call(work, self._free)
        threading.Thread(target=call.run, name="keyring", daemon=True).start()
        if not call.ended.wait(self._timeout_s):
            self._raise_slow(what)
        if call.error is None:
            return call.result  # type: ignore[return-value]  # set when there is no error
        self._chosen = None
        if isinstance(call.error, SecretsUnavailable):
            raise call.error
        raise _explain(what, call.error, hidden) from None

    def _raise_slow(self, what: str) -> NoReturn:
        raise SecretsUnavailable(
            f"The keyring did not {what} within {self._timeout_s:g} s.",
            "the keyring of this computer: it waits, perhaps for its password",
            FIX_SLOW,
            state="unknown",
        )


def open_store(*, memory: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S) -> SecretStore:
    """The system's keyring, or the memory of this process when `memory` asks for it. Does not block."""
    return MemoryStore() if memory else KeyringStore(timeout_s=timeout_s)


def _explain(what: str, error: Exception, hidden: str) -> SecretsUnavailable:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    # An error of somebody else's code may quote its arguments.
    said = "" if hidden and hidden in text else f": {visible(text, 200)}"
    if "KeyringLocked" in names or "LockedException" in names or "dismissed" in text.lower():
        return SecretsUnavailable(
            f"The keyring is locked and was not unlocked; it could not {what}.",
            "the keyring of this computer: it is locked, or its prompt was dismissed",
            FIX_LOCKED,
            state="locked",
        )
    if names & {"NoKeyringError", "SecretServiceNotAvailableException", "ConnectionError", "KeyError"}:
        return SecretsUnavailable(
            f"The keyring does not answer; it could not {what}.",
            "this computer: the session bus or the keyring's service is not running",
            FIX_MISSING,
            state="missing",
        )
    return SecretsUnavailable(
        f"The keyring could not {what} ({type(error).__name__}{said}).",
        "the keyring of this computer",
        f"Open the keyring's own password manager and see whether it works; {MEMORY_HINT}.",
        state="unknown",
    )


def _text_from_secret(secret: Secret) -> str:
    octets = secret.reveal()
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text and not text.startswith(_OCTETS_MARK):
        return text
    return _OCTETS_MARK + base64.b64encode(octets).decode()


def _secret_from_text(text: str) -> Secret:
    try:
        if text.startswith(_OCTETS_MARK):
            return Secret(base64.b64decode(text.removeprefix(_OCTETS_MARK), validate=True))
        return Secret(text)
    except (InvalidSecret, binascii.Error):
        raise SecretsUnavailable(
            "What the keyring holds for this identity is no CHAP secret.",
            "the keyring of this computer: its entry was changed by another program",
            "Enter the secret of this identity again.",
        ) from None
