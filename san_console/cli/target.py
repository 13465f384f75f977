"""`san-console target serve`: one target without state, until it is interrupted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from san_console.names.errors import NamesError
from san_console.names.portal import Portal

if TYPE_CHECKING:
    from san_console.target.config import TargetConfig
    from san_console.target.events import TargetEvent
    from san_console.target.server import TargetServer

_SCHEMA = "san-console/target-serve/1"


def _portal(text: str) -> Portal:
    try:
        return Portal.parse(text)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _name(text: str) -> str:
    from san_console.names.iscsi_name import normalise

    try:
        return normalise(text)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _initiator(text: str) -> str:
    return text.lower() if "*" in text else _name(text)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `target` with its command `serve`."""
    from san_console.cli.chap_arguments import add_chap_arguments

    parser = subparsers.add_parser("target", help="serve LUNs of this machine")
    commands = parser.add_subparsers(dest="target_command", metavar="COMMAND", required=True)
    serve_parser = commands.add_parser(
        "serve",
        help="serve one target until it is interrupted",
        description="Serve one target until SIGINT or SIGTERM. LUN numbers go from 0 in the order given.",
    )
    serve_parser.add_argument("--name", type=_name, required=True, metavar="IQN", help="the target's name")
    serve_parser.add_argument(
        "--portal",
        type=_portal,
        required=True,
        action="append",
        metavar="ADDRESS:PORT",
        help="where to listen; port 0: any; may be given several times",
    )
    serve_parser.add_argument(
        "--lun",
        required=True,
        nargs="+",
        action="extend",
        metavar="SPEC",
        help="file:PATH[,size=1G][,ro][,block=4096][,thin], memory:256M, block:/dev/x or null:1G",
    )
    serve_parser.add_argument(
        "--acl",
        type=_initiator,
        nargs="+",
        action="extend",
        metavar="IQN",
        help="initiators that may log in, * stands for any characters; without it anyone may",
    )
    serve_parser.add_argument("--json", action="store_true", help="print one JSON object when ready")
    add_chap_arguments(serve_parser)
    serve_parser.set_defaults(handler=serve)


def serve(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; the exit code."""
    import asyncio

    from san_console.cli.chap_arguments import NoSecret
    from san_console.cli.output import print_failure
    from san_console.target.errors import ConfigError, TargetError

    try:
        config = _config(args)
    except ConfigError as error:
        print_failure(error.cause, error.side, error.check)
        return 2
    except NoSecret as error:
        print_failure(error.cause, error.side, error.check)
        return 1
    except NamesError as error:
        print_failure(str(error), "this machine", "Check the CHAP user and secret.")
        return 2
    try:
        asyncio.run(_serve(config, args.json))
    except TargetError as error:
        print_failure(error.cause, error.side, error.check)
        return 1
    except KeyboardInterrupt:
        return 0  # interrupted before the signal handlers were in place
    return 0


def _config(args: argparse.Namespace) -> TargetConfig:
    from san_console.cli.chap_arguments import read_chap
    from san_console.target.config import (
        ChapConfig,
        LunConfig,
        MappingRule,
        PortalGroup,
        TargetConfig,
        parse_spec,
    )

    luns = [
        LunConfig(id=f"lun{number}", name=f"lun{number}", backstore=parse_spec(text))
        for number, text in enumerate(args.lun)
    ]
    accepted, mutual = read_chap(args)
    initiators: list[str] = args.acl or []
    return TargetConfig(
        name=args.name,
        groups=[PortalGroup(1, args.portal)],
        luns=luns,
        mappings=[
            MappingRule(initiator, lun.id, number)
            for initiator in dict.fromkeys(initiators)
            for number, lun in enumerate(luns)
        ],
        chap=ChapConfig([accepted], mutual) if accepted else None,
        anyone=not initiators,
    )


async def _serve(config: TargetConfig, as_json: bool) -> None:
    import asyncio
    import signal

    from san_console.target.server import TargetServer

    # Before the target is ready: a signal that comes right after the line below has to end it cleanly.
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = TargetServer(_report)
    try:
        await server.add(config)
        _announce(server, config, as_json)
        await stop.wait()
    finally:
        await server.close()


def _announce(server: TargetServer, config: TargetConfig, as_json: bool) -> None:
    from san_console.cli.output import print_json
    from san_console.names.url import IscsiUrl

    portals = server.bound_portals(config.name)
    urls = [str(IscsiUrl(portals[0], config.name, number, None)) for number in range(len(config.luns))]
    if as_json:
        print_json(
            _SCHEMA,
            {"target": config.name, "portals": [str(portal) for portal in portals], "luns": urls},
        )
    else:
        print("\n".join(urls))
    import sys

    sys.stdout.flush()


def _report(event: TargetEvent) -> None:
    """Errors go to standard error as they happen; logins are no news to whoever pipes the URLs on."""
    import sys

    if event.severity != "info":
        print(f"san-console: {event.text} {event.cause}".rstrip(), file=sys.stderr, flush=True)
