"""A host that is made up: the window's tests, pictures and first steps need no engine and no network.

`SimulatedBackend("demo")` answers every method of the RPC; time passes only through `tick(now)`.
"""

from san_console.console.simulated.backend import SimulatedBackend
from san_console.console.simulated.scenarios import SCENARIOS

__all__ = ["SCENARIOS", "SimulatedBackend"]
