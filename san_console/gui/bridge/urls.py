"""From the URL on the command line to a backend."""

from __future__ import annotations

import time

from san_console.console.backend import Backend

TEST_SCHEME = "test://"


def backend_for(url: str) -> Backend:
    """`test://scenario` is a simulated host, nothing is the engine of this computer. Raises `ValueError`."""
    if url.startswith(TEST_SCHEME):
        from san_console.console.simulated import SimulatedBackend

        return SimulatedBackend(url, now=time.time())
    if url:
        raise ValueError(
            f"{url!r} is no host: there are test://demo, test://empty, test://large and test://hostile"
        )
    from san_console.gui.bridge.engine_backend import EngineBackend

    return EngineBackend()
