"""`san-console discover ADDRESS[:PORT] [--isns]`: which targets there are, and which portals answer."""

import argparse
from typing import TYPE_CHECKING, Any

from san_console.cli.chap_arguments import add_chap_arguments

if TYPE_CHECKING:
    from san_console.api.engine_objects import Job
    from san_console.api.initiator_objects import Source, Target
    from san_console.api.methods import ChapSecrets
    from san_console.cli.engine_link import EngineView
    from san_console.cli.login_secrets import ChosenSecrets

_SCHEMA = "san-console/discover/1"

DISCOVERY_TIMEOUT_S = 60.0
"""The engine itself gives a source 15 s and a portal 5 s; many portals are tried some at a time."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `discover`."""
    parser = subparsers.add_parser("discover", help="list the targets that a portal or an iSNS server names")
    parser.add_argument(
        "address", metavar="ADDRESS[:PORT]", help="IPv4, [IPv6] or name; port 3260, iSNS 3205"
    )
    parser.add_argument("--isns", action="store_true", help="the address is an iSNS server")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_chap_arguments(parser)
    parser.set_defaults(handler=discover)


def discover(args: argparse.Namespace) -> int:
    """Ask, wait, and list what was found; the exit code."""
    from san_console.cli.engine_link import EngineView, run_with_engine
    from san_console.cli.login_secrets import secrets_or_code
    from san_console.cli.output import print_failure
    from san_console.names.errors import NamesError
    from san_console.names.portal import ISCSI_PORT, ISNS_PORT, Portal

    try:
        address = str(Portal.parse(args.address, ISNS_PORT if args.isns else ISCSI_PORT))
    except NamesError as error:
        print_failure(str(error), "this command", "Write ADDRESS, ADDRESS:PORT or [IPV6]:PORT.")
        return 2
    if args.isns and (args.chap_user or args.mutual_chap_user):
        print_failure("iSNS knows no CHAP.", "this command", "Leave the CHAP options out.")
        return 2

    chosen = secrets_or_code(args)
    if isinstance(chosen, int):
        return chosen

    async def ask(view: EngineView) -> int:
        source = await _ask(view, "isns" if args.isns else "sendtargets", address, chosen)
        targets = [one for one in view.replica.values("targets") if source.id in one.found_by]
        _show(source, targets, as_json=args.json)
        return 0

    return run_with_engine(ask)


async def _ask(view: "EngineView", kind: str, address: str, chosen: "ChosenSecrets") -> "Source":
    """The source when it has been asked well. Raises ApiProblem."""
    from san_console.api.methods import AddSource
    from san_console.api.problems import ApiProblem
    from san_console.cli.output import progress_line

    known: Source | None = next(
        (one for one in view.replica.values("sources") if one.kind == kind and one.address == address),
        None,
    )
    chap: ChapSecrets | None = chosen.chap
    identity_id, mutual_id = chosen.identity_id, chosen.mutual_identity_id
    if chap is None and not identity_id and known is not None:
        identity_id, mutual_id = known.identity_id, known.mutual_identity_id
    ended = ended_discoveries(view)
    source: Source = await view.call(
        "sources.add",
        AddSource(
            kind=kind,  # type: ignore[arg-type]  # one of the two words
            address=address,
            identity_id=identity_id,
            mutual_identity_id=mutual_id,
            source_address=known.source_address if known is not None else "",
            chap=chap,
        ),
    )

    with progress_line() as show:

        def progress(job: "Job") -> None:
            count = f" {job.done:.0f} of {job.total:.0f}" if job.total > 1 else ""
            show(f"{job.title}: {job.message or 'asking'}{count}")

        await view.finished(await _job_of(view, source.id, ended), DISCOVERY_TIMEOUT_S, progress)
    asked: Source = view.replica.get("sources", source.id) or source
    if asked.problem is not None:
        raise ApiProblem.from_problem(asked.problem)
    return asked


def ended_discoveries(view: "EngineView") -> set[str]:
    """The ids of discoveries that have ended, so that a new one can be told from them."""
    return {
        job.id for job in view.replica.values("jobs") if job.kind == "discovery" and job.state != "running"
    }


async def _job_of(view: "EngineView", source_id: str, ended: set[str]) -> "Job":
    from san_console.api.problems import ApiProblem

    def running(replica: Any) -> Any:
        return next(
            (
                job
                for job in replica.values("jobs")
                if job.kind == "discovery" and job.object_id == source_id and job.id not in ended
            ),
            None,
        )

    if not await view.until(running, DISCOVERY_TIMEOUT_S):
        raise ApiProblem("timeout", "The discovery did not begin.", side="engine", check="its log")
    job: Job = running(view.replica)
    return job


def _show(source: "Source", targets: "list[Target]", *, as_json: bool) -> None:
    from san_console.cli.output import counted, plain_data, print_json, print_table, say

    if as_json:
        data = [
            {
                "name": target.id,
                "alias": target.alias,
                "change": target.change,
                "portals": [plain_data(portal) for portal in target.portals if not portal.vanished],
                "session_ids": target.session_ids,
            }
            for target in targets
        ]
        print_json(_SCHEMA, {"source": plain_data(source), "targets": data})
        return
    rows = []
    for target in targets:
        name = target.id
        for portal in target.portals:
            if portal.vanished:
                continue
            chap = {True: "CHAP", False: "none", None: ""}[portal.asks_for_chap]
            answers = portal.detail or portal.reach
            if portal.round_trip_ms is not None:
                answers = f"{answers} ({portal.round_trip_ms:.2f} ms)"
            rows.append((name, portal.tpgt, portal.address, answers, chap, target.alias))
            name = ""  # once for each target
    print_table(["target", "group", "portal", "answers", "login", "alias"], rows)
    notes = [f"{counted(len(targets), 'target')} from {source.address} in {source.took_s * 1000:.0f} ms."]
    if source.skipped:
        notes.append(f"{source.skipped} records were no valid targets.")
    if source.truncated:
        notes.append("The list was cut short.")
    say(" ".join(notes))
