"""`san-console target online | offline | retry | grow | alua | …`: what is changed of one target."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from san_console.api.serving_objects import LocalTarget
    from san_console.cli.engine_link import EngineView

_SCHEMA = "san-console/target-change/1"

ACCESS_STATES = (
    "active/optimized",
    "active/non-optimized",
    "standby",
    "unavailable",
    "offline",
    "transitioning",
)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to `target`."""
    from san_console.cli.target_lookup import add_json, add_lun, add_target

    def command(
        name: str, text: str, handler: Callable[[argparse.Namespace], int]
    ) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_target(parser)
        add_json(parser)
        parser.set_defaults(handler=handler)
        return parser

    command("enable", "serve a target", lambda args: _enabled(args, enabled=True))
    stop = command(
        "disable", "stop serving a target; its sessions end", lambda args: _enabled(args, enabled=False)
    )
    stop.add_argument("--yes", action="store_true", help="do not ask, even if initiators are logged in")
    add_lun(command("online", "bring a LUN online", lambda args: _online(args, online=True)))
    add_lun(
        command("offline", "take a LUN offline; its mappings stay", lambda args: _online(args, online=False))
    )
    add_lun(command("retry", "go on with a LUN whose file or device was mended", retry))
    grow_parser = command("grow", "make a LUN larger while it is used", grow)
    add_lun(grow_parser)
    grow_parser.add_argument(
        "size", metavar="SIZE", nargs="?", default="", help="such as 20G; without it, all that its file has"
    )
    alua_parser = command("alua", "set the access state of a portal group", alua)
    alua_parser.add_argument("tag", type=int, metavar="GROUP", help="the tag of the portal group")
    alua_parser.add_argument("state", choices=ACCESS_STATES, metavar="STATE", help=", ".join(ACCESS_STATES))
    preferred = alua_parser.add_mutually_exclusive_group()
    preferred.add_argument("--preferred", action="store_true", default=None, help="make it the preferred one")
    preferred.add_argument("--not-preferred", action="store_false", dest="preferred", help="and no longer so")
    clear = command(
        "clear-reservation", "drop the reservation and all registrations of a LUN", clear_reservation
    )
    add_lun(clear)
    clear.add_argument("--yes", action="store_true", help="do not ask")
    limits = command("set-limits", "set operational limits, for new sessions", set_limits)
    limits.add_argument("limits", nargs="+", metavar="NAME=VALUE", help="as target show --limits names them")

    parser = commands.add_parser("disconnect", help="end sessions of an initiator, or one connection")
    parser.add_argument("session", metavar="INITIATOR|SESSION", help="as target sessions tells")
    parser.add_argument("--target", default="", metavar="TARGET", help="only those with this target")
    parser.add_argument("--connection", type=int, metavar="CID", help="only this connection of one session")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_json(parser)
    parser.set_defaults(handler=disconnect)

    parser = commands.add_parser("discovery-chap", help="set what discovery sessions have to prove")
    parser.add_argument(
        "--identity", action="append", default=[], metavar="USER", help="accepted; several are possible"
    )
    parser.add_argument("--mutual", default="", metavar="USER", help="what the targets prove themselves with")
    parser.add_argument("--none", action="store_true", help="ask for nothing")
    add_json(parser)
    parser.set_defaults(handler=discovery_chap)


def _changed(
    args: argparse.Namespace,
    work: Callable[[EngineView, LocalTarget], Awaitable[tuple[Any, str]]],
) -> int:
    """Run `work` on the target that was named; it gives the changed target (or None) and a sentence."""
    from san_console.cli.target_lookup import find_target, run

    async def whole(view: EngineView) -> int:
        from san_console.cli.output import plain_data, print_json
        from san_console.names.display import visible

        target = find_target(view, args.target)
        after, said = await work(view, target)
        if not said:
            return 1
        if args.json:
            shown = after if after is not None else target
            print_json(_SCHEMA, {"done": said, "target": plain_data(shown)})
        else:
            print(visible(said, 4096))
        return 0

    return run(whole)


