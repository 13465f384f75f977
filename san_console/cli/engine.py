"""`san-console engine run|status|stop`: the process that holds the sessions."""

import argparse

_SCHEMA_STATUS = "san-console/engine-status/1"
STOP_TIMEOUT_S = 20.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `engine` with its commands."""
    parser = subparsers.add_parser("engine", help="run, look at or stop the engine that holds the sessions")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run_parser = commands.add_parser("run", help="run the engine in this terminal")
    run_parser.add_argument(
        "--memory-secrets",
        action="store_true",
        help="keep CHAP secrets in memory for this run instead of the keyring",
    )
    run_parser.set_defaults(handler=run)

    status_parser = commands.add_parser("status", help="say whether an engine runs, and what it does")
    status_parser.add_argument("--json", action="store_true", help="print one JSON object")
    status_parser.set_defaults(handler=status)

    stop_parser = commands.add_parser("stop", help="log out of all sessions and end the engine")
    stop_parser.add_argument(
        "--force", action="store_true", help="also while initiators of others use its targets"
    )
    stop_parser.set_defaults(handler=stop)


def run(args: argparse.Namespace) -> int:
    """Run the engine until it is stopped; the exit code."""
    import sys

    from san_console.cli.output import say
    from san_console.engine.main import run as run_engine

    if sys.stderr.isatty():
        say("The engine runs in this terminal until it is stopped: Ctrl+C, or san-console engine stop.")
    return run_engine(memory_secrets=args.memory_secrets)


def status(args: argparse.Namespace) -> int:
    """Print the engine's state; 1 when none runs."""
    from san_console.cli.engine_link import EngineView, run_with_engine
    from san_console.cli.output import plain_data, print_json, print_table, span_text

    async def show(view: EngineView) -> int:
        import time

        replica = view.replica
        info = replica.get("engine", "engine")
        sessions = replica.values("sessions")
        counts = {
            "sessions": len(sessions),
            "sessions_up": sum(session.state == "logged_in" for session in sessions),
            "luns": len(replica.values("luns")),
            "targets": len(replica.values("targets")),
            "local_targets": len(replica.values("local_targets")),
            "initiators": sum(not session.own for session in replica.values("target_sessions")),
        }
        if args.json:
            print_json(_SCHEMA_STATUS, {"engine": plain_data(info), "counts": counts})
            return 0
        keyring = f"{info.keyring.backend}, {info.keyring.state}".removeprefix(", ")
        rows = [
            ("version", info.version),
            ("process", f"{info.pid}, up for {span_text(time.time() - info.started_at)}"),
            ("initiator name", info.initiator_name),
            ("data folder", info.data_dir),
            ("keyring", keyring),
            *([("", info.keyring.fix)] if info.keyring.fix else []),
            ("sessions", f"{counts['sessions']}, {counts['sessions_up']} up"),
            ("LUNs", counts["luns"]),
            ("targets served", f"{counts['local_targets']} to {counts['initiators']} initiators of others"),
        ]
        if not info.digests_accelerated:
            rows.append(("digests", "slow: the package crc32c is not installed"))
        if info.state_note:
            rows.append(("note", info.state_note))
        print_table(["engine", "running"], rows)
        return 0

    return run_with_engine(show, start=False)


def stop(args: argparse.Namespace) -> int:
    """End the engine and wait for it; 0 also when none runs."""
    import asyncio
    import time

    from san_console.api.methods import StopEngine
    from san_console.api.problems import ApiProblem
    from san_console.cli.engine_link import connect
    from san_console.cli.output import print_failure
    from san_console.console.engine_process import engine_running

    async def ask() -> bool:
        try:
            client = await connect(start=False)
        except ApiProblem as problem:
            if problem.code == "disconnected" and not engine_running():
                return False
            raise
        async with client:
            try:
                await client.call("engine.stop", StopEngine(force=args.force))
            except ApiProblem as problem:
                if problem.code != "disconnected":  # it may be gone before its answer is
                    raise
        return True

    try:
        if not asyncio.run(ask()):
            print("No engine runs here.")
            return 0
    except ApiProblem as problem:
        print_failure(problem.message, problem.problem.side, problem.problem.check)
        return 1
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while engine_running():
        if time.monotonic() > deadline:
            print_failure(
                f"The engine has not ended after {STOP_TIMEOUT_S:.0f} s.",
                "the engine",
                "engine.log in its data folder",
            )
            return 1
        time.sleep(0.05)
    print("The engine has ended.")
    return 0
