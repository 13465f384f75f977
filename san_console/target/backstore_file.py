"""Files and block devices as backstores.

Reads take what the page cache has with RWF_NOWAIT and go to a thread for the rest. Writes go into the page
cache at once, as long as the kernel takes them quickly; when it throttles the writer, they go to a thread
for a while. Flush is fdatasync, and FUA is a write with a flush, as is every write while the write cache is
off; flushes that wait for one another share one. After an fdatasync that failed, the kernel
has dropped the dirty pages and the next one would "succeed" without the data: so the first failure is final
until an operator opens the backstore again, and no two flushes run at a time (the kernel tells only one of
them).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from time import monotonic
from typing import TypeVar

from san_console.iscsi.target_device import Arena
from san_console.names.display import visible
from san_console.target.atomic_journal import JOURNAL_SUFFIX, recover
from san_console.target.backstore import Backstore, Buffer, MediumError, Usage, refuse_shrink
from san_console.target.backstore_opening import (
    OpenFile,
    allocate,
    describe,
    identity_of,
    lock,
    medium_bytes,
    open_file,
)
from san_console.target.config import BackstoreSpec
from san_console.target.errors import BackstoreError
from san_console.target.hole import punch_hole

T = TypeVar("T")

RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# A memory copy of this length takes about 0.1 ms; longer ones would show in the loop's lag.
MAX_INLINE_READ_BYTES = MAX_INLINE_WRITE_BYTES = 1 << 20
# A copy into the page cache takes far less than this, even when another process had the processor in
# between: the kernel is making the writer wait for the medium (balance_dirty_pages pauses for up to 0.2 s).
SLOW_WRITE_S = 0.02
MAX_THREADS = 8
"""Calls that wait for one medium at the same time; a medium that hangs leaves the other threads to others."""
THROTTLED_S = 0.25  # how long writes then go to a thread
STAT_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own (stat(2))


def finish_atomic_write(spec: BackstoreSpec) -> None:
    """What the journal of a file holds whole is written before anything newer is. Raises BackstoreError."""
    if spec.kind != "file" or spec.read_only:
        return
    try:
        recover(os.path.abspath(spec.path))
    except OSError as error:
        raise BackstoreError(
            f"An atomic write to {visible(spec.path)} was interrupted and cannot be finished: "
            f"{describe(error)}.",
            check=f"Check the file and its journal, which ends in {JOURNAL_SUFFIX}.",
        ) from error


class FileBackstore(Backstore):
    """A regular file, or a block device. `pool` runs what waits for the medium."""

    def __init__(self, spec: BackstoreSpec, pool: Executor) -> None:
        self.path = os.path.abspath(spec.path)
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        self._spec = replace(spec, create=False)
        self._pool = pool
        self._throttled_until = 0.0
        self._flushing = asyncio.Lock()
        self._threads = asyncio.Semaphore(MAX_THREADS)
        self._flushes_begun = 0
        self._flushed = 0
        self._cached = True
        self._cut = ""  # what `examine` found, until `reopen`
        self._inline = True  # writes may stay in the page cache: the write cache is on, and nothing failed
        opened = open_file(spec)
        self._fd = opened.fd
        self._identity = opened.identity
        self.size_bytes = opened.size_bytes
        try:
            self._memory_only = False
            self._nowait = self._probe_nowait()
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    @property
    def write_cache(self) -> bool:
        """See Backstore."""
        return self._cached

    @write_cache.setter
    def write_cache(self, on: bool) -> None:
        self._cached = on
        self._inline = on and not self.failed

    def fail(self, why: str) -> None:
        super().fail(why)
        self._inline = False

    def _probe_nowait(self) -> int:
        """The flag for reads that do not wait; 0 with `_memory_only` where the file system is memory
        itself.
        """
        probe = bytearray(1)
        try:
            os.preadv(self._fd, [probe], 0, RWF_NOWAIT)
        except BlockingIOError:
            return RWF_NOWAIT
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise BackstoreError(
                    f"The backstore {visible(self.path)} cannot be read: {describe(error)}.",
                    check="Check the medium.",
                ) from error
            self._memory_only = _is_tmpfs(os.fstat(self._fd).st_dev)
            return 0
        return RWF_NOWAIT

    async def _in_thread(self, call: Callable[[], T]) -> T:
        async with self._threads:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
        if length > MAX_INLINE_READ_BYTES:
            return None
        view = arena.take(length)
        try:
            if self._nowait:
                got = os.preadv(self._fd, (view,), offset, RWF_NOWAIT)
            elif self._memory_only:
                got = os.preadv(self._fd, (view,), offset)
            else:
                return None
        except OSError:
            return None  # nothing cached, or a medium error: the thread finds out and reports
        return view if got == length else None

    async def read(self, offset: int, length: int) -> Buffer:
        return await self._in_thread(lambda: self._read_all(offset, length))

    def _read_all(self, offset: int, length: int) -> Buffer:
        data = bytearray(length)
        view = memoryview(data)
        done = 0
        while done < length:
            try:
                got = os.preadv(self._fd, [view[done:]], offset + done)
            except OSError as error:
                raise MediumError(error.errno or errno.EIO, describe(error), offset + done) from error
            if got == 0:
                # Latched at once: a write behind the end would fill what was cut off with zeros.
                self.examine()
                raise MediumError(errno.EIO, "the file has become shorter", offset + done)
            done += got
        return data

    def write_nowait(self, offset: int, data: Buffer, *, flush_follows: bool = False) -> bool:
        """See Backstore. With `flush_follows`, also while the write cache is off."""
        if not (self._inline or flush_follows) or len(data) > MAX_INLINE_WRITE_BYTES:
            return False
        started = monotonic()
        if started < self._throttled_until:
            return False
        try:
            written = os.pwrite(self._fd, data, offset)
        except OSError:
            return False  # the thread tries again, and its error is the one that counts
        ended = monotonic()
        if ended - started > SLOW_WRITE_S:
            self._throttled_until = ended + THROTTLED_S
        return written == len(data)

    async def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        self._check_alive()
        durable = fua or not self._cached
        # Without a flush behind it, `write_nowait` has been tried.
        if not (durable and self.write_nowait(offset, data, flush_follows=True)):
            await self._in_thread(lambda: self._write_all(offset, data))
        if durable or not self._cached:  # it may have been turned off while the thread was writing
            # Not RWF_DSYNC: its error may be that of an earlier write, and the next flush would not see it
            # again.
            await self.flush()

    def _write_all(self, offset: int, data: Buffer) -> None:
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                written = os.pwrite(self._fd, view[done:], offset + done)
            except OSError as error:
                raise MediumError(error.errno or errno.EIO, describe(error), offset + done) from error
            if written == 0:
                raise MediumError(errno.EIO, "the medium takes no more data", offset + done)
            done += written

    async def flush(self) -> None:
        self._check_alive()
        begun_before = self._flushes_begun
        async with self._flushing:
            self._check_alive()
            if self._flushed > begun_before:
                return  # one began and ended well meanwhile: it has all that was written before this call
            self._flushes_begun = number = self._flushes_begun + 1
            await self._in_thread(self._fdatasync)
            self._flushed = number

    def _fdatasync(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            # Noted here: whoever waits for the thread may be gone.
            self.fail(f"a flush failed ({describe(error)}); what was written since the last one may be lost")
            # EIO whatever it was: ENOSPC would tell the initiator that trying again may help.
            raise OSError(errno.EIO, self.failed) from error

    def _check_alive(self) -> None:
        if self.failed:
            raise OSError(errno.EIO, self.failed)

    # Space

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._check_alive()
        await self._in_thread(lambda: self._punch_all(ranges))
        if not self._cached:
            await self.flush()

    def _punch_all(self, ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            if length and not punch_hole(self._fd, offset, length):
                zeros = bytes(min(length, MAX_INLINE_WRITE_BYTES))
                for start in range(offset, offset + length, len(zeros)):
                    self._write_all(start, zeros[: offset + length - start])

    def extent(self, offset: int) -> tuple[bool, int]:
        rest = self.size_bytes - offset
        if not self.thin:
            return True, rest
        try:
            data = os.lseek(self._fd, offset, os.SEEK_DATA)
            if data > offset:
                return False, min(data, self.size_bytes) - offset
            return True, min(os.lseek(self._fd, offset, os.SEEK_HOLE), self.size_bytes) - offset
        except OSError as error:
            # ENXIO: no data from here to the end. Anything else: no map is to be had, as of a block device.
            return error.errno != errno.ENXIO, rest

    def usage(self) -> Usage:
        status = os.fstat(self._fd)
        if self._spec.kind == "block":
            return Usage(self.size_bytes)
        system = os.fstatvfs(self._fd)
        used = min(status.st_blocks * STAT_BLOCK_BYTES, self.size_bytes)
        return Usage(used, system.f_bavail * system.f_frsize)

    async def resize(self, size_bytes: int = 0) -> None:
        self.size_bytes = await self._in_thread(lambda: self._grow(size_bytes))
        if not self.read_only:
            try:
                await self.flush()
            except OSError as error:
                raise BackstoreError(
                    f"{visible(self.path)} was enlarged, and the medium could not be made to keep it: "
                    f"{describe(error)}.",
                    check="Check the medium.",
                ) from error

    def _grow(self, size_bytes: int) -> int:
        shown = visible(self.path)
        actual = medium_bytes(self._fd)
        wanted = size_bytes or actual // self.block_bytes * self.block_bytes
        refuse_shrink(self.size_bytes, wanted)
        if wanted % self.block_bytes:
            raise BackstoreError(
                f"{wanted} bytes are no multiple of the block size, {self.block_bytes}.",
                check="Choose another size.",
            )
        if wanted > actual:
            if self._spec.kind == "block" or self.read_only:
                raise BackstoreError(
                    f"{shown} has {actual} bytes, and {wanted} are asked for.",
                    check="Enlarge the device first." if not self.read_only else "It is served read-only.",
                )
            try:
                allocate(self._fd, actual, wanted, thin=self.thin)
            except OSError as error:
                os.ftruncate(self._fd, actual)
                raise BackstoreError(
                    f"There is no room for {wanted} bytes in {shown}: {describe(error)}.",
                    check="Free some space, or choose a smaller size.",
                ) from error
        return wanted

    async def prefetch(self, offset: int, length: int) -> None:
        await self._in_thread(lambda: self._advise(offset, length))

    def _advise(self, offset: int, length: int) -> None:
        try:
            os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)
        except OSError:
            return  # a hint: the read that follows finds out

    # Trouble

    def examine(self) -> str:
        shown = visible(self.path)
        if self._cut or self._fd < 0:
            return self._cut
        try:
            status, actual = os.stat(self.path), medium_bytes(self._fd)
        except FileNotFoundError:
            return f"{shown} was {self._gone()}"
        except OSError as error:
            return f"{shown} cannot be reached: {describe(error)}"
        if identity_of(status) != self._identity:
            return f"{shown} is another file now; the one that was served was {self._gone()}"
        if actual < self.size_bytes:
            # Latched: when it grows again, what was cut off is gone, and the new end reads as zeros.
            self._cut = f"{shown} was cut short: {actual} bytes where {self.size_bytes} are served"
            self.fail(self._cut)
        return self._cut

    def _gone(self) -> str:
        """What became of the file that is open and is not at its path any more."""
        if self._fd < 0 or os.fstat(self._fd).st_nlink:
            return "moved away"
        return (
            f"deleted; as long as the LUN is not brought online or taken offline by hand, its content can be "
            f"copied from /proc/{os.getpid()}/fd/{self._fd}"
        )

    async def reopen(self) -> None:
        async with self._flushing:  # no flush of the old file may end after the new one is there
            # Calls that hang in the old file must not keep the new one away.
            opened = await asyncio.get_running_loop().run_in_executor(self._pool, self._open_again)
            self._identity = opened.identity
            self.failed = self._cut = ""
            self.write_cache = self._cached

    def _open_again(self) -> OpenFile:
        shown = visible(self.path)
        # A lock belongs to the open file: the old one would keep us from having the same file again.
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        try:
            finish_atomic_write(self._spec)  # a journal that could not be emptied may have made it fail
            opened = open_file(self._spec, claim=False)
        except BackstoreError:
            lock(self._fd, read_only=self.read_only, shown=shown)
            raise
        actual = medium_bytes(opened.fd)
        if actual < self.size_bytes:
            os.close(opened.fd)
            lock(self._fd, read_only=self.read_only, shown=shown)
            raise BackstoreError(
                f"The backstore {shown} is too small: {actual} bytes where {self.size_bytes} are served.",
                check="Bring the right file back, or remove the LUN and add it with the size that it has.",
            )
        self._put(opened.fd)
        if self._spec.kind == "block" and not self.read_only:
            # The old open file, which has just ended, held the claim to the device.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            opened = open_file(self._spec)
            self._put(opened.fd)
        return opened

    def _put(self, fd: int) -> None:
        """Let `fd` take the place of ours. The number stays: a thread may be using it, and must never meet
        another file under it.
        """
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _is_tmpfs(device: int) -> bool:
    """True when the file system with this device number keeps its files in memory (proc_pid_mountinfo(5))."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                fields, _, rest = line.partition(" - ")
                if fields.split(" ")[2] == wanted:
                    return rest.split(" ")[0] in ("tmpfs", "ramfs")
    except OSError:
        return False
    return False
