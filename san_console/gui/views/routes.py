"""Which interface leads to an address, as far as addresses alone can tell."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from san_console.api.engine_objects import Interface
from san_console.gui import words
from san_console.gui.translation import translate
from san_console.names.errors import NamesError
from san_console.names.portal import Portal

PREFIX_BITS: Final = {4: 24, 6: 64}
"""Interfaces come without their prefix length; these are what storage networks mostly have."""


def interface_for(address: str, interfaces: Sequence[Interface]) -> str:
    """`ens192 · direct · MTU 9000`, `routed`, or `–` for a name."""
    try:
        ip = ipaddress.ip_address(Portal.parse(address).host.split("%", 1)[0])
    except (NamesError, ValueError):
        return words.NONE
    for interface in interfaces:
        for text in interface.addresses:
            try:
                own = ipaddress.ip_interface(text)
            except ValueError:
                continue
            if own.version != ip.version:
                continue
            bits = own.network.prefixlen if "/" in text else PREFIX_BITS[own.version]
            network = ipaddress.ip_network(f"{own.ip}/{bits}", strict=False)
            if ip in network or (ip.is_loopback and own.ip.is_loopback):
                state = "" if interface.up else translate("routes", " · down")
                return translate("routes", "{id} · direct · MTU {mtu}{state}").format(
                    id=interface.id, mtu=interface.mtu, state=state
                )
    return translate("routes", "routed") if interfaces else words.NONE
