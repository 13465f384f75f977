"""`san-console target list | show | sessions | reservations | access`: what is served, and to whom."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from san_console.api.engine_objects import Sample
    from san_console.api.serving_objects import (
        EffectiveAccess,
        LocalLun,
        LocalTarget,
        Reservation,
        TargetSession,
    )
    from san_console.cli.engine_link import EngineView

_SCHEMA_LIST = "san-console/target-list/1"
_SCHEMA_SHOW = "san-console/target-show/1"
_SCHEMA_SESSIONS = "san-console/target-sessions/1"
_SCHEMA_RESERVATIONS = "san-console/target-reservations/1"
_SCHEMA_ACCESS = "san-console/target-access/1"

ANYONE = "*"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to `target`."""
    from san_console.cli.target_lookup import add_json, add_target

    parser = commands.add_parser("list", help="list the targets of this machine")
    add_json(parser)
    parser.set_defaults(handler=list_targets)

    parser = commands.add_parser("show", help="show one target: paths, LUNs, access, mappings, limits")
    add_target(parser)
    parser.add_argument("--limits", action="store_true", help="all limits, not only those that were changed")
    add_json(parser)
    parser.set_defaults(handler=show)

    parser = commands.add_parser("sessions", help="list who is logged in to the targets of this machine")
    parser.add_argument("target", metavar="TARGET", nargs="?", default="", help="only those with this one")
    add_json(parser)
    parser.set_defaults(handler=sessions)

    parser = commands.add_parser("reservations", help="list the reservations of LUNs, and who holds them")
    parser.add_argument("target", metavar="TARGET", nargs="?", default="", help="only those of this one")
    add_json(parser)
    parser.set_defaults(handler=reservations)

    parser = commands.add_parser(
        "access",
        help="tell what an initiator may do at a target",
        description="Tell what an initiator with this name may do, and which LUNs it sees, as its login "
        "would decide. The exit code is 0 whether it may log in or not.",
    )
    add_target(parser)
    parser.add_argument("initiator", metavar="INITIATOR", help="its iSCSI name")
    parser.add_argument("--address", default="", metavar="A", help="where it comes from")
    add_json(parser)
    parser.set_defaults(handler=access)


def list_targets(args: argparse.Namespace) -> int:
    """List all local targets; the exit code."""
    from san_console.cli.target_lookup import run

    async def work(view: EngineView) -> int:
        from san_console.cli.output import plain_data, print_json

        targets: list[LocalTarget] = view.replica.values("local_targets")
        if args.json:
            print_json(_SCHEMA_LIST, {"targets": [plain_data(target) for target in targets]})
        else:
            _print_targets(targets, view.replica.values("target_sessions"))
        return 0

    return run(work)


def _print_targets(targets: list[LocalTarget], sessions: list[TargetSession]) -> None:
    from san_console.cli.output import Column, print_table, say

    rows = []
    for target in targets:
        offline = sum(lun.state == "offline" for lun in target.luns)
        luns = f"{len(target.luns)}, {offline} offline" if offline else str(len(target.luns))
        who = "anyone" if ANYONE in target.initiators else f"{len(target.initiators)}"
        used = sum(one.target == target.id and one.session_type == "normal" for one in sessions)
        chap = "CHAP" if target.identities_in_use() else "no CHAP"
        rows.append([target.state, target.id, target.alias, ", ".join(target.portals), luns, who, chap, used])
    columns: list[str | Column] = [
        "state",
        "target",
        Column("alias", spare=4),
        Column("portals", spare=3),
        "LUNs",
        Column("initiators", spare=1),
        Column("login", spare=2),
        Column("sessions", right=True),
    ]
    print_table(columns, rows)
    for target in targets:
        if target.problem is not None:
            say(f"{target.id}: {target.problem.message}{_check(target.problem.check)}")
    if not targets:
        say(
            "No target is served. Make one in the console, or apply a document: san-console target apply FILE"
        )


def show(args: argparse.Namespace) -> int:
    """Show one target; the exit code."""
    from san_console.cli.target_lookup import find_target, run

    async def work(view: EngineView) -> int:
        from san_console.cli.output import plain_data, print_json

        target = find_target(view, args.target)
        held = [one for one in view.replica.values("reservations") if one.target == target.id]
        if args.json:
            users = {one.id: one.user for one in view.replica.values("identities")}
            data = {"target": plain_data(target), "chap_users": users}
            print_json(_SCHEMA_SHOW, data | {"reservations": [plain_data(one) for one in held]})
        else:
            _print_target(view, target, all_limits=args.limits)
        return 0

    return run(work)


