"""Programs from outside that the tests talk to: finding them, starting them, waiting for them, ending them.

Each program runs as its own process on a free port of 127.0.0.1 and is ended by its process id, never by its
name: other instances may run on the same machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

#: Directories that Debian gives to daemons but not to the PATH of an ordinary user.
_SYSTEM_PATH = ("/usr/sbin", "/sbin")
_POLL_S = 0.02


def need(program: str, package: str) -> str:
    """The path of `program`; without it the test is skipped, or fails where CI=true promises the program."""
    path = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_PATH)))
    if path is None:
        message = f"{program} is not installed: sudo apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port on `host` that nobody listened on a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(predicate: Callable[[], object], timeout_s: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as `predicate` gives something true; AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {timeout_s:g} s")
        time.sleep(_POLL_S)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something accepts TCP connections there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1.0):
        return True
    return False


class Process:
    """A started program whose output goes to a file; leaving the context ends it (SIGTERM, then SIGKILL)."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        end_signal: int = signal.SIGTERM,
        grace_s: float = 5.0,
    ) -> None:
        self.argv = [str(a) for a in argv]
        self._end_signal, self._grace_s = end_signal, grace_s
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.popen = subprocess.Popen(
            self.argv, stdin=stdin, stdout=self._log, stderr=subprocess.STDOUT, env=env
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    @property
    def output(self) -> str:
        """What it has printed so far (standard output and error)."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def wait_until(self, predicate: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait for `predicate`; AssertionError with the output when the program ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not predicate():
            if not self.alive:
                raise AssertionError(f"{self.argv[0]} ended with {self.popen.returncode}:\n{self.output}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.argv[0]} was not ready within {timeout_s:g} s:\n{self.output}")
            time.sleep(_POLL_S)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit code."""
        return self.popen.wait(timeout_s)

    def signal(self, number: int) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def end(self) -> None:
        self.signal(self._end_signal)
        try:
            self.popen.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        if not self._log.closed:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Tgtd:
    """One tgtd of our own: control channel and portal are its alone."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._tgtd, self._tgtadm = need("tgtd", "tgt"), need("tgtadm", "tgt")
        # The control channel is a Unix socket named after this number, which tgtd wants below 32768.
        self.control = self.port & 0x7FFF
        self.process: Process | None = None
        self._commands: list[tuple[str, ...]] = []

    @property
    def portal(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, with everything configured before (so this is also the restart after `kill`)."""
        argv = [self._tgtd, "-f", "-C", str(self.control), "--iscsi", f"portal={self.portal}"]
        # It survives SIGTERM while targets exist, so it is ended as by a crash.
        self.process = Process(argv, end_signal=signal.SIGKILL)
        self.process.wait_until(lambda: answers(self.port) and self._try("--op", "show", "--mode", "system"))
        for command in self._commands:
            self._run(*command)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.end()
        for name in (f"socket.{self.control}", f"socket.{self.control}.lock"):
            Path("/var/run/tgtd", name).unlink(missing_ok=True)

    def _try(self, *words: str) -> bool:
        argv = [self._tgtadm, "-C", str(self.control), *words]
        return subprocess.run(argv, capture_output=True, check=False, timeout=10).returncode == 0

    def _run(self, *words: str) -> str:
        argv = [self._tgtadm, "-C", str(self.control), *words]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=10, text=True)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def admin(self, *words: str, remember: bool = True) -> str:
        """Run `tgtadm` with `words` (after `--lld iscsi`); remembered for the next start."""
        command = ("--lld", "iscsi", *words)
        if remember:
            self._commands.append(command)
        return self._run(*command)

    def add_target(self, name: str, luns: Sequence[Path], *, tid: int = 1) -> None:
        """A target open to all initiators; its LUN numbers count from 1 (0 is tgtd's controller)."""
        self.admin("--op", "new", "--mode", "target", "--tid", str(tid), "-T", name)
        for number, path in enumerate(luns, 1):
            words = ("--op", "new", "--mode", "logicalunit", "--tid", str(tid), "--lun", str(number))
            self.admin(*words, "-b", str(path))
        self.admin("--op", "bind", "--mode", "target", "--tid", str(tid), "-I", "ALL")

    def add_account(self, user: str, secret: str, *, tid: int = 1, outgoing: bool = False) -> None:
        """CHAP: what initiators must prove, or with `outgoing` what the target proves to them."""
        self.admin("--op", "new", "--mode", "account", "--user", user, "--password", secret)
        words = ("--op", "bind", "--mode", "account", "--tid", str(tid), "--user", user)
        self.admin(*words, *(["--outgoing"] if outgoing else []))

    def set_key(self, key: str, value: str, *, tid: int = 1) -> None:
        """A negotiation limit of the target, such as HeaderDigest=CRC32C."""
        words = ("--op", "update", "--mode", "target", "--tid", str(tid), "--name", key, "--value", value)
        self.admin(*words)

    def show(self) -> str:
        return self.admin("--op", "show", "--mode", "target", remember=False)


