"""What an independent reader makes of everything that the target sends at levels 0, 1 and 2."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from san_console.iscsi import opcodes as o
from san_console.iscsi.pdu import LogoutRequest
from san_console.names.portal import Portal
from tests.peers import Process, free_port, need, wait_for
from tests.target import raw_initiator
from tests.target import test_recovery_levels as levels
from tests.target.raw_initiator import Served, settings
from tests.target.scripted import Connection, Request, Session, offer

pytestmark = pytest.mark.interop

SCRIPTS: tuple[Callable[[int, int], Awaitable[None]], ...] = (
    levels.test_data_goes_and_comes_on_every_connection,
    levels.test_a_damaged_data_out_costs_the_command_or_nothing,
    levels.test_a_damaged_header_costs_the_connection,
    levels.test_random_traffic_leaves_what_was_written,
)
RECOVERY: tuple[Callable[[int, int], Awaitable[None]], ...] = (
    levels.test_a_lost_data_out_is_asked_for_again,
    levels.test_data_in_comes_again_for_a_snack,
    levels.test_a_lost_status_comes_again_for_a_snack,
    levels.test_a_lost_r2t_comes_again_for_a_snack,
)
MARK = 0x0BADCAFE  # the tag of the last request


async def run_all() -> int:
    """Each script at each level; gives how many ran."""
    count = 0
    for level, connections in levels.EVERY:
        for script in SCRIPTS + (RECOVERY if level else ()):
            await script(level, connections)
            count += 1
    await levels.test_level_2_takes_tasks_over_to_another_connection(True)
    await levels.test_level_2_takes_tasks_over_to_another_connection(False)
    await levels.test_level_2_goes_on_after_the_only_connection_was_lost()
    await levels.test_level_2_sends_a_lost_status_on_another_connection()
    async with Served() as served:
        session = await Session.open(served.port, settings(offer=offer(0, 1)))
        last = session.connections[0]
        last.send(LogoutRequest(reason=o.LOGOUT_CLOSE_SESSION, itt=MARK, cmd_sn=session.cmd_sn))
        await last.closed()
        await session.close()
    return count + 4


async def test_tshark_finds_nothing_wrong_in_what_the_target_sends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tshark = need("tshark", "tshark")
    port = free_port()
    build = raw_initiator.config
    monkeypatch.setattr(
        raw_initiator,
        "config",
        lambda **changes: build(**({"portals": [Portal("127.0.0.1", port)]} | changes)),
    )
    damaged: set[int] = set()
    send = Connection.send

    def note_damage(connection: Connection, pdu: Request, data: bytes = b"", *, damage: str = "") -> None:
        if damage:
            damaged.add(connection.local_port)
        send(connection, pdu, data, damage=damage)

    monkeypatch.setattr(Connection, "send", note_damage)
    capture = tmp_path / "recovery.pcap"
    argv = [tshark, "-i", "lo", "-f", f"tcp port {port}", "-B", "64", "-w", str(capture)]
    decode = ["-r", str(capture), "-d", f"tcp.port=={port},iscsi"]

    def frames(display_filter: str, *more: str, whole: bool = True) -> str:
        done = subprocess.run(
            [tshark, *decode, "-Y", display_filter, *more],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # While the capture goes on, the end of the file may be half a packet.
        assert not whole or done.returncode == 0, done.stderr
        return done.stdout

    with Process(argv, end_signal=signal.SIGINT) as sniffer:
        sniffer.wait_until(lambda: "Capturing on" in sniffer.output)
        wait_for(capture.exists)
        scripts = await run_all()
        last = f"iscsi.opcode == 0x26 && iscsi.initiatortasktag == 0x{MARK:08x}"
        wait_for(lambda: bool(frames(last, whole=False)), 60)

    assert scripts > 30
    theirs = f"tcp.srcport == {port}"
    assert frames(f"{theirs} && iscsi").count("\n") > 1000
    bad = frames(
        f"{theirs} && (_ws.malformed || (iscsi && (_ws.expert.severity >= 0x600000) && !tcp.analysis.flags))",
        "-V",
    )
    assert bad == "", bad[:4000]
    # On a connection whose data was damaged on purpose, the reader takes digests for something else.
    sound = "".join(f" && tcp.dstport != {port}" for port in damaged)
    digests = re.findall(r"Digest: 0x\w+ \((\w+) CRC32", frames(theirs + sound, "-V"))
    assert len(digests) > 500
    assert set(digests) == {"Good"}
