"""fallocate(2) with FALLOC_FL_PUNCH_HOLE, which the os module does not have."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
_NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)


def _load() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    library.fallocate.restype = ctypes.c_int
    return library


_libc = _load()


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give back the space; the range reads as zeros. False where the file system cannot. Raises OSError."""
    if _libc is None:
        return False
    if _libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number))
