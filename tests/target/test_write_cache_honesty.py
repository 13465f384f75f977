"""What the target says of its write cache, against the system calls that it makes."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from san_console.initiator.logical_unit import LogicalUnit
from san_console.scsi import cdb, mode
from tests.chaos.bench import session_to
from tests.peers import Process, need, wait_for
from tests.target.raw_initiator import NAME
from tests.target.serving import start

pytestmark = pytest.mark.interop

_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(pwrite64|fdatasync|sendmsg|sendto)\b.*?(?:= (-?\d+))?$")


@dataclass(slots=True)
class Traced:
    """A target whose system calls are written down."""

    port: int
    trace: Path
    process: Process

    def calls(self) -> str:
        """What ended since the first write, in its order: w(rite), s(ync), a(nswer). The target has ended."""
        letters = {"pwrite64": "w", "fdatasync": "s", "sendmsg": "a", "sendto": "a"}
        found = []
        for line in self.trace.read_text().splitlines():
            match = _CALL.match(line)
            # One byte is what a thread wakes the event loop with.
            if match and match[2] and (match[1] == "fdatasync" or int(match[2]) > 1):
                found.append(letters[match[1]])
        return "".join(found).lstrip("a")


@contextmanager
def traced(folder: Path, options: str) -> Iterator[Traced]:
    trace = folder / "trace"
    # -D: the target is our child, and the tracer is not in between.
    strace = [need("strace", "strace"), "-D", "-f", "-o", str(trace), "-e", "signal=none"]
    strace += ["-e", "trace=pwrite64,fdatasync,sendmsg,sendto"]
    lun = f"file:{folder}/disk,size=1M,thin{options}"
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", lun, under=strace) as process:
        process.wait_until(lambda: "iscsi://" in process.output, 60)
        port = int(process.output.split("iscsi://", 1)[1].split("/")[0].rpartition(":")[2])
        yield Traced(port, trace, process)
        process.signal(signal.SIGTERM)
        process.wait(30)
        # The tracer ends after the target.
        over = re.compile(rf"^{process.pid} +\+\+\+ exited", re.MULTILINE)
        wait_for(lambda: over.search(trace.read_text()), 30, "the end of the trace")


async def says_write_cache(unit: LogicalUnit) -> bool:
    answer = await unit.execute(cdb.mode_sense_10(8), read_bytes=255)
    return bool(mode.CachingPage.parse(mode.parse_10(answer.data).pages[0].data).write_cache)


@pytest.mark.timeout(180)
async def test_with_a_write_cache_only_flush_and_fua_reach_the_medium(tmp_path: Path) -> None:
    with traced(tmp_path, "") as target:
        async with session_to(target.port, command_timeout_s=30.0) as (session, _):
            unit = session.lun(0)
            assert await says_write_cache(unit)
            await unit.write(0, b"x" * 512)
            await unit.write(8, b"x" * 512, fua=True)
            await unit.write(16, b"x" * 512)
            await unit.flush()
    assert target.calls().startswith("wa" + "wsa" + "wa" + "sa")


@pytest.mark.timeout(180)
async def test_without_one_no_write_is_answered_before_it_is_on_the_medium(tmp_path: Path) -> None:
    with traced(tmp_path, ",wce=off") as target:
        async with session_to(target.port, command_timeout_s=30.0) as (session, _):
            unit = session.lun(0)
            assert not await says_write_cache(unit)
            for lba in range(8):
                await unit.write(lba, b"x" * 512)
            await unit.write(100, b"x" * 65536)
            await asyncio.gather(*(unit.write(lba * 8, b"y" * 4096) for lba in range(32)))
    calls = target.calls()
    one_by_one, many = calls[:27], calls[27:]
    assert one_by_one == "wsa" * 9
    assert many.count("w") == 32
    assert "a" not in many[: many.index("s")]
    last = many[many.rindex("w") :]
    assert "s" in last
    assert "a" in last[last.index("s") :]