def _print_target(view: EngineView, target: LocalTarget, *, all_limits: bool) -> None:
    from san_console.cli.output import Column, print_table, say

    users = {one.id: one.user for one in view.replica.values("identities")}
    facts = [("target", target.id), ("alias", target.alias), ("state", target.state)]
    if target.problem is not None:
        facts.append(("problem", f"{target.problem.message}{_check(target.problem.check)}"))
    facts = [one for one in facts if one[1]]
    facts.append(("CHAP", _chap(target.identity_ids, target.mutual_identity_id, users)))
    facts += [("iSNS", f"{one.server}: {one.state}") for one in target.registrations]
    facts += _limits(target, everything=all_limits)
    for name, value in facts:
        print(_fact(name, value))
    print()
    print_table(
        [Column("group", right=True), "portals", "ALUA state", "preferred", "redirect"],
        [
            [
                group.tag,
                ", ".join(group.portals),
                group.access_state,
                "yes" if group.preferred else "",
                f"to {group.redirect_to}, {'for good' if group.redirect_permanent else 'for now'}"
                if group.redirect_to
                else "",
            ]
            for group in target.portal_groups
        ],
    )
    print()
    _print_luns(target.luns)
    if not target.luns:
        print(_fact("LUNs", "none"))
    print()
    rows: list[list[object]] = []
    for subject in target.initiators:
        own = next((row for row in target.access if row.subject == subject), None)
        proof = _chap(own.identity_ids, own.mutual_identity_id, users) if own and own.identity_ids else ""
        rows.append([subject, proof, _mapped(target, subject)])
    print_table(["who may log in", Column("own CHAP", spare=1), "sees"], rows)
    if not rows:
        print(_fact("access", "nobody may log in"))
    for group in target.initiator_groups:
        print(_fact(f"group:{group.name}", ", ".join(group.members)))
    for lun in target.luns:
        if lun.problem is not None:
            say(f"LUN {lun.name}: {lun.problem.message}{_check(lun.problem.check)}")


def _limits(target: LocalTarget, *, everything: bool) -> list[tuple[str, str]]:
    """One fact for each limit, as `target set-limits` takes them; those that were changed, or all."""
    defaults = type(target.limits)()
    lines = []
    for name in target.limits.__struct_fields__:
        value, usual = getattr(target.limits, name), getattr(defaults, name)
        if value != usual:
            lines.append(f"{name}={_word(value)} (usually {_word(usual)})")
        elif everything:
            lines.append(f"{name}={_word(value)}")
    lines = lines or ["the usual ones; all of them: --limits"]
    return [("limits" if number == 0 else "", line) for number, line in enumerate(lines)]


def _check(text: str) -> str:
    return f" Check: {text}" if text else ""


def _fact(name: str, value: str) -> str:
    from san_console.cli.output import MAX_CELL_CHARACTERS
    from san_console.names.display import visible

    return f"{visible(name, 200):9}  {visible(value, MAX_CELL_CHARACTERS)}"


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _chap(ids: list[str], mutual: str, users: dict[str, str]) -> str:
    if not ids:
        return "not asked for"
    names = ", ".join(users.get(one, one) for one in ids)
    return f"{names}; proves itself as {users.get(mutual, mutual)}" if mutual else names


def _mapped(target: LocalTarget, subject: str) -> str:
    names = {lun.id: lun.name or lun.id for lun in target.luns}
    return ", ".join(
        f"{rule.lun}: {names.get(rule.lun_id, rule.lun_id)}{' (ro)' if rule.read_only else ''}"
        for rule in sorted(target.mappings, key=lambda rule: rule.lun)
        if rule.initiator == subject
    )


def _print_luns(luns: list[LocalLun]) -> None:
    from san_console.cli.output import Column, print_table, size_text

    columns: list[str | Column] = [
        "LUN",
        Column("id", spare=6),
        "state",
        Column("size", right=True),
        Column("used", right=True, spare=2),
        Column("block", right=True, spare=4),
        Column("access", spare=3),
        Column("storage", spare=1),
        Column("identity", spare=5),
    ]
    rows = []
    for lun in luns:
        used = "–" if lun.used_bytes is None else size_text(lun.used_bytes)
        blocks = (
            f"{lun.block_bytes}/{lun.physical_block_bytes}" if lun.physical_block_bytes else lun.block_bytes
        )
        rows.append(
            [
                lun.name,
                lun.id,
                lun.state,
                size_text(lun.size_bytes) if lun.size_bytes else "–",
                f"{used} !" if lun.threshold_reached else used,
                blocks,
                "read-only" if lun.read_only else "read-write",
                f"{lun.kind}:{lun.path}" if lun.path else lun.kind,
                lun.identity,
            ]
        )
    print_table(columns, rows)


def sessions(args: argparse.Namespace) -> int:
    """List the sessions of others with local targets; the exit code."""
    from san_console.cli.target_lookup import find_target, run

    async def work(view: EngineView) -> int:
        from san_console.api.methods import StatisticsOf
        from san_console.cli.output import plain_data, print_json

        name = find_target(view, args.target).id if args.target else ""
        rows = [one for one in view.replica.values("target_sessions") if name in ("", one.target)]
        history = await view.call("statistics.history", StatisticsOf(ids=[one.id for one in rows], seconds=5))
        newest: dict[str, Sample] = {sample.id: sample for sample in history}
        if args.json:
            data = [
                {**plain_data(one), "statistics": plain_data(newest[one.id]) if one.id in newest else None}
                for one in rows
            ]
            print_json(_SCHEMA_SESSIONS, {"sessions": data})
        else:
            _print_sessions(rows, newest)
        return 0

    return run(work)