def _enabled(args: argparse.Namespace, *, enabled: bool) -> int:
    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import SetEnabled
        from san_console.cli.target_lookup import agreed

        users = [
            one
            for one in view.replica.values("target_sessions")
            if one.target == target.id and one.session_type == "normal"
        ]
        if not enabled and users and not agreed(f"{_names(users)} will be cut off.", yes=args.yes):
            return None, ""
        after = await view.call("serving.set_enabled", SetEnabled(id=target.id, enabled=enabled))
        if after.problem is not None:
            from san_console.api.problems import ApiProblem

            raise ApiProblem.from_problem(after.problem)
        return after, f"{target.id} is {'served' if enabled else 'no longer served'}."

    return _changed(args, work)


def _names(users: list[Any]) -> str:
    from san_console.cli.output import counted
    from san_console.names.display import visible

    names = list(dict.fromkeys(visible(one.initiator) for one in users))
    more = f" and {counted(len(names) - 3, 'other')}" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _online(args: argparse.Namespace, *, online: bool) -> int:
    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import SetLunOnline
        from san_console.cli.target_lookup import find_lun

        lun = find_lun(target, args.lun)
        params = SetLunOnline(target=target.id, lun_id=lun.id, online=online)
        after = await view.call("serving.lun_online", params)
        return after, f"LUN {lun.name} of {target.id} is {'online' if online else 'offline'}."

    return _changed(args, work)


def retry(args: argparse.Namespace) -> int:
    """Go on with a LUN; the exit code."""

    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import LunOf
        from san_console.cli.target_lookup import find_lun

        lun = find_lun(target, args.lun)
        after = await view.call("serving.retry_lun", LunOf(target=target.id, lun_id=lun.id))
        return after, f"LUN {lun.name} of {target.id} is online."

    return _changed(args, work)


def grow(args: argparse.Namespace) -> int:
    """Make a LUN larger; the exit code."""
    from san_console.cli.output import print_failure, size_text
    from san_console.target.errors import ConfigError
    from san_console.target.lun_config import parse_size

    try:
        size_bytes = parse_size(args.size) if args.size else 0
    except ConfigError as error:
        print_failure(error.cause, "this command", error.check)
        return 2

    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import GrowLun
        from san_console.cli.target_lookup import find_lun

        lun = find_lun(target, args.lun)
        params = GrowLun(target=target.id, lun_id=lun.id, size_bytes=size_bytes)
        after = await view.call("serving.grow_lun", params)
        now = find_lun(after, lun.id)
        return after, f"LUN {lun.name} of {target.id} has {size_text(now.size_bytes)}."

    return _changed(args, work)


def alua(args: argparse.Namespace) -> int:
    """Set the state of a portal group; the exit code."""

    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import SetAccessState

        params = SetAccessState(
            target=target.id, tag=args.tag, access_state=args.state, preferred=args.preferred
        )
        after = await view.call("serving.set_access_state", params)
        return after, f"Portal group {args.tag} of {target.id} is {args.state}."

    return _changed(args, work)


def clear_reservation(args: argparse.Namespace) -> int:
    """Drop what is reserved of a LUN; the exit code."""

    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        from san_console.api.methods import LunOf
        from san_console.cli.output import counted
        from san_console.cli.target_lookup import agreed, find_lun

        lun = find_lun(target, args.lun)
        held = view.replica.get("reservations", f"{target.id}/{lun.id}")
        if held is not None:
            count = counted(len(held.registrations), "registration")
            question = f"{count} of LUN {lun.name} will be dropped. A cluster may lose its fencing by that."
            if not agreed(question, yes=args.yes):
                return None, ""
        await view.call("serving.clear_reservation", LunOf(target=target.id, lun_id=lun.id))
        return None, f"Nothing is reserved of LUN {lun.name} of {target.id} any more."

    return _changed(args, work)


