"""`san-console login IQN --portal ADDRESS[:PORT]`: a session that the engine then keeps up."""

import argparse
from typing import TYPE_CHECKING

from san_console.cli.chap_arguments import add_chap_arguments

if TYPE_CHECKING:
    from san_console.api.initiator_objects import LoginSettings, Session, Target
    from san_console.cli.engine_link import EngineView
    from san_console.cli.login_secrets import ChosenSecrets

_SCHEMA = "san-console/login/1"
_POLICIES = ("none", "prefer", "require")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `login`."""
    parser = subparsers.add_parser("login", help="log in to a target; the engine keeps the session up")
    parser.add_argument("target", metavar="IQN", help="name of the target")
    parser.add_argument("--portal", required=True, metavar="ADDRESS[:PORT]", help="where it is")
    parser.add_argument("--favourite", action="store_true", help="log in again when the engine starts")
    parser.add_argument("--header-digest", choices=_POLICIES, help="CRC32C of headers (prefer)")
    parser.add_argument("--data-digest", choices=_POLICIES, help="CRC32C of data (none)")
    parser.add_argument("--source-address", metavar="ADDRESS", help="the local address to connect from")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_chap_arguments(parser)
    parser.set_defaults(handler=login)


def login(args: argparse.Namespace) -> int:
    """Log in and say what came of it; the exit code."""
    from san_console.cli.engine_link import EngineView, run_with_engine
    from san_console.cli.login_secrets import secrets_or_code
    from san_console.cli.output import plain_data, print_failure, print_json, say
    from san_console.names.errors import NamesError
    from san_console.names.iscsi_name import normalise
    from san_console.names.portal import Portal

    try:
        name, portal = normalise(args.target), str(Portal.parse(args.portal))
    except NamesError as error:
        print_failure(str(error), "this command", "Copy the name and the portal from: san-console discover")
        return 2

    chosen = secrets_or_code(args)
    if isinstance(chosen, int):
        return chosen

    async def work(view: EngineView) -> int:
        from san_console.api.methods import Login
        from san_console.cli.sessions import luns_settled

        settings = _settings(view.replica.get("targets", name), chosen, args)
        session: Session = await view.call(
            "sessions.login", Login(target=name, portal=portal, login=settings, chap=chosen.chap)
        )
        if args.favourite and chosen.chap is not None:
            say("The secret is kept for this run of the engine only: save it as an identity for a favourite.")
        await luns_settled(view, session.id)
        session = view.replica.get("sessions", session.id) or session
        luns = [lun for lun in view.replica.values("luns") if lun.session_id == session.id]
        if args.json:
            print_json(_SCHEMA, {"session": plain_data(session), "luns": [plain_data(lun) for lun in luns]})
        else:
            _print(view, session)
        return 0

    return run_with_engine(work)


def _settings(target: "Target | None", chosen: "ChosenSecrets", args: argparse.Namespace) -> "LoginSettings":
    """What the user has set for this target, with what the command line says in its place."""
    from san_console.api.initiator_objects import LoginSettings

    kept = target.login if target is not None else LoginSettings()
    own_chap = chosen.chap is not None or bool(chosen.identity_id)
    return LoginSettings(
        identity_id=chosen.identity_id if own_chap else kept.identity_id,
        mutual_identity_id=chosen.mutual_identity_id if own_chap else kept.mutual_identity_id,
        header_digest=args.header_digest or kept.header_digest,
        data_digest=args.data_digest or kept.data_digest,
        source_address=args.source_address or kept.source_address,
        favourite=args.favourite or kept.favourite,
    )


def _print(view: "EngineView", session: "Session") -> None:
    from san_console.cli.output import counted, size_text
    from san_console.names.display import visible

    luns = [lun for lun in view.replica.values("luns") if lun.session_id == session.id]
    size = size_text(sum(lun.size_bytes for lun in luns))
    connection = session.connections[0] if session.connections else None
    digests = (
        f", digests {connection.header_digest}/{connection.data_digest}" if connection is not None else ""
    )
    print(f"Logged in to {visible(session.target)} at {visible(session.portal)}.")
    auth = "no CHAP" if session.auth == "None" else session.auth
    print(f"{visible(auth)}{visible(digests)}; {counted(len(luns), 'LUN')}, {size}")
