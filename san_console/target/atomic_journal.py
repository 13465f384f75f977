"""Writes to a file that a crash cannot tear: WRITE ATOMIC (SBC-4 §4.29).

Neither the page cache nor a disk promises more than one sector. So the data goes into a journal beside the
file first; when that is on the medium the file is written, and then the journal is emptied. After a crash
`recover` writes again what the journal holds whole; a journal that is torn itself belongs to a write that had
not begun. A range is written by nobody else in the meantime, so what is written again is never older than
what is there.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import zlib
from contextlib import suppress

from san_console.target.backstore import Backstore, Buffer

JOURNAL_SUFFIX = ".atomic"
MAX_ATOMIC_BYTES = 1 << 20
"""256 blocks of 4096 bytes; more would only make the one journal a bottleneck."""

_HEADER = struct.Struct(">8sQQQII")
assert _HEADER.size == 40
_MAGIC = b"SANCATM1"
_DATA_OFFSET = 4096  # the header has a sector of its own


def _seal(fields: bytes) -> int:
    return zlib.crc32(fields)


def _pack(inode: int, offset: int, data: Buffer) -> bytes:
    draft = _HEADER.pack(_MAGIC, inode, offset, len(data), zlib.crc32(data), 0)
    return _HEADER.pack(_MAGIC, inode, offset, len(data), zlib.crc32(data), _seal(draft[:-4]))


def _write_all(fd: int, data: Buffer, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class AtomicJournal:
    """The journal of the regular file at `path`. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._turn = asyncio.Lock()
        self._may_be_whole = False

    async def write(self, backstore: Backstore, offset: int, data: Buffer) -> None:
        """All of `data` or nothing of it is in `backstore` after a crash; it is on the medium when this
        returns.
        """
        loop = asyncio.get_running_loop()
        async with self._turn:
            if backstore.failed:  # perhaps for this journal, which nothing may be written over then
                raise OSError(errno.EIO, backstore.failed)
            before = bytes(await backstore.read(offset, len(data)))
            try:
                await loop.run_in_executor(None, self._fill, offset, data)
                await self._put(backstore, offset, data, before)
            finally:
                # One that could not be made durable may be whole all the same: after a crash it would be
                # written over what came later.
                await loop.run_in_executor(None, self._empty, backstore)

    @staticmethod
    async def _put(backstore: Backstore, offset: int, data: Buffer, before: bytes) -> None:
        try:
            await backstore.write(offset, data, fua=True)
        except OSError:
            # None of it, then. A store that cannot even do this has failed and says so itself.
            with suppress(OSError):
                await backstore.write(offset, before, fua=True)
            raise

    def _fill(self, offset: int, data: Buffer) -> None:
        journal = self.path + JOURNAL_SUFFIX
        fd = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            new = os.fstat(fd).st_size == 0
            _write_all(fd, data, _DATA_OFFSET)
            self._may_be_whole = True
            _write_all(fd, _pack(os.stat(self.path).st_ino, offset, data), 0)
            os.fsync(fd)
            if new:
                _sync_folder(journal)
        finally:
            os.close(fd)

    def _empty(self, backstore: Backstore) -> None:
        if not self._may_be_whole:
            return
        try:
            _clear(self.path + JOURNAL_SUFFIX)
        except OSError as error:
            # Noted here: whoever waits for the thread may be gone. EIO whatever it was: the initiator cannot
            # help it by trying again.
            backstore.fail(
                f"the journal of atomic writes could not be emptied ({error.strerror or error}); after a "
                "crash it would be written over newer data"
            )
            raise OSError(errno.EIO, backstore.failed) from error
        self._may_be_whole = False


def _clear(journal: str) -> None:
    try:
        fd = os.open(journal, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # it could not even be made
    try:
        _write_all(fd, bytes(_HEADER.size), 0)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def recover(path: str) -> bool:
    """Finish the atomic write that a crash interrupted, before the file at `path` is served. True when there
    was one. Raises OSError.
    """
    journal = path + JOURNAL_SUFFIX
    try:
        with open(journal, "rb") as stream:
            header = stream.read(_HEADER.size)
            stream.seek(_DATA_OFFSET)
            data = stream.read(MAX_ATOMIC_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # whoever opens it to serve it says what is wrong
    try:
        # Whoever has the lock serves the file now, and the journal is in use.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        offset = _whole(header, data, os.fstat(fd))
        if offset is not None:
            _write_all(fd, data[: _length(header)], offset)
            os.fdatasync(fd)
        os.unlink(journal)  # the next atomic write makes a new one
        _sync_folder(journal)
        return offset is not None
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def _length(header: bytes) -> int:
    return int(_HEADER.unpack(header)[3])


def _whole(header: bytes, data: bytes, status: os.stat_result) -> int | None:
    """Where the data of the journal belongs; None when there is none, or only a part of it."""
    if len(header) < _HEADER.size:
        return None
    magic, inode, offset, length, checksum, seal = _HEADER.unpack(header)
    whole = (
        magic == _MAGIC
        and seal == _seal(header[:-4])
        and inode == status.st_ino  # the journal of another file that had this name is of no use
        and length <= len(data)
        and zlib.crc32(data[:length]) == checksum
        and offset + length <= status.st_size
    )
    return offset if whole else None
