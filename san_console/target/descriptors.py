"""How many file descriptors the process may have: each session and each file of a LUN takes one."""

from __future__ import annotations

import contextlib
import sys

WANTED = 65536  # 1,024 sessions with 8 connections each, and as many LUNs again, several times over


def raise_descriptor_limit() -> None:
    """Raise the soft limit as far as the hard one lets it; shells and services leave it at 1,024 for the
    sake of select(), which asyncio does not use.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # then the limit stays, and is met with status 0302
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
