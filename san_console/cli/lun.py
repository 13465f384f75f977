"""`san-console lun`: look at, read, write, measure and copy a LUN, without an engine."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from san_console.cli.chap_arguments import NoSecret, add_chap_arguments, read_chap
from san_console.names.errors import NamesError
from san_console.names.url import SCHEME, IscsiUrl

if TYPE_CHECKING:
    from san_console.initiator.logical_unit import LogicalUnit
    from san_console.initiator.lun_info import LunInfo
    from san_console.initiator.session import Session
    from san_console.initiator.transfer import Endpoint

_STREAM = "-"
_PATTERNS = ("read", "randread", "write", "randwrite", "mixed")
_WRITING = frozenset({"write", "randwrite", "mixed"})
_SCHEMA = "san-console/lun-{}/1"
_DIGESTS = {"none": "none", "crc32c": "require"}
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _url(text: str) -> IscsiUrl:
    try:
        url = IscsiUrl.parse(text)
    except NamesError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if url.target is None or url.lun is None:
        raise argparse.ArgumentTypeError("the URL needs a target and a LUN: iscsi://host[:port]/name/lun")
    return url


def _url_or_file(text: str) -> IscsiUrl | str:
    return _url(text) if text[: len(SCHEME)].lower() == SCHEME else text


def _bytes(text: str) -> int:
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].isalpha() else (text, "")
    if not (number.isascii() and number.isdigit() and len(number) <= 20) or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"“{text}” is no number of bytes, such as 4096, 64K or 1G")
    return int(number) * _UNITS[unit]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 4096):
        raise argparse.ArgumentTypeError(f"“{text}” is no number from 1 to 4096")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"“{text}” is no time in seconds (up to a day)")
    return value


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `lun` with its commands."""
    parser = subparsers.add_parser(
        "lun", help="look at, read, write, measure or copy a LUN (no engine needed)"
    )
    commands = parser.add_subparsers(dest="lun_command", metavar="COMMAND", required=True)

    def add(name: str, handler: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(handler=handler)
        return command

    url_help = "iscsi://[user@]host[:port]/target-name/lun"
    command = add("info", info, "show who and how large a LUN is")
    command.add_argument("url", type=_url, metavar="URL", help=url_help)
    _add_common(command)

    command = add("read", read, "read a LUN into a file")
    command.add_argument("url", type=_url, metavar="URL", help=url_help)
    command.add_argument("--offset", type=_bytes, default=0, metavar="BYTES")
    command.add_argument("--length", type=_bytes, metavar="BYTES", help="up to the end of the LUN by default")
    command.add_argument("--output", required=True, metavar="FILE", help="- is standard output")
    _add_common(command)

    command = add("write", write, "write a file onto a LUN")
    command.add_argument("url", type=_url, metavar="URL", help=url_help)
    command.add_argument("--input", required=True, metavar="FILE", help="- is standard input")
    command.add_argument("--offset", type=_bytes, default=0, metavar="BYTES")
    command.add_argument("--yes", action="store_true", help="overwrite what is there")
    _add_common(command)

    command = add("bench", bench, "measure commands per second and latency")
    command.add_argument("url", type=_url, metavar="URL", help=url_help)
    command.add_argument("--block-size", type=_bytes, default=4096, metavar="BYTES")
    command.add_argument("--queue-depth", type=_count, default=32, metavar="N")
    command.add_argument("--seconds", type=_seconds, default=10.0, metavar="S")
    command.add_argument("--pattern", choices=_PATTERNS, default="read")
    command.add_argument(
        "--yes", action="store_true", help="do not ask before a writing pattern overwrites the LUN"
    )
    _add_common(command)

    command = add("copy", copy, "copy a LUN or file to a LUN or file")
    command.add_argument("source", type=_url_or_file, metavar="SOURCE", help="a URL or a file")
    command.add_argument("destination", type=_url_or_file, metavar="DESTINATION", help="a URL or a file")
    command.add_argument("--yes", action="store_true", help="do not ask before a LUN is overwritten")
    _add_common(command)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_chap_arguments(parser)
    group = parser.add_argument_group("session")
    group.add_argument("--header-digest", choices=tuple(_DIGESTS), default="none")
    group.add_argument("--data-digest", choices=tuple(_DIGESTS), default="none")
    group.add_argument("--source-address", metavar="A", help="the local address to connect from")
    group.add_argument("--initiator-name", metavar="NAME", help="this machine's own by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


# ---- sessions ----


@contextlib.asynccontextmanager
async def _unit(args: argparse.Namespace, url: IscsiUrl) -> Any:
    """The LUN of `url` in a session that stays up; the session's troubles are told on standard error."""
    from san_console.cli.output import say
    from san_console.initiator.events import SessionEvent
    from san_console.initiator.opening import settings_from_url
    from san_console.initiator.session import Session

    def tell(event: SessionEvent) -> None:
        if event.severity != "info" or event.kind in ("retry_scheduled", "recovered"):
            say(f"san-console: {event.text}")

    chap, mutual = args.credentials
    settings = settings_from_url(
        url,
        initiator_name=args.initiator_name,
        chap=chap,
        mutual_chap=mutual,
        header_digest=_DIGESTS[args.header_digest],
        data_digest=_DIGESTS[args.data_digest],
        source_address=args.source_address,
    )
    session: Session = Session(settings)
    session.traces_commands = False  # nobody can look at it here
    await session.login()
    session.on_event = tell
    session.start()
    try:
        assert url.lun is not None
        await session.report_luns()
        yield session.lun(url.lun)
    finally:
        await session.logout()


def _run(args: argparse.Namespace, work: Callable[[argparse.Namespace], Any]) -> int:
    """Read the secrets, run `work`, and turn what fails into a message and an exit code."""
    import asyncio

    from san_console.cli.output import print_failure
    from san_console.initiator.errors import InitiatorError
    from san_console.names.iscsi_name import normalise

    urls = [value for value in vars(args).values() if isinstance(value, IscsiUrl)]
    try:
        if args.initiator_name is not None:
            args.initiator_name = normalise(args.initiator_name)
        args.credentials = read_chap(args, urls[0] if urls else None)
        asyncio.run(work(args))
    except (InitiatorError, NoSecret) as error:
        print_failure(error.cause, error.side, error.check)
        return 1
    except NamesError as error:
        print_failure(str(error), "initiator", "Correct the command line or the file.")
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print_failure(f"{where}{error.strerror or error}", "initiator", "Check the file and its place.")
        return 1
    except _Usage as error:
        print_failure(str(error), "initiator", "See san-console lun --help.")
        return 2
    return 0


class _Usage(Exception):
    """The options do not fit what is there."""


@contextlib.contextmanager
def _progress(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere: a log full of percentages helps nobody."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


# ---- info ----


def info(args: argparse.Namespace) -> int:
    return _run(args, _info)


async def _info(args: argparse.Namespace) -> None:
    from san_console.cli.output import print_json, print_table, size_text

    async with _unit(args, args.url) as unit:
        found: LunInfo = await unit.info()
        session: Session = unit.session
        assert session.result is not None
        if args.json:
            print_json(_SCHEMA.format("info"), {**_plain(found), **_login(session)})
            return
        rows = [
            ("LUN", found.number),
            ("device", f"{found.vendor} {found.product} {found.revision}".strip()),
            ("type", found.device_type_name),
            ("identity", found.identity or "none"),
            ("serial", found.serial or "none"),
            ("size", f"{size_text(found.size_bytes)} ({found.blocks} blocks of {found.block_bytes} bytes)"),
            ("physical block", f"{found.physical_block_bytes} bytes"),
            ("read-only", _yes(found.read_only)),
            ("thin", _yes(found.thin)),
            ("write cache", "not told" if found.write_cache is None else _yes(found.write_cache)),
            ("designators", ", ".join(found.designators) or "none"),
            ("VPD pages", " ".join(f"{page:02x}" for page in found.vpd_pages) or "none"),
            ("portal", str(session.portal)),
            ("authentication", session.result.auth),
        ]
        print_table(("property", "value"), [*rows, *(("note", note) for note in found.notes)])


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _plain(found: LunInfo) -> dict[str, Any]:
    import dataclasses

    return {**dataclasses.asdict(found), "size_bytes": found.size_bytes}


def _login(session: Session) -> dict[str, Any]:
    result = session.result
    assert result is not None
    return {
        "portal": str(session.portal),
        "authentication": result.auth,
        "header_digest": result.params.header_digest,
        "data_digest": result.params.data_digest,
    }


# ---- read, write, copy ----


def read(args: argparse.Namespace) -> int:
    return _run(args, _read)


async def _read(args: argparse.Namespace) -> None:
    from san_console.initiator.transfer import FileEndpoint, UnitEndpoint

    async with _unit(args, args.url) as unit:
        size = (await unit.info()).size_bytes
        length = size - args.offset if args.length is None else args.length
        if args.offset + length > size or length < 0:
            raise _Usage(f"the LUN has {size} bytes; {args.offset} + {length} goes beyond its end")
        with _open(args.output, "wb") as file:
            await _transfer(
                args, "read", UnitEndpoint(unit), FileEndpoint(file), length, source_offset=args.offset
            )


def write(args: argparse.Namespace) -> int:
    return _run(args, _write)


async def _write(args: argparse.Namespace) -> None:
    from san_console.initiator.transfer import FileEndpoint, UnitEndpoint

    if not args.yes:
        raise _Usage(f"writing overwrites what is on {args.url}; add --yes if that is meant")
    with _open(args.input, "rb") as file:
        source = FileEndpoint(file)
        async with _unit(args, args.url) as unit:
            length = await source.size_bytes()
            await _check_room(unit, args.offset, length)
            await _transfer(args, "write", source, UnitEndpoint(unit), length, destination_offset=args.offset)


async def _check_room(unit: LogicalUnit, offset: int, length: int | None) -> None:
    found = await unit.info()
    if offset + (length or 0) > found.size_bytes:
        raise _Usage(f"the LUN has {found.size_bytes} bytes; {offset} + {length or 0} goes beyond its end")
    if found.read_only:
        raise _Usage(f"LUN {found.number} is read-only")


def copy(args: argparse.Namespace) -> int:
    return _run(args, _copy)


async def _copy(args: argparse.Namespace) -> None:
    from san_console.initiator.transfer import FileEndpoint, UnitEndpoint

    to_unit = isinstance(args.destination, IscsiUrl)
    if to_unit:
        _confirm(args, f"Copying overwrites what is on {args.destination}.")
    async with contextlib.AsyncExitStack() as stack:
        source: Endpoint
        destination: Endpoint
        if isinstance(args.source, IscsiUrl):
            source = UnitEndpoint(await stack.enter_async_context(_unit(args, args.source)))
        else:
            source = FileEndpoint(stack.enter_context(_open(args.source, "rb")))
        length = await source.size_bytes()
        if to_unit:
            unit = await stack.enter_async_context(_unit(args, args.destination))
            await _check_room(unit, 0, length)
            destination = UnitEndpoint(unit)
        else:
            destination = FileEndpoint(stack.enter_context(_open(args.destination, "wb")))
        await _transfer(args, "copy", source, destination, length)


def _confirm(args: argparse.Namespace, what: str) -> None:
    """Ask where somebody can answer; a script has said what it wants by its arguments."""
    if args.yes or not sys.stdin.isatty():
        return
    print(f"{what} Type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise _Usage("nothing was written")


@contextlib.contextmanager
def _open(name: str, mode: str) -> Iterator[BinaryIO]:
    if name == _STREAM:
        yield sys.stdin.buffer if mode == "rb" else sys.stdout.buffer
        return
    with Path(name).open(mode) as file:
        yield file  # type: ignore[misc]  # both modes are binary


async def _transfer(
    args: argparse.Namespace,
    command: str,
    source: Endpoint,
    destination: Endpoint,
    length: int | None,
    *,
    source_offset: int = 0,
    destination_offset: int = 0,
) -> None:
    from san_console.cli.output import print_json, rate_text, say, size_text
    from san_console.initiator.transfer import transfer

    with _progress(length, command) as progress:
        done = await transfer(
            source,
            destination,
            source_offset=source_offset,
            destination_offset=destination_offset,
            length=length,
            progress=progress,
        )
    rate = done.moved_bytes / done.seconds if done.seconds else 0.0
    # Standard output may be the destination.
    to_stream = command != "write" and getattr(args, "output", getattr(args, "destination", "")) == _STREAM
    if args.json and not to_stream:
        data = {"moved_bytes": done.moved_bytes, "seconds": done.seconds, "bytes_per_s": rate}
        print_json(_SCHEMA.format(command), data)
    else:
        say(f"{size_text(done.moved_bytes)} in {done.seconds:.1f} s, {rate_text(rate)}, flushed")


# ---- bench ----


def bench(args: argparse.Namespace) -> int:
    return _run(args, _bench)


async def _bench(args: argparse.Namespace) -> None:
    import dataclasses

    from san_console.cli.output import print_json, print_table, rate_text
    from san_console.initiator.bench import run_bench

    if args.pattern in _WRITING:
        _confirm(args, f"The pattern {args.pattern} overwrites {args.url}.")
    async with _unit(args, args.url) as unit:
        if args.pattern in _WRITING:
            await _check_room(unit, 0, None)
        total = int(args.seconds * 1000)
        with _progress(total, args.pattern) as progress:
            try:
                result = await run_bench(
                    unit,
                    block_bytes=args.block_size,
                    queue_depth=args.queue_depth,
                    seconds=args.seconds,
                    pattern=args.pattern,
                    progress=lambda fraction, commands: progress(int(fraction * total)),
                )
            except ValueError as error:
                raise _Usage(str(error)) from error
        if args.json:
            print_json(_SCHEMA.format("bench"), {**dataclasses.asdict(result), **_login(unit.session)})
            return
        latency = [(f"latency {name}", f"{value} µs") for name, value in result.latency_us.items()]
        rows = [
            ("pattern", f"{result.pattern}, {result.block_bytes} bytes, {result.queue_depth} deep"),
            ("commands", f"{result.commands} in {result.seconds:.1f} s, {result.errors} errors"),
            ("IOPS", f"{result.iops:.0f}"),
            ("throughput", rate_text(result.bytes_per_s)),
            *latency,
        ]
        print_table(("measure", "value"), rows)
