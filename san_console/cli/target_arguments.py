"""What the options of `target serve` are read as; each function raises argparse.ArgumentTypeError."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from san_console.names.errors import NamesError
from san_console.names.portal import Portal

if TYPE_CHECKING:
    from san_console.target.config import AccessState, Redirect


def _portal(text: str) -> Portal:
    try:
        return Portal.parse(text)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def target_name(text: str) -> str:
    """The name of a target."""
    from san_console.names.iscsi_name import normalise

    try:
        return normalise(text)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def initiator(text: str) -> str:
    """Whom a rule of access means."""
    from san_console.target.errors import ConfigError
    from san_console.target.subjects import parse_subject

    try:
        return parse_subject(text).text
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error.cause} {error.check}") from None


def portal_of_group(text: str) -> tuple[Portal, int]:
    """`ADDRESS:PORT[,TAG]`: a portal and the tag of its group."""
    address, comma, tag = text.partition(",")
    if comma and not (tag.isascii() and tag.isdigit() and len(tag) < 6):
        raise argparse.ArgumentTypeError(f"what follows the comma is no portal group tag: {text!a}")
    return _portal(address), int(tag) if comma else 1


def _tagged(text: str) -> tuple[int | None, str]:
    """`TAG=REST`, or `REST` for all groups."""
    tag, equals, rest = text.partition("=")
    if equals and tag.isascii() and tag.isdigit() and len(tag) < 6:
        return int(tag), rest
    return None, text


def redirect(text: str) -> tuple[int | None, Redirect]:
    """`[TAG=]ADDRESS:PORT[,permanent]`: the tag of the group (None: all) and where it sends logins."""
    from san_console.target.config import Redirect
    from san_console.target.errors import ConfigError

    tag, rest = _tagged(text)
    address, comma, word = rest.partition(",")
    if comma and word != "permanent":
        raise argparse.ArgumentTypeError(f"after the comma comes “permanent”: {text!a}")
    try:
        return tag, Redirect(_portal(address), permanent=bool(comma))
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{error.cause} {error.check}") from None


def access_state(text: str) -> tuple[int | None, AccessState]:
    """`[TAG=]STATE`: the tag of the group (None: all) and its ALUA state."""
    from san_console.target.config import ACCESS_STATES

    tag, name = _tagged(text)
    for state in ACCESS_STATES:
        if state == name:
            return tag, state
    raise argparse.ArgumentTypeError(f"choose one of {', '.join(ACCESS_STATES)}")
