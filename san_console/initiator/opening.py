"""The short way to a session: a URL or settings in, a session that is logged in and stays up out."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from san_console.initiator.events import OnEvent
from san_console.initiator.session import Session
from san_console.initiator.settings import SessionSettings
from san_console.names.errors import InvalidUrl
from san_console.names.iscsi_name import generate_initiator_name
from san_console.names.url import IscsiUrl


def default_initiator_name() -> str:
    """A name for this machine's initiator, the same each time: targets know initiators by their names."""
    try:
        seed = Path("/etc/machine-id").read_bytes()
    except OSError:
        seed = uuid.getnode().to_bytes(8, "big")
    # machine-id(5): the id itself is not to be shown, a hash of it with an application's own salt may be.
    digest = hashlib.sha256(b"san-console initiator name" + seed).digest()
    return generate_initiator_name(socket.gethostname(), lambda size: digest[:size])


def settings_from_url(url: str | IscsiUrl, **settings: Any) -> SessionSettings:
    """Settings for the target that `url` names; `settings` are further fields of SessionSettings.

    Without an `initiator_name` this machine's default one is used. Raises InvalidUrl.
    """
    parsed = IscsiUrl.parse(url) if isinstance(url, str) else url
    if parsed.target is None:
        raise InvalidUrl("The URL names no target: iscsi://host[:port]/target-name[/lun].")
    name = settings.pop("initiator_name", None) or default_initiator_name()
    return SessionSettings(name, parsed.target, parsed.portal, **settings)


@asynccontextmanager
async def connect(
    target: str | IscsiUrl | SessionSettings, *, on_event: OnEvent | None = None, **settings: Any
) -> AsyncIterator[Session]:
    """Log in, keep the session up, log out at the end. Raises InitiatorError, InvalidUrl."""
    if not isinstance(target, SessionSettings):
        target = settings_from_url(target, **settings)
    async with Session(target, on_event=on_event) as session:
        yield session
