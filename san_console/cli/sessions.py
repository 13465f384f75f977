"""`san-console sessions | luns | logout IQN`: what the engine's initiator is logged in to."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from san_console.api.engine_objects import Sample
    from san_console.api.initiator_objects import Lun, Session
    from san_console.cli.engine_link import EngineView

_SCHEMA_SESSIONS = "san-console/sessions/1"
_SCHEMA_LUNS = "san-console/luns/1"
_SCHEMA_LOGOUT = "san-console/logout/1"

LUNS_SETTLE_S = 15.0
"""For LUNs whose INQUIRY and capacity are still being asked for."""

LOGIN_SETTLE_S = 15.0
"""For sessions that are just being logged in, for instance favourites of an engine that was started now."""

_STATE_WORDS = {
    "logging_in": "logging in",
    "logged_in": "logged in",
    "retrying": "retrying",
    "logging_out": "logging out",
    "logged_out": "logged out",
    "failed": "failed",
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `sessions`, `luns` and `logout`."""
    parser = subparsers.add_parser("sessions", help="list the sessions and what they do")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=sessions)

    parser = subparsers.add_parser("luns", help="list the LUNs behind the sessions")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=luns)

    parser = subparsers.add_parser("logout", help="end the sessions with a target")
    parser.add_argument("target", metavar="IQN", help="name of the target")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=logout)


def sessions(args: argparse.Namespace) -> int:
    """List all sessions; the exit code."""
    from san_console.cli.engine_link import EngineView, run_with_engine

    async def show(view: EngineView) -> int:
        from san_console.api.methods import StatisticsOf
        from san_console.cli.output import plain_data, print_json

        await _logins_settled(view)
        rows = view.replica.values("sessions")
        history = await view.call(
            "statistics.history", StatisticsOf(ids=[session.id for session in rows], seconds=5)
        )
        newest: dict[str, Sample] = {sample.id: sample for sample in history}
        if args.json:
            data = [
                {
                    **plain_data(session),
                    "statistics": plain_data(newest[session.id]) if session.id in newest else None,
                }
                for session in rows
            ]
            print_json(_SCHEMA_SESSIONS, {"sessions": data})
        else:
            _print_sessions(rows, newest)
        return 0

    return run_with_engine(show)


async def _logins_settled(view: "EngineView") -> None:
    await view.until(
        lambda replica: all(session.state != "logging_in" for session in replica.values("sessions")),
        LOGIN_SETTLE_S,
    )


def _print_sessions(rows: "list[Session]", newest: "dict[str, Sample]") -> None:
    from san_console.cli.output import Column, print_table, rate_text, say

    columns: list[str | Column] = [
        "state",
        "target",
        "portal",
        Column("login", spare=1),
        Column("LUNs", right=True, spare=2),
        Column("read", right=True, spare=4),
        Column("write", right=True, spare=5),
        Column("IOPS", right=True, spare=3),
        Column("p99", right=True, spare=6),
        Column("up for", right=True),
    ]
    lines: list[list[object]] = []
    for session in rows:
        figures: list[object] = ["–"] * 4
        sample = newest.get(session.id)
        if sample is not None and session.state == "logged_in":
            figures = [
                rate_text(sample.read_bytes_per_s),
                rate_text(sample.write_bytes_per_s),
                f"{sample.read_iops + sample.write_iops:,.0f}",
                f"{sample.p99_us / 1000:.1f} ms" if sample.p99_us else "–",
            ]
        state = _STATE_WORDS.get(session.state, session.state)
        lines.append(
            [
                state,
                session.target,
                session.portal,
                "no CHAP" if session.auth == "None" else session.auth,
                session.lun_count,
                *figures,
                _since(session),
            ]
        )
    print_table(columns, lines)
    for session in rows:
        if session.problem is not None and session.state != "logged_in":
            say(f"{session.target}: {session.problem.message} {session.problem.check}")
    if not rows:
        say("There are no sessions. Log in with: san-console login IQN --portal ADDRESS")