def set_limits(args: argparse.Namespace) -> int:
    """Set limits; the exit code."""
    from san_console.cli.output import print_failure

    pairs = [text.partition("=") for text in args.limits]
    if any(not equals or not value for _, equals, value in pairs):
        print_failure("A limit is written as NAME=VALUE.", "this command", "Write max_connections=4.")
        return 2

    async def work(view: EngineView, target: LocalTarget) -> tuple[Any, str]:
        import msgspec

        from san_console.api.methods import SaveLocalTarget

        limits = _with_limits(target, {name: value for name, _, value in pairs})
        new = msgspec.structs.replace(target, limits=limits)
        after = await view.call("serving.change", SaveLocalTarget(target=new))
        return after, f"The limits of {target.id} hold for new sessions."

    return _changed(args, work)


def _with_limits(target: LocalTarget, values: dict[str, str]) -> Any:
    """Raises ApiProblem `bad-request` for a name or a value that is none."""
    import msgspec

    from san_console.api.problems import ApiProblem
    from san_console.api.serving_objects import OperationalLimits

    data = msgspec.structs.asdict(target.limits)
    types = {field.name: field.type for field in msgspec.structs.fields(OperationalLimits)}
    for name, value in values.items():
        if name not in data:
            raise ApiProblem(
                "bad-request",
                f"There is no limit {name}.",
                side="this command",
                check=f"There are {', '.join(data)}.",
            )
        word = {"yes": "true", "no": "false"}.get(value.lower(), value)
        try:
            data[name] = msgspec.convert(word, types[name], strict=False)
        except msgspec.ValidationError:
            raise ApiProblem(
                "bad-request",
                f"{name} cannot be “{value}”.",
                side="this command",
                check="what it is now: san-console target show TARGET --limits",
            ) from None
    return OperationalLimits(**data)


def disconnect(args: argparse.Namespace) -> int:
    """End sessions; the exit code."""
    from san_console.cli.target_lookup import agreed, find_sessions, find_target, run

    async def work(view: EngineView) -> int:
        from san_console.api.methods import Disconnect
        from san_console.cli.output import print_failure, print_json

        name = find_target(view, args.target).id if args.target else ""
        found = find_sessions(view, args.session, name)
        if args.connection is not None and len(found) > 1:
            text = f"{args.session} has {len(found)} sessions; a connection is one of a single session."
            print_failure(text, "this command", "Give the id of the session.")
            return 2
        what = f"connection {args.connection}" if args.connection is not None else "every session"
        if not agreed(f"{_names(found)} loses {what}.", yes=args.yes):
            return 1
        for one in found:
            await view.call("serving.disconnect", Disconnect(id=one.id, cid=args.connection))
        if args.json:
            ids = [one.id for one in found]
            print_json(_SCHEMA, {"done": "disconnected", "sessions": ids})
        else:
            print(f"Disconnected: {_names(found)}. It may log in again.")
        return 0

    return run(work)


def discovery_chap(args: argparse.Namespace) -> int:
    """Set the CHAP of discovery; the exit code."""
    from san_console.cli.output import print_failure
    from san_console.cli.target_lookup import run

    if args.none == bool(args.identity):
        print_failure("Give identities, or --none.", "this command", "Look at the names on the page Secrets.")
        return 2

    async def work(view: EngineView) -> int:
        from san_console.api.methods import SetDiscoveryChap
        from san_console.api.problems import ApiProblem
        from san_console.api.target_document import referenced_identity
        from san_console.cli.output import print_json

        def find(user: str) -> str:
            try:
                return referenced_identity(user, view.replica.values("identities"))
            except KeyError:
                raise ApiProblem(
                    "unknown-object",
                    f"There is no CHAP identity {user}, or more than one.",
                    side="the engine",
                    check="the page Secrets; one of several is written id: and its id",
                ) from None

        params = SetDiscoveryChap(
            identity_ids=[find(user) for user in args.identity],
            mutual_identity_id=find(args.mutual) if args.mutual else "",
        )
        await view.call("serving.set_discovery_chap", params)
        said = "Discovery asks for CHAP." if args.identity else "Discovery asks for no CHAP."
        if args.json:
            print_json(_SCHEMA, {"done": said, "identities": args.identity, "mutual": args.mutual})
        else:
            print(said)
        return 0

    return run(work)
