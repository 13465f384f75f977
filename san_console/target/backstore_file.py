"""Files and block devices as backstores.

Reads take what the page cache has with RWF_NOWAIT and go to a thread for the rest. Writes go into the page
cache at once, as long as the kernel takes them quickly; when it throttles the writer, they go to a thread
for a while. Flush is fdatasync, and FUA is a write with a flush. After an fdatasync that failed, the kernel
has dropped the dirty pages and the next one would "succeed" without the data: so the first failure is final
until an operator opens the backstore again, and no two flushes run at a time (the kernel tells only one of
them).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from time import monotonic
from typing import TypeVar

from san_console.iscsi.target_device import Arena
from san_console.names.display import visible
from san_console.target.backstore import Backstore, Buffer
from san_console.target.config import BackstoreSpec
from san_console.target.errors import BackstoreError
from san_console.target.hole import punch_hole

T = TypeVar("T")

RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
# A memory copy of this length takes about 0.1 ms; longer ones would show in the loop's lag.
MAX_INLINE_WRITE_BYTES = 1 << 20
# A copy into the page cache takes far less than this, even when another process had the processor in
# between: the kernel is making the writer wait for the medium (balance_dirty_pages pauses for up to 0.2 s).
SLOW_WRITE_S = 0.02
THROTTLED_S = 0.25  # how long writes then go to a thread


def _describe(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


class FileBackstore(Backstore):
    """A regular file, or a block device. `pool` runs what waits for the medium."""

    write_cache = True

    def __init__(self, spec: BackstoreSpec, pool: Executor) -> None:
        self.path = os.path.abspath(spec.path)
        self.block_bytes = spec.block_bytes
        self.read_only = spec.read_only
        self.thin = spec.thin
        self._pool = pool
        self._throttled_until = 0.0
        self._flushing = asyncio.Lock()
        self._flushes_begun = 0
        self._flushed = 0
        shown = visible(self.path)
        self._fd = self._open(spec, shown)
        try:
            self.size_bytes = self._check_size(spec, shown)
            self._lock(shown)
            self._memory_only = False
            self._nowait = self._probe_nowait()
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _open(self, spec: BackstoreSpec, shown: str) -> int:
        flags = (os.O_RDONLY if spec.read_only else os.O_RDWR) | os.O_CLOEXEC
        try:
            return os.open(self.path, flags)
        except FileNotFoundError as error:
            if not spec.create:
                raise BackstoreError(
                    f"The backstore {shown} does not exist.",
                    check="Check the path, or give a size to create the file.",
                ) from error
        except PermissionError as error:
            raise BackstoreError(
                f"The backstore {shown} cannot be opened for {'reading' if spec.read_only else 'writing'}.",
                check="Check the permissions of the file, or serve it read-only.",
            ) from error
        except OSError as error:
            raise BackstoreError(
                f"The backstore {shown} cannot be opened: {_describe(error)}.", check="Check the path."
            ) from error
        return self._create(spec, flags, shown)

    def _create(self, spec: BackstoreSpec, flags: int, shown: str) -> int:
        try:
            fd = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise BackstoreError(
                f"The backstore {shown} cannot be created: {_describe(error)}.",
                check="Check that the folder exists and that you may write there.",
            ) from error
        try:
            if spec.thin:
                os.ftruncate(fd, spec.size_bytes)
            else:
                os.posix_fallocate(fd, 0, spec.size_bytes)
        except OSError as error:
            os.close(fd)
            os.unlink(self.path)
            raise BackstoreError(
                f"There is no room for {spec.size_bytes} bytes in {shown}: {_describe(error)}.",
                check="Free some space, choose a smaller size, or make it thin.",
            ) from error
        return fd

    def _check_size(self, spec: BackstoreSpec, shown: str) -> int:
        status = os.fstat(self._fd)
        if spec.kind == "block":
            if not stat.S_ISBLK(status.st_mode):
                raise BackstoreError(f"{shown} is not a block device.", check="Use file: for a regular file.")
        elif not stat.S_ISREG(status.st_mode):
            raise BackstoreError(
                f"{shown} is not a regular file.", check="Use block: for a device; folders cannot be served."
            )
        actual = os.lseek(self._fd, 0, os.SEEK_END)
        if spec.size_bytes > actual:
            raise BackstoreError(
                f"The backstore {shown} is too small: {actual} bytes where {spec.size_bytes} are asked for.",
                check="Enlarge the file, or give the size that it has.",
            )
        size = spec.size_bytes or actual
        if size < spec.block_bytes:
            raise BackstoreError(
                f"The backstore {shown} is too small: {size} bytes are less than one block.",
                check="Enlarge the file, or give a size to create a new one.",
            )
        if size % spec.block_bytes:
            raise BackstoreError(
                f"The size of {shown}, {size} bytes, is no multiple of the block size, {spec.block_bytes}.",
                check="Give size= to serve a part of it, or choose another block size.",
            )
        return size

    def _lock(self, shown: str) -> None:
        try:
            fcntl.flock(self._fd, (fcntl.LOCK_SH if self.read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            raise BackstoreError(
                f"The backstore {shown} is in use.", check="Stop the program, or the other LUN, that uses it."
            ) from error

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
                    f"The backstore {visible(self.path)} cannot be read: {_describe(error)}.",
                    check="Check the medium.",
                ) from error
            self._memory_only = _is_tmpfs(os.fstat(self._fd).st_dev)
            return 0
        return RWF_NOWAIT

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def read_nowait(self, offset: int, length: int, arena: Arena) -> Buffer | None:
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
            got = os.preadv(self._fd, [view[done:]], offset + done)
            if got == 0:
                raise OSError(errno.EIO, "the file has become shorter")
            done += got
        return data

    def write_nowait(self, offset: int, data: Buffer) -> bool:
        if self.failed or len(data) > MAX_INLINE_WRITE_BYTES:
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
        await self._in_thread(lambda: self._write_all(offset, data))
        if fua:
            # Not RWF_DSYNC: its error may be that of an earlier write, and the next flush would not see it
            # again.
            await self.flush()

    def _write_all(self, offset: int, data: Buffer) -> None:
        view = memoryview(data)
        done = 0
        while done < len(view):
            written = os.pwrite(self._fd, view[done:], offset + done)
            if written == 0:
                raise OSError(errno.EIO, "the medium takes no more data")
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
            self.failed = (
                f"a flush failed ({_describe(error)}); what was written since the last one may be lost"
            )
            raise

    def _check_alive(self) -> None:
        if self.failed:
            raise OSError(errno.EIO, self.failed)

    async def unmap(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._check_alive()
        await self._in_thread(lambda: self._punch_all(ranges))

    def _punch_all(self, ranges: Sequence[tuple[int, int]]) -> None:
        for offset, length in ranges:
            if length and not punch_hole(self._fd, offset, length):
                zeros = bytes(min(length, MAX_INLINE_WRITE_BYTES))
                for start in range(offset, offset + length, len(zeros)):
                    self._write_all(start, zeros[: offset + length - start])

    def extent(self, offset: int) -> tuple[bool, int]:
        try:
            data = os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here to the end
                return False, self.size_bytes - offset
            return True, self.size_bytes - offset
        if data > offset:
            return False, min(data, self.size_bytes) - offset
        hole = os.lseek(self._fd, offset, os.SEEK_HOLE)
        return True, min(hole, self.size_bytes) - offset

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
