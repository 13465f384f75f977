"""SendTargets: the list of targets in a text response (RFC 7143 §13.3, Appendix C), built and read within
limits.

What a target lists is not trusted: each bad record is skipped and counted, the rest of the list stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from san_console.iscsi.text import Bytes, encode_pairs
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise
from san_console.names.portal import Portal, format_target_address, parse_target_address

SEND_TARGETS = "SendTargets"
ALL = "All"  # discovery sessions only (Appendix C)

# 10,000 targets with two portals each take about 2.5 MB.
MAX_LIST_BYTES = 4 * 1024 * 1024
MAX_TARGETS = 20_000
MAX_ADDRESSES_PER_TARGET = 64
# Each text response of a long list asks for one more request; a target that trickles its list is cut off
# here.
MAX_RESPONSES = 4096


@dataclass(slots=True)
class DiscoveredTargetRecord:
    """A target as listed. `name` is normalised. No address means: the portal that was asked (Appendix C)."""

    name: str
    addresses: list[tuple[Portal, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class TargetList:
    """What was read: `truncated` when a limit cut the list short, `skipped` the number of bad names and
    addresses.
    """

    targets: list[DiscoveredTargetRecord]
    truncated: bool = False
    skipped: int = 0


def build_request(value: str = ALL) -> bytes:
    """The text of the request; `value` is `ALL`, a target, or "" for the target of a normal session."""
    return encode_pairs([(SEND_TARGETS, value)])


def build_response(targets: Iterable[tuple[str, Iterable[tuple[Portal, int]]]]) -> bytes:
    """The text for (name, [(portal, portal group tag)]), to be cut into text responses."""
    pairs: list[tuple[str, str]] = []
    for name, addresses in targets:
        pairs.append(("TargetName", name))
        pairs += [("TargetAddress", format_target_address(portal, tag)) for portal, tag in addresses]
    return encode_pairs(pairs)


def parse_response(data: Bytes, *, truncated: bool = False) -> TargetList:
    """Read a list; never raises. `truncated`: the caller knows that not all of it has come."""
    pieces = bytes(data[:MAX_LIST_BYTES]).split(b"\0")
    # Behind the last NUL stands nothing, or a piece that was cut off.
    cut_off = pieces.pop()
    result = TargetList([], truncated or bool(cut_off))
    by_name: dict[str, DiscoveredTargetRecord] = {}
    current: DiscoveredTargetRecord | None = None
    for piece in pieces:
        key, _, value = piece.decode("utf-8", "replace").partition("=")
        try:
            if key == "TargetName":
                # Until a good name comes, the addresses that follow belong to nobody.
                current = None
                name = normalise(value, lenient=True)
                if len(by_name) >= MAX_TARGETS and name not in by_name:
                    result.truncated = True
                    break
                current = by_name.setdefault(name, DiscoveredTargetRecord(name))
            elif key == "TargetAddress" and current is not None:
                address = parse_target_address(value)
                if len(current.addresses) >= MAX_ADDRESSES_PER_TARGET:
                    result.truncated = True
                elif address not in current.addresses:
                    current.addresses.append(address)
            elif piece:
                result.skipped += 1
        except NamesError:
            result.skipped += 1
    result.targets = list(by_name.values())
    return result
