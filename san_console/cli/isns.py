"""`san-console isns`: an iSNS server without state, and a look into any server's database."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from san_console.names.errors import NamesError
from san_console.names.portal import ISNS_PORT, Portal

if TYPE_CHECKING:
    from san_console.isns.name_server import ServerEvent
    from san_console.nameserver.client import IsnsClient, ObjectList, TargetList

_SCHEMA_SERVING = "san-console/isns-serve/1"
_SCHEMA_QUERY = "san-console/isns-query/1"

_QUERY_SOURCE = "iqn.2026-11.org.san-console:isns-query"
"""Servers that scope their answers show an unknown initiator what the default domain holds."""


def _portal(text: str) -> Portal:
    try:
        return Portal.parse(text, ISNS_PORT)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"“{text}” is no time in seconds (up to 3600).")
    return value


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `isns` with its commands `serve` and `query`."""
    parser = subparsers.add_parser("isns", help="run an iSNS server, or list what one knows")
    commands = parser.add_subparsers(dest="isns_command", metavar="COMMAND", required=True)

    serve_parser = commands.add_parser("serve", help="run an iSNS server until it is interrupted")
    serve_parser.add_argument(
        "--portal", type=_portal, required=True, metavar="ADDRESS[:PORT]", help="where to listen; port 0: any"
    )
    serve_parser.add_argument(
        "--period", type=_seconds, default=600.0, metavar="SECONDS", help="how long a silent client is kept"
    )
    serve_parser.add_argument(
        "--esi", action="store_true", help="ask portals that request it whether they live"
    )
    serve_parser.add_argument("--json", action="store_true", help="print one JSON object when ready")
    serve_parser.set_defaults(handler=serve)

    query_parser = commands.add_parser("query", help="list the nodes, portals and entities of an iSNS server")
    query_parser.add_argument("portal", type=_portal, metavar="ADDRESS[:PORT]")
    query_parser.add_argument(
        "--initiator", default=_QUERY_SOURCE, metavar="NAME", help="ask in the name of this initiator"
    )
    query_parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="SECONDS")
    query_parser.add_argument("--json", action="store_true", help="print one JSON object")
    query_parser.set_defaults(handler=query)


def serve(args: argparse.Namespace) -> int:
    """Run a server until SIGINT or SIGTERM; the exit code."""
    import asyncio

    from san_console.cli.output import print_failure
    from san_console.nameserver.errors import IsnsFailure

    try:
        asyncio.run(_serve(args.portal, args.period, args.esi, args.json))
    except IsnsFailure as failure:
        print_failure(failure.cause, failure.side, failure.check)
        return 1
    except KeyboardInterrupt:
        return 0  # interrupted before the signal handlers were in place
    return 0


async def _serve(portal: Portal, period_s: float, esi: bool, as_json: bool) -> None:
    import asyncio
    import signal
    import sys

    from san_console.cli.output import print_json
    from san_console.isns.policy import ServerPolicy
    from san_console.nameserver.server import IsnsServer

    def show(event: "ServerEvent") -> None:
        print(f"{event.kind}: {event.text}", file=sys.stderr, flush=True)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    policy = ServerPolicy(registration_period_s=max(int(period_s), 1), esi=esi)
    async with IsnsServer(portal, policy=policy, on_event=show) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        bound = server.bound_portal
        if as_json:
            print_json(_SCHEMA_SERVING, {"portal": str(bound)})
        else:
            print(f"iSNS server ready on {bound}")
        sys.stdout.flush()
        await stop.wait()


def query(args: argparse.Namespace) -> int:
    """List what a server knows; the exit code."""
    import asyncio

    from san_console.cli.output import print_failure, print_json
    from san_console.names.iscsi_name import normalise
    from san_console.nameserver.client import IsnsClient
    from san_console.nameserver.errors import IsnsFailure

    try:
        source = normalise(args.initiator)
    except NamesError as error:
        print_failure(str(error), "this command", "Check --initiator.")
        return 2
    client = IsnsClient(args.portal, source_name=source, timeout_s=args.timeout)
    try:
        targets, objects = asyncio.run(_query(client))
    except IsnsFailure as failure:
        print_failure(failure.cause, failure.side, failure.check)
        return 1
    if args.json:
        print_json(_SCHEMA_QUERY, _as_data(args.portal, targets, objects))
    else:
        _print_tables(targets, objects)
    return 0


async def _query(client: "IsnsClient") -> "tuple[TargetList, ObjectList]":
    async with client:
        return await client.query_targets(), await client.list_objects()


def _as_data(portal: Portal, targets: "TargetList", objects: "ObjectList") -> dict[str, object]:
    return {
        "server": str(portal),
        "targets": [
            {
                "name": target.name,
                "alias": target.alias,
                "entity": target.entity,
                "portals": [{"portal": str(address), "tag": tag} for address, tag in target.portals],
            }
            for target in targets
        ],
        "objects": [{"kind": item.kind, "id": item.id, "attributes": item.attributes} for item in objects],
        "skipped": targets.skipped + objects.skipped,
        "truncated": targets.truncated,
    }


def _print_tables(targets: "TargetList", objects: "ObjectList") -> None:
    import sys

    from san_console.cli.output import print_table, say

    portals = {target.name: target.portals for target in targets}

    def rows(kind: str, *columns: str) -> list[Sequence[str]]:
        return [
            [item.id, *(item.attributes.get(column, "") for column in columns)]
            for item in objects
            if item.kind == kind
        ]

    nodes = [
        [*row, " ".join(f"{portal},{tag}" for portal, tag in portals.get(row[0], []))]
        for row in rows("node", "iSCSI Node Type", "iSCSI Alias")
    ]
    print_table(["node", "type", "alias", "portals"], nodes)
    print_table(
        ["portal", "name", "SCN port", "ESI port"],
        rows("portal", "Portal Symbolic Name", "SCN Port", "ESI Port"),
    )
    print_table(
        ["entity", "protocol", "period (s)", "management address"],
        rows("entity", "Entity Protocol", "Registration Period", "Management IP Address"),
    )
    if not nodes:
        say("No node that this initiator may see is registered there.")
    skipped = targets.skipped + objects.skipped
    if skipped or targets.truncated:
        more = "; there were more targets than are shown" if targets.truncated else ""
        print(f"{skipped} records of the answer could not be used{more}.", file=sys.stderr)
