"""The short way to a session: a URL or settings in, a session that is logged in and stays up out."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from san_console.initiator.events import OnEvent
from san_console.initiator.session import Session
from san_console.initiator.settings import SessionSettings
from san_console.names.errors import InvalidUrl
from san_console.names.iscsi_name import generate_initiator_name
from san_console.names.url import IscsiUrl


def settings_from_url(url: str | IscsiUrl, **settings: Any) -> SessionSettings:
    """Settings for the target that `url` names; `settings` are further fields of SessionSettings.

    Without an `initiator_name` a random one is made from this machine's name. Raises InvalidUrl.
    """
    parsed = IscsiUrl.parse(url) if isinstance(url, str) else url
    if parsed.target is None:
        raise InvalidUrl("The URL names no target: iscsi://host[:port]/target-name[/lun].")
    name = settings.pop("initiator_name", None) or generate_initiator_name(socket.gethostname(), os.urandom)
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