def _since(session: "Session") -> str:
    import time

    from san_console.cli.output import span_text

    if session.state == "retrying" and session.next_retry_at is not None:
        return f"try {session.attempt + 1} in {span_text(session.next_retry_at - time.time())}"
    if session.state == "logged_in" and session.logged_in_at is not None:
        return span_text(time.time() - session.logged_in_at)
    return "–"


def luns(args: argparse.Namespace) -> int:
    """List all LUNs; the exit code."""
    from san_console.cli.engine_link import EngineView, run_with_engine

    async def show(view: EngineView) -> int:
        from san_console.cli.output import plain_data, print_json

        await _logins_settled(view)
        await luns_settled(view)
        rows = view.replica.values("luns")
        if args.json:
            print_json(_SCHEMA_LUNS, {"luns": [plain_data(lun) for lun in rows]})
        else:
            _print_luns(rows)
        return 0

    return run_with_engine(show)


async def luns_settled(view: "EngineView", session_id: str = "") -> None:
    """Wait until the LUNs (of one session, or of all) have been read, or have had their time."""
    from san_console.api.methods import ById

    # A session that was logged in a moment ago has no LUNs yet, which looks like a target without any; and
    # one that is named may not even have come through the subscription.
    up = [session.id for session in view.replica.values("sessions") if session.state == "logged_in"]
    read = {lun.session_id for lun in view.replica.values("luns")}
    for known in [session_id] if session_id else up:
        if known not in read:
            await view.finished(await view.call("sessions.rescan", ById(id=known)), LUNS_SETTLE_S)

    def settled(replica: Any) -> bool:
        return all(
            lun.state != "reading" for lun in replica.values("luns") if session_id in ("", lun.session_id)
        )

    await view.until(settled, LUNS_SETTLE_S)


def _print_luns(rows: "list[Lun]") -> None:
    from san_console.cli.output import Column, print_table, say, size_text

    columns: list[str | Column] = [
        "identity",
        "target",
        Column("LUN", right=True),
        Column("size", right=True),
        Column("block", right=True, spare=2),
        Column("access", spare=1),
        Column("vendor", spare=3),
        Column("product", spare=4),
        Column("content", spare=5),
    ]
    lines = []
    for lun in rows:
        access = "read-only" if lun.read_only else "read-write"
        if lun.state != "ready":
            access = lun.problem.message if lun.problem is not None else lun.state
        identity = lun.identity or "(none)"
        lines.append(
            [
                identity,
                lun.target,
                lun.lun,
                size_text(lun.size_bytes) if lun.size_bytes else "–",
                lun.block_bytes,
                access,
                lun.vendor.strip(),
                lun.product.strip(),
                lun.content,
            ]
        )
    print_table(columns, lines)
    for lun in rows:
        if lun.identity_changed_from:
            was = f"it was {lun.identity_changed_from}"
            say(f"Another unit stands behind LUN {lun.lun} of {lun.target} than before: {was}.")
    if not rows:
        say("There are no LUNs. Log in to a target first: san-console login IQN --portal ADDRESS")


def logout(args: argparse.Namespace) -> int:
    """End all sessions with one target; the exit code."""
    from san_console.cli.engine_link import EngineView, run_with_engine
    from san_console.cli.output import print_failure, print_json
    from san_console.names.errors import NamesError
    from san_console.names.iscsi_name import normalise

    try:
        name = normalise(args.target)
    except NamesError as error:
        print_failure(str(error), "this command", "Copy the name from: san-console sessions")
        return 2

    async def end(view: EngineView) -> int:
        from san_console.api.methods import Logout

        ids = [session.id for session in view.replica.values("sessions") if session.target == name]
        if not ids:
            print_failure(f"There is no session with {name}.", "the engine", "Look at: san-console sessions")
            return 1
        for session_id in ids:
            await view.call("sessions.logout", Logout(id=session_id))
        if args.json:
            print_json(_SCHEMA_LOGOUT, {"target": name, "sessions": ids})
        else:
            print(f"Logged out of {name}" + (f" ({len(ids)} sessions)." if len(ids) > 1 else "."))
        return 0

    return run_with_engine(end)
