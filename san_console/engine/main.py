"""The engine as a process: lock, log, state, signals, loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from san_console.api.problems import ApiProblem
from san_console.engine.hardening import harden_process
from san_console.engine.log_file import start_log, stop_log
from san_console.engine.secret_store import EngineSecrets
from san_console.engine.service import Engine
from san_console.engine.state import open_state
from san_console.rpc.lock import EngineLock
from san_console.rpc.paths import (
    LOCK_NAME,
    data_dir,
    ensure_data_dir,
    ensure_private_dir,
    lock_path,
    runtime_dir,
    socket_path,
)
from san_console.target.descriptors import raise_descriptor_limit

log = logging.getLogger(__name__)

CHECK_REACHABLE_S: Final = 5.0
"""How long an engine can be unreachable after its socket was removed under it."""


def run(*, memory_secrets: bool = False, lab: bool = False) -> int:
    """Run the engine until it is stopped. Returns the exit code: 0, or 1 when it could not start.

    `memory_secrets` keeps CHAP secrets in memory from the start; `lab` builds the lab at once.
    """
    harden_process()
    raise_descriptor_limit()
    try:
        ensure_private_dir(runtime_dir())
        folder = ensure_data_dir(data_dir())
        # Both: a user has several runtime folders (desktop, SSH, sudo), and one state.
        state_lock = EngineLock(folder / LOCK_NAME)
        state_lock.acquire()
        lock = EngineLock(lock_path())
        lock.acquire()
    except ApiProblem as error:
        _complain(error)
        return 1
    handler = start_log(folder)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(folder, lock, memory_secrets=memory_secrets, lab=lab))
    except ApiProblem as error:
        log.error("the engine could not start", extra={"fields": {"why": error.message}})
        _complain(error)
        return 1
    finally:
        stop_log(handler)
        lock.release()
        state_lock.release()
    return 0


async def _serve(folder: Path, lock: EngineLock, *, memory_secrets: bool, lab: bool) -> None:
    loop = asyncio.get_running_loop()
    path = socket_path()
    state = open_state(folder, now=time.time())
    engine = Engine(state, folder, path, secrets=EngineSecrets(use_memory=memory_secrets))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stop)
    # A terminal that closes takes its window along, not the engine.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await engine.start()
        if lab:
            engine.lab.start()
        watch = loop.create_task(_stay_reachable(engine, lock, path))
        await engine.wait_for_stop()
        watch.cancel()
    finally:
        await engine.close()


async def _stay_reachable(engine: Engine, lock: EngineLock, path: Path) -> None:
    """Make folder, lock and socket anew when they vanish, as session managers let them at a logout.

    An engine that nobody can reach, and that still holds ports and state, could not even be stopped.
    """
    while True:
        await asyncio.sleep(CHECK_REACHABLE_S)
        if _is_reachable(lock, path):
            continue
        try:
            ensure_private_dir(path.parent)
            if not lock.is_in_place():
                lock.release()
                lock.acquire()
            await engine.listen_again()
            log.warning("the socket had vanished and was made anew")
        except ApiProblem as error:
            log.warning("the socket has vanished", extra={"fields": {"why": error.message}})


def _is_reachable(lock: EngineLock, path: Path) -> bool:
    return lock.is_in_place() and path.exists()


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed and not forbidden; asyncio's own loop is what is tested."""
    if os.environ.get("SAN_CONSOLE_UVLOOP") == "0":
        return None
    try:
        import uvloop  # type: ignore[import-not-found,unused-ignore]  # an optional extra
    except ImportError:
        return None

    class PreciseLoop(uvloop.Loop):  # type: ignore[misc,unused-ignore]  # as above
        """uvloop's own `time` steps by a millisecond, and latencies are measured with it."""

        def time(self) -> float:
            return time.monotonic()

    loop: type[asyncio.AbstractEventLoop] = PreciseLoop
    return loop


def _complain(error: ApiProblem) -> None:
    problem = error.problem
    parts = [problem.message]
    if problem.side:
        parts.append(f"decided by: {problem.side}")
    if problem.check:
        parts.append(f"check: {problem.check}")
    sys.stderr.write("san-console engine: " + "\n  ".join(parts) + "\n")
