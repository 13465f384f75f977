"""`san-console target serve`: one target without state, until it is interrupted."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from san_console.cli import target_change, target_document, target_show
from san_console.cli.target_arguments import access_state, initiator, portal_of_group, redirect, target_name
from san_console.names.errors import NamesError

if TYPE_CHECKING:
    from san_console.names.portal import Portal
    from san_console.target.config import PortalGroup, TargetConfig
    from san_console.target.events import TargetEvent
    from san_console.target.server import TargetServer

_SCHEMA = "san-console/target-serve/1"

T = TypeVar("T")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `target` with its commands: `serve`, and those that work on the engine's targets."""
    from san_console.cli.chap_arguments import add_chap_arguments

    parser = subparsers.add_parser("target", help="serve LUNs of this machine")
    commands = parser.add_subparsers(dest="target_command", metavar="COMMAND", required=True)
    serve_parser = commands.add_parser(
        "serve",
        help="serve one target until it is interrupted",
        description="Serve one target until SIGINT or SIGTERM. LUN numbers go from 0 in the order given.",
    )
    serve_parser.add_argument(
        "--name", type=target_name, required=True, metavar="IQN", help="the target's name"
    )
    serve_parser.add_argument(
        "--portal",
        type=portal_of_group,
        required=True,
        action="append",
        metavar="ADDRESS:PORT[,TAG]",
        help="where to listen, and in which portal group (1 if not given); port 0: any; several are possible",
    )
    serve_parser.add_argument(
        "--lun",
        required=True,
        nargs="+",
        action="extend",
        metavar="SPEC",
        help="file:PATH[,size=1G][,ro][,block=4096][,physical=4096][,thin[,threshold=80]][,wce=off], "
        "memory:256M, block:/dev/x or null:1G",
    )
    serve_parser.add_argument(
        "--acl",
        type=initiator,
        nargs="+",
        action="extend",
        metavar="IQN",
        help="who may log in: names, patterns with *, networks such as 10.0.0.0/8, or NAME@NETWORK; "
        "without it anyone may",
    )
    serve_parser.add_argument(
        "--max-connections",
        type=int,
        metavar="N",
        help="connections of a session, 1 to 8 (8)",
    )
    serve_parser.add_argument(
        "--error-recovery-level", type=int, metavar="N", help="the highest one that is agreed to, 0 to 2 (2)"
    )
    serve_parser.add_argument(
        "--redirect",
        type=redirect,
        action="append",
        default=[],
        metavar="[TAG=]ADDRESS:PORT[,permanent]",
        help="send logins through a portal group (all, without TAG) to another portal",
    )
    serve_parser.add_argument(
        "--access-state",
        type=access_state,
        action="append",
        default=[],
        metavar="[TAG=]STATE",
        help="the ALUA state of a portal group (all, without TAG), such as active/non-optimized or standby",
    )
    serve_parser.add_argument("--json", action="store_true", help="print one JSON object when ready")
    add_chap_arguments(serve_parser)
    serve_parser.set_defaults(handler=serve)
    for module in (target_show, target_change, target_document):
        module.add_commands(commands)


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
    from san_console.target.config import ChapConfig, MappingRule, TargetConfig, TargetLimits, parse_lun

    luns = [parse_lun(text, f"lun{number}") for number, text in enumerate(args.lun)]
    limits = {
        name: value
        for name in ("max_connections", "error_recovery_level")
        if (value := getattr(args, name)) is not None
    }
    accepted, mutual = read_chap(args)
    initiators: list[str] = args.acl or []
    return TargetConfig(
        name=args.name,
        groups=_groups(args),
        luns=luns,
        mappings=[
            MappingRule(initiator, lun.id, number)
            for initiator in dict.fromkeys(initiators)
            for number, lun in enumerate(luns)
        ],
        chap=ChapConfig([accepted], mutual) if accepted else None,
        anyone=not initiators,
        limits=TargetLimits(**limits),
    )


def _groups(args: argparse.Namespace) -> list[PortalGroup]:
    from san_console.target.config import PortalGroup
    from san_console.target.errors import ConfigError

    portals: dict[int, list[Portal]] = {}
    for portal, tag in args.portal:
        portals.setdefault(tag, []).append(portal)
    for tag, _ in (*args.redirect, *args.access_state):
        if tag is not None and tag not in portals:
            raise ConfigError(f"There is no portal group {tag}.", check="Give it a portal: ADDRESS:PORT,TAG.")

    def last(wishes: list[tuple[int | None, T]], tag: int, default: T) -> T:
        return next((value for wanted, value in reversed(wishes) if wanted in (None, tag)), default)

    return [
        PortalGroup(
            tag,
            of_group,
            access_state=last(args.access_state, tag, "active/optimized"),
            redirect=last(args.redirect, tag, None),
        )
        for tag, of_group in portals.items()
    ]


async def _serve(config: TargetConfig, as_json: bool) -> None:
    import asyncio
    import signal

    from san_console.target.descriptors import raise_descriptor_limit
    from san_console.target.server import TargetServer

    raise_descriptor_limit()
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