@contextlib.contextmanager
def tgtd() -> Iterator[Tgtd]:
    """A running tgtd without targets."""
    peer = Tgtd()
    try:
        peer.start()
        yield peer
    finally:
        peer.kill()


_ISTGT_CONF = """[Global]
  NodeBase "iqn.2026-11.org.san-console.test"
  PidFile {folder}/istgt.pid
  AuthFile {folder}/auth.conf
  MediaDirectory {folder}
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod Auto
  MaxSessions 16
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 0
  DefaultTime2Retain 0
  FirstBurstLength 65536
  MaxBurstLength 262144
  MaxRecvDataSegmentLength 65536
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod Auto
  Portal UC1 127.0.0.1:{control_port}
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName disk1
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod Auto
  AuthGroup AuthGroup1
  UseDigest Auto
  UnitType Disk
  LUN0 Storage {image} {mib}MB
"""
ISTGT_TARGET = "iqn.2026-11.org.san-console.test:disk1"


@contextlib.contextmanager
def istgt(folder: Path, *, mib: int = 16) -> Iterator[int]:
    """A running istgt with the target ISTGT_TARGET, one LUN 0 of `mib` MiB and no CHAP; gives its port."""
    program = need("istgt", "istgt")
    port, image = free_port(), folder / "istgt.img"
    with image.open("wb") as file:
        file.truncate(mib << 20)
    (folder / "auth.conf").write_text('[AuthGroup1]\n  Auth "nobody" "nobodynobody"\n')
    (folder / "auth.conf").chmod(0o600)
    conf = folder / "istgt.conf"
    conf.write_text(
        _ISTGT_CONF.format(folder=folder, control_port=free_port(), port=port, image=image, mib=mib)
    )
    with Process([program, "-D", "-c", conf], grace_s=2.0) as process:
        process.wait_until(lambda: answers(port))
        yield port


_ISNSD_CONF = """SourceName = iqn.2026-11.org.san-console.test:isnsd
ServerAddress = 127.0.0.1:{port}
BindAddress = 127.0.0.1:{port}
ControlSocket = {folder}/isnsctl
PIDFile = {folder}/isnsd.pid
Database = {folder}/database
Security = 0
DefaultDiscoveryDomain = 1
"""


@contextlib.contextmanager
def isnsd(folder: Path) -> Iterator[int]:
    """A running open-isns server; gives its port. `{folder}/isns.conf` also serves `isnsadm -c`."""
    program = need("isnsd", "open-isns-server")
    port, conf = free_port(), folder / "isns.conf"
    conf.write_text(_ISNSD_CONF.format(port=port, folder=folder))
    with Process([program, "-f", "-c", conf], grace_s=2.0) as process:
        process.wait_until(lambda: answers(port))
        yield port
