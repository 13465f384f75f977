"""Keep CHAP secrets in memory out of core files, and other processes of this user out of this memory."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
from typing import Final

log = logging.getLogger(__name__)

PR_SET_DUMPABLE: Final = 4
"""prctl(2). Also closes /proc/<pid>/mem and ptrace for all but root."""


def harden_process() -> bool:
    """No core file, not dumpable, files for this user only. False where the system does not allow it all."""
    os.umask(0o077)
    done = True
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        done = False
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            done = False
    if not done:
        log.warning("the system does not allow to protect the memory of this process from being dumped")
    return done