def _print_sessions(rows: list[TargetSession], newest: dict[str, Sample]) -> None:
    import time

    from san_console.cli.output import Column, print_table, rate_text, say, span_text

    columns: list[str | Column] = [
        "initiator",
        "from",
        "target",
        Column("group", right=True, spare=5),
        Column("connections", right=True, spare=3),
        Column("login", spare=4),
        Column("LUNs", spare=2),
        Column("read", right=True, spare=6),
        Column("write", right=True, spare=7),
        Column("IOPS", right=True, spare=1),
        Column("up for", right=True),
        Column("id", spare=8),
    ]
    lines: list[list[object]] = []
    for one in rows:
        sample = newest.get(one.id)
        figures: list[Any] = ["–"] * 3
        if sample is not None:
            figures = [
                rate_text(sample.read_bytes_per_s),
                rate_text(sample.write_bytes_per_s),
                f"{sample.read_iops + sample.write_iops:,.0f}",
            ]
        connections = (
            "recovering" if one.recovering else f"{max(len(one.connections), 1)} of {one.max_connections}"
        )
        lines.append(
            [
                one.initiator,
                one.address,
                one.target if one.session_type == "normal" else "(discovery)",
                one.tpgt,
                connections,
                "no CHAP" if one.auth == "None" else one.auth,
                ", ".join(map(str, one.luns)),
                *figures,
                span_text(time.time() - one.logged_in_at),
                one.id,
            ]
        )
    print_table(columns, lines)
    if not rows:
        say("Nobody is logged in.")


def reservations(args: argparse.Namespace) -> int:
    """List reservations and registrations; the exit code."""
    from san_console.cli.target_lookup import find_target, run

    async def work(view: EngineView) -> int:
        from san_console.cli.output import plain_data, print_json

        name = find_target(view, args.target).id if args.target else ""
        rows = [one for one in view.replica.values("reservations") if name in ("", one.target)]
        if args.json:
            print_json(_SCHEMA_RESERVATIONS, {"reservations": [plain_data(one) for one in rows]})
        else:
            _print_reservations(rows)
        return 0

    return run(work)


def _print_reservations(rows: list[Reservation]) -> None:
    from san_console.cli.output import Column, print_table, say

    columns: list[str | Column] = [
        "target",
        "LUN",
        "type",
        "initiator",
        Column("ISID", spare=3),
        Column("group", right=True, spare=4),
        Column("key", spare=2),
        "role",
        Column("kept", spare=1),
    ]
    lines: list[list[object]] = []
    for held in rows:
        for one in held.registrations:
            role = "holder" if one.holder else "registered"
            lines.append(
                [
                    held.target,
                    held.lun_name or held.lun_id,
                    held.type or "none",
                    one.initiator,
                    one.isid,
                    one.target_port,
                    f"0x{one.key}" if one.key else "",
                    role if one.session_ids else f"{role}, away",
                    "yes" if held.aptpl else "no",
                ]
            )
    print_table(columns, lines)
    if not rows:
        say("Nothing is reserved.")


def access(args: argparse.Namespace) -> int:
    """Tell what an initiator may do; the exit code."""
    from san_console.cli.target_lookup import find_target, run

    async def work(view: EngineView) -> int:
        from san_console.api.methods import AskAccess
        from san_console.cli.output import plain_data, print_json

        target = find_target(view, args.target)
        params = AskAccess(target=target.id, initiator=args.initiator, address=args.address)
        found: EffectiveAccess = await view.call("serving.access", params)
        if args.json:
            asked = {"target": target.id, "initiator": args.initiator, "address": args.address}
            print_json(_SCHEMA_ACCESS, asked | plain_data(found))
        else:
            _print_access(found)
        return 0

    return run(work)


def _print_access(found: EffectiveAccess) -> None:
    from san_console.cli.output import Column, print_table

    print(_fact("login", f"{'allowed' if found.allowed else 'refused'}. {found.why}"))
    if not found.allowed:
        return
    chap = ", ".join(found.chap_users) or "not asked for"
    if found.mutual_user:
        chap += f"; the target proves itself as {found.mutual_user}"
    print(_fact("CHAP", chap))
    print()
    rows: list[list[object]] = [
        [seen.lun, seen.name, "read-only" if seen.read_only else "read-write", seen.why]
        for seen in found.luns
    ]
    rows += [["–", hidden.name, "not seen", hidden.why] for hidden in found.hidden]
    print_table([Column("number", right=True), "LUN", "access", "why"], rows)
